/*
 * String instructions, not loops: a host that interprets ring 0 pays for each instruction, and for a whole REP with one
 * decoding; on other hosts they are fast as well.
 */
#include "guest/lib/string.h"

#include <stdint.h>

void *memcpy(void *to, const void *from, size_t size)
{
	void *at = to;
	size_t words = size / 8;
	size_t rest = size % 8;

	__asm__ volatile("rep movsq" : "+D"(at), "+S"(from), "+c"(words) : : "memory");
	__asm__ volatile("rep movsb" : "+D"(at), "+S"(from), "+c"(rest) : : "memory");
	return to;
}

void *memmove(void *to, const void *from, size_t size)
{
	unsigned char *dst = to;
	const unsigned char *src = from;

	if ((uintptr_t)to - (uintptr_t)from >= size)
		return memcpy(to, from, size);
	while (size-- > 0)
		dst[size] = src[size];
	return to;
}

void *memset(void *to, int value, size_t size)
{
	void *at = to;
	size_t words = size / 8;
	size_t rest = size % 8;
	uint64_t pattern = (unsigned char)value * 0x0101010101010101ull;

	__asm__ volatile("rep stosq" : "+D"(at), "+c"(words) : "a"(pattern) : "memory");
	__asm__ volatile("rep stosb" : "+D"(at), "+c"(rest) : "a"(pattern) : "memory");
	return to;
}

int memcmp(const void *a, const void *b, size_t size)
{
	const unsigned char *left = a;
	const unsigned char *right = b;

	for (size_t i = 0; i < size; i++) {
		if (left[i] != right[i])
			return left[i] < right[i] ? -1 : 1;
	}
	return 0;
}

size_t strlen(const char *text)
{
	size_t length = 0;

	while (text[length] != '\0')
		length++;
	return length;
}

int strcmp(const char *a, const char *b)
{
	while (*a != '\0' && *a == *b) {
		a++;
		b++;
	}
	return (unsigned char)*a - (unsigned char)*b;
}
