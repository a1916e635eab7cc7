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
#define ALIAS_PAGES 600 /* more than a page table maps */
#define ALIAS_SHARED 16
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

static bool second_place_refused(const void *gva, uint64_t pages)
{
	return syscall(SYSCALL_ALIAS, (long)gva, (long)pages, 0) == 0;
}

/* The words of the first pages are seen at both places, whoever wrote them, fresh pages and pages that fork shares alike. */
static bool is_alias(volatile uint64_t *first, volatile uint64_t *second, uint64_t pages)
{
	const uint64_t step = PAGE_SIZE / sizeof(*first);
	bool same = true;

	for (uint64_t i = 0; i < pages * step; i += step) {
		same &= first[i] == second[i];
		first[i] = i + 1;
		same &= second[i] == i + 1;
		second[i + 1] = i;
		same &= first[i + 1] == i;
	}
	return same;
}

static int aliases_own(uint64_t *pages)
{
	return is_alias(pages, alias(pages, ALIAS_SHARED), ALIAS_SHARED) && shrink(ALIAS_SHARED) ? 0 : 105;
}

/* What the heap has given back is no memory any more. */
static int touches_end(volatile char *end)
{
	*end = 1;
	return shrink(1) ? *end : 106;
}

static void test_heap(void)
{
	uint64_t before = stats().pages_in_use;
	uint64_t *pages = grow(ALIAS_PAGES, false);
	char *end = (char *)alias(pages, ALIAS_PAGES) + ALIAS_PAGES * PAGE_SIZE;
	int status;

	require(is_alias(pages, pages + ALIAS_PAGES * PAGE_SIZE / 8, ALIAS_PAGES), "the same pages at two places");
	require(shrink(ALIAS_PAGES), "shrink");
	require(syscall(SYSCALL_WRITE, (long)end - 1, 1, 0) == -1, "nothing at the second place");
	pages[0] = 1;
	if (fork() == 0)
		exit(aliases_own(pages));
	require(wait(&status) > 0 && status == 0 && pages[0] == 1, "two places of pages that fork shares");
	require(second_place_refused((char *)pages + 1, 1) && second_place_refused((void *)USER_TEXT, 1) &&
		second_place_refused(pages, ALIAS_PAGES + 1) && second_place_refused(pages, UINT64_MAX / PAGE_SIZE) &&
		second_place_refused((void *)-PAGE_SIZE, 2), "second places of what is not heap");
	if (fork() == 0)
		exit(touches_end((char *)pages + (ALIAS_PAGES - 1) * PAGE_SIZE));
	require(wait(&status) > 0 && status == STATUS_KILLED + VECTOR_PAGE_FAULT, "death behind the end of the heap");
	require(!shrink(UINT64_MAX) && !shrink(1 << 20), "more than there is cannot be given back");
	require(shrink(ALIAS_PAGES) && stats().pages_in_use == before, "all that was given back is free");
	print("heap: %d pages at two places, and given back\n", ALIAS_PAGES);
}

/*
 * procs [N]: spawn, fork with copy-on-write, demand paging, a growing stack, a heap that shrinks and shows pages twice, exec,
 * death by exception, exit and wait, with N children at a time; each result is verified. In the end all memory must have
 * come back.
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
	test_heap();
	require(stats().pages_in_use == pages, "pages left behind by dead children");
	require(wait(&status) == -1, "children left");
	print("procs: all good\n");
	return 0;
}
