#include "compare/floor.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include "vmm/kvm.h"
#include "vmm/log.h"
#include "vmm/probe.h"
#include "vmm/probe_guest.h"

#define BATCHES 5
#define EXITS 200u
#define STEPS 2000000u
#define CODE 0x1e000 /* behind that of the probes, in the same RAM */

/* Ring 0: in $0x42, %al; jmp to it. */
static const uint8_t code[] = {0xe4, 0x42, 0xeb, 0xfc};

static double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static double shorter(double a, double b)
{
	return a < b ? a : b;
}

static int next_exit(const struct probe *p)
{
	int r;

	while ((r = kvm_run(p->fd)) == -EINTR)
		;
	if (r == 0 && p->run->exit_reason != KVM_EXIT_IO)
		return log_bad(EIO, "floor: a bare guest that reads a port made KVM exit with reason %u", p->run->exit_reason);
	return r;
}

static int run_batch(const struct probe *p, double *us)
{
	double start = now_ns();

	for (unsigned int i = 0; i < EXITS; i++) {
		int r = next_exit(p);

		if (r < 0)
			return r;
	}
	*us = (now_ns() - start) / 1e3 / EXITS;
	return 0;
}

/* The first batch warms up, and does not count. */
static int run_batches(const struct probe *p, double *us)
{
	double mean;
	int r = run_batch(p, us);

	for (unsigned int i = 0; r == 0 && i < BATCHES; i++) {
		r = run_batch(p, &mean);
		*us = i ? shorter(*us, mean) : mean;
	}
	return r;
}

int floor_exit_us(const struct kvm *k, double *us)
{
	struct probe p;
	int r = probe_open(&p, k, k->supported);

	if (r < 0)
		return r;
	memcpy(p.ram + CODE, code, sizeof(code));
	r = probe_start(&p, probe_guest + (CODE - PROBE_CODE), NULL, 0);
	if (r == 0)
		r = run_batches(&p, us);
	probe_close(&p);
	return r;
}

static double steps_ns(void)
{
	double start = now_ns();
	uint64_t state = 1;

	for (unsigned int i = 0; i < STEPS; i++) {
		state = state * 6364136223846793005ull + 1442695040888963407ull;
		__asm__ volatile("" : "+r"(state));
	}
	return (now_ns() - start) / STEPS;
}

double floor_loop_ns(void)
{
	double best = steps_ns();

	for (unsigned int i = 0; i < BATCHES; i++)
		best = shorter(best, steps_ns());
	return best;
}
