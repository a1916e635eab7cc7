/*
 * Instructions on device registers. The device here behaves like memory, so every sample has to come out as it does on RAM
 * (which shadow_insn_memory.c holds against the real CPU); and its accesses have to be those that KVM would make of it,
 * which is worked out from the sample alone.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shadow/insn_memory.h"
#include "shadow/rflags.h"
#include "tests/unit/shadow_guest.h"
#include "tests/unit/shadow_sample.h"
#include "tests/vm/suite.h"
#include "vmm/walk.h"

#define SAMPLES 150u /* of each form */
#define WINDOW_BYTES (SAMPLE_WINDOW_PAGES * PAGE_SIZE)
#define OPEN (PTE_P | PTE_W | PTE_U)
#define RAM_GPA 0x200000ull
#define CODE_GPA 0x300000ull

/* One guest has RAM in the window, the other a device. */
struct world {
	struct guest guest;
	uint8_t xmm[16][16];
};

static struct world on_ram, on_device;
static uint8_t device_bytes[WINDOW_BYTES];

static bool like_memory(struct gmem *gm, struct access *a)
{
	struct guest *g = (struct guest *)((char *)gm - offsetof(struct guest, gmem));
	uint64_t at = a->addr - GUEST_DEVICE;

	ck_assert_uint_le(at + a->size, WINDOW_BYTES);
	if (access_is_read(a->kind)) {
		a->value = 0;
		memcpy(&a->value, device_bytes + at, a->size);
	} else {
		memcpy(device_bytes + at, &a->value, a->size);
	}
	if (g->accesses < GUEST_LOG)
		g->access[g->accesses] = *a;
	g->accesses++;
	return g->accesses != g->end_at;
}

static void create(struct world *w, uint64_t gpa)
{
	guest_create(&w->guest);
	for (uint64_t i = 0; i < SAMPLE_WINDOW_PAGES; i++)
		guest_map(&w->guest, SAMPLE_WINDOW + i * PAGE_SIZE, gpa + i * PAGE_SIZE, OPEN);
	for (uint64_t i = 0; i < SAMPLE_CODE_PAGES; i++)
		guest_map(&w->guest, SAMPLE_CODE + i * PAGE_SIZE, CODE_GPA + i * PAGE_SIZE, PTE_P | PTE_U);
	w->guest.cs.segment[CPU_GS].base = SAMPLE_GS_BASE;
	w->guest.gmem.device = like_memory;
}

static void prepare(struct world *w, const struct sample *s)
{
	struct cpu_state *cs = &w->guest.cs;

	memcpy(cs->gpr, s->gpr, sizeof(cs->gpr));
	cs->rip = s->rip;
	cs->rflags = s->rflags;
	cs->segment[CPU_FS].base = s->fs_base;
	memcpy(guest_ram(&w->guest, CODE_GPA + (s->rip - SAMPLE_CODE)), s->bytes, s->length);
	w->guest.accesses = 0;
}

static enum insn_result run(struct world *w)
{
	enum insn_result r;
	struct trap trap;
	struct insn in;

	r = insn_fetch(&w->guest.gmem, &in, &trap);
	return r == INSN_DONE ? insn_execute_memory(&w->guest.gmem, &in, w->xmm, 1000, &trap) : r;
}

struct expected {
	struct {
		bool read;
		uint64_t addr;
		unsigned int size;
	} access[GUEST_LOG];
	unsigned int count;
};

/* One operand's way to the device: cut at the page border, and then into eights. */
static void expect(struct expected *e, bool read, uint64_t gva, unsigned int size)
{
	while (size) {
		uint64_t room = PAGE_SIZE - gva % PAGE_SIZE;
		unsigned int part = size < room ? size : (unsigned int)room;

		for (unsigned int done = 0; done < part; done += 8, e->count++) {
			e->access[e->count].read = read;
			e->access[e->count].addr = GUEST_DEVICE + (gva + done - SAMPLE_WINDOW);
			e->access[e->count].size = part - done < 8 ? part - done : 8;
		}
		gva += part;
		size -= part;
	}
}

static unsigned int string_size(const struct sample *s)
{
	unsigned int size = 4;

	if (s->form->fixed)
		return 1;
	for (unsigned int i = 0; i + 1 < s->length; i++) {
		if (s->bytes[i] == 0x66 && size == 4)
			size = 2;
		if ((s->bytes[i] & 0xf8) == 0x48)
			size = 8;
	}
	return size;
}

static uint64_t in_window(uint64_t base, uint64_t pointer, bool narrow)
{
	return base + (narrow ? pointer & 0xffffffff : pointer);
}

static void expect_string(const struct sample *s, struct expected *e)
{
	unsigned int size = string_size(s);
	uint64_t step = s->rflags & RFLAGS_DF ? -(uint64_t)size : size, base = 0, from, to;
	uint64_t count = s->form->prefix ? s->gpr[CPU_RCX] & 0xffff : 1;

	if (memchr(s->bytes, 0x65, s->length))
		base = SAMPLE_GS_BASE;
	if (memchr(s->bytes, 0x64, s->length))
		base = s->fs_base;
	from = in_window(base, s->gpr[CPU_RSI], sample_has_prefix(s, 0x67));
	to = in_window(0, s->gpr[CPU_RDI], sample_has_prefix(s, 0x67));
	for (uint64_t i = 0; i < count; i++, from += step, to += step) {
		if (s->form->kind != KIND_STOS)
			expect(e, true, from, size);
		if (s->form->kind != KIND_LODS)
			expect(e, false, to, size);
	}
}

/* What writes its memory operand without having read it. */
static bool only_stores(const struct sample_form *f)
{
	return f->kind == KIND_POP || (f->writes && (!strncmp(f->name, "mov", 3) || !strncmp(f->name, "set", 3)));
}

static void expect_stack(const struct sample *s, uint64_t rsp_after, struct expected *e)
{
	uint64_t before = s->gpr[CPU_RSP];

	if (s->form->kind == KIND_POP)
		expect(e, true, before, (unsigned int)(rsp_after - before));
	if (s->memory)
		expect(e, s->form->kind != KIND_POP, s->target, s->size);
	if (s->form->kind != KIND_POP)
		expect(e, false, rsp_after, (unsigned int)(before - rsp_after));
}

static void expect_sample(const struct sample *s, uint64_t rsp_after, struct expected *e)
{
	e->count = 0;
	switch (s->form->kind) {
	case KIND_STOS:
	case KIND_LODS:
	case KIND_MOVS:
		expect_string(s, e);
		return;
	case KIND_PUSH:
	case KIND_POP:
	case KIND_CALL:
	case KIND_CALL_RELATIVE:
		expect_stack(s, rsp_after, e);
		return;
	default:
		break;
	}
	if (!s->memory)
		return;
	if (!only_stores(s->form))
		expect(e, true, s->target, s->size);
	if (s->form->writes)
		expect(e, false, s->target, s->size);
}

static bool pops_rsp(const struct sample *s)
{
	return s->form->kind == KIND_POP && !s->memory;
}

static void check_accesses(const struct sample *s, const struct expected *e)
{
	const struct guest *g = &on_device.guest;
	bool same = g->accesses == e->count;

	for (unsigned int i = 0; same && i < e->count; i++)
		same = access_is_read(g->access[i].kind) == e->access[i].read && g->access[i].addr == e->access[i].addr &&
		       g->access[i].size == e->access[i].size;
	if (same)
		return;
	sample_print(s);
	for (unsigned int i = 0; i < g->accesses; i++)
		printf("  %s %#" PRIx64 " %u\n", access_is_read(g->access[i].kind) ? "read" : "write", g->access[i].addr,
		       g->access[i].size);
	fflush(stdout);
	ck_abort_msg("%s: %u accesses, expected %u", s->form->name, g->accesses, e->count);
}

static void check_same(const struct sample *s)
{
	const struct cpu_state *a = &on_ram.guest.cs, *b = &on_device.guest.cs;

	if (!memcmp(a->gpr, b->gpr, sizeof(a->gpr)) && a->rip == b->rip && a->rflags == b->rflags &&
	    !memcmp(on_ram.xmm, on_device.xmm, sizeof(on_ram.xmm)) &&
	    !memcmp(guest_ram(&on_ram.guest, RAM_GPA), device_bytes, WINDOW_BYTES))
		return;
	sample_print(s);
	ck_abort_msg("%s: not as on RAM", s->form->name);
}

static void check_sample(const struct sample *s)
{
	struct expected e;
	uint64_t rsp;

	prepare(&on_ram, s);
	prepare(&on_device, s);
	for (unsigned int i = 0; i < s->poke_size; i++)
		device_bytes[s->target - SAMPLE_WINDOW + i] = s->poke[i];
	memcpy(guest_ram(&on_ram.guest, RAM_GPA), device_bytes, WINDOW_BYTES);
	ck_assert_int_eq(run(&on_ram), INSN_DONE);
	ck_assert_int_eq(run(&on_device), INSN_DONE);
	check_same(s);
	ck_assert_uint_eq(on_ram.guest.accesses, 0);
	rsp = on_ram.guest.cs.gpr[CPU_RSP];
	/* POP RSP leaves another value there. */
	if (pops_rsp(s) && rsp - s->gpr[CPU_RSP] != 2)
		rsp = s->gpr[CPU_RSP] + (memchr(s->bytes, 0x66, s->length - 1) ? 2 : 8);
	expect_sample(s, rsp, &e);
	check_accesses(s, &e);
}

static void setup(void)
{
	create(&on_ram, RAM_GPA);
	create(&on_device, GUEST_DEVICE);
}

static void teardown(void)
{
	guest_destroy(&on_ram.guest);
	guest_destroy(&on_device.guest);
}

START_TEST(accesses_as_kvm_would_make_them)
{
	struct random r = random_start("accesses_as_kvm_would_make_them");
	struct sample s = {.fs_base = 0x1f00000ull};

	for (unsigned int i = 0; i < WINDOW_BYTES; i++)
		device_bytes[i] = (uint8_t)random_next(&r);
	for (size_t i = 0; i < sample_form_count; i++)
		for (unsigned int n = 0; n < SAMPLES; n++) {
			sample_make(&s, &sample_forms[i], RANGE_WINDOW, &r);
			check_sample(&s);
		}
}
END_TEST

/* The VM may end at any access: that is said, and nothing is touched after it. */
START_TEST(ends_when_the_vm_does)
{
	struct random r = random_start("ends_when_the_vm_does");
	struct sample s = {.fs_base = 0x1f00000ull};

	for (unsigned int n = 0; n < 8000; n++) {
		unsigned int all, end;

		sample_make(&s, &sample_forms[random_below(&r, sample_form_count)], RANGE_WINDOW, &r);
		on_device.guest.end_at = 0;
		prepare(&on_device, &s);
		memcpy(device_bytes + (s.poke_size ? s.target - SAMPLE_WINDOW : 0), s.poke, s.poke_size);
		ck_assert_int_eq(run(&on_device), INSN_DONE);
		all = on_device.guest.accesses;
		if (!all)
			continue;
		end = 1 + (unsigned int)random_below(&r, all);
		on_device.guest.end_at = end;
		prepare(&on_device, &s);
		memcpy(device_bytes + (s.poke_size ? s.target - SAMPLE_WINDOW : 0), s.poke, s.poke_size);
		ck_assert_int_eq(run(&on_device), INSN_ENDED);
		ck_assert_uint_eq(on_device.guest.accesses, end);
	}
}
END_TEST

/* One known instruction in full: lock xadd [rdi], rax across a page border of the device. */
START_TEST(a_known_read_modify_write)
{
	static const uint8_t code[] = {0xf0, 0x48, 0x0f, 0xc1, 0x07};
	struct guest *g = &on_device.guest;
	uint64_t old = 0x1122334455667788ull, sum = old + 0x1111111111111111ull, now;

	g->cs.rip = SAMPLE_CODE;
	memcpy(guest_ram(g, CODE_GPA), code, sizeof(code));
	g->cs.gpr[CPU_RDI] = SAMPLE_WINDOW + PAGE_SIZE - 3;
	g->cs.gpr[CPU_RAX] = 0x1111111111111111ull;
	memcpy(device_bytes + PAGE_SIZE - 3, &old, sizeof(old));
	ck_assert_int_eq(run(&on_device), INSN_DONE);
	memcpy(&now, device_bytes + PAGE_SIZE - 3, sizeof(now));
	ck_assert_uint_eq(now, sum);
	ck_assert_uint_eq(g->cs.gpr[CPU_RAX], old);
	ck_assert_uint_eq(g->accesses, 4);
	for (unsigned int i = 0; i < 4; i++) {
		ck_assert_int_eq(g->access[i].kind, i < 2 ? ACCESS_MMIO_READ : ACCESS_MMIO_WRITE);
		ck_assert_uint_eq(g->access[i].addr, GUEST_DEVICE + (i % 2 ? PAGE_SIZE : PAGE_SIZE - 3));
		ck_assert_uint_eq(g->access[i].size, i % 2 ? 5 : 3);
	}
	ck_assert_uint_eq(g->access[0].value, 0x667788);
	ck_assert_uint_eq(g->access[1].value, 0x1122334455);
	ck_assert_uint_eq(g->access[2].value, sum & 0xffffff);
	ck_assert_uint_eq(g->access[3].value, sum >> 24);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("shadow_insn_device");

	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, accesses_as_kvm_would_make_them);
	tcase_add_test(tcase, ends_when_the_vm_does);
	tcase_add_test(tcase, a_known_read_modify_write);
	return run_case("shadow_insn_device", tcase);
}
