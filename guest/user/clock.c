#include "guest/lib/parse.h"
#include "guest/user/programs.h"
#include "guest/user/user.h"

#define THREADS 3
#define PATIENCE 10 /* how many times as long a slow host may take until every thread has run */

struct clock {
	volatile uint64_t progress[THREADS];
	volatile bool stop;
};

struct spinner {
	struct clock *clock;
	int number;
};

static void spin(void *arg)
{
	const struct spinner *spinner = arg;

	while (!spinner->clock->stop)
		spinner->clock->progress[spinner->number]++;
}

static bool all_progressed(const struct clock *clock)
{
	for (int i = 0; i < THREADS; i++) {
		if (clock->progress[i] == 0)
			return false;
	}
	return true;
}

static void start_threads(struct clock *clock)
{
	struct spinner *spinners = allocate(sizeof(*spinners) * THREADS);

	for (int i = 0; i < THREADS; i++) {
		spinners[i] = (struct spinner){ clock, i };
		thread(spin, &spinners[i]);
	}
}

static bool parse_args(int argc, char **argv, uint64_t *ticks, uint64_t *hz)
{
	if (argc > 3 || (argc > 1 && !parse_number(argv[1], ticks)) || (argc > 2 && !parse_number(argv[2], hz)))
		return false;
	return *ticks > 0 && set_timer(*hz);
}

/* What went wrong, or NULL. */
static const char *verdict(const struct clock *clock, uint64_t ticks, uint64_t wanted, uint64_t ns, uint64_t hz)
{
	if (ticks < wanted)
		return "woken too early";
	if (!all_progressed(clock))
		return "a thread did not get on";
	if (ns < (ticks - 1) * 1000000000 / hz)
		return "the timer ticks faster than the clock says";
	return NULL;
}

/*
 * clock [TICKS [HZ]]: three threads that never give up the processor run while this one sleeps for TICKS timer
 * interrupts, of which there are HZ a second; only preemption lets all of them get on.
 */
int clock_main(int argc, char **argv)
{
	struct clock *clock = allocate(sizeof(*clock));
	uint64_t wanted = 20;
	uint64_t hz = 100;
	uint64_t ticks, ns;
	const char *wrong;
	int status;

	if (!parse_args(argc, argv, &wanted, &hz))
		usage("clock [TICKS [HZ]], TICKS at least 1, HZ 19 to 1000");
	start_threads(clock);
	/* In this order, and at the end in the other: a preemption between the two makes the time longer, never shorter. */
	ns = clock_ns();
	ticks = ticks_now();
	for (int i = 0; i < PATIENCE && (i == 0 || !all_progressed(clock)); i++)
		sleep_ticks(wanted);
	ticks = ticks_now() - ticks;
	ns = clock_ns() - ns;
	clock->stop = true;
	for (int i = 0; i < THREADS; i++)
		wait(&status);
	wrong = verdict(clock, ticks, wanted, ns, hz);
	if (wrong != NULL) {
		print("clock: %s\n", wrong);
		return 1;
	}
	print("clock: %lu ticks at %lu Hz, %d spinning threads all got on\n", wanted, hz, THREADS);
	return 0;
}
