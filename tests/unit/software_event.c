/*
 * What KVM may keep to itself, by the guest's code around RIP: all pairs of bytes before it and a byte after it, for every
 * vector KVM may tell.
 */
#include "vmm/software_event.h"

#include <check.h>
#include <stdlib.h>

#include "vmm/cpu_state.h"
#include "vmm/mem.h"

#define RIP 0x1000ull

static struct mem ram;
static const struct cpu_state unpaged = { .cr0 = CR0_PE, .rip = RIP };

static enum software_event at(uint8_t second, uint8_t last, uint8_t next, uint8_t told)
{
	const uint8_t code[] = { second, last, next };
	const struct kvm_vcpu_events events = { .exception.nr = told };

	ck_assert_int_eq(mem_write(&ram, RIP - 2, code, sizeof(code)), 0);
	return software_event_at(&ram, &unpaged, &events);
}

static enum software_event oracle(uint8_t second, uint8_t last, uint8_t next, uint8_t told)
{
	if (next == 0xcc || next == 0xcd)
		return SOFTWARE_EVENT_NEXT;
	if (told == 3 && last == 0xcc)
		return SOFTWARE_EVENT_BEHIND;
	if ((told == 3 || told == 4) && second == 0xcd && last == told)
		return SOFTWARE_EVENT_BEHIND;
	return SOFTWARE_EVENT_NONE;
}

START_TEST(all_code)
{
	static const uint8_t told[] = { 0, 1, 3, 4, 14 }, next[] = { 0x90, 0xcc, 0xcd, 0x04 };

	for (unsigned int pair = 0; pair < 65536; pair++)
		for (unsigned int t = 0; t < sizeof(told); t++)
			for (unsigned int n = 0; n < sizeof(next); n++) {
				uint8_t second = (uint8_t)(pair >> 8), last = (uint8_t)pair;

				if (at(second, last, next[n], told[t]) != oracle(second, last, next[n], told[t]))
					ck_abort_msg("%02x %02x | %02x, told %u", second, last, next[n], told[t]);
			}
}
END_TEST

START_TEST(no_code)
{
	const struct kvm_vcpu_events events = { .exception.nr = 4 };
	struct cpu_state nowhere = unpaged;

	nowhere.rip = 1ull << 40;
	ck_assert_int_eq(software_event_at(&ram, &nowhere, &events), SOFTWARE_EVENT_NONE);
	nowhere.rip = 0;
	ck_assert_int_eq(software_event_at(&ram, &nowhere, &events), SOFTWARE_EVENT_NONE);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("software_event");
	TCase *tc = tcase_create("software_event");
	SRunner *sr;
	int failed;

	if (mem_create(&ram, MEM_MIN_BYTES, MEM_HUGE_NEVER) < 0)
		return EXIT_FAILURE;
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, all_code);
	tcase_add_test(tc, no_code);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	mem_destroy(&ram);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
