#include "tests/bench/bare_event.h"

#include <err.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "vmm/kvm.h"
#include "vmm/probe.h"
#include "vmm/probe_guest.h"

#define OF 4
#define GP 13
#define PF 14
#define WARM_UP 20
#define EVENTS 200
#define REFILLS 56
#define REFILL_FIRST 0x20000ull /* above the guest's RAM, which is mapped one to one */
#define REFILL_STEP 0x8000ull   /* KVM fills up to 8 neighbours along with a page */
#define NOWHERE 0x20000 /* not mapped for a page fault */
#define CODE 0x1e000 /* of ring 3 */
#define PTE 0x67ull		/* present, writable, user, accessed, dirty */

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/*
 * The stub of the probes enters ring 3 anew; these go back to where the event came from. One with an error code finds RSP
 * below its frame.
 */
static void write_stub(struct probe *p, uint8_t vector)
{
	const uint8_t out[] = {0xe6, vector}; /* out %al, $vector */
	const uint8_t skip[] = {0x48, 0x83, 0xc4, 0x08}; /* add $8, %rsp */
	const uint8_t iretq[] = {0x48, 0xcf};
	uint8_t *stub = p->ram + PROBE_CODE + vector * PROBE_STUB_SIZE;

	memcpy(stub, out, sizeof(out));
	stub += sizeof(out);
	if (vector != OF) {
		memcpy(stub, skip, sizeof(skip));
		stub += sizeof(skip);
	}
	memcpy(stub, iretq, sizeof(iretq));
}

/* A guest that goes to ring 3 and executes `code`. */
static void open_probe(struct probe *p, const struct kvm *k, uint8_t vector, const uint8_t *code, size_t size)
{
	if (probe_open(p, k, k->supported) < 0)
		exit(1);
	write_stub(p, vector);
	memcpy(p->ram + CODE, code, size);
	if (probe_start(p, probe_enter, probe_guest + (CODE - PROBE_CODE), 0) < 0)
		exit(1);
}

static void next_event(struct probe *p, uint8_t vector)
{
	struct probe_result result;

	if (probe_run(p, &result) < 0 || result.stop != PROBE_EVENT || result.vector != vector)
		errx(1, "a bare guest did not come to its event");
}

static const struct {
	uint8_t vector, code[8], size;
} events[BARE_EVENTS] = {
	[BARE_FAULT] = {PF, {0x8b, 0x04, 0x25, 0x00, 0x00, 0x02, 0x00}, 7}, /* mov NOWHERE, %eax */
	[BARE_PROTECTION] = {GP, {0xf4}, 1},				     /* hlt */
	[BARE_INT] = {OF, {0xcd, OF, 0xeb, 0xfc}, 4},			     /* int $4, over and over */
};

double bare_event_us(const struct kvm *k, enum bare_event event)
{
	uint8_t vector = events[event].vector;
	struct probe p;
	double start;

	open_probe(&p, k, vector, events[event].code, events[event].size);
	memset(p.ram + PROBE_PT + NOWHERE / 4096 * 8, 0, 8);
	for (unsigned int i = 0; i < WARM_UP; i++)
		next_event(&p, vector);
	start = now_us();
	for (unsigned int i = 0; i < EVENTS; i++)
		next_event(&p, vector);
	start = now_us() - start;
	probe_close(&p);
	return start / EVENTS;
}

/* Ring 3: an event, then the pages are touched one by one, over and over. */
static const uint8_t refill_code[] = {
	0xcd, OF,				/* int $4 */
	0xbf, 0x00, 0x00, 0x02, 0x00,		/* mov $REFILL_FIRST, %edi */
	0xb9, REFILLS, 0x00, 0x00, 0x00,	/* mov $REFILLS, %ecx */
	0x8b, 0x07,				/* mov (%rdi), %eax */
	0x48, 0x81, 0xc7, 0x00, 0x80, 0x00, 0x00, /* add $REFILL_STEP, %rdi */
	0xff, 0xc9,				/* dec %ecx */
	0x75, 0xf3,				/* jnz, to the touch */
	0xeb, 0xe5,				/* jmp, to the event */
};

static void map_refills(struct probe *p)
{
	uint64_t pte = PROBE_FRAME_A | PTE;

	for (uint64_t i = 0; i < REFILLS; i++)
		memcpy(p->ram + PROBE_PT + (REFILL_FIRST + i * REFILL_STEP) / 4096 * 8, &pte, sizeof(pte));
}

static double pass_us(struct probe *p)
{
	double start = now_us();

	next_event(p, OF);
	return now_us() - start;
}

double bare_refill_us(const struct kvm *k)
{
	struct probe p;
	double first, later;

	open_probe(&p, k, OF, refill_code, sizeof(refill_code));
	map_refills(&p);
	next_event(&p, OF);
	first = pass_us(&p);
	later = pass_us(&p);
	probe_close(&p);
	return (first - later) / REFILLS;
}
