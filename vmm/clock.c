#include "vmm/clock.h"

#include <string.h>
#include <time.h>

#include "vmm/ensure.h"
#include "vmm/state.h"

/* Enough for every timer to fire a few times; a timer that is due again at once must not keep clock_run() here. */
#define MAX_FIRINGS (4 * CLOCK_MAX_TIMERS)

static uint64_t host_monotonic(void *arg)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * CLOCK_NS_PER_S + (uint64_t)t.tv_nsec;
}

void clock_init(struct clock *c, uint64_t (*host)(void *), void *host_arg, uint64_t wall_ns)
{
	memset(c, 0, sizeof(*c));
	c->wall_base_ns = wall_ns;
	c->host = host ? host : host_monotonic;
	c->host_arg = host_arg;
	c->next = CLOCK_NEVER;
}

void clock_start(struct clock *c)
{
	if (c->running)
		return;
	c->host_ns = c->host(c->host_arg) - c->behind_ns;
	c->behind_ns = 0;
	c->running = true;
}

void clock_stop(struct clock *c)
{
	c->behind_ns = c->held ? clock_behind(c) : 0;
	c->base_ns = clock_now(c);
	c->running = false;
}

/* Since the clock had its base; what a held one was behind when it was stopped. */
static uint64_t passed(const struct clock *c)
{
	return c->running ? c->host(c->host_arg) - c->host_ns : c->behind_ns;
}

void clock_hold(struct clock *c)
{
	uint64_t now = clock_now(c);

	c->host_ns += now - c->base_ns;
	c->base_ns = now;
	c->held = true;
}

void clock_release(struct clock *c)
{
	c->base_ns += c->behind_ns;
	c->behind_ns = 0;
	c->held = false;
}

uint64_t clock_behind(const struct clock *c)
{
	return passed(c);
}

void clock_step(struct clock *c, uint64_t ns)
{
	c->base_ns += ns;
	if (c->running)
		c->host_ns += ns;
	else
		c->behind_ns -= ns < c->behind_ns ? ns : c->behind_ns;
}

uint64_t clock_now(const struct clock *c)
{
	return c->held ? c->base_ns : c->base_ns + passed(c);
}

uint64_t clock_wall(const struct clock *c)
{
	return c->wall_base_ns + clock_now(c);
}

void clock_timer_add(struct clock *c, struct clock_timer *t, void (*fire)(void *, uint64_t), void *owner)
{
	ensure(c->timer_count < CLOCK_MAX_TIMERS);
	*t = (struct clock_timer){ .at = CLOCK_NEVER, .fire = fire, .owner = owner };
	c->timers[c->timer_count++] = t;
}

static struct clock_timer *earliest(const struct clock *c)
{
	struct clock_timer *first = NULL;

	for (unsigned int i = 0; i < c->timer_count; i++) {
		if (c->timers[i]->at != CLOCK_NEVER && (!first || c->timers[i]->at < first->at))
			first = c->timers[i];
	}
	return first;
}

void clock_timer_set(struct clock *c, struct clock_timer *t, uint64_t at)
{
	const struct clock_timer *first;

	t->at = at;
	first = earliest(c);
	c->next = first ? first->at : CLOCK_NEVER;
}

uint64_t clock_next(const struct clock *c)
{
	return c->next;
}

uint64_t clock_wait(const struct clock *c)
{
	uint64_t now;

	if (c->next == CLOCK_NEVER)
		return CLOCK_NEVER;
	now = c->base_ns + passed(c);
	return c->next > now ? c->next - now : 0;
}

void clock_run(struct clock *c)
{
	uint64_t now;

	if (c->next == CLOCK_NEVER)
		return; /* spare the host's clock: this is called before every guest run */
	now = clock_now(c);
	for (unsigned int i = 0; i < MAX_FIRINGS && c->next <= now; i++) {
		struct clock_timer *t = earliest(c);

		clock_timer_set(c, t, CLOCK_NEVER);
		t->fire(t->owner, now);
	}
}

void clock_visit(struct clock *c, struct state *s)
{
	uint64_t now = clock_now(c), wall = c->wall_base_ns;

	state_begin(s, "clock", 1);
	state_u64(s, &now);
	state_u64(s, &wall);
	/* Sums of two such times and a device's period cannot wrap. */
	state_check(s, now <= CLOCK_MAX_NS, "clock: time out of range");
	state_check(s, wall <= CLOCK_MAX_NS, "clock: wall-clock time out of range");
	state_end(s);
	if (!state_loading(s))
		return;
	c->running = false;
	c->behind_ns = 0;
	c->base_ns = s->error ? 0 : now;
	c->wall_base_ns = s->error ? 0 : wall;
}
