#include "guest/lib/mmucost.h"
#include "guest/lib/parse.h"
#include "guest/lib/string.h"
#include "guest/user/programs.h"
#include "guest/user/user.h"

#define FORK_PAGES 256u
#define COMPUTE_STEPS 1000u

static void ask(uint64_t mark, const void *gva, uint64_t pages)
{
	__asm__ volatile("int3" : : "a"(mark), "D"(gva), "S"(pages) : "memory");
}

static void begin(void)
{
	ask(MMUCOST_WARM, NULL, 0);
	ask(MMUCOST_BEGIN, NULL, 0);
}

static bool end(bool right)
{
	ask(MMUCOST_END, NULL, 0);
	return right;
}

static bool nothing(uint64_t count)
{
	begin();
	return end(true);
}

static void write_pages(char *pages, uint64_t count, char value)
{
	for (uint64_t i = 0; i < count; i++)
		((volatile char *)pages)[i * PAGE_SIZE] = value;
}

static bool touch_pages(char *pages, uint64_t count)
{
	begin();
	write_pages(pages, count, 1);
	end(true);
	for (uint64_t i = 0; i < count; i++) {
		if (pages[i * PAGE_SIZE] != 1)
			return false;
	}
	return true;
}

static bool touch(uint64_t count)
{
	return touch_pages(grow(count, true), count);
}

static bool touch_clear(uint64_t count)
{
	char *pages = grow(count, true);

	ask(MMUCOST_CLEAR, pages, count);
	return touch_pages(pages, count);
}

/* Forks, has the child exit, and waits for it. */
static bool fork_once(void)
{
	int status = -1;

	if (fork() == 0)
		exit(7);
	return wait(&status) > 0 && status == 7;
}

static bool fork_many(uint64_t count)
{
	char *pages = grow(FORK_PAGES, true);
	bool right = true;

	write_pages(pages, FORK_PAGES, 1);
	begin();
	for (uint64_t i = 0; i < count; i++)
		right &= fork_once();
	return end(right);
}

static bool call(uint64_t count)
{
	bool right = true;

	begin();
	for (uint64_t i = 0; i < count; i++)
		right &= syscall(SYSCALL_PID, 0, 0, 0) == 1;
	return end(right);
}

static bool compute(uint64_t count)
{
	uint64_t state = 1;

	begin();
	for (uint64_t i = 0; i < count * COMPUTE_STEPS; i++) {
		state = state * 6364136223846793005ull + 1442695040888963407ull;
		__asm__ volatile("" : "+r"(state));
	}
	return end(true);
}

static bool run(const char *name, uint64_t count)
{
	if (strcmp(name, "nothing") == 0)
		return nothing(count);
	if (strcmp(name, "touch") == 0)
		return touch(count);
	if (strcmp(name, "touch-clear") == 0)
		return touch_clear(count);
	if (strcmp(name, "fork") == 0)
		return fork_many(count);
	if (strcmp(name, "syscall") == 0)
		return call(count);
	if (strcmp(name, "compute") == 0)
		return compute(count);
	usage("mmucost OPERATION N");
}

/* mmucost OPERATION N: the operations of ring 3; see images/mmucost.c. */
int mmucost_main(int argc, char **argv)
{
	uint64_t count;

	if (argc != 3 || !parse_number(argv[2], &count))
		usage("mmucost OPERATION N");
	if (run(argv[1], count))
		return 0;
	print("%s: wrong\n", argv[1]);
	return 1;
}
