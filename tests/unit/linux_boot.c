/*
 * The command line of a Linux kernel: the user's words behind the rate of the time-stamp counter, where there is one to tell.
 */
#include "vmm/boot.h"

#include <errno.h>
#include <stdlib.h>

#include "tests/unit/capture.h"
#include "tests/unit/kernel_writer.h"
#include "tests/unit/memory_file.h"
#include "tests/vm/suite.h"
#include "vmm/cpu_state.h"
#include "vmm/image.h"
#include "vmm/mem.h"
#include "vmm/vm.h"

#define CMDLINE 0x5000
#define MAX 2047 /* what kernel_write_linux() says */

static int khz;

int __wrap_kvm_get_tsc_khz(int fd);

int __wrap_kvm_get_tsc_khz(int fd)
{
	return khz;
}

/* Boots with a counter of this rate, and gives the line that the zero page points to. */
static int boot_with(int rate, enum cpu_model cpu, const char *words, char line[MAX + 2])
{
	static struct kernel_file k;
	struct vm vm = {.fd = -1};
	struct memory_file f;
	struct image im;
	struct vm_config config = {.image = &im, .cmdline = words, .cpu = cpu};
	struct cpu_state cs;
	uint32_t at = 0;
	int r;

	khz = rate;
	kernel_write_linux(&k);
	f = file_of(k.bytes, k.size);
	ck_assert_int_eq(image_open(&im, f.path), 0);
	ck_assert_int_eq(mem_create(&vm.mem, 4 << 20, MEM_HUGE_NEVER), 0);
	r = boot_prepare(&vm, &config, &cs);
	if (r == 0) {
		ck_assert_int_eq(mem_read(&vm.mem, cs.gpr[CPU_RSI] + 0x228, &at, sizeof(at)), 0);
		ck_assert_uint_eq(at, CMDLINE);
		ck_assert_int_eq(mem_read(&vm.mem, at, line, MAX + 2), 0);
	}
	mem_destroy(&vm.mem);
	image_close(&im);
	close(f.fd);
	return r;
}

static void expect_line(int rate, enum cpu_model cpu, const char *words, const char *expected)
{
	char line[MAX + 2];

	ck_assert_int_eq(boot_with(rate, cpu, words, line), 0);
	ck_assert_str_eq(line, expected);
}

START_TEST(test_rate)
{
	expect_line(2345678, CPU_MODEL_BASE, "quiet a=b -- c", "tsc_early_khz=2345678 quiet a=b -- c");
	expect_line(2345678, CPU_MODEL_V2, "", "tsc_early_khz=2345678");
	/* The user's word comes later, and so counts. */
	expect_line(1, CPU_MODEL_BASE, "tsc_early_khz=0", "tsc_early_khz=1 tsc_early_khz=0");
}
END_TEST

START_TEST(test_no_rate)
{
	expect_line(0, CPU_MODEL_BASE, "quiet", "quiet");
	expect_line(2345678, CPU_MODEL_NOTSC, "quiet", "quiet");
	expect_line(-EIO, CPU_MODEL_NOTSC, "", "");
}
END_TEST

/* Both together have the room that the kernel has. */
START_TEST(test_room)
{
	const size_t ours = strlen("tsc_early_khz=2345678 ");
	char words[MAX + 2], line[MAX + 2];
	struct capture c;

	memset(words, 'w', sizeof(words));
	words[MAX - ours] = '\0';
	ck_assert_int_eq(boot_with(2345678, CPU_MODEL_BASE, words, line), 0);
	ck_assert_uint_eq(strlen(line), MAX);
	ck_assert_str_eq(line + ours, words);
	words[MAX - ours] = 'w';
	words[MAX - ours + 1] = '\0';
	capture_begin(&c);
	ck_assert_int_eq(boot_with(2345678, CPU_MODEL_BASE, words, line), -E2BIG);
	assert_one_line(capture_end(&c), "2049 bytes, the guest takes 2048");
	ck_assert_int_eq(boot_with(2345678, CPU_MODEL_NOTSC, words, line), 0);
}
END_TEST

START_TEST(test_host_fails)
{
	char line[MAX + 2];

	ck_assert_int_eq(boot_with(-ENOMEM, CPU_MODEL_BASE, "quiet", line), -ENOMEM);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {test_rate, test_no_rate, test_room, test_host_fails};

	return RUN_TESTS("linux_boot", tests);
}
