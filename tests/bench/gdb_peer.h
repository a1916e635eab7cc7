/* As much of gdb's side of its remote protocol as a benchmark needs. What goes wrong ends the benchmark. */
#pragma once

#include <stddef.h>
#include <stdio.h>

struct gdb_peer {
	FILE *from;
	int fd;
	char data[40000]; /* of the last packet */
};

/* Waits for the socket, and connects. */
void gdb_peer_open(struct gdb_peer *p, const char *path);
void gdb_peer_close(struct gdb_peer *p);

/* Sends a packet and returns the next one that comes. */
const char *gdb_peer_ask(struct gdb_peer *p, const char *packet);

/* `monitor TEXT`: what it says, into `said` unless that is NULL. */
void gdb_peer_monitor(struct gdb_peer *p, const char *text, char *said, size_t room);
