#include "tests/unit/gdb_fake.h"

#include <check.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/expect.h"

static uint8_t *find(struct gdb_fake *f, uint64_t gva, size_t size)
{
	if (gva >= FAKE_TOP)
		return size <= 0x1000 - (gva - FAKE_TOP) ? f->top + (gva - FAKE_TOP) : NULL;
	if (f->maps_zero && gva < FAKE_RAM && size <= FAKE_RAM - gva)
		return f->ram + gva;
	if (gva < FAKE_RAM || gva - FAKE_RAM > FAKE_RAM_SIZE || size > FAKE_RAM_SIZE - (gva - FAKE_RAM))
		return NULL;
	return f->ram + (gva - FAKE_RAM);
}

static int get_registers(void *target, struct cpu_state *cs)
{
	struct gdb_fake *f = target;

	*cs = f->cs;
	return f->registers_fail;
}

static int set_registers(void *target, const struct cpu_state *cs)
{
	struct gdb_fake *f = target;

	if (f->read_only)
		return -EPERM;
	f->cs = *cs;
	return 0;
}

static int get_memory(void *target, uint64_t gva, void *to, size_t size)
{
	const uint8_t *from = find(target, gva, size);

	/* As the contract says. */
	expect(size > 0 && size <= 0x1000 && gva / 0x1000 == (gva + (size - 1)) / 0x1000);
	if (!from)
		return -EFAULT;
	memcpy(to, from, size);
	return 0;
}

static int set_memory(void *target, uint64_t gva, const void *from, size_t size)
{
	uint8_t *to = find(target, gva, size);

	expect(size > 0 && gva + (size - 1) >= gva);
	if (!to)
		return -EFAULT;
	memcpy(to, from, size);
	return 0;
}

static struct gdb_point *find_point(struct gdb_fake *f, const struct gdb_point *p)
{
	for (unsigned int i = 0; i < f->count; i++) {
		if (f->points[i].kind == p->kind && f->points[i].gva == p->gva && f->points[i].size == p->size)
			return &f->points[i];
	}
	return NULL;
}

static int insert(void *target, const struct gdb_point *p)
{
	struct gdb_fake *f = target;

	expect_msg(!find_point(f, p), "the point is there already");
	expect(p->kind < GDB_POINT_WATCH || (p->size > 0 && p->gva + (p->size - 1) >= p->gva));
	if (f->insert_fails || f->count == FAKE_POINTS)
		return f->insert_fails ? f->insert_fails : -ENOSPC;
	f->points[f->count++] = *p;
	f->inserts++;
	return 0;
}

static void take_out(void *target, const struct gdb_point *p)
{
	struct gdb_fake *f = target;
	struct gdb_point *q = find_point(f, p);

	expect_msg(q, "the point is not there");
	*q = f->points[--f->count];
	f->removes++;
}

static int monitor(void *target, const char *command, FILE *out)
{
	struct gdb_fake *f = target;

	if (!strcmp(command, "help"))
		fputs("position  where the guest is\nlong      a long text\nfail      does not work\n", out);
	else if (!strcmp(command, "position"))
		fprintf(out, "position %" PRIu64 "\n", f->position);
	else if (!strcmp(command, "long"))
		for (unsigned int i = 0; i < 10000; i++)
			fprintf(out, "%u\n", i);
	else if (!strcmp(command, "fail"))
		return -EBUSY;
	else if (strcmp(command, "nothing"))
		return -EINVAL;
	return 0;
}

static void kick(void *target)
{
	struct gdb_fake *f = target;

	atomic_fetch_add(&f->interrupts, 1);
	atomic_store(&f->kicked, true);
}

static void place(struct gdb_fake *f, uint64_t position)
{
	/* Writes done by then: one in each loop that has come beyond FAKE_WRITES. */
	uint32_t word = (uint32_t)((position + FAKE_LOOP - 1 - FAKE_WRITES) / FAKE_LOOP);

	f->position = position;
	f->cs.rip = FAKE_CODE + position % FAKE_LOOP;
	f->cs.gpr[CPU_RAX] = position;
	memcpy(f->ram + (FAKE_WORD - FAKE_RAM), &word, sizeof(word));
}

void fake_init(struct gdb_fake *f, uint64_t end)
{
	*f = (struct gdb_fake){
		.ops = {get_registers, set_registers, get_memory, set_memory, insert, take_out, monitor, kick, true},
		.end = end,
	};
	f->cs = (struct cpu_state){.rflags = 0x202, .cr0 = 0x80010033, .cr2 = 0xdeadbeef, .cr3 = 0x5000, .cr4 = 0x620, .cr8 = 3, .efer = 0xd01};
	xsave_unpack(f->cs.xsave);
	f->cs.segment[CPU_CS] = (struct cpu_segment){.selector = 8, .attributes = 0xa9b, .limit = UINT32_MAX};
	f->cs.segment[CPU_FS].base = 0x1122334455;
	f->cs.gpr[CPU_RSP] = FAKE_RAM + FAKE_RAM_SIZE - 0x100;
	memset(f->ram, 0x90, FAKE_LOOP);
	place(f, 0);
}

/* Whether a point of that kind is at that address, NULL = there is none. */
static const struct gdb_point *hit(const struct gdb_fake *f, uint64_t gva, enum gdb_point_kind first, enum gdb_point_kind last)
{
	for (unsigned int i = 0; i < f->count; i++) {
		const struct gdb_point *p = &f->points[i];

		if (p->kind >= first && p->kind <= last && gva - p->gva < (p->kind < GDB_POINT_WATCH ? 1 : p->size))
			return p;
	}
	return NULL;
}

/* What the instruction that was just passed, in either direction, does to data. */
static bool touches(const struct gdb_fake *f, uint64_t passed, struct gdb_stop *why)
{
	bool writes = passed % FAKE_LOOP == FAKE_WRITES, reads = passed % FAKE_LOOP == FAKE_READS;
	const struct gdb_point *p = NULL;

	if (writes)
		p = hit(f, FAKE_WORD, GDB_POINT_WATCH, GDB_POINT_WATCH);
	if (reads)
		p = hit(f, FAKE_WORD, GDB_POINT_READ_WATCH, GDB_POINT_READ_WATCH);
	if (!p && (reads || writes))
		p = hit(f, FAKE_WORD, GDB_POINT_ACCESS_WATCH, GDB_POINT_ACCESS_WATCH);
	if (p)
		*why = (struct gdb_stop){.kind = GDB_STOP_WATCH + (p->kind - GDB_POINT_WATCH), .gva = p->gva};
	return p;
}

static bool breaks(const struct gdb_fake *f, struct gdb_stop *why)
{
	const struct gdb_point *p = hit(f, f->cs.rip, GDB_POINT_BREAK, GDB_POINT_HARDWARE_BREAK);

	if (p)
		why->kind = p->kind == GDB_POINT_BREAK ? GDB_STOP_BREAK : GDB_STOP_HARDWARE_BREAK;
	return p;
}

/* Lets it go until it stops. */
static void run(struct gdb_fake *f, enum gdb_resume how, struct gdb_stop *why)
{
	bool back = how == GDB_REVERSE_CONTINUE || how == GDB_REVERSE_STEP, once = how == GDB_STEP || how == GDB_REVERSE_STEP;

	*why = (struct gdb_stop){.kind = GDB_STOP_SIGNAL};
	do {
		uint64_t passed = back ? f->position - 1 : f->position;

		if (f->position == (back ? 0 : f->end)) {
			why->kind = back ? GDB_STOP_HISTORY_BEGIN : GDB_STOP_HISTORY_END;
			return;
		}
		place(f, back ? f->position - 1 : f->position + 1);
		if (touches(f, passed, why) || breaks(f, why))
			return;
		if (atomic_load(&f->kicked) && gdb_server_interrupted(f->server)) {
			why->kind = GDB_STOP_INTERRUPTED;
			return;
		}
	} while (!once && !atomic_load(&f->leaves));
}

static bool goes_on(struct gdb_fake *f)
{
	if (f->last == GDB_KILL || f->last == GDB_GONE)
		return false;
	return f->last != GDB_DETACH || f->serve_after_detach;
}

static void live(struct gdb_fake *f)
{
	struct gdb_stop why = {.kind = GDB_STOP_SIGNAL};

	if (gdb_server_wait(f->server) < 0) {
		f->last = GDB_GONE;
		return;
	}
	for (;;) {
		f->last = gdb_server_serve(f->server, &why);
		if (!goes_on(f))
			return;
		atomic_store(&f->kicked, gdb_server_interrupted(f->server));
		atomic_fetch_add(&f->resumes, 1);
		run(f, f->last, &why);
		if (atomic_load(&f->leaves) || (f->exits && why.kind == GDB_STOP_HISTORY_END))
			return;
	}
}

static void *guest(void *arg)
{
	struct gdb_fake *f = arg;

	live(f);
	atomic_store(&f->done, true);
	return NULL;
}

void fake_start(struct gdb_fake *f, const char *where)
{
	const struct gdb_target target = {&f->ops, f};

	ck_assert_int_eq(gdb_server_open(&f->server, where, &target), 0);
	ck_assert_int_eq(pthread_create(&f->thread, NULL, guest, f), 0);
}

void fake_end(struct gdb_fake *f, const struct gdb_stop *stop)
{
	ck_assert_int_eq(pthread_join(f->thread, NULL), 0);
	gdb_server_close(f->server, stop);
	f->server = NULL;
}

void fake_cancel(struct gdb_fake *f)
{
	gdb_server_cancel(f->server);
	fake_end(f, NULL);
}

void fake_wait_resumed(struct gdb_fake *f, unsigned int times)
{
	while (atomic_load(&f->resumes) < times)
		usleep(1000);
}
