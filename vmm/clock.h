/*
 * The virtual clock: the only source of time for every device of a VM, in ns since the guest was started. It follows the
 * host's monotonic clock, stands still while the VM is paused, and goes on from the saved value after a restore.
 *
 * A clock that is held does not follow: it moves by steps, which somebody writes down or has read (replay/). How far the host's
 * time has got ahead of it can be asked.
 *
 * Timers: a device asks to be called once when the clock has reached a time. Timers belong to the vCPU's thread, which
 * calls clock_run() between guest runs and wakes up for clock_next().
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct state;

#define CLOCK_NS_PER_S 1000000000ull
#define CLOCK_NEVER UINT64_MAX
#define CLOCK_MAX_NS (UINT64_MAX / 4) /* times above are refused on load, so devices may add periods without care */
#define CLOCK_MAX_TIMERS 8

struct clock_timer {
	uint64_t at; /* ns of the virtual clock, CLOCK_NEVER = not armed */
	void (*fire)(void *owner, uint64_t now);
	void *owner;
};

struct clock {
	uint64_t base_ns;	 /* clock value when it was last started or stopped */
	uint64_t host_ns;	 /* host time of that start */
	uint64_t wall_base_ns;	 /* wall-clock time (UTC, since 1970) of clock value 0 */
	bool running;
	bool held;
	uint64_t behind_ns; /* held and stopped: how much it was behind then */
	uint64_t (*host)(void *); /* host's monotonic time in ns; tests put their own */
	void *host_arg;
	struct clock_timer *timers[CLOCK_MAX_TIMERS];
	unsigned int timer_count;
	uint64_t next; /* earliest armed time: cached, CLOCK_NEVER = none */
};

/* A stopped clock at 0. host == NULL means CLOCK_MONOTONIC. wall_ns: what the RTC shows at clock value 0. */
void clock_init(struct clock *c, uint64_t (*host)(void *), void *host_arg, uint64_t wall_ns);

/* Starts or stops the flow of time; doing so twice changes nothing. */
void clock_start(struct clock *c);
void clock_stop(struct clock *c);

/* From now on it moves by steps alone; or it follows the host again, and catches up with it. */
void clock_hold(struct clock *c);
void clock_release(struct clock *c);

/* Held: ns that it would be ahead by now if it had followed. */
uint64_t clock_behind(const struct clock *c);

/* Held: moves it on; while it is running, not ahead of the host's time. Timers that become due fire at the next clock_run(). */
void clock_step(struct clock *c, uint64_t ns);

/* Now, in ns. Never goes back. */
uint64_t clock_now(const struct clock *c);

/* Wall-clock time of now, in ns since 1970 UTC. */
uint64_t clock_wall(const struct clock *c);

/* How many periods of a signal of `hz` are over after `ns`: exact, so a device that counts them does not drift. */
static inline uint64_t clock_ticks(uint64_t ns, uint64_t hz)
{
	return (uint64_t)((unsigned __int128)ns * hz / CLOCK_NS_PER_S);
}

/* The first ns at which clock_ticks() gives `ticks`; CLOCK_NEVER if that is too far away. */
static inline uint64_t clock_tick_ns(uint64_t ticks, uint64_t hz)
{
	unsigned __int128 ns = ((unsigned __int128)ticks * CLOCK_NS_PER_S + hz - 1) / hz;

	return ns < CLOCK_NEVER ? (uint64_t)ns : CLOCK_NEVER;
}

/* Adds a timer, not armed; it must outlive the clock. */
void clock_timer_add(struct clock *c, struct clock_timer *t, void (*fire)(void *, uint64_t), void *owner);

/* Arms t for time `at` (in the past: fires at the next clock_run()), or disarms it with CLOCK_NEVER. */
void clock_timer_set(struct clock *c, struct clock_timer *t, uint64_t at);

/* Earliest armed time, or CLOCK_NEVER. */
uint64_t clock_next(const struct clock *c);

/* Ns of the host's time until then, if the clock is running: 0 = it is due, CLOCK_NEVER = no timer is armed. */
uint64_t clock_wait(const struct clock *c);

/*
 * Fires every timer that is due, in order of time; a timer is disarmed before it fires and may arm itself again. Stops
 * after a bounded number of firings, so a guest that programs absurd rates cannot hold the thread.
 */
void clock_run(struct clock *c);

/*
 * Time and wall base; timers are saved by their owners, so the clock is loaded before them. Loading leaves the clock
 * stopped.
 */
void clock_visit(struct clock *c, struct state *s);
