/*
 * A connection with one gdb: packets that come and go. One thread at a time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "replay/gdb_packet.h"

struct gdb_link {
	int fd;	       /* non-blocking; -1: there is none */
	int cancel_fd; /* readable: nothing is waited for any more. Not owned */
	bool lost;     /* the other end has gone, or was not listening when all ended */
	uint8_t in[4096];
	size_t taken, filled; /* of `in` */
	struct gdb_decoder decoder;
	char sent[GDB_PACKET_SENT_MAX]; /* the last packet, in case it has to be sent again */
	size_t sent_size;
};

/* No connection yet. */
void gdb_link_init(struct gdb_link *l, int cancel_fd);

/* Takes the connection over. */
void gdb_link_open(struct gdb_link *l, int fd);

/* Lets gdb read what was sent to it, for as long as that takes an honest one, and closes the connection. */
void gdb_link_close(struct gdb_link *l);

/* Waits for what comes next: a packet is in decoder.data. Returns enum gdb_input, -ECANCELED, or -ECONNRESET: `lost` is set. */
int gdb_link_next(struct gdb_link *l);

/* Sends a packet, or some bytes as they are. If the other end has gone, `lost` is set. */
void gdb_link_send(struct gdb_link *l, const void *data, size_t size);
void gdb_link_send_again(struct gdb_link *l);
void gdb_link_send_byte(struct gdb_link *l, char byte);

/*
 * While the guest runs, without waiting: true if gdb wants it to stop, which is whenever it says more than + and -: 0x03, or a packet,
 * which it should not send now. That is left for gdb_link_next(). True too if the connection is lost.
 */
bool gdb_link_stirs(struct gdb_link *l);
