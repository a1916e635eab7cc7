/*
 * The Unix stream socket of a run: made and removed by `penumbra run`, connected to by `penumbra ctl`. `penumbra replay` makes one for
 * gdb, too.
 */
#pragma once

#include <sys/types.h>

struct control_socket {
	const char *path; /* not owned */
	int fd;		  /* listens, non-blocking */
	dev_t device;	  /* of the file that was made */
	ino_t inode;
};

/*
 * Makes the socket, for its owner alone. A socket file that nobody listens on any more is replaced; anything else that
 * exists is an error and stays. No other thread of the process may make files meanwhile (umask). Returns 0 or a logged
 * -errno, with nothing left behind.
 */
int control_socket_listen(struct control_socket *s, const char *path);

/* Closes the socket and removes its file, unless there is another file in its place. */
void control_socket_close(struct control_socket *s);

/* Connects to such a socket. Returns a file descriptor or a logged -errno. */
int control_socket_connect(const char *path);

/* The same once more: nothing is said if the run is gone. */
int control_socket_reconnect(const char *path);
