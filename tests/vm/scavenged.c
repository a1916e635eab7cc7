#include "tests/vm/scavenged.h"

#include <string.h>
#include <unistd.h>

#define LOOK_US 20000
#define REST_US 1000000

/* Savings may be below 0, so not by number_of(). */
static json_int_t figure(const json_t *guest, const char *field)
{
	const json_t *value = json_object_get(json_object_get(guest, "scavenger"), field);

	ck_assert_msg(json_is_integer(value), "scavenger: %s is no number", field);
	return json_integer_value(value);
}

json_int_t scavenged_of(const struct place *p, size_t guest, const char *field)
{
	json_t *guests = ask_stats(p);
	json_int_t n = figure(json_array_get(guests, guest), field);

	json_decref(guests);
	return n;
}

json_int_t scavenged(const struct place *p, const char *field)
{
	json_t *guests = ask_stats(p);
	json_int_t sum = 0;

	for (size_t i = 0; i < json_array_size(guests); i++)
		sum += figure(json_array_get(guests, i), field);
	json_decref(guests);
	return sum;
}

json_int_t scavenged_equal_kib(const struct place *p)
{
	json_t *guests = ask_stats(p);
	json_int_t sum = 0;

	for (size_t i = 0; i < json_array_size(guests); i++)
		sum += figure(json_array_get(guests, i), "shared_kib") + figure(json_array_get(guests, i), "same_kib");
	json_decref(guests);
	return sum;
}

struct child start_scavenged(const struct place *p, const char *words, unsigned int guests)
{
	struct child c = start_run(p, words);

	while (guests--)
		child_expect(&c, " pages filled");
	return c;
}

static void await(const struct place *p, json_int_t (*get)(const struct place *p, const char *field), const char *field,
		  json_int_t least)
{
	uint64_t limit = monotonic_ns() + CONTROL_LIMIT_NS;
	json_int_t n;

	while ((n = get(p, field)) < least) {
		ck_assert_msg(monotonic_ns() < limit, "%s: only %lld, not %lld", field, (long long)n, (long long)least);
		usleep(LOOK_US);
	}
}

void await_scavenged(const struct place *p, const char *field, json_int_t least)
{
	await(p, scavenged, field, least);
}

void end_scavenged(const struct place *p, struct child *c, const char *what)
{
	bool early = child_has_ended(c);
	struct outcome o;
	size_t size;

	if (!early)
		ask_ok(p, "quit");
	o = child_end(c);
	size = o.out.size;
	ck_assert_msg(!early && o.status == 130 && !strstr(o.out.data, "memory: kind"), "%s: status %d, '%s', '%s'", what, o.status,
		      o.out.data + (size > 1000 ? size - 1000 : 0), o.err.data);
	outcome_free(&o);
}

void await_scavenged_all(const struct place *p, json_int_t least_kib)
{
	json_int_t before = least_kib, now;

	await_scavenged(p, "saved_kib", least_kib);
	for (;;) {
		usleep(REST_US);
		now = scavenged(p, "saved_kib");
		if (now < before + before / 100)
			return;
		before = now;
	}
}
