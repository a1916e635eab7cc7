/*
 * The benchmark guest (guest/images/mmucost.c), carried inside the program: no file has to be found for a comparison.
 */
#pragma once

struct benchmark_guest {
	int fd;	       /* a sealed file in memory: nobody can change what is measured */
	char path[32]; /* of it, as image_open() takes one, in this process, until it is closed */
};

/* Returns 0 or a logged -errno. */
int benchmark_guest_open(struct benchmark_guest *g);
void benchmark_guest_close(struct benchmark_guest *g);
