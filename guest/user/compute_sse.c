#include "guest/user/compute_sse.h"

#define BODIES 8
#define STEPS_PER_ROUND 2000

struct body {
	double x, y, vx, vy;
};

static uint64_t bits(double value)
{
	union {
		double value;
		uint64_t bits;
	} both = { .value = value };

	return both.bits;
}

static void attract(struct body *body, const struct body *other)
{
	double dx = other->x - body->x;
	double dy = other->y - body->y;
	double pull = 0.001 / (dx * dx + dy * dy + 0.01);

	body->vx += dx * pull;
	body->vy += dy * pull;
}

static void step(struct body *bodies)
{
	for (int i = 0; i < BODIES; i++) {
		for (int j = 0; j < BODIES; j++) {
			if (i != j)
				attract(&bodies[i], &bodies[j]);
		}
	}
	for (int i = 0; i < BODIES; i++) {
		bodies[i].x += bodies[i].vx * 0.01;
		bodies[i].y += bodies[i].vy * 0.01;
	}
}

uint64_t compute_sse(uint64_t rounds)
{
	struct body bodies[BODIES];
	uint64_t sum = 0;

	for (int i = 0; i < BODIES; i++)
		bodies[i] = (struct body){ .x = i, .y = i * i % 5 };
	for (uint64_t i = 0; i < rounds * STEPS_PER_ROUND; i++)
		step(bodies);
	for (int i = 0; i < BODIES; i++)
		sum = sum * 31 + (bits(bodies[i].x) ^ bits(bodies[i].vy));
	return sum;
}
