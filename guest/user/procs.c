#include "guest/kernel/layout.h"
#include "guest/lib/parse.h"
#include "guest/lib/string.h"
#include "guest/user/programs.h"
#include "guest/user/user.h"

#define DEFAULT_COUNT 8
#define MAX_COUNT 60
#define SHARED_PAGES 8
#define HEAP_PAGES 32
#define STACK_DEPTH 40
#define VECTOR_PAGE_FAULT 14

/* In .data, so that fork shares it and an exec brings the first value back. */
static volatile int generation = 1;

static void require(bool good, const char *what)
{
	if (good)
		return;
	print("procs: wrong: %s\n", what);
	exit(1);
}

/* child CODE: for procs: ends with CODE, if it finds its variables fresh. */
int child_main(int argc, char **argv)
{
	uint64_t code;

	if (argc != 2 || !parse_number(argv[1], &code))
		usage("child CODE");
	return generation == 1 ? (int)code : 255;
}

static int spawn_child(int code)
{
	char line[] = "child 00";

	line[6] = (char)('0' + code / 10);
	line[7] = (char)('0' + code % 10);
	return spawn(line);
}

static void test_spawn(int count)
{
	int sum = 0;
	int status;

	for (int i = 0; i < count; i++)
		require(spawn_child(i) > 0, "spawn");
	for (int i = 0; i < count; i++) {
		require(wait(&status) > 0, "wait for a spawned child");
		sum += status;
	}
	require(wait(&status) == -1, "no more children");
	require(sum == count * (count - 1) / 2, "exit codes of spawned children");
	print("spawn: %d children, exit codes add up to %d\n", count, sum);
}

static void fill(uint64_t *pages, uint64_t value)
{
	for (uint64_t i = 0; i < SHARED_PAGES * PAGE_SIZE / 8; i++)
		pages[i] = value + i;
}

static bool filled(const uint64_t *pages, uint64_t value)
{
	for (uint64_t i = 0; i < SHARED_PAGES * PAGE_SIZE / 8; i++) {
		if (pages[i] != value + i)
			return false;
	}
	return true;
}

/* What a forked child does: sees the parent's memory, changes its own, and sees nobody else's changes. */
static int forked(uint64_t *pages, int number)
{
	uint64_t own = (uint64_t)(number + 1) << 32;

	if (!filled(pages, 1) || generation != 2)
		return 101;
	generation = number + 3;
	fill(pages, own);
	yield();
	if (!filled(pages, own) || generation != number + 3)
		return 102;
	return number;
}

static void test_fork(int count)
{
	uint64_t *pages = grow(SHARED_PAGES, false);
	uint64_t copied = stats().copied;
	int status;
	int sum = 0;
	int pid;

	fill(pages, 1);
	generation = 2;
	for (int i = 0; i < count; i++) {
		pid = fork();
		if (pid == 0)
			exit(forked(pages, i));
		require(pid > 0, "fork");
	}
	for (int i = 0; i < count; i++) {
		require(wait(&status) > 0, "wait for a forked child");
		sum += status;
	}
	require(sum == count * (count - 1) / 2, "what forked children saw");
	require(filled(pages, 1) && generation == 2, "the parent's memory after fork");
	copied = stats().copied - copied;
	require(copied >= (uint64_t)count * SHARED_PAGES, "pages copied at writes");
	print("fork: %d children wrote %d shared pages each, none saw another's\n", count, SHARED_PAGES);
}

static void test_demand(void)
{
	uint64_t before = stats().pages_in_use;
	uint64_t zeroed = stats().zeroed;
	uint64_t *pages = grow(HEAP_PAGES, false);

	require(stats().pages_in_use == before, "a heap nobody touched costs nothing");
	for (uint64_t i = 0; i < HEAP_PAGES; i += 2)
		require(pages[i * PAGE_SIZE / 8] == 0, "fresh heap is zero");
	zeroed = stats().zeroed - zeroed;
	require(zeroed == HEAP_PAGES / 2, "one page for each page touched");
	print("demand: %lu of %d heap pages touched, as many handed out\n", zeroed, HEAP_PAGES);
}

/* Uses about a page of stack for each level. */
static uint64_t descend(int depth)
{
	volatile char room[PAGE_SIZE];

	room[0] = (char)depth;
	room[PAGE_SIZE - 1] = 1;
	__asm__ volatile("" : : "r"(room) : "memory"); /* keeps the compiler from making it a loop */
	return depth == 0 ? 0 : descend(depth - 1) + (uint64_t)room[PAGE_SIZE - 1] + (room[0] != (char)depth);
}

static void test_stack(void)
{
	uint64_t zeroed = stats().zeroed;

	require(descend(STACK_DEPTH) == STACK_DEPTH, "deep recursion");
	require(stats().zeroed - zeroed >= STACK_DEPTH, "the stack grew");
	print("stack: grew by more than %d pages\n", STACK_DEPTH);
}

static void test_exec(void)
{
	int status;
	int pid = fork();

	if (pid == 0) {
		generation = 99;
		require(exec("no-such-program") == -1, "exec of nothing fails");
		exec("child 42");
		exit(103);
	}
	require(wait(&status) == pid && status == 42, "exit code after exec");
	print("exec: replaced the program, exit code %d\n", status);
}

static void test_killed(void)
{
	static volatile char *const addresses[] = { NULL, (char *)USER_TEXT, (char *)USER_STACK_LIMIT - 1 };
	int status;
	int pid;

	for (int i = 0; i < 3; i++) {
		pid = fork();
		if (pid == 0) {
			if (i == 1)
				(void)*addresses[i]; /* so that the page is there */
			*addresses[i] = 0;
			exit(104);
		}
		require(wait(&status) == pid && status == STATUS_KILLED + VECTOR_PAGE_FAULT, "death by page fault");
	}
	print("killed: %d children by their page faults, the rest goes on\n", 3);
}

/*
 * procs [N]: spawn, fork with copy-on-write, demand paging, a growing stack, exec, death by exception, exit and wait,
 * with N children at a time; each result is verified. In the end all memory must have come back.
 */
int procs_main(int argc, char **argv)
{
	uint64_t count = DEFAULT_COUNT;
	uint64_t pages;
	int status;

	if (argc > 2 || (argc == 2 && (!parse_number(argv[1], &count) || count < 1 || count > MAX_COUNT)))
		usage("procs [N], N 1 to 60");
	test_demand();
	test_stack();
	pages = stats().pages_in_use;
	test_spawn((int)count);
	require(stats().pages_in_use == pages, "pages left behind by spawned children");
	test_fork((int)count);
	pages = stats().pages_in_use;
	test_exec();
	test_killed();
	require(stats().pages_in_use == pages, "pages left behind by dead children");
	require(wait(&status) == -1, "children left");
	print("procs: all good\n");
	return 0;
}
