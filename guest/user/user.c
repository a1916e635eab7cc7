#include "guest/user/user.h"

#include <stdarg.h>

#include "guest/lib/format.h"
#include "guest/lib/string.h"

#define THREAD_STACK 4096u
#define EXIT_USAGE 2

noreturn void exit(int code)
{
	for (;;)
		syscall(SYSCALL_EXIT, code, 0, 0);
}

void write(const char *text, size_t size)
{
	syscall(SYSCALL_WRITE, (long)text, (long)size, 0);
}

void print(const char *fmt, ...)
{
	char text[256];
	va_list args;
	size_t length;

	va_start(args, fmt);
	length = format(text, sizeof(text), fmt, args);
	va_end(args);
	write(text, length);
}

noreturn void usage(const char *text)
{
	print("usage: %s\n", text);
	exit(EXIT_USAGE);
}

int read_byte(void)
{
	unsigned char byte;

	/* One at a time: what follows may be for another program. */
	syscall(SYSCALL_READ, (long)&byte, 1, 0);
	return byte;
}

static void erase(size_t *length, bool echo)
{
	if (*length == 0)
		return;
	--*length;
	if (echo)
		write("\b \b", 3);
}

bool read_line(char *to, size_t size, bool echo)
{
	size_t length = 0;
	char c;

	for (;;) {
		c = (char)read_byte();
		if (c == END_OF_INPUT)
			return false;
		if (c == '\r' || c == '\n')
			break;
		if (c == '\b' || c == 0x7f) {
			erase(&length, echo);
		} else if (length < size - 1) {
			to[length++] = c;
			if (echo)
				write(&c, 1);
		}
	}
	if (echo)
		write("\n", 1);
	to[length] = '\0';
	return true;
}

void *grow(size_t pages, bool now)
{
	long gva = syscall(SYSCALL_GROW, (long)pages, now, 0);

	if (gva == 0) {
		print("out of memory: no %lu pages\n", pages);
		exit(1);
	}
	return (void *)gva;
}

bool shrink(size_t pages)
{
	return syscall(SYSCALL_SHRINK, (long)pages, 0, 0) == 0;
}

void *alias(void *gva, size_t pages)
{
	long second = syscall(SYSCALL_ALIAS, (long)gva, (long)pages, 0);

	if (second == 0) {
		print("no second place for %lu pages\n", pages);
		exit(1);
	}
	return (void *)second;
}

void *allocate(size_t size)
{
	static char *next;
	static size_t room;
	void *result;

	size = (size + 15) & ~(size_t)15;
	if (size > room) {
		room = (size + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1);
		next = grow(room / PAGE_SIZE, false);
	}
	result = next;
	next += size;
	room -= size;
	return result;
}

int fork(void)
{
	return (int)syscall(SYSCALL_FORK, 0, 0, 0);
}

int spawn(const char *line)
{
	return (int)syscall(SYSCALL_SPAWN, (long)line, (long)strlen(line), 0);
}

int exec(const char *line)
{
	return (int)syscall(SYSCALL_EXEC, (long)line, (long)strlen(line), 0);
}

int wait(int *status)
{
	return (int)syscall(SYSCALL_WAIT, (long)status, 0, 0);
}

struct thread_start {
	void (*body)(void *arg);
	void *arg;
};

static void thread_entry(struct thread_start *start)
{
	start->body(start->arg);
	exit(0);
}

int thread(void (*body)(void *arg), void *arg)
{
	struct thread_start *start = allocate(sizeof(*start));
	char *stack = allocate(THREAD_STACK);

	*start = (struct thread_start){ body, arg };
	return (int)syscall(SYSCALL_THREAD, (long)thread_entry, (long)start, (long)(stack + THREAD_STACK));
}

void yield(void)
{
	syscall(SYSCALL_YIELD, 0, 0, 0);
}

void sleep_ticks(uint64_t ticks)
{
	syscall(SYSCALL_SLEEP, (long)ticks, 0, 0);
}

uint64_t clock_ns(void)
{
	return (uint64_t)syscall(SYSCALL_CLOCK, 0, 0, 0);
}

uint64_t ticks_now(void)
{
	return (uint64_t)syscall(SYSCALL_TICKS, 0, 0, 0);
}

uint64_t guest_number(void)
{
	return (uint64_t)syscall(SYSCALL_GUEST, 0, 0, 0);
}

struct syscall_stats stats(void)
{
	struct syscall_stats result;

	syscall(SYSCALL_STATS, (long)&result, 0, 0);
	return result;
}

bool set_timer(uint64_t hz)
{
	return syscall(SYSCALL_TIMER, (long)hz, 0, 0) == 0;
}
