#include "vmm/printable.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* UTF-8 by its lead byte: Unicode Standard, section 3.9. */
static const struct {
	uint8_t mask, lead;
	size_t size;
	uint32_t least; /* a smaller character has a shorter form, so this one would be a disguise */
} forms[] = {
	{0x80, 0x00, 1, 0x20},
	{0xe0, 0xc0, 2, 0x80},
	{0xf0, 0xe0, 3, 0x800},
	{0xf8, 0xf0, 4, 0x10000},
};

static bool is_shown(uint32_t c)
{
	if (c == 0x7f || (c >= 0x80 && c < 0xa0) || (c >= 0xd800 && c < 0xe000) || c > 0x10ffff)
		return false;
	/* Line ends and marks that turn the order of what is read. */
	return !(c >= 0x2028 && c <= 0x202e) && !(c >= 0x2066 && c <= 0x2069);
}

/* Bytes of the printable character that in[0, size) begins with, 0 if there is none. */
static size_t character(const uint8_t *in, size_t size)
{
	for (size_t f = 0; f < sizeof(forms) / sizeof(forms[0]); f++) {
		uint32_t c = in[0] & (uint8_t)~forms[f].mask;

		if ((in[0] & forms[f].mask) != forms[f].lead)
			continue;
		if (forms[f].size > size)
			return 0;
		for (size_t i = 1; i < forms[f].size; i++) {
			if ((in[i] & 0xc0) != 0x80)
				return 0;
			c = c << 6 | (in[i] & 0x3f);
		}
		return c >= forms[f].least && is_shown(c) ? forms[f].size : 0;
	}
	return 0;
}

char *printable(char *out, size_t room, const char *in, size_t size)
{
	const uint8_t *bytes = (const uint8_t *)in;
	size_t length = strnlen(in, size), used = 0;

	for (size_t at = 0; at < length;) {
		size_t n = character(bytes + at, length - at);

		if (used + (n ? n : 1) >= room)
			break;
		if (n)
			memcpy(out + used, in + at, n);
		else
			out[used] = '?';
		used += n ? n : 1;
		at += n ? n : 1;
	}
	out[used] = '\0';
	return out;
}
