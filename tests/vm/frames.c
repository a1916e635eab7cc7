/*
 * The frames that `int $4`, a timer interrupt and faults leave look alike on every host: what the guest prints about them
 * is the file given as argument, frames.expected. That file follows from the manuals, not from a run: the error codes are
 * those of Intel SDM vol. 3, 4.7; RIP is behind the instruction for traps (int, int3, single step) and on it for faults;
 * CS and SS are those of the ring; nothing but TF was set beside IF and the fixed bit.
 */
#include <stdio.h>
#include <string.h>

#include "tests/vm/spawn.h"
#include "tests/vm/suite.h"

static char *read_file(const char *path)
{
	static const size_t most = 65536;
	FILE *f = fopen(path, "re");
	char *text = calloc(1, most);

	ck_assert_msg(f && text, "%s: cannot be read", path);
	ck_assert_uint_lt(fread(text, 1, most, f), most);
	fclose(f);
	return text;
}

START_TEST(test_frames)
{
	char *expected = read_file(getenv("FRAMES_EXPECTED"));

	for (int i = 0; i < 3; i++) {
		struct outcome o = spawn_line("run @frames", "");

		assert_outcome(&o, 0, expected, "frames");
		ck_assert_str_eq(o.err.data, "");
		outcome_free(&o);
	}
	free(expected);
}
END_TEST

int main(int argc, char **argv)
{
	const TTest *const tests[] = {test_frames};

	if (argc != 2) {
		fprintf(stderr, "usage: vm-frames FILE\n");
		return 2;
	}
	setenv("FRAMES_EXPECTED", argv[1], 1);
	return RUN_TESTS("frames", tests);
}
