/* Every guest image with representative arguments: what it prints, what it ends with. */
#include <stdio.h>
#include <string.h>

#include "ept/host_mmu.h"
#include "tests/vm/spawn.h"
#include "tests/vm/suite.h"

#define PROCS_OUTPUT(first, second, third, fifth)                                                                      \
	"demand: 16 of 32 heap pages touched, as many handed out\n"                                                    \
	"stack: grew by more than 40 pages\n"                                                                          \
	"spawn: 8 children, exit codes add up to 28\n"                                                                 \
	"fork: 8 children wrote 8 shared pages each, none saw another's\n"                                             \
	"exec: replaced the program, exit code 42\n"                                                                   \
	"pid " first ": page fault at 0 (error 6)\n"                                                                   \
	"pid " second ": page fault at 8000010000 (error 7)\n"                                                         \
	"pid " third ": page fault at 8000100fff (error 6)\n"                                                          \
	"killed: 3 children by their page faults, the rest goes on\n"                                                  \
	"pid " fifth ": page fault at 800047f000 (error 4)\n"                                                          \
	"heap: 600 pages at two places, and given back\n"                                                              \
	"procs: all good\n"

#define SHELL_HELLO "Penumbra guest shell; help lists the commands\n"

static const struct image_case {
	const char *line, *input, *out;
	int status;
} cases[] = {
	{"run @hello", "", "hello, world\n", 0},
	{"run @hello -- 7", "", "hello, world: 7\n", 7},
	{"run @hello -- 255", "", "hello, world: 255\n", 255},
	{"run @hello -- 256", "", "usage: hello [CODE], where CODE is 0 to 255\n", 2},
	{"run --append 3 @hello", "", "hello, world: 3\n", 3},
	{"run --mem 2M @hello", "", "hello, world\n", 0},
	{"run --mem 5G @hello", "", "hello, world\n", 0},
	{"run --hugepages on @hello", "", "hello, world\n", 0},
	{"run --console none @hello -- 9", "", "", 9},
	{"run @echo", "one\ntwo\n", "one\ntwo\n", 0},
	{"run @echo", "no newline at the end", "", 0},
	{"run @echo", "one\nexit 17\nnot read\n", "one\n", 17},
	{"run @echo", "\x04never read\n", "", 0},
	{"run @echo", "", "", 0},
	{"run @clock", "", "clock: 20 ticks at 100 Hz, 3 spinning threads all got on\n", 0},
	{"run @clock -- 50 250", "", "clock: 50 ticks at 250 Hz, 3 spinning threads all got on\n", 0},
	{"run @procs", "", PROCS_OUTPUT("19", "20", "21", "23"), 0},
	{"run @memory", "",
	 "memory: 336 pages filled\n"
	 "round 1: checksum 581bf27899a43ae7\n"
	 "round 2: checksum 813f01920ddfe27c\n"
	 "round 3: checksum bd8d8185011e6c6f\n"
	 "memory: all good\n",
	 0},
	{"run --mem 24M --hugepages on @memory -- zero=2000 dup=1000 similar=0 unique=100 hot=7 cold=3 rounds=1", "",
	 "memory: 3110 pages filled\n"
	 "round 1: checksum @\n"
	 "memory: all good\n",
	 0},
	{"run --mem 2M @memory", "", "panic: 2097152 bytes of RAM are too few\n", 99},
	{"run --mem 8M @memory -- unique=2000", "", "out of memory: no 2000 pages\n", 1},
	{"run @compute -- 10", "", "compute: integer 10 rounds, checksum 0d7378253602aa62\n", 0},
	{"run @compute -- sse 3", "", "compute: sse 3 rounds, checksum d3e2bf385ddb96f3\n", 0},
	{"run @shell", "", SHELL_HELLO "> ", 0},
	{"run @shell", "hello a b\nexit 3\nhello\n", SHELL_HELLO "> hello a b\nhello, world a b\n> exit 3\n", 3},
	{"run @shell", "bogus\nexit", SHELL_HELLO "> bogus\ncannot run: bogus\n> exit", 0},
	{"run @shell", "echo\nfrom the shell\nexit 5\nexit\n",
	 SHELL_HELLO "> echo\nfrom the shell\nexit code 5\n> exit\n", 0},
	{"run @shell", "procs\n", SHELL_HELLO "> procs\n" PROCS_OUTPUT("20", "21", "22", "24") "> ", 0},
};

/* '@' in what is expected stands for 16 hexadecimal digits, which this test has no way to know. */
static void blank_checksum(struct bytes *out, const char *expected)
{
	const char *at = strchr(expected, '@');
	size_t from = at ? (size_t)(at - expected) : 0;

	if (!at || out->size < from + 16 || strspn(out->data + from, "0123456789abcdef") != 16)
		return;
	out->data[from] = '@';
	memmove(out->data + from + 1, out->data + from + 16, out->size - from - 15);
	out->size -= 15;
}

START_TEST(test_images)
{
	for (const struct image_case *c = cases; c < cases + sizeof(cases) / sizeof(*cases); c++) {
		struct outcome o = spawn_line(c->line, c->input);

		blank_checksum(&o.out, c->out);
		assert_outcome(&o, c->status, c->out, c->line);
		ck_assert_msg(o.err.size == 0, "%s: complained '%s'", c->line, o.err.data);
		outcome_free(&o);
	}
}
END_TEST

/* The CPU model with SSE3 and more is for hosts whose KVM offers that. Host A's does not: then it is said as that. */
START_TEST(test_cpu_v2)
{
	struct outcome o = spawn_line("run --cpu v2 @hello", "");

	if (host_mmu_detect("").ring0_interpreted) {
		printf("images: no CPU model v2 here: this host's KVM offers no SSE3\n");
		assert_complaint(&o, 125, "sse3", "--cpu=base", "--cpu v2");
	} else {
		assert_outcome(&o, 0, "hello, world\n", "--cpu v2");
	}
	outcome_free(&o);
}
END_TEST

/* The checksum of what cannot be known beforehand is at least the same with other RAM and other pages below. */
START_TEST(test_memory_repeats)
{
	static const char *const lines[] = {
		"run --mem 32M @memory -- seed=77 pause=1", "run --mem 64M @memory -- seed=77",
		"run --mem 64M --hugepages on @memory -- seed=77 pause=2",
	};
	struct outcome first = spawn_line(lines[0], "");

	ck_assert_int_eq(first.status, 0);
	for (size_t i = 1; i < sizeof(lines) / sizeof(*lines); i++) {
		struct outcome o = spawn_line(lines[i], "");

		assert_outcome(&o, 0, first.out.data, lines[i]);
		outcome_free(&o);
	}
	outcome_free(&first);
}
END_TEST

/* How many numbers stand in a line of the shell's `stats`. */
START_TEST(test_shell_stats)
{
	struct outcome o = spawn_line("run @shell", "stats\nexit\n");
	unsigned long pages, faults, zeroed, copied, ticks;
	const char *line = strstr(o.out.data, "> stats\n");

	ck_assert_msg(line, "said '%s'", o.out.data);
	ck_assert_int_eq(sscanf(line, "> stats\n%lu pages in use, %lu faults, %lu zero pages, %lu copies, %lu ticks", &pages,
				&faults, &zeroed, &copied, &ticks), 5);
	ck_assert_uint_gt(pages, 0);
	ck_assert_uint_ge(faults, zeroed);
	ck_assert_int_eq(o.status, 0);
	outcome_free(&o);
}
END_TEST

/* A person at the keyboard: characters come one by one, with time between them. */
START_TEST(test_shell_slowly)
{
	struct child c = child_start(&(struct spawn){.line = "run @shell"});
	struct outcome o;

	child_expect(&c, "> ");
	child_send(&c, "hel", 3);
	child_expect(&c, "hel");
	child_send(&c, "lq\x7fo\n", 5);
	child_expect(&c, "hello, world\n> ");
	child_send(&c, "exit 6\n", 7);
	o = child_end(&c);
	assert_outcome(&o, 6, SHELL_HELLO "> hellq\b \bo\nhello, world\n> exit 6\n", "shell, slowly");
	outcome_free(&o);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {test_images, test_cpu_v2, test_memory_repeats, test_shell_stats, test_shell_slowly};

	return RUN_TESTS("images", tests);
}
