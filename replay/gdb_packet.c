#include "replay/gdb_packet.h"

#include "replay/gdb_hex.h"
#include "vmm/ensure.h"

#define ESCAPE '}'
#define ESCAPE_FLIPS 0x20
#define INTERRUPT 0x03

static void begin(struct gdb_decoder *d)
{
	d->state = GDB_IN_DATA;
	d->escaped = false;
	d->sum = 0;
	d->size = 0;
}

static enum gdb_input between(struct gdb_decoder *d, uint8_t byte)
{
	switch (byte) {
	case '$': begin(d); return GDB_INPUT_NONE;
	case '+': return GDB_INPUT_ACK;
	case '-': return GDB_INPUT_NACK;
	case INTERRUPT: return GDB_INPUT_INTERRUPT;
	default: return GDB_INPUT_NONE;
	}
}

static void take_data(struct gdb_decoder *d, uint8_t byte)
{
	d->sum += byte;
	if (byte == ESCAPE && !d->escaped) {
		d->escaped = true;
		return;
	}
	if (d->size < GDB_PACKET_MAX)
		d->data[d->size] = (char)(d->escaped ? byte ^ ESCAPE_FLIPS : byte);
	d->size++;
	d->escaped = false;
}

static enum gdb_input finish(struct gdb_decoder *d)
{
	d->state = GDB_BETWEEN;
	if (d->escaped || d->sum != d->sum_sent)
		return GDB_INPUT_DAMAGED;
	if (d->size > GDB_PACKET_MAX)
		return GDB_INPUT_TOO_LARGE;
	d->data[d->size] = '\0';
	return GDB_INPUT_PACKET;
}

static enum gdb_input take_sum(struct gdb_decoder *d, uint8_t byte)
{
	int digit = gdb_hex_digit((char)byte);

	if (digit < 0) {
		d->state = GDB_BETWEEN;
		return GDB_INPUT_DAMAGED;
	}
	d->sum_sent = (uint8_t)(d->sum_sent << 4 | digit);
	if (d->state == GDB_IN_SUM_END)
		return finish(d);
	d->state = GDB_IN_SUM_END;
	return GDB_INPUT_NONE;
}

enum gdb_input gdb_packet_decode(struct gdb_decoder *d, uint8_t byte)
{
	if (d->state == GDB_BETWEEN)
		return between(d, byte);
	/* Whoever sent it gave up the packet before. */
	if (byte == '$')
		begin(d);
	else if (d->state != GDB_IN_DATA)
		return take_sum(d, byte);
	else if (byte == '#')
		d->state = GDB_IN_SUM;
	else
		take_data(d, byte);
	return GDB_INPUT_NONE;
}

static bool needs_escape(char c)
{
	/* To gdb, * means that what comes before it is repeated. */
	return c == '#' || c == '$' || c == '*' || c == ESCAPE;
}

size_t gdb_packet_encode(char to[GDB_PACKET_SENT_MAX], const void *data, size_t size)
{
	const char *from = data;
	char *p = to;
	uint8_t sum = 0;

	ensure(size <= GDB_PACKET_MAX);
	*p++ = '$';
	for (size_t i = 0; i < size; i++) {
		if (needs_escape(from[i]))
			*p++ = ESCAPE;
		*p++ = needs_escape(from[i]) ? (char)(from[i] ^ ESCAPE_FLIPS) : from[i];
	}
	for (const char *c = to + 1; c < p; c++)
		sum += (uint8_t)*c;
	*p++ = '#';
	p = gdb_hex_write(p, &sum, 1);
	return (size_t)(p - to);
}
