#include <errno.h>
#include <string.h>

#include "replay/gdb_hex.h"
#include "replay/gdb_packet.h"
#include "replay/gdb_registers.h"
#include "replay/gdb_request.h"

static int fetch(struct gdb_session *s, struct cpu_state *cs)
{
	return s->target.ops->registers(s->target.target, cs);
}

static int store(struct gdb_session *s, const struct cpu_state *cs)
{
	return s->target.ops->set_registers(s->target.target, cs);
}

int gdb_request_all_registers(struct gdb_session *s, const char *args, size_t size)
{
	uint8_t bytes[GDB_PACKET_BINARY_MAX];
	struct cpu_state cs;
	size_t used = 0;
	int r = fetch(s, &cs);

	if (r < 0)
		return gdb_reply_error(s, r);
	for (unsigned int i = 0; i < gdb_register_count; i++)
		used += gdb_register_get(&cs, i, bytes + used);
	return gdb_reply_bytes(s, bytes, used);
}

/* Takes the value of register n from *text. */
static int take_value(struct cpu_state *cs, unsigned int n, const char **text)
{
	uint8_t value[GDB_REGISTER_BYTES_MAX];
	size_t size = gdb_registers[n].bits / 8u;

	if (!gdb_hex_read(value, *text, size))
		return -EINVAL;
	*text += 2 * size;
	return gdb_register_set(cs, n, value);
}

/* All or nothing. */
int gdb_request_set_all_registers(struct gdb_session *s, const char *args, size_t size)
{
	struct cpu_state cs;
	int r = fetch(s, &cs);

	for (unsigned int i = 0; r == 0 && i < gdb_register_count; i++)
		r = take_value(&cs, i, &args);
	if (r == 0 && *args)
		r = -EINVAL;
	return gdb_reply_result(s, r < 0 ? r : store(s, &cs));
}

int gdb_request_register(struct gdb_session *s, const char *args, size_t size)
{
	uint8_t value[GDB_REGISTER_BYTES_MAX];
	struct cpu_state cs;
	uint64_t n;
	int r;

	if (!gdb_hex_number(&args, &n) || *args || n >= gdb_register_count)
		return gdb_reply_error(s, -EINVAL);
	r = fetch(s, &cs);
	if (r < 0)
		return gdb_reply_error(s, r);
	return gdb_reply_bytes(s, value, gdb_register_get(&cs, (unsigned int)n, value));
}

int gdb_request_set_register(struct gdb_session *s, const char *args, size_t size)
{
	struct cpu_state cs;
	uint64_t n;
	int r;

	if (!gdb_hex_number(&args, &n) || !gdb_text_skip(&args, '=') || n >= gdb_register_count)
		return gdb_reply_error(s, -EINVAL);
	r = fetch(s, &cs);
	if (r == 0)
		r = take_value(&cs, (unsigned int)n, &args);
	if (r == 0 && *args)
		r = -EINVAL;
	return gdb_reply_result(s, r < 0 ? r : store(s, &cs));
}

int gdb_request_jump(struct gdb_session *s, uint64_t rip)
{
	uint8_t value[GDB_REGISTER_BYTES_MAX] = {0};
	struct cpu_state cs;
	int r = fetch(s, &cs);

	memcpy(value, &rip, sizeof(rip));
	for (unsigned int i = 0; r == 0 && i < gdb_register_count; i++) {
		if (gdb_registers[i].rule == GDB_REGISTER_RIP)
			r = gdb_register_set(&cs, i, value);
	}
	return r < 0 ? r : store(s, &cs);
}
