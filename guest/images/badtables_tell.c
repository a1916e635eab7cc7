/* badtables: the lines it prints, `ok CASE: what happened` or `BAD CASE: what happened, not what should have`. */
#include <stdarg.h>
#include <stddef.h>

#include "guest/images/badtables.h"
#include "guest/kernel/console.h"
#include "guest/lib/format.h"

static char name[100];
static uint64_t cases, wrong;

void bad_case(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	format(name, sizeof(name), fmt, args);
	va_end(args);
}

static void print_into(char *to, size_t size, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	format(to, size, fmt, args);
	va_end(args);
}

static void in_words(char *to, size_t size, uint8_t vector, uint64_t error, uint64_t cr2)
{
	if (vector == BAD_NOTHING)
		print_into(to, size, "fine");
	else if (vector == VECTOR_PAGE_FAULT)
		print_into(to, size, "page fault %lx at %lx", error, cr2);
	else
		print_into(to, size, "%s %lx", trap_name(vector), error);
}

static bool tell(const struct outcome *o, uint8_t vector, uint64_t error, uint64_t cr2)
{
	char got[100], want[100];
	bool good = o->vector == vector && (vector == BAD_NOTHING || o->error == error) &&
		    (vector != VECTOR_PAGE_FAULT || o->cr2 == cr2);

	in_words(got, sizeof(got), o->vector, o->error, o->cr2);
	in_words(want, sizeof(want), vector, error, cr2);
	cases++;
	wrong += !good;
	if (good)
		kprintf("ok %s: %s\n", name, got);
	else
		kprintf("BAD %s: %s, not %s\n", name, got, want);
	return good;
}

bool bad_expect_fine(const struct outcome *o)
{
	return tell(o, BAD_NOTHING, 0, 0);
}

bool bad_expect_fault(const struct outcome *o, uint64_t error, uint64_t cr2)
{
	return tell(o, VECTOR_PAGE_FAULT, error, cr2);
}

bool bad_expect_trap(const struct outcome *o, uint8_t vector, uint64_t error)
{
	return tell(o, vector, error, 0);
}

void bad_expect_value(const char *what, uint64_t got, uint64_t want)
{
	cases++;
	wrong += got != want;
	if (got == want)
		kprintf("ok %s: %s %lx\n", name, what, got);
	else
		kprintf("BAD %s: %s %lx, not %lx\n", name, what, got, want);
}

uint32_t bad_error(unsigned int access, uint32_t why)
{
	return why | (access & ACCESS_WRITE ? FAULT_WRITE : 0) | (access & ACCESS_USER ? FAULT_USER : 0) |
	       (access & ACCESS_FETCH ? FAULT_FETCH : 0);
}

const char *bad_access_name(unsigned int access)
{
	static const char *const names[] = {
		"ring 0 reads", "ring 0 writes", "ring 0 executes", "", "ring 3 reads", "ring 3 writes", "ring 3 executes",
	};

	return names[access];
}

int bad_sum(void)
{
	kprintf("badtables: %lu cases, %lu wrong\n", cases, wrong);
	return wrong ? 1 : 0;
}
