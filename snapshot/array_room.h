/*
 * Arrays that grow by one element at a time.
 */
#pragma once

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

/* Makes room in *array, of *room elements of `size` bytes, for one behind the `used` ones. Returns 0 or -ENOMEM (not logged). */
static inline int array_room(void **array, size_t *room, size_t used, size_t size)
{
	size_t more = *room ? 2 * *room : 64;
	void *bigger;

	if (used < *room)
		return 0;
	bigger = reallocarray(*array, more, size);
	if (!bigger)
		return -ENOMEM;
	*array = bigger;
	*room = more;
	return 0;
}
