/*
 * Fuzz target: any bytes from gdb, as they come over a connection, and line by line as packets with right sums. Each packet has one
 * answer, or the guest goes on; what is sent is a packet that can be read; the target is asked for nothing but what it promised to
 * answer; and when gdb is gone, nothing of it is left in the guest.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "replay/gdb_packet.h"
#include "replay/gdb_session.h"
#include "tests/fuzz/target.h"
#include "vmm/cpu_state.h"

#define RAM 0x1000u
#define RAM_SIZE 0x3000u
#define POINTS 4u

struct guest {
	struct cpu_state cs;
	uint8_t ram[RAM_SIZE];
	struct gdb_point point[POINTS];
	unsigned int points;
	unsigned int answers; /* to the packet that is being answered */
	unsigned int stops;
};

static void require(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "fuzz gdb: %s\n", what);
	abort();
}

static bool is_ram(uint64_t gva, size_t size)
{
	return gva >= RAM && gva - RAM <= RAM_SIZE && size <= RAM_SIZE - (gva - RAM);
}

static bool is_canonical(uint64_t gva)
{
	return gva < 1ull << 47 || gva >= -(1ull << 47);
}

static int get_registers(void *target, struct cpu_state *cs)
{
	const struct guest *g = target;

	*cs = g->cs;
	return 0;
}

/* The contract of gdb_target_ops. */
static int set_registers(void *target, const struct cpu_state *cs)
{
	struct guest *g = target;
	struct cpu_state rest = *cs;
	uint32_t mxcsr;

	require(is_canonical(cs->rip) && is_canonical(cs->segment[CPU_FS].base) && is_canonical(cs->segment[CPU_GS].base), "addresses that are none");
	require(((cs->rflags ^ g->cs.rflags) & ~0x257fd5ull) == 0, "flags that POPF leaves alone");
	memcpy(&mxcsr, cs->xsave + 24, sizeof(mxcsr));
	require(!(mxcsr & ~0xffbfu), "reserved bits of MXCSR");
	memcpy(rest.gpr, g->cs.gpr, sizeof(rest.gpr));
	rest.rip = g->cs.rip;
	rest.rflags = g->cs.rflags;
	rest.segment[CPU_FS].base = g->cs.segment[CPU_FS].base;
	rest.segment[CPU_GS].base = g->cs.segment[CPU_GS].base;
	memcpy(rest.xsave, g->cs.xsave, 416);
	rest.xsave[512] = g->cs.xsave[512];
	require(!memcmp(&rest, &g->cs, sizeof(rest)), "other state than promised");
	g->cs = *cs;
	return 0;
}

static int read_ram(void *target, uint64_t gva, void *to, size_t size)
{
	const struct guest *g = target;

	require(size > 0 && gva % 0x1000 + size <= 0x1000, "a read beyond a page");
	if (!is_ram(gva, size))
		return -EFAULT;
	memcpy(to, g->ram + (gva - RAM), size);
	return 0;
}

static int write_ram(void *target, uint64_t gva, const void *from, size_t size)
{
	struct guest *g = target;

	require(size > 0 && gva + (size - 1) >= gva, "a write of nothing, or beyond all addresses");
	if (!is_ram(gva, size))
		return -EFAULT;
	memcpy(g->ram + (gva - RAM), from, size);
	return 0;
}

static struct gdb_point *find(struct guest *g, const struct gdb_point *p)
{
	for (unsigned int i = 0; i < g->points; i++) {
		if (g->point[i].kind == p->kind && g->point[i].gva == p->gva && g->point[i].size == p->size)
			return &g->point[i];
	}
	return NULL;
}

static int insert(void *target, const struct gdb_point *p)
{
	struct guest *g = target;

	require(p->kind < GDB_POINT_KINDS && !find(g, p), "a point twice, or of no kind");
	require(p->kind < GDB_POINT_WATCH || (p->size && p->gva + (p->size - 1) >= p->gva), "a watchpoint beyond all addresses");
	if (g->points == POINTS)
		return -ENOSPC;
	g->point[g->points++] = *p;
	return 0;
}

static void take_out(void *target, const struct gdb_point *p)
{
	struct guest *g = target;
	struct gdb_point *q = find(g, p);

	require(q, "a point taken out that is not in");
	*q = g->point[--g->points];
}

static int monitor(void *target, const char *command, FILE *out)
{
	fprintf(out, "%s\n", command);
	return *command == 'x' ? -EINVAL : 0;
}

static void interrupt(void *target)
{
	require(false, "interrupted although it stands still");
}

static const struct gdb_target_ops ops = {get_registers, set_registers, read_ram, write_ram, insert, take_out, monitor, interrupt, true};

/* What is sent can be read again, and is no more than gdb was told. */
static void take_answer(void *to, const void *data, size_t size)
{
	static char sent[GDB_PACKET_SENT_MAX];
	static struct gdb_decoder d;
	struct guest *g = to;
	enum gdb_input input = GDB_INPUT_NONE;
	const char *text = data;
	size_t made;

	require(size <= GDB_PACKET_MAX, "a packet too large");
	made = gdb_packet_encode(sent, data, size);
	require(made <= GDB_PACKET_MAX + 4, "a packet too large with its escapes");
	for (size_t i = 0; i < made; i++) {
		require(input == GDB_INPUT_NONE, "a packet that ends early");
		input = gdb_packet_decode(&d, (uint8_t)sent[i]);
	}
	require(input == GDB_INPUT_PACKET && d.size == size && !memcmp(d.data, data, size), "a packet that says something else");
	g->answers += size < 2 || *text != 'O' || text[1] == 'K';
}

static void go_on(struct gdb_session *s, struct guest *g, int how)
{
	struct gdb_stop why = {.kind = (enum gdb_stop_kind)(g->stops++ % GDB_STOP_EXITED), .gva = g->cs.rip};

	if (how == GDB_DETACH || how == GDB_KILL) {
		require(how == GDB_KILL || !g->points, "points are left behind");
		gdb_session_reset(s);
		return;
	}
	g->answers = 0;
	/* A range is left at last, if only because the user has enough of it. */
	if (gdb_session_stopped(s, &why, false)) {
		require(!g->answers, "gdb is told of a step that it does not want to know of");
		require(!gdb_session_stopped(s, &why, true), "gdb's user is not told");
	}
	require(g->answers == 1, "gdb is not told once why it stopped");
}

static void answer(struct gdb_session *s, struct guest *g, const char *data, size_t size)
{
	int how;

	g->answers = 0;
	how = gdb_session_answer(s, data, size);
	require(how >= GDB_STANDS && how < GDB_GONE, "goes on in a way that there is not");
	/* Letting go is answered, killing may be. */
	if (how == GDB_KILL)
		require(g->answers <= 1, "several answers");
	else
		require(g->answers == (how == GDB_STANDS || how == GDB_DETACH), "not one answer");
	if (how != GDB_STANDS)
		go_on(s, g, how);
}

static void talk_raw(struct gdb_session *s, struct guest *g, const uint8_t *bytes, size_t size)
{
	static struct gdb_decoder d;

	memset(&d, 0, sizeof(d));
	for (size_t i = 0; i < size; i++) {
		if (gdb_packet_decode(&d, bytes[i]) == GDB_INPUT_PACKET)
			answer(s, g, d.data, d.size);
	}
}

static void talk_lines(struct gdb_session *s, struct guest *g, const uint8_t *bytes, size_t size)
{
	while (size) {
		const uint8_t *end = memchr(bytes, '\n', size);
		size_t length = end ? (size_t)(end - bytes) : size, whole = length + (end ? 1 : 0);
		char *line = malloc(length + 1);

		require(line, "no memory");
		memcpy(line, bytes, length);
		line[length] = '\0';
		if (length <= GDB_PACKET_MAX)
			answer(s, g, line, length);
		free(line);
		bytes += whole;
		size -= whole;
	}
}

static void check(const uint8_t *bytes, size_t size, bool lines)
{
	static struct guest g;
	static struct gdb_session s;
	const struct gdb_target target = {&ops, &g};
	const struct gdb_sink sink = {take_answer, &g};

	memset(&g, 0, sizeof(g));
	g.cs.rflags = 2;
	g.cs.efer = EFER_LMA;
	g.cs.segment[CPU_CS].attributes = lines ? CPU_SEGMENT_LONG : 0;
	require(gdb_session_create(&s, &target, &sink) == 0, "no memory");
	(lines ? talk_lines : talk_raw)(&s, &g, bytes, size);
	gdb_session_reset(&s);
	require(!g.points, "points are left behind by who is gone");
	gdb_session_destroy(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	check(bytes, size, false);
	check(bytes, size, true);
	return 0;
}
