/*
 * A clock around KVM_RUN. Linked into a copy of a monitor with --wrap=ioctl, it stores how long the
 * monitor stayed in user space between one return of KVM_RUN and the next call of it, and writes
 * that to the file $BENCH_TIMES at the end.
 *
 * Why not getrusage(): kernels that account by ticks (CONFIG_TICK_CPU_ACCOUNTING, usual) charge a
 * whole tick of 1 to 4 ms to whichever side it finds, and a port exit spends a twentieth of its
 * time in user space. Why not a profiler: neither host has a performance counter. What the clock
 * itself costs is measured here and taken off.
 *
 * ioctl() has no argument in which state could travel, so this file keeps its own, unlike
 * the rest of the project; one vCPU only.
 */
#include <linux/kvm.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define MAX_SAMPLES (1u << 18)

int __real_ioctl(int fd, unsigned long request, void *arg);
int __wrap_ioctl(int fd, unsigned long request, ...);

static struct {
	uint64_t returned;
	uint32_t count, ns[MAX_SAMPLES];
} times;

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

int __wrap_ioctl(int fd, unsigned long request, ...)
{
	uint64_t called = request == KVM_RUN ? now() : 0;
	va_list args;
	void *arg;
	int r;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	if (called && times.returned && times.count < MAX_SAMPLES)
		times.ns[times.count++] = (uint32_t)(called - times.returned);
	r = __real_ioctl(fd, request, arg);
	if (called)
		times.returned = now();
	return r;
}

/* A pair of looks at the clock with nothing between them, the shortest of many. */
static uint32_t cost_of_clock(void)
{
	uint64_t best = UINT32_MAX;

	for (unsigned int i = 0; i < 1000; i++) {
		uint64_t start = now(), d = now() - start;

		best = d < best ? d : best;
	}
	return (uint32_t)best;
}

static __attribute__((destructor)) void write_times(void)
{
	const char *path = getenv("BENCH_TIMES");
	FILE *f = path ? fopen(path, "we") : NULL;
	uint32_t cost = cost_of_clock();

	if (!f)
		return;
	fwrite(&cost, sizeof(cost), 1, f);
	fwrite(times.ns, sizeof(*times.ns), times.count, f);
	fclose(f);
}
