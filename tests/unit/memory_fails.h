/*
 * A host that has no memory now and then: for a test of one file that is linked with -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* The allocation that fails, counted down; 0 = none does. Only the test's own thread runs then. */
static unsigned int fails_in;

static bool fails(void)
{
	return fails_in && !--fails_in;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *p, size_t size);

void *__wrap_malloc(size_t size)
{
	return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
	return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *p, size_t size)
{
	return fails() ? NULL : __real_realloc(p, size);
}
