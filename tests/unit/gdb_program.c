/*
 * The server, asked by gdb itself: what its user types, and what is seen then. The guest is gdb_fake.h's.
 */
#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/capture.h"
#include "tests/unit/gdb_fake.h"
#include "tests/vm/suite.h"

#define COMMANDS_MAX 40u

static struct gdb_fake fake;
static char shown[1 << 20];

/* Its thread may use it from now on. */
static void start(void)
{
	struct capture c;

	capture_begin(&c);
	fake_start(&fake, "0");
	assert_one_line(capture_end(&c), "target remote 127.0.0.1:");
}

/* Check has no room for more. */
static const char *tail(void)
{
	size_t size = strlen(shown);

	return size > 3000 ? shown + size - 3000 : shown;
}

/* gdb with these commands, each an argument, up to NULL; its output goes to `file`. */
static pid_t start_gdb(const char *const *commands, int file)
{
	const char *argv[2 * COMMANDS_MAX + 10] = {"gdb", "-nx", "-q", "-batch", "-ex", "set pagination off", "-ex"};
	unsigned int n = 7;
	char remote[100];
	pid_t child;

	snprintf(remote, sizeof(remote), "target remote %s", gdb_server_address(fake.server));
	argv[n++] = remote;
	for (; *commands; commands++) {
		argv[n++] = "-ex";
		argv[n++] = *commands;
	}
	child = fork();
	if (child)
		return child;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dup2(open("/dev/null", O_RDONLY), STDIN_FILENO);
	dup2(file, STDOUT_FILENO);
	dup2(file, STDERR_FILENO);
	setenv("LC_ALL", "C", 1);
	unsetenv("DEBUGINFOD_URLS");
	execvp("gdb", (char *const *)(uintptr_t)argv);
	_exit(127);
}

static void end_gdb(pid_t child, int file)
{
	ssize_t n;
	int status;

	ck_assert_int_eq(waitpid(child, &status, 0), child);
	n = pread(file, shown, sizeof(shown) - 1, 0);
	ck_assert_int_ge(n, 0);
	shown[n] = '\0';
	close(file);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) != 127, "gdb ended with status %d:\n%s", status, tail());
}

#define ask_gdb(...) ask_gdb_all((const char *const[]){__VA_ARGS__, NULL})

static void ask_gdb_all(const char *const *commands)
{
	int file = memfd_create("gdb", MFD_CLOEXEC);

	end_gdb(start_gdb(commands, file), file);
}

/* That these stand in the output, one behind the other. */
#define expect_shown(...) expect_shown_all((const char *const[]){__VA_ARGS__, NULL})

static void expect_shown_all(const char *const *words)
{
	const char *at = strstr(shown, " in ?? ()");

	/* Before that it warns that it has no program to look at. */
	ck_assert_msg(at && !strstr(at, "warning") && !strstr(at, "rror"), "gdb complains:\n%s", tail());

	for (; *words; words++) {
		const char *found = strstr(at, *words);

		ck_assert_msg(found, "'%s' is missing from:\n%s", *words, tail());
		at = found + strlen(*words);
	}
}

START_TEST(test_registers)
{
	fake_init(&fake, 1000);
	fake.cs.gpr[CPU_R15] = 0xfedcba9876543210;
	fake.cs.segment[CPU_GS].base = 0xffff800000000000;
	memcpy(fake.cs.xsave + 160 + 16 * 3, "\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10", 16);
	memcpy(fake.cs.xsave + 32, "\x00\x00\x00\x00\x00\x00\x00\xc0\x00\x40", 10); /* 3 */
	fake.cs.xsave[512] = 3;
	start();
	ask_gdb("info registers", "info all-registers", "p $cr0", "p/x $cr3", "p $efer", "p/x $xmm3.uint128", "p $st0",
		"p $eflags", "p/x $k_gs_base", "show architecture");
	expect_shown("rax            0x0", "r15            0xfedcba9876543210", "rip            0x1000", "eflags         0x202", "[ IF ]",
		     "cs             0x8", "fs_base        0x1122334455", "gs_base        0xffff800000000000",
		     "cr0            0x80010033", "[ PE MP ET NE WP PG ]", "cr2            0xdeadbeef", "cr3            0x5000",
		     "cr4            0x620", "[ PAE OSFXSR OSXMMEXCPT ]", "cr8            0x3", "efer           0xd01", "[ SCE LME LMA NXE ]",
		     "$1 = [ PE MP ET NE WP PG ]", "$2 = 0x5000", "$3 = [ SCE LME LMA NXE ]", "$4 = 0x100f0e0d0c0b0a090807060504030201",
		     "$5 = 3\n", "$6 = [ IF ]", "$7 = 0x0", "i386:x86-64");
	fake_end(&fake, NULL);
	ck_assert_int_eq(fake.last, GDB_DETACH);
}
END_TEST

START_TEST(test_writes)
{
	fake_init(&fake, 1000);
	start();
	ask_gdb("set $rbx = 0x1234567890", "set $xmm5.v2_int64[1] = -2", "set $eflags = 0x247", "set {int}0x3000 = 0x11223344", "set $pc = 0x1004",
		"p/x $rbx", "x/i $pc", "x/2wx 0x3000", "set $st3 = 1.5", "p $st3", "set $mxcsr = 0x1fa0", "p $mxcsr");
	expect_shown("$1 = 0x1234567890", "0x1004:\tnop", "0x3000:\t0x11223344\t0x00000000", "$2 = 1.5", "$3 = [ PE IM DM ZM OM UM PM ]");
	fake_end(&fake, NULL);
	ck_assert_uint_eq(fake.cs.gpr[CPU_RBX], 0x1234567890);
	ck_assert_uint_eq(fake.cs.rip, 0x1004);
	ck_assert_uint_eq(fake.cs.rflags, 0x247);
	ck_assert_int_eq(memcmp(fake.cs.xsave + 160 + 16 * 5 + 8, "\xfe\xff\xff\xff\xff\xff\xff\xff", 8), 0);
}
END_TEST

START_TEST(test_refused)
{
	fake_init(&fake, 1000);
	fake.read_only = true;
	start();
	ask_gdb("set $rbx = 1", "set $cr8 = 0", "x/x 0x8000", "p/x $rbx", "x/8bx 0x5ffc", "monitor fail");
	ck_assert_msg(strstr(shown, "Could not write register \"rbx\"") && strstr(shown, "Could not write register \"cr8\""), "%s", tail());
	ck_assert_msg(strstr(shown, "Cannot access memory at address 0x8000"), "%s", tail());
	ck_assert_msg(strstr(shown, "$1 = 0x0"), "%s", tail());
	ck_assert_msg(strstr(shown, "Cannot access memory at address 0x6000"), "%s", tail());
	ck_assert_msg(strstr(shown, "Protocol error with Rcmd"), "%s", tail());
	fake_end(&fake, NULL);
}
END_TEST

START_TEST(test_steps)
{
	fake_init(&fake, 1000);
	start();
	ask_gdb("stepi", "stepi 3", "p $rax", "reverse-stepi", "p $rax", "x/i $pc", "reverse-stepi 5", "p $rax");
	expect_shown("0x0000000000001001 in ??", "0x0000000000001004 in ??", "$1 = 4", "0x0000000000001003 in ??", "$2 = 3", "=> 0x1003:\tnop",
		     "No more reverse-execution history", "$3 = 0");
	fake_end(&fake, NULL);
}
END_TEST

START_TEST(test_breakpoints)
{
	fake_init(&fake, 1000);
	start();
	ask_gdb("break *0x1005", "hbreak *0x1008", "continue", "p $rax", "continue", "p $rax", "continue", "p $rax",
		"reverse-continue", "p $rax", "delete",
		"reverse-continue", "p $rax", "continue", "p $rax");
	expect_shown("Breakpoint 1, 0x0000000000001005", "$1 = 5", "Breakpoint 2, 0x0000000000001008", "$2 = 8", "Breakpoint 1", "$3 = 21",
		     "Breakpoint 2", "$4 = 8", "No more reverse-execution history", "$5 = 0", "No more reverse-execution history", "$6 = 1000");
	fake_end(&fake, NULL);
	ck_assert_uint_eq(fake.count, 0);
	ck_assert_uint_eq(fake.inserts, fake.removes);
}
END_TEST

START_TEST(test_watchpoints)
{
	fake_init(&fake, 1000);
	start();
	ask_gdb("watch *(int *)0x2008", "continue", "p $rax", "continue", "p $rax", "reverse-continue", "p $rax", "delete",
		"rwatch *(int *)0x2008", "continue",
		"p $rax", "delete", "awatch *(int *)0x2008", "continue", "p $rax", "continue", "p $rax");
	expect_shown("Hardware watchpoint 1", "Old value = 0\nNew value = 1", "$1 = 10", "Old value = 1\nNew value = 2",
		"$2 = 26", "Old value = 2\nNew value = 1",
		     "$3 = 25", "Hardware read watchpoint 2", "Value = ", "$4 = 29", "Hardware access (read/write) watchpoint 3",
		     "New value = 3", "$5 = 42", "Value = 3", "$6 = 45");
	fake_end(&fake, NULL);
	ck_assert_uint_eq(fake.count, 0);
}
END_TEST

START_TEST(test_monitor)
{
	fake_init(&fake, 1000);
	start();
	ask_gdb("stepi", "monitor help", "monitor position", "monitor nonsense", "monitor nothing", "monitor long", "info threads");
	expect_shown("position  where the guest is", "position 1\n",
		"nonsense: no such command; `monitor help` lists them", "\n0\n1\n2\n", "\n9999\n",
		     "* 1    Thread 1 (vCPU 0)");
	fake_end(&fake, NULL);
}
END_TEST

START_TEST(test_interrupt)
{
	static const char *const commands[] = {"continue", "stepi", "p $_siginfo", "info program", "kill", NULL};
	int file = memfd_create("gdb", MFD_CLOEXEC);
	pid_t gdb;

	fake_init(&fake, FAKE_FOREVER);
	start();
	gdb = start_gdb(commands, file);
	fake_wait_resumed(&fake, 1);
	kill(gdb, SIGINT);
	end_gdb(gdb, file);
	ck_assert_msg(strstr(shown, "Program received signal SIGINT, Interrupt."), "%s", tail());
	ck_assert_msg(strstr(shown, "killed"), "%s", tail());
	fake_end(&fake, NULL);
	ck_assert_int_eq(fake.last, GDB_KILL);
	ck_assert_uint_eq(atomic_load(&fake.interrupts), 1);
}
END_TEST

/* Each gdb finds the guest where the last one left it; the one that is detached comes back to one that runs. */
START_TEST(test_again)
{
	fake_init(&fake, FAKE_FOREVER);
	fake.serve_after_detach = true;
	start();
	ask_gdb("stepi", "detach");
	expect_shown("1001 in", "detached");
	ask_gdb("info program", "delete", "p $rax > 1");
	expect_shown("stopped", "$1 = 1");
	ask_gdb("kill");
	fake_end(&fake, NULL);
	ck_assert_int_eq(fake.last, GDB_KILL);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {test_registers, test_writes, test_refused, test_steps, test_breakpoints,
				      test_watchpoints, test_monitor, test_interrupt, test_again};

	return RUN_TESTS("gdb-program", tests);
}
