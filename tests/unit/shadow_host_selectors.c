/*
 * Which guests have segments where the host has its own: every type, privilege and presence of a descriptor at every place of
 * a GDT, for every limit that cuts one off.
 */
#include "shadow/host_selectors.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/shadow_guest.h"
#include "tests/vm/suite.h"

#define GDT 0x5000ull
#define GDT_GVA 0x400000ull

static struct guest g;

static void put(unsigned int offset, uint64_t raw)
{
	memset(guest_ram(&g, GDT), 0, PAGE_SIZE);
	memcpy(guest_ram(&g, GDT + offset), &raw, sizeof(raw));
}

/* access: type, S, DPL, P, as in byte 5 of a descriptor; flags: AVL, L, D, G, as in the upper half of byte 6. */
static unsigned int oracle(unsigned int offset, unsigned int access, unsigned int flags)
{
	unsigned int dpl = access >> 5 & 3;
	bool segment = (access & 0x90) == 0x90, code = access & 8, conforming = code && (access & 4);

	if (!segment || (offset != 0x28 && offset != 0x30 && offset != 0x78))
		return 0;
	if (code && (offset != 0x30 || (dpl != 3 && !conforming)))
		return 0;
	return code && (flags & 6) == 6 ? 0 : offset | dpl;
}

START_TEST(all_descriptors)
{
	for (unsigned int offset = 0; offset <= 0xf8; offset += 8)
		for (unsigned int bits = 0; bits < 256 * 16; bits++) {
			unsigned int access = bits % 256, flags = bits / 256;

			put(offset, 0x000f00000000ffff | (uint64_t)access << 40 | (uint64_t)flags << 52);
			ck_assert_msg(host_selectors_clash(&g.ram, &g.cs) == oracle(offset, access, flags),
				      "0x%x, access 0x%x, flags 0x%x", offset, access, flags);
		}
}
END_TEST

START_TEST(limits)
{
	put(0x30, 0x00affb000000ffff);
	for (uint16_t limit = 0; limit < 0x100; limit++) {
		g.cs.gdt.limit = limit;
		ck_assert_uint_eq(host_selectors_clash(&g.ram, &g.cs), limit >= 0x37 ? 0x33 : 0);
	}
}
END_TEST

/* Tables nobody can read have nothing in them, and looking leaves no trace in the guest's tables. */
START_TEST(odd_tables)
{
	static const uint64_t bases[] = {0, GDT_GVA + PAGE_SIZE, GDT_GVA + PAGE_SIZE - 0x33, ~0ull, ~0ull - 0x2f, 1ull << 47};

	put(0x30, 0x00affb000000ffff);
	ck_assert_uint_eq(host_selectors_clash(&g.ram, &g.cs), 0x33);
	ck_assert(!(*guest_entry(&g, GDT_GVA, 1) & (PTE_A | PTE_D)));
	for (unsigned int i = 0; i < sizeof(bases) / sizeof(*bases); i++) {
		g.cs.gdt.base = bases[i];
		ck_assert_uint_eq(host_selectors_clash(&g.ram, &g.cs), 0);
	}
}
END_TEST

static void setup(void)
{
	guest_create(&g);
	guest_set_cpl(&g, 0);
	guest_map(&g, GDT_GVA, GDT, PTE_P);
	guest_forget(&g);
	g.cs.gdt = (struct cpu_table){.base = GDT_GVA, .limit = 0xff};
}

static void teardown(void)
{
	guest_destroy(&g);
}

int main(void)
{
	TCase *tcase = tcase_create("shadow_host_selectors");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, all_descriptors);
	tcase_add_test(tcase, limits);
	tcase_add_test(tcase, odd_tables);
	return run_case("shadow_host_selectors", tcase);
}
