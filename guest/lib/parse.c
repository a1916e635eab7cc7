#include "guest/lib/parse.h"

#include "guest/lib/string.h"

static bool digit_value(char c, unsigned int base, unsigned int *value)
{
	if (c >= '0' && c <= '9')
		*value = (unsigned int)(c - '0');
	else if (c >= 'a' && c <= 'f')
		*value = (unsigned int)(c - 'a') + 10;
	else
		return false;
	return *value < base;
}

bool parse_number(const char *text, uint64_t *value)
{
	unsigned int base = 10;
	unsigned int digit;

	if (text[0] == '0' && text[1] == 'x') {
		base = 16;
		text += 2;
	}
	if (*text == '\0')
		return false;
	for (*value = 0; *text != '\0'; text++) {
		if (!digit_value(*text, base, &digit) || *value > (UINT64_MAX - digit) / base)
			return false;
		*value = *value * base + digit;
	}
	return true;
}

bool parse_option(const char *text, const char *name, uint64_t *value)
{
	while (*name != '\0' && *text == *name) {
		text++;
		name++;
	}
	return *name == '\0' && *text == '=' && parse_number(text + 1, value);
}

int parse_words(char *line, char **words, int max)
{
	int count = 0;

	for (;;) {
		while (*line == ' ')
			line++;
		if (*line == '\0' || count == max)
			return count;
		words[count++] = line;
		if (count == max)
			return count;
		while (*line != '\0' && *line != ' ')
			line++;
		if (*line != '\0')
			*line++ = '\0';
	}
}
