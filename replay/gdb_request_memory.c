#include <errno.h>

#include "replay/gdb_hex.h"
#include "replay/gdb_packet.h"
#include "replay/gdb_request.h"
#include "vmm/mem.h"

/* "ADDRESS,SIZE", and moves *args behind it. */
static bool take_range(const char **args, uint64_t *gva, uint64_t *size)
{
	return gdb_hex_number(args, gva) && gdb_text_skip(args, ',') && gdb_hex_number(args, size);
}

static bool wraps(uint64_t gva, uint64_t size)
{
	return size && gva + (size - 1) < gva;
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Page by page, so that what comes before one that cannot be read is known. Returns how much was read, or -errno if nothing was. */
static int read_pages(struct gdb_session *s, uint64_t gva, uint8_t *to, uint64_t size)
{
	uint64_t done = 0;

	while (done < size) {
		uint64_t at = gva + done, piece = least(size - done, PAGE_SIZE - at % PAGE_SIZE);
		int r = s->target.ops->read(s->target.target, at, to + done, piece);

		if (r < 0)
			return done ? (int)done : r;
		done += piece;
	}
	return (int)done;
}

int gdb_request_read(struct gdb_session *s, const char *args, size_t size)
{
	uint8_t bytes[GDB_PACKET_BINARY_MAX];
	uint64_t gva, wanted;
	int r;

	if (!take_range(&args, &gva, &wanted) || *args)
		return gdb_reply_error(s, -EINVAL);
	/* Not on at address 0. */
	if (wraps(gva, wanted))
		wanted = -gva;
	r = read_pages(s, gva, bytes, least(wanted, sizeof(bytes)));
	return r < 0 ? gdb_reply_error(s, r) : gdb_reply_bytes(s, bytes, (size_t)r);
}

static int write_bytes(struct gdb_session *s, uint64_t gva, const void *bytes, uint64_t size)
{
	if (wraps(gva, size))
		return gdb_reply_error(s, -EFAULT);
	return gdb_reply_result(s, size ? s->target.ops->write(s->target.target, gva, bytes, size) : 0);
}

int gdb_request_write(struct gdb_session *s, const char *args, size_t size)
{
	uint8_t bytes[GDB_PACKET_BINARY_MAX];
	const char *end = args + size;
	uint64_t gva, wanted;

	if (!take_range(&args, &gva, &wanted) || !gdb_text_skip(&args, ':') || wanted > sizeof(bytes) ||
	    (uint64_t)(end - args) != 2 * wanted || !gdb_hex_read(bytes, args, wanted))
		return gdb_reply_error(s, -EINVAL);
	return write_bytes(s, gva, bytes, wanted);
}

/* With no bytes it is gdb's question whether this request is known. */
int gdb_request_write_binary(struct gdb_session *s, const char *args, size_t size)
{
	const char *end = args + size;
	uint64_t gva, wanted;

	if (!take_range(&args, &gva, &wanted) || !gdb_text_skip(&args, ':') || (uint64_t)(end - args) != wanted)
		return gdb_reply_error(s, -EINVAL);
	return write_bytes(s, gva, args, wanted);
}

/* "KIND,ADDRESS,SIZE"; kinds are one digit. Returns 0 or -errno. */
static int parse_point(const char *args, struct gdb_point *p)
{
	int kind = gdb_hex_digit(*args);

	if (kind < 0 || args[1] != ',')
		return -EINVAL;
	args += 2;
	if (!take_range(&args, &p->gva, &p->size) || *args)
		return -EINVAL;
	if (kind >= GDB_POINT_KINDS)
		return -ENOTSUP;
	p->kind = (enum gdb_point_kind)kind;
	if (kind >= GDB_POINT_WATCH && (!p->size || wraps(p->gva, p->size)))
		return -EINVAL;
	return 0;
}

/* To gdb, no answer to this one is that this kind of point is not known, and that it has to help itself. */
static int reply_point(struct gdb_session *s, int err)
{
	return err == -ENOTSUP ? gdb_reply(s, "") : gdb_reply_result(s, err);
}

int gdb_request_insert(struct gdb_session *s, const char *args, size_t size)
{
	struct gdb_point p;
	int r = parse_point(args, &p);

	return reply_point(s, r < 0 ? r : gdb_points_insert(&s->points, &s->target, &p));
}

int gdb_request_remove(struct gdb_session *s, const char *args, size_t size)
{
	struct gdb_point p;
	int r = parse_point(args, &p);

	if (r == 0)
		gdb_points_remove(&s->points, &s->target, &p);
	return reply_point(s, r);
}
