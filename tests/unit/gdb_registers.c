/*
 * The registers as gdb is shown them. What the x87 tags mean is asked of this machine's FPU; names and order are those of gdb's own
 * description (gdb manual, "i386 Features"; features/i386/64bit-core.xml of its source).
 */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "replay/gdb_description.h"
#include "replay/gdb_registers.h"
#include "tests/unit/expect.h"
#include "tests/unit/random.h"
#include "tests/vm/suite.h"

static struct cpu_state cs;

static unsigned int number_of(const char *name)
{
	for (unsigned int i = 0; i < gdb_register_count; i++) {
		if (!strcmp(gdb_registers[i].name, name))
			return i;
	}
	ck_abort_msg("no register %s", name);
}

static uint64_t get(const char *name)
{
	uint8_t value[GDB_REGISTER_BYTES_MAX];
	uint64_t n;

	gdb_register_get(&cs, number_of(name), value);
	memcpy(&n, value, sizeof(n));
	return n;
}

static int set(const char *name, uint64_t n)
{
	uint8_t value[GDB_REGISTER_BYTES_MAX] = {0};

	memcpy(value, &n, sizeof(n));
	return gdb_register_set(&cs, number_of(name), value);
}

static void make_64_bit(void)
{
	memset(&cs, 0, sizeof(cs));
	cs.efer = EFER_LMA | EFER_LME;
	cs.segment[CPU_CS].attributes = 0xa9b;
}

START_TEST(test_order)
{
	static const char names[] =
		"rax rbx rcx rdx rsi rdi rbp rsp r8 r9 r10 r11 r12 r13 r14 r15 rip eflags cs ss ds es fs gs st0 st1 st2 st3 st4 st5 st6 st7 "
		"fctrl fstat ftag fiseg fioff foseg fooff fop xmm0 xmm1 xmm2 xmm3 xmm4 xmm5 xmm6 xmm7 xmm8 xmm9 xmm10 xmm11 xmm12 xmm13 xmm14 "
		"xmm15 mxcsr fs_base gs_base cr0 cr2 cr3 cr4 cr8 efer k_gs_base gdt_base idt_base tr_base";
	const char *at = names;

	for (unsigned int i = 0; i < gdb_register_count; i++) {
		size_t size = strcspn(at, " ");

		ck_assert_msg(strlen(gdb_registers[i].name) == size && !memcmp(at, gdb_registers[i].name, size), "%s is not %.*s",
			      gdb_registers[i].name, (int)size, at);
		at += size + (at[size] == ' ');
	}
	ck_assert_str_eq(at, "");
}
END_TEST

/* Each register of the table is there once, in order, as wide as the bytes that are sent for it. */
START_TEST(test_description)
{
	size_t size;
	char *text = gdb_description(&size), *at = text, name[20];
	uint8_t value[GDB_REGISTER_BYTES_MAX];
	unsigned int bits, n, count = 0;

	ck_assert_ptr_nonnull(text);
	ck_assert_uint_eq(strlen(text), size);
	for (; (at = strstr(at, "<reg ")); at++, count++) {
		ck_assert_int_eq(sscanf(at, "<reg name=\"%19[a-z0-9_]\" bitsize=\"%u\" type=\"%*[^\"]\" regnum=\"%u\"", name, &bits, &n), 3);
		ck_assert_uint_eq(n, count);
		ck_assert_str_eq(name, gdb_registers[n].name);
		ck_assert_uint_eq(bits, 8 * gdb_register_get(&cs, n, value));
	}
	ck_assert_uint_eq(count, gdb_register_count);
	ck_assert_ptr_nonnull(strstr(text, "<architecture>i386:x86-64</architecture>"));
	ck_assert_str_eq(text + size - 19, "</feature></target>");
	free(text);
}
END_TEST

/* Anything that is there can be written back, and changes nothing. */
START_TEST(test_own_values)
{
	struct random r = random_start("gdb_registers");
	static struct cpu_state before;

	for (unsigned int n = 0; n < 2000; n++) {
		for (size_t i = 0; i < sizeof(cs); i++)
			((uint8_t *)&cs)[i] = (uint8_t)random_next(&r);
		memcpy(&before, &cs, sizeof(cs));
		for (unsigned int i = 0; i < gdb_register_count; i++) {
			uint8_t value[GDB_REGISTER_BYTES_MAX];

			gdb_register_get(&cs, i, value);
			expect_eq(gdb_register_set(&cs, i, value), 0);
		}
		expect(!memcmp(&before, &cs, sizeof(cs)));
	}
}
END_TEST

/* What is written is read again; and a write of one register changes no other. */
START_TEST(test_writes)
{
	struct random r = random_start("gdb_registers");

	for (unsigned int n = 0; n < 20000; n++) {
		unsigned int which = (unsigned int)random_below(&r, gdb_register_count);
		uint8_t all[128][GDB_REGISTER_BYTES_MAX], value[GDB_REGISTER_BYTES_MAX] = {0};
		int err;

		make_64_bit();
		cs.xsave[512] = 3;
		memcpy(cs.xsave + 28, "\xff\xff", 2);
		for (unsigned int i = 0; i < gdb_register_count; i++)
			gdb_register_get(&cs, i, all[i]);
		/* Small numbers are right for all. */
		value[0] = (uint8_t)random_below(&r, 128);
		err = gdb_register_set(&cs, which, value);
		expect_eq(err, gdb_registers[which].rule == GDB_REGISTER_FIXED && memcmp(value, all[which], 16) ? -EPERM : 0);
		if (err == 0 && gdb_registers[which].rule == GDB_REGISTER_PLAIN)
			memcpy(all[which], value, sizeof(value));
		for (unsigned int i = 0; i < gdb_register_count; i++) {
			/* Tags follow the stack's top and what the registers hold. */
			if (i == number_of("ftag") || (i == which && gdb_registers[i].rule != GDB_REGISTER_PLAIN))
				continue;
			gdb_register_get(&cs, i, value);
			expect_msg(!memcmp(value, all[i], 16), "%s changed with %s", gdb_registers[i].name, gdb_registers[which].name);
		}
	}
}
END_TEST

START_TEST(test_rules)
{
	make_64_bit();
	cs.rflags = 0x20002;
	ck_assert_int_eq(set("eflags", 0xffffffff), 0);
	ck_assert_uint_eq(cs.rflags, 0x277fd7);
	ck_assert_int_eq(set("eflags", 0), 0);
	ck_assert_uint_eq(cs.rflags, 0x20002);
	ck_assert_int_eq(set("rip", 0x800000000000), -EINVAL);
	ck_assert_int_eq(set("rip", 0x7fffffffffff), 0);
	ck_assert_int_eq(set("rip", 0xffff800000000000), 0);
	ck_assert_int_eq(set("rip", 0xffff700000000000), -EINVAL);
	ck_assert_uint_eq(cs.rip, 0xffff800000000000);
	ck_assert_int_eq(set("fs_base", 0x1234000000000000), -EINVAL);
	ck_assert_int_eq(set("fs_base", 0x1234), 0);
	ck_assert_uint_eq(cs.segment[CPU_FS].base, 0x1234);
	ck_assert_int_eq(set("mxcsr", 0x10000), -EINVAL);
	ck_assert_int_eq(set("mxcsr", 0x40), -EINVAL);
	ck_assert_int_eq(set("mxcsr", 0x1f80), 0);
	memcpy(cs.xsave + 28, "\xff\xff\0", 4);
	ck_assert_int_eq(set("mxcsr", 0x40), 0);
	ck_assert_int_eq(set("cs", 8), -EPERM);
	ck_assert_int_eq(set("cr0", 1), -EPERM);
	ck_assert_int_eq(set("fop", 0xffff), 0);
	ck_assert_uint_eq(get("fop"), 0x7ff);
}
END_TEST

/* A guest outside of 64-bit code sees half of these, and the other half stays. */
START_TEST(test_32_bit)
{
	for (unsigned int compatible = 0; compatible < 2; compatible++) {
		make_64_bit();
		if (compatible)
			cs.segment[CPU_CS].attributes = 0xc9b;
		else
			cs.efer = 0;
		cs.gpr[CPU_RBX] = 0x1122334455667788;
		cs.gpr[CPU_R9] = 0x1122334455667788;
		cs.rip = 0x100001000;
		ck_assert_uint_eq(get("rbx"), 0x55667788);
		ck_assert_uint_eq(get("r9"), 0x1122334455667788);
		ck_assert_uint_eq(get("rip"), 0x1000);
		ck_assert_int_eq(set("rbx", 0xffffffff99999999), 0);
		ck_assert_uint_eq(cs.gpr[CPU_RBX], 0x1122334499999999);
		ck_assert_int_eq(set("rip", 0xc0000000), 0);
		ck_assert_uint_eq(cs.rip, 0x1c0000000);
	}
}
END_TEST

/* Has this machine's FPU do it, and say it in both of its forms. Returns the tag word. */
static uint16_t load_natively(struct random *r, uint8_t area[512])
{
	uint8_t values[8][10], environment[28];
	uint64_t count = random_below(r, 9), skipped = random_below(r, 8);
	uint16_t tags;

	for (unsigned int i = 0; i < 8; i++) {
		uint64_t significand = random_below(r, 2) ? random_next(r) : random_below(r, 2) << 63;
		uint16_t exponent = random_below(r, 2) ? (uint16_t)random_next(r) : (uint16_t)(random_below(r, 2) * 0x7fff);

		memcpy(values[i], &significand, 8);
		memcpy(values[i] + 8, &exponent, 2);
	}
	__asm__ volatile("fninit" ::: "memory");
	for (uint64_t i = 0; i < skipped; i++)
		__asm__ volatile("fdecstp");
	for (uint64_t i = 0; i < count; i++)
		__asm__ volatile("fldt %0" : : "m"(values[i]));
	__asm__ volatile("fxsave64 %0" : "=m"(*(uint8_t(*)[512])area));
	__asm__ volatile("fnstenv %0\n\tfninit" : "=m"(environment));
	memcpy(&tags, environment + 8, sizeof(tags));
	return tags;
}

START_TEST(test_tags)
{
	struct random r = random_start("gdb_registers");
	_Alignas(16) static uint8_t area[512];

	for (unsigned int n = 0; n < 10000; n++) {
		uint16_t tags = load_natively(&r, area), other = (uint16_t)random_next(&r);
		uint8_t wanted = 0;

		memset(&cs, 0, sizeof(cs));
		memcpy(cs.xsave, area, sizeof(area));
		cs.xsave[512] = 3;
		expect_eq(get("ftag"), tags);
		expect_eq(get("fstat"), area[2] | area[3] << 8);
		expect_eq(set("ftag", other), 0);
		for (unsigned int i = 0; i < 8; i++)
			wanted = (uint8_t)(wanted | ((other >> 2 * i & 3) == 3 ? 0 : 1u << i));
		if (other != tags)
			expect_eq(cs.xsave[4], wanted);
	}
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {test_order, test_description, test_own_values, test_writes, test_rules, test_32_bit, test_tags};

	return RUN_TESTS("gdb-registers", tests);
}
