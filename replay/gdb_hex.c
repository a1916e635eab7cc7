#include "replay/gdb_hex.h"

char *gdb_hex_write(char *to, const void *bytes, size_t size)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *from = bytes;

	for (size_t i = 0; i < size; i++) {
		*to++ = digits[from[i] >> 4];
		*to++ = digits[from[i] & 15];
	}
	return to;
}

bool gdb_hex_read(void *to, const char *text, size_t size)
{
	uint8_t *bytes = to;

	for (size_t i = 0; i < size; i++) {
		int high = gdb_hex_digit(text[2 * i]), low = high < 0 ? -1 : gdb_hex_digit(text[2 * i + 1]);

		if (low < 0)
			return false;
		bytes[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

bool gdb_hex_number(const char **text, uint64_t *n)
{
	const char *p = *text;

	for (*n = 0; gdb_hex_digit(*p) >= 0; p++) {
		if (*n >> 60)
			return false;
		*n = *n << 4 | (unsigned int)gdb_hex_digit(*p);
	}
	if (p == *text)
		return false;
	*text = p;
	return true;
}

bool gdb_text_skip(const char **text, char c)
{
	if (**text != c)
		return false;
	++*text;
	return true;
}
