/*
 * An unmodified Linux kernel, from its first instruction to a shell that is driven over the console and switches the machine
 * off. linux_guest.h says where that can be tested.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/vm/effort.h"
#include "tests/vm/linux_guest.h"
#include "tests/vm/spawn.h"
#include "tests/vm/suite.h"

static const char *directory;

static struct child boot(const char *kernel, const char *options, const char *cmdline)
{
	char line[600];

	snprintf(line, sizeof(line), "run %s--initrd %s/initrd %s/%s -- console=ttyS0 quiet%s", options, directory, directory, kernel,
		 cmdline);
	return child_start(&(struct spawn){.line = line});
}

/* Gives a command and waits for what it says, then for the next prompt. */
static void tell(struct child *c, const char *command, const char *answer)
{
	linux_type(c, command);
	child_expect(c, answer);
	child_expect(c, LINUX_PROMPT);
}

static void end(struct child *c, const char *command, int status)
{
	struct outcome o;

	linux_type(c, command);
	o = child_end(c);
	ck_assert_msg(o.status == status, "%s: status %d, said '%s', complained '%s'", command, o.status, o.out.data, o.err.data);
	outcome_free(&o);
}

/* The same kernel as it comes, and unpacked, by PVH. */
static const char *const kernels[] = {"vmlinuz", "vmlinux"};

START_TEST(test_shell)
{
	struct child c = boot(kernels[_i], "", " quoted=a,b");

	child_expect(&c, "up after ");
	child_expect(&c, LINUX_PROMPT);
	tell(&c, "echo $((6 * 7)).$((2 + 3))", "42.5");
	tell(&c, "cat /proc/cmdline", "console=ttyS0 quiet quoted=a,b");
	tell(&c, "grep -c ^processor /proc/cpuinfo", "1");
	tell(&c, "grep 'model name' /proc/cpuinfo", "Penumbra CPU");
	tell(&c, "grep -wo -e rdrand -e apic /proc/cpuinfo || echo neither", "neither");
	tell(&c, "dmesg | grep BIOS-e820", "[mem 0x0000000000100000-0x000000000fffffff] usable");
	tell(&c, "dd if=/dev/zero of=/tmp/f bs=1M count=32 2>/dev/null; md5sum /tmp/f", "58f06dd588d8ffb3beb46ada6309436b");
	tell(&c, "sleep 1; echo slept", "slept");
	end(&c, "poweroff -f", 0);
}
END_TEST

/* A bzImage is told the rate of its counter and believes it, unless the user's own words say that it shall measure. */
START_TEST(test_rate)
{
	struct child c = boot("vmlinuz", "", _i ? " tsc_early_khz=0" : "");
	char khz[16] = "", said[64];
	const char *at;

	child_expect(&c, LINUX_PROMPT);
	tell(&c, "cat /proc/cmdline", "tsc_early_khz=");
	at = strstr(c.said.data, "tsc_early_khz=");
	ck_assert_ptr_nonnull(at);
	ck_assert_int_eq(sscanf(at, "tsc_early_khz=%15[0-9]", khz), 1);
	snprintf(said, sizeof(said), "Detected %ld.%03ld MHz", strtol(khz, NULL, 10) / 1000, strtol(khz, NULL, 10) % 1000);
	if (!_i)
		tell(&c, "dmesg | grep tsc:", said);
	tell(&c, "dmesg | grep 'tsc:.*PIT' || echo was told", _i ? "PIT" : "was told");
	end(&c, "poweroff -f", 0);
}
END_TEST

/* How the kernel may be told to reset the machine; a triple fault is one for the VMM, too. */
START_TEST(test_reset)
{
	static const struct { const char *option; int status; } ways[] = {{" reboot=k", 0}, {" reboot=p", 0}, {" reboot=t", 126}};
	struct child c = boot("vmlinux", "", ways[_i].option);

	child_expect(&c, LINUX_PROMPT);
	end(&c, "reboot -f", ways[_i].status);
}
END_TEST

START_TEST(test_without_tsc)
{
	struct child c = boot(kernels[_i], "--cpu notsc --mem 5G ", "");

	child_expect(&c, LINUX_PROMPT);
	tell(&c, "grep -c tsc_early /proc/cmdline", "0");
	tell(&c, "grep -wo tsc /proc/cpuinfo || echo none", "none");
	tell(&c, "dmesg | grep BIOS-e820 | tail -n 1", "[mem 0x0000000100000000-0x000000017fffffff] usable");
	end(&c, "poweroff -f", 0);
}
END_TEST

/* A kernel without its first process panics, and resets the machine because it is told to. */
START_TEST(test_no_init)
{
	char line[400];
	struct outcome o;

	snprintf(line, sizeof(line), "run %s/vmlinux -- console=ttyS0 panic=-1", directory);
	o = spawn_line(line, "");
	ck_assert_int_eq(o.status, 0);
	ck_assert_msg(strstr(o.out.data, "Kernel panic"), "said '%s'", o.out.data);
	outcome_free(&o);
}
END_TEST

START_TEST(test_again_and_again)
{
	for (unsigned int i = effort(2, 1) * (is_long() ? 10 : 1); i; i--) {
		struct child c = boot(kernels[i % 2], "", "");

		child_expect(&c, LINUX_PROMPT);
		end(&c, "poweroff -f", 0);
	}
}
END_TEST

/* Seconds that a launch of our smallest guest takes to its first line. */
static double launch_of_hello(void)
{
	uint64_t start = monotonic_ns();
	struct child c = child_start(&(struct spawn){.line = "run @hello"});
	struct outcome o;
	double here;

	child_expect(&c, "hello, world");
	here = (double)(monotonic_ns() - start) / 1e9;
	o = child_end(&c);
	ck_assert_int_eq(o.status, 0);
	outcome_free(&o);
	return here;
}

/*
 * Seconds from the start of the program to the first line of user space, beside the kernel's own clock at that line. Where time is
 * counted instructions (PENUMBRA_COUNTED) the host's load is not in it, and it can be held to a bound.
 */
START_TEST(test_speed)
{
	const double hello = launch_of_hello();
	uint64_t start = monotonic_ns();
	struct child c = boot(kernels[_i], "", "");
	double here, its_own, limit;
	char *at;

	child_expect(&c, "up after ");
	here = (double)(monotonic_ns() - start) / 1e9;
	child_expect(&c, LINUX_PROMPT);
	at = strstr(c.said.data, "up after ");
	its_own = strtod(at + strlen("up after "), NULL);
	ck_assert_msg(its_own > 0 && its_own < here * 1.05 + 0.1, "the guest's clock is at %g s after %g s", its_own, here);
	limit = 1.15 * (its_own + hello);
	printf("linux: %s: first line of user space after %.3f s, the kernel's clock %.2f s, hello %.3f s: limit %.3f s\n",
	       kernels[_i], here, its_own, hello, limit);
	ck_assert_msg(!getenv("PENUMBRA_COUNTED") || here <= limit, "%g s, the limit is %g s", here, limit);
	end(&c, "poweroff -f", 0);
}
END_TEST

static int run_all(void)
{
	TCase *tcase = tcase_create("linux"), *speed = tcase_create("speed");

	tcase_set_timeout(tcase, 0);
	tcase_add_loop_test(tcase, test_shell, 0, 2);
	tcase_add_loop_test(tcase, test_reset, 0, 3);
	tcase_add_loop_test(tcase, test_rate, 0, 2);
	tcase_add_loop_test(tcase, test_without_tsc, 0, 2);
	tcase_add_test(tcase, test_no_init);
	tcase_add_test(tcase, test_again_and_again);
	tcase_set_timeout(speed, 0);
	tcase_add_loop_test(speed, test_speed, 0, 2);
	return run_cases("linux", (TCase *[]){tcase, speed}, 2);
}

int main(void)
{
	directory = linux_guest();
	if (!directory)
		return LINUX_SKIPPED;
	return run_all();
}
