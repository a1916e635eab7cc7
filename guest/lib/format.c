#include "guest/lib/format.h"

#include <stdbool.h>
#include <stdint.h>

struct sink {
	char *to;
	size_t room;
	size_t used;
};

struct spec {
	unsigned int width;
	bool zero;
	bool left;
	bool is_long;
};

static void put(struct sink *sink, char c)
{
	if (sink->used < sink->room)
		sink->to[sink->used++] = c;
}

static void put_padded(struct sink *sink, const struct spec *spec, const char *text, size_t length)
{
	size_t pad = length < spec->width ? spec->width - length : 0;

	for (size_t i = 0; !spec->left && i < pad; i++)
		put(sink, spec->zero ? '0' : ' ');
	for (size_t i = 0; i < length; i++)
		put(sink, text[i]);
	for (size_t i = 0; spec->left && i < pad; i++)
		put(sink, ' ');
}

static void put_number(struct sink *sink, const struct spec *spec, uint64_t value, unsigned int base,
		       bool negative)
{
	char digits[24];
	size_t at = sizeof(digits);
	struct spec rest = *spec;

	do {
		digits[--at] = "0123456789abcdef"[value % base];
		value /= base;
	} while (value > 0);
	if (negative && spec->zero) {
		put(sink, '-');
		rest.width -= rest.width > 0;
	} else if (negative) {
		digits[--at] = '-';
	}
	put_padded(sink, &rest, digits + at, sizeof(digits) - at);
}

static void put_string(struct sink *sink, const struct spec *spec, const char *text)
{
	size_t length = 0;

	while (text[length] != '\0')
		length++;
	put_padded(sink, spec, text, length);
}

static const char *read_spec(const char *fmt, struct spec *spec)
{
	*spec = (struct spec){ 0 };
	for (; *fmt == '0' || *fmt == '-'; fmt++) {
		spec->zero |= *fmt == '0';
		spec->left |= *fmt == '-';
	}
	spec->zero &= !spec->left;
	for (; *fmt >= '0' && *fmt <= '9'; fmt++)
		spec->width = spec->width * 10 + (unsigned int)(*fmt - '0');
	for (; *fmt == 'l' || *fmt == 'z'; fmt++)
		spec->is_long = true;
	return fmt;
}

size_t format(char *to, size_t size, const char *fmt, va_list args)
{
	struct sink sink = { .to = to, .room = size - 1 };
	struct spec spec;
	const char *start;
	int64_t number;
	char c;

	for (; *fmt != '\0'; fmt++) {
		if (*fmt != '%') {
			put(&sink, *fmt);
			continue;
		}
		start = fmt;
		fmt = read_spec(fmt + 1, &spec);
		switch (*fmt) {
		case 'd':
		case 'i':
			number = spec.is_long ? va_arg(args, int64_t) : va_arg(args, int);
			put_number(&sink, &spec, number < 0 ? -(uint64_t)number : (uint64_t)number, 10,
				   number < 0);
			break;
		case 'u':
			put_number(&sink, &spec,
				   spec.is_long ? va_arg(args, uint64_t) : va_arg(args, unsigned int), 10, false);
			break;
		case 'x':
			put_number(&sink, &spec,
				   spec.is_long ? va_arg(args, uint64_t) : va_arg(args, unsigned int), 16, false);
			break;
		case 'p':
			put(&sink, '0');
			put(&sink, 'x');
			put_number(&sink, &spec, (uintptr_t)va_arg(args, void *), 16, false);
			break;
		case 's':
			put_string(&sink, &spec, va_arg(args, const char *));
			break;
		case 'c':
			c = (char)va_arg(args, int);
			put_padded(&sink, &spec, &c, 1);
			break;
		case '%':
			put(&sink, '%');
			break;
		default:
			for (; start < fmt; start++)
				put(&sink, *start);
			fmt--; /* an unknown letter is plain text, and the end of fmt ends the loop */
			break;
		}
	}
	to[sink.used] = '\0';
	return sink.used;
}
