#include "compare/label.h"

#include <string.h>

#include "vmm/printable.h"

char *label(char *out, const char *text)
{
	return printable(out, LABEL_ROOM, text, strlen(text));
}

static int continues(char byte)
{
	return ((unsigned char)byte & 0xc0) == 0x80;
}

size_t label_width(const char *text)
{
	size_t width = 0;

	for (; *text; text++)
		width += !continues(*text);
	return width;
}

size_t label_prefix(const char *text, size_t width)
{
	size_t at = 0;

	while (text[at] && (width > 0 || continues(text[at])))
		width -= !continues(text[at++]);
	return at;
}
