/*
 * Packets of gdb's remote protocol as bytes: $DATA#SUM, SUM being the sum of DATA's bytes in two hex digits. In DATA a } says that
 * the next byte is to be taken with bit 5 flipped, so that any byte can be sent. Between packets + and - acknowledge, and 0x03 is
 * Ctrl-C. (gdb manual, "Overview" and "Packet Acknowledgment" of appendix E.)
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GDB_PACKET_MAX 16384u			       /* bytes of DATA, escapes taken out; announced to gdb */
#define GDB_PACKET_BINARY_MAX (GDB_PACKET_MAX / 2)     /* bytes that fit as hex digits, or all of them escaped */
#define GDB_PACKET_SENT_MAX (2u * GDB_PACKET_MAX + 4u) /* what gdb_packet_encode() makes at most */

enum gdb_input {
	GDB_INPUT_NONE, /* nothing yet */
	GDB_INPUT_ACK,
	GDB_INPUT_NACK,
	GDB_INPUT_INTERRUPT,
	GDB_INPUT_PACKET,
	GDB_INPUT_DAMAGED,   /* a packet whose sum is wrong or none */
	GDB_INPUT_TOO_LARGE, /* a packet of more than GDB_PACKET_MAX bytes; its sum was right */
};

/* All zero at the start. */
struct gdb_decoder {
	enum { GDB_BETWEEN, GDB_IN_DATA, GDB_IN_SUM, GDB_IN_SUM_END } state;
	bool escaped;
	uint8_t sum, sum_sent;
	size_t size;			   /* of DATA; goes on counting when it is too large */
	char data[GDB_PACKET_MAX + 1]; /* after GDB_INPUT_PACKET: without escapes, with a NUL behind it */
};

/* Takes the next byte, whatever it is, and says what has become whole by it. A $ always begins a packet, a # ends one. */
enum gdb_input gdb_packet_decode(struct gdb_decoder *d, uint8_t byte);

/* Makes a packet of at most GDB_PACKET_MAX bytes. Returns its size. */
size_t gdb_packet_encode(char to[GDB_PACKET_SENT_MAX], const void *data, size_t size);
