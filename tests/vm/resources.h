/* What a process holds of the kernel: counted before and after, it tells of leaks. */
#pragma once

struct resources {
	int fds, threads, timers; /* timers: -1 where this kernel does not list them */
	int maps;		  /* -1 where a sanitizer maps as it likes */
	long map_kib;
	char fd_list[1024];
};

/*
 * Once, first thing in main(): starts the program anew with an allocator that gives everything back, so that mappings can
 * be counted.
 */
void resources_prepare(char **argv);

struct resources resources_now(void);

/*
 * Fails the test unless there is as much of everything as before, or soon is: KVM gives a VM's process a thread of the
 * kernel's own, which ends a moment after the VM.
 */
void assert_resources_back(const struct resources *before, const char *what);
