/*
 * Everything that can fail while guests are made and run does fail, one call after the other: the n-th call into the C
 * library or the kernel fails, for n = 1, 2, ... until nothing is left to fail. Each time the whole command ends with 0
 * and the right output, or with 125 and one line, and holds nothing afterwards. In the lab, where that takes long, a random
 * third of them fails.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ept/ept.h"
#include "shadow/shadow.h"
#include "tests/unit/capture.h"
#include "tests/unit/random.h"
#include "tests/vm/effort.h"
#include "tests/vm/faults.h"
#include "tests/vm/resources.h"
#include "tests/vm/sanitized.h"
#include "tests/vm/spawn.h"
#include "tests/vm/suite.h"
#include "vmm/program.h"

#define MAX_WORDS 16

struct command {
	const char *line; /* of `penumbra run`; @NAME is the guest image NAME */
	const char *out;
	int status;
	unsigned int most; /* calls to try: a guest that runs long makes thousands that are all alike */
};

static const struct command commands[] = {
	{"run --mem=4M @hello", "hello, world\n", 0, 1000},
	{"run --mem=4M --mmu=shadow @hello", "hello, world\n", 0, 1000},
	{"run --mem=4M --stats=/dev/null --initrd=@hello @hello -- x", "usage: hello [CODE], where CODE is 0 to 255\n", 2, 1000},
	{"run --mem=4M --count=3 --console=none --hugepages=on @hello", "", 0, 1000},
	{"run --mem=16M @clock -- 1", "clock: 1 ticks at 100 Hz, 3 spinning threads all got on\n", 0, 120},
};

/* Runs it with its n-th call failing. Only its own calls count: the test library shares the process. */
static int run_command(const char *line, unsigned int n)
{
	static const struct mmu_ops *const mmus[] = {&ept_mmu, &shadow_mmu, NULL};
	const struct program program = {.mmus = mmus, .host_mmu = "test", .host_mmu_words = "test"};
	char *argv[MAX_WORDS + 1], name[] = "penumbra run";
	int argc = split_line(line, argv, MAX_WORDS), status;
	char *run = argv[1];

	argv[1] = name;
	faults_arm(n);
	status = cmd_run(&program, argc - 1, argv + 1);
	faults_disarm();
	argv[1] = run;
	for (int i = 0; i < argc; i++)
		free(argv[i]);
	return status;
}

/* Standard output goes into a memory file while the command runs. */
struct stage {
	int saved, file;
	struct capture complaints;
};

static void stage_begin(struct stage *s)
{
	fflush(stdout);
	s->saved = dup(STDOUT_FILENO);
	s->file = memfd_create("output", MFD_CLOEXEC);
	ck_assert(s->saved >= 0 && s->file >= 0);
	ck_assert_int_ge(dup2(s->file, STDOUT_FILENO), 0);
	capture_begin(&s->complaints);
}

static void stage_end(struct stage *s, char *out, size_t size)
{
	ssize_t n;

	capture_end(&s->complaints);
	dup2(s->saved, STDOUT_FILENO);
	n = pread(s->file, out, size - 1, 0);
	out[n < 0 ? 0 : n] = '\0';
	close(s->saved);
	close(s->file);
}

/*
 * 125 and one line, or all is well: what failed was a wish (huge pages), or something that was to be put away; that may be
 * said in a line, too.
 */
static void check_end(const struct command *c, const struct stage *s, int status, bool fired, const char *out,
		      const char *what)
{
	const char *text = s->complaints.text, *end = strchr(text, '\n');

	ck_assert_msg(fired || !*text, "%s: complained '%s'", what, text);
	ck_assert_msg(!*text || (!strncmp(text, "penumbra: ", 10) && end && !end[1]), "%s: not one line: '%s'", what, text);
	ck_assert_msg(status == c->status || (status == 125 && *text), "%s: status %d, complained '%s'", what, status, text);
	ck_assert_msg(status == 125 || !strcmp(out, c->out), "%s: said '%s'", what, out);
}

/* How the command ended with its n-th call failing; false: there was no n-th call. */
static bool try_failure(const struct command *c, unsigned int n)
{
	char out[4096], what[200];
	struct stage stage;
	const char *fired;
	int status;

	stage_begin(&stage);
	status = run_command(c->line, n);
	fired = faults_fired();
	stage_end(&stage, out, sizeof(out));
	snprintf(what, sizeof(what), "%s: call %u, %s", c->line, n, fired ? fired : "none");
	check_end(c, &stage, status, fired != NULL, out, what);
	return fired != NULL;
}

START_TEST(test_failures)
{
	const struct command *c = &commands[_i];
	struct random random = random_start("inject");
	struct resources before;
	unsigned int n = 1, tries = 0;

	/* Once for what is made at first use and kept. */
	try_failure(c, 0);
	before = resources_now();
	for (; n < c->most && try_failure(c, n); n += 1 + (unsigned int)random_below(&random, in_lab() ? 5 : 1), tries++) {
		char what[200];

		snprintf(what, sizeof(what), "%s: call %u fails", c->line, n);
		assert_resources_back(&before, what);
	}
	printf("inject: %s: %u calls failed, one after the other\n", c->line, tries);
	ck_assert_uint_gt(n, 20);
}
END_TEST

int main(int argc, char **argv)
{
	resources_prepare(argv);
	return run_loop_test("inject", test_failures, sizeof(commands) / sizeof(*commands));
}
