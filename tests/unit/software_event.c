/*
 * What KVM may keep to itself, by the guest's code around RIP: all pairs of bytes before it and a byte after it, for every
 * vector KVM may tell; and by all that KVM says beside.
 */
#include "vmm/software_event.h"

#include <check.h>
#include <stdbool.h>
#include <stdlib.h>

#include "tests/vm/suite.h"
#include "vmm/cpu_state.h"
#include "vmm/mem.h"

#define RIP 0x1000ull

static struct mem ram;
static const struct cpu_state unpaged = { .cr0 = CR0_PE, .rip = RIP };

/* KVM refuses interrupts, and the guest's IF does not tell why. */
static const struct kvm_run masked = { .if_flag = 0, .ready_for_interrupt_injection = 0 };
static const struct kvm_run refused = { .if_flag = 1, .ready_for_interrupt_injection = 0 };
static const struct kvm_run ready = { .if_flag = 1, .ready_for_interrupt_injection = 1 };

static void put_code(uint8_t second, uint8_t last, uint8_t next)
{
	const uint8_t code[] = { second, last, next };

	ck_assert_int_eq(mem_write(&ram, RIP - 2, code, sizeof(code)), 0);
}

static unsigned int length_oracle(uint8_t second, uint8_t last, uint8_t told)
{
	if (told == 3 && second == 0xcd && last == 3)
		return 2;
	if (told == 4 && second == 0xcd && last == 4)
		return 2;
	return told == 3 && last == 0xcc ? 1 : 0;
}

static void check(uint8_t second, uint8_t last, uint8_t next, uint8_t told)
{
	const struct kvm_vcpu_events events = { .exception.nr = told };
	unsigned int length = length_oracle(second, last, told);
	enum software_event else_is = next == 0xcc || next == 0xcd ? SOFTWARE_EVENT_NEXT : SOFTWARE_EVENT_NONE;
	enum software_event unsure = length && else_is == SOFTWARE_EVENT_NONE ? SOFTWARE_EVENT_MAYBE : else_is;

	put_code(second, last, next);
	if (software_event_length(&ram, &unpaged, told) != length ||
	    software_event_at(&ram, &unpaged, &events, &ready) != else_is ||
	    software_event_at(&ram, &unpaged, &events, &masked) != unsure ||
	    software_event_at(&ram, &unpaged, &events, &refused) != (length ? SOFTWARE_EVENT_QUEUED : else_is))
		ck_abort_msg("%02x %02x | %02x, told %u", second, last, next, told);
}

START_TEST(all_code)
{
	static const uint8_t told[] = { 0, 1, 3, 4, 14 }, next[] = { 0x90, 0xcc, 0xcd, 0x04 };

	for (unsigned int pair = 0; pair < 65536; pair++)
		for (unsigned int t = 0; t < sizeof(told); t++)
			for (unsigned int n = 0; n < sizeof(next); n++)
				check((uint8_t)(pair >> 8), (uint8_t)pair, next[n], told[t]);
}
END_TEST

/* Whatever KVM does tell of may be why it refuses. */
START_TEST(told_why)
{
	for (unsigned int i = 0; i < 32; i++) {
		const struct kvm_vcpu_events events = {
			.exception = { .nr = 4, .injected = i & 1, .pending = i >> 1 & 1 },
			.interrupt = { .injected = i >> 2 & 1, .shadow = i >> 3 & 1 }, .nmi.injected = i >> 4 & 1,
		};

		put_code(0xcd, 4, 0x90);
		ck_assert_int_eq(software_event_at(&ram, &unpaged, &events, &refused),
				 i ? SOFTWARE_EVENT_MAYBE : SOFTWARE_EVENT_QUEUED);
	}
}
END_TEST

START_TEST(no_code)
{
	const struct kvm_vcpu_events events = { .exception.nr = 4 };
	struct cpu_state nowhere = unpaged;

	nowhere.rip = 1ull << 40;
	ck_assert_int_eq(software_event_at(&ram, &nowhere, &events, &refused), SOFTWARE_EVENT_NONE);
	ck_assert_uint_eq(software_event_length(&ram, &nowhere, 4), 0);
	nowhere.rip = 0;
	ck_assert_int_eq(software_event_at(&ram, &nowhere, &events, &refused), SOFTWARE_EVENT_NONE);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("software_event");
	int status;

	if (mem_create(&ram, MEM_MIN_BYTES, MEM_HUGE_NEVER) < 0)
		return EXIT_FAILURE;
	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, all_code);
	tcase_add_test(tcase, told_why);
	tcase_add_test(tcase, no_code);
	status = run_case("software_event", tcase);
	mem_destroy(&ram);
	return status;
}
