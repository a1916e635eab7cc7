/* What --scavenge and --share-group take, and that a mistake is one line that names the option. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/capture.h"
#include "tests/unit/random.h"
#include "tests/vm/suite.h"
#include "vmm/scavenge_options.h"

static const char opts[] = "give stages=, cpu=, refaults=, memory=, idle= or off, with commas between";
static const char names[] = "give names of letters, digits, `-', `_' and `.', with commas between, or each";

static struct scavenge_options read_all(const char *const *texts, size_t count)
{
	struct scavenge_options o;

	scavenge_options_init(&o);
	for (size_t i = 0; i < count; i++)
		ck_assert_msg(scavenge_options_set(&o, "run", texts[i]) == 0, "'%s' is refused", texts[i] ? texts[i] : "nothing");
	return o;
}

#define READ(...) read_all((const char *const[]){__VA_ARGS__}, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

static void assert_options(const struct scavenge_options *o, bool on, enum scavenge_stage last, unsigned int cpu, unsigned int refaults,
			   unsigned int idle, uint64_t memory)
{
	ck_assert_int_eq(o->on, on);
	ck_assert_int_eq(o->last, last);
	ck_assert_uint_eq(o->cpu_percent, cpu);
	ck_assert_uint_eq(o->refaults, refaults);
	ck_assert_uint_eq(o->idle_ms, idle);
	ck_assert_uint_eq(o->memory, memory);
	ck_assert(!o->group && !o->group_count && !o->each);
}

START_TEST(test_defaults)
{
	struct scavenge_options o;

	scavenge_options_init(&o);
	assert_options(&o, false, SCAVENGE_COMPRESS, 20, 50, 1000, 0);
	o = READ(NULL);
	assert_options(&o, true, SCAVENGE_COMPRESS, 20, 50, 1000, 0);
	o = READ("off");
	assert_options(&o, false, SCAVENGE_COMPRESS, 20, 50, 1000, 0);
}
END_TEST

/* What is said later counts, the rest stays. */
START_TEST(test_values)
{
	struct scavenge_options o = READ("stages=delta,cpu=100,refaults=1,memory=3g,idle=3600000");

	assert_options(&o, true, SCAVENGE_DELTA, 100, 1, 3600000, 3ull << 30);
	o = READ("cpu=1,refaults=1000000", "idle=1", NULL, "cpu=7,cpu=9", "off,memory=1K");
	assert_options(&o, false, SCAVENGE_COMPRESS, 9, 1000000, 1, 1024);
	o = READ("off", "stages=zero");
	assert_options(&o, true, SCAVENGE_ZERO, 20, 50, 1000, 0);
	o = READ("stages=compress,stages=same");
	assert_options(&o, true, SCAVENGE_SAME, 20, 50, 1000, 0);
}
END_TEST

static void expect_refused(const char *text, const char *option, const char *value, const char *wanted)
{
	struct scavenge_options o;
	char line[400];
	struct capture c;
	int r;

	scavenge_options_init(&o);
	snprintf(line, sizeof(line), "penumbra: clone: --%s=%s: %s\n", option, value, wanted);
	capture_begin(&c);
	r = scavenge_options_set(&o, "clone", text);
	assert_one_line(capture_end(&c), line);
	ck_assert_int_eq(r, -EINVAL);
}

START_TEST(test_mistakes)
{
	static const char *const words[] = {"",    ",",     "on",    "off,", ",off", "off=1",  "cpu",	  "stages", "Off",
					    "cpu5", "memory", "cpu=5,", "cpu=5,,off", "zero", "cpus=5", "xcpu=5", " off"};
	static const char *const culprits[] = {"", "", "on", "", "", "off=1", "cpu", "stages", "Off", "cpu5", "memory", "", "", "zero", "cpus=5",
					       "xcpu=5", " off"};
	static const char *const cpus[] = {"", "0", "101", "-1", "20%", "1.5"}, *const sizes[] = {"", "0", "0K", "5", "1.5G", "-1G", "9M9"};
	char long_word[200], text[64];

	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
		expect_refused(words[i], "scavenge", culprits[i], opts);
	for (size_t i = 0; i < sizeof(cpus) / sizeof(*cpus); i++) {
		snprintf(text, sizeof(text), "idle=5,cpu=%s", cpus[i]);
		expect_refused(text, "scavenge=cpu", cpus[i], "give a number from 1 to 100");
	}
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		snprintf(text, sizeof(text), "memory=%s,cpu=5", sizes[i]);
		expect_refused(text, "scavenge=memory", sizes[i], "give a number and K, M or G, such as 2G");
	}
	expect_refused("stages=", "scavenge=stages", "", "give the last stage: zero, same, delta or compress");
	expect_refused("stages=all", "scavenge=stages", "all", "give the last stage: zero, same, delta or compress");
	expect_refused("refaults=0", "scavenge=refaults", "0", "give a number from 1 to 1000000");
	expect_refused("idle=3600001", "scavenge=idle", "3600001", "give a number from 1 to 3600000");
	memset(long_word, 'o', sizeof(long_word) - 1);
	long_word[sizeof(long_word) - 1] = '\0';
	expect_refused(long_word, "scavenge", long_word, opts);
}
END_TEST

START_TEST(test_groups)
{
	struct scavenge_options o;

	scavenge_options_init(&o);
	ck_assert_int_eq(scavenge_options_add_groups(&o, "run", "red,blue"), 0);
	ck_assert_int_eq(scavenge_options_add_groups(&o, "run", "red"), 0);
	ck_assert_int_eq(scavenge_options_add_groups(&o, "run", "A-b_c.9"), 0);
	ck_assert_uint_eq(o.group_count, 4);
	ck_assert_str_eq(o.group[0], "red");
	ck_assert_str_eq(o.group[1], "blue");
	ck_assert_str_eq(o.group[2], "red");
	ck_assert_str_eq(o.group[3], "A-b_c.9");
	ck_assert(!o.each && !o.on);
	scavenge_options_free(&o);
	ck_assert(!o.group && !o.group_count);
	scavenge_options_init(&o);
	ck_assert_int_eq(scavenge_options_add_groups(&o, "run", "each"), 0);
	ck_assert(o.each && !o.group_count);
	scavenge_options_free(&o);
}
END_TEST

START_TEST(test_bad_groups)
{
	static const struct { const char *text, *wanted; } bad[] = {
		{"", names}, {",", names}, {"a,", names}, {",a", names}, {"a,,b", names}, {"a b", names}, {"a\n", names}, {"\xc3\xa4", names},
		{"a/b", names}, {"each,a", "with each there are no other groups"}, {"a,each", "with each there are no other groups"},
		{"0123456789012345678901234567890123456789012345678901234567890123", names},
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct scavenge_options o;
		struct capture c;

		scavenge_options_init(&o);
		capture_begin(&c);
		ck_assert_int_eq(scavenge_options_add_groups(&o, "run", bad[i].text), -EINVAL);
		assert_one_line(capture_end(&c), bad[i].wanted);
		assert_one_line(c.text, "penumbra: run: --share-group=");
		scavenge_options_free(&o);
	}
}
END_TEST

/* Lists of good words, with one bad one among them or none. */
START_TEST(test_random_lists)
{
	static const char *const good[] = {"off", "stages=zero", "cpu=3", "refaults=77", "memory=64M", "idle=20"};
	static const char *const bad[] = {"", "no", "cpu=", "cpu=3%", "idle=x", "memory=1", "stages=ZERO"};
	struct random r = random_start("scavenge-options");

	for (int i = 0; i < 500; i++) {
		uint64_t count = 1 + random_below(&r, 6), spoiled = random_below(&r, 2 * count);
		struct scavenge_options o;
		char text[200] = "";
		struct capture c;
		int result;

		for (uint64_t n = 0; n < count; n++) {
			strcat(text, n ? "," : "");
			strcat(text, n == spoiled ? bad[random_below(&r, sizeof(bad) / sizeof(*bad))] : good[random_below(&r, 6)]);
		}
		scavenge_options_init(&o);
		capture_begin(&c);
		result = scavenge_options_set(&o, "run", text);
		capture_end(&c);
		ck_assert_msg(result == (spoiled < count ? -EINVAL : 0), "'%s': %d", text, result);
		if (result == 0)
			ck_assert_uint_eq(strlen(c.text), 0);
		else
			assert_one_line(c.text, "run: --scavenge=");
	}
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {test_defaults, test_values, test_mistakes, test_groups, test_bad_groups, test_random_lists};

	return RUN_TESTS("scavenge-options", tests);
}
