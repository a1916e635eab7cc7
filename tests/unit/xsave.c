/*
 * The XSAVE area of a guest: what a processor says, in each of the ways in which it may, becomes the one spelling that every host takes.
 */
#include "vmm/xsave.h"

#include <check.h>
#include <string.h>

#include "tests/vm/suite.h"

static uint8_t area[XSAVE_SIZE];

/* By the manual's offsets. */
static void expect_bytes(unsigned int from, unsigned int to, uint8_t value)
{
	for (unsigned int i = from; i < to; i++)
		ck_assert_msg(area[i] == value, "byte %u is 0x%02x and not 0x%02x", i, area[i], value);
}

/* Components that the header says are as after a reset are so, whatever stands in the area. */
START_TEST(test_components)
{
	unsigned int header = (unsigned int)_i;

	memset(area, 0xa5, sizeof(area));
	area[512] = (uint8_t)(0xfc | header);
	xsave_unpack(area);
	if (header & 1) {
		expect_bytes(0, 24, 0xa5);
		expect_bytes(32, 160, 0xa5);
	} else {
		ck_assert_mem_eq(area, "\x7f\x03", 2);
		expect_bytes(2, 24, 0);
		expect_bytes(32, 160, 0);
	}
	expect_bytes(24, 32, 0xa5);
	expect_bytes(160, 416, header & 2 ? 0xa5 : 0);
	expect_bytes(416, 512, 0);
	expect_bytes(512, 513, 3);
	expect_bytes(513, 4096, 0);
}
END_TEST

/* As this processor does it. */
START_TEST(test_natively)
{
	_Alignas(16) static uint8_t real[512];
	static uint8_t again[XSAVE_SIZE];

	__asm__ volatile("fninit\n\tfld1\n\tfxsave %0\n\tfninit" : "=m"(real) : : "memory");
	memset(area, 0, sizeof(area));
	memcpy(area, real, sizeof(real));
	area[512] = 3;
	xsave_unpack(area);
	ck_assert_mem_eq(area, real, 416);
	memcpy(again, area, sizeof(area));
	xsave_unpack(again);
	ck_assert_mem_eq(again, area, sizeof(area));
	/* Empty registers, which it may say by leaving them out. */
	__asm__ volatile("fninit\n\tfxsave %0" : "=m"(real) : : "memory");
	area[512] = 2;
	xsave_unpack(area);
	ck_assert_mem_eq(area, real, 24);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("xsave");

	tcase_add_loop_test(tcase, test_components, 0, 4);
	tcase_add_test(tcase, test_natively);
	return run_case("xsave", tcase);
}
