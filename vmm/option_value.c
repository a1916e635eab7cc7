#include "vmm/option_value.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/log.h"

#define MAX_TIMEOUT_S 1e9

int option_bad(const char *command, const char *option, const char *text, const char *wanted)
{
	return log_bad(EINVAL, "%s: --%s=%s: %s", command, option, text, wanted);
}

int option_number(const char *command, const char *option, const char *text, unsigned int most, unsigned int *n)
{
	char wanted[64], *end;
	unsigned long value = strtoul(text, &end, 10);

	if (*text < '0' || *text > '9' || *end || value < 1 || value > most) {
		snprintf(wanted, sizeof(wanted), "give a number from 1 to %u", most);
		return option_bad(command, option, text, wanted);
	}
	*n = (unsigned int)value;
	return 0;
}

int option_file(const char *command, const char *option, const char *text, const char **file)
{
	if (!*text)
		return option_bad(command, option, text, "give the name of a file");
	*file = text;
	return 0;
}

int option_size(const char *text, uint64_t *bytes)
{
	static const char units[] = "KMGT";
	const char *unit;
	uint64_t n;
	char *end;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	n = strtoull(text, &end, 10);
	unit = *end ? strchr(units, toupper((unsigned char)*end)) : NULL;
	if (errno || !unit || end[1])
		return -EINVAL;
	if (__builtin_mul_overflow(n, 1024ull << 10 * (unit - units), bytes))
		return -EINVAL;
	return 0;
}

int option_mem(const char *command, const char *text, uint64_t *bytes)
{
	uint64_t size;

	if (option_size(text, &size) < 0)
		return option_bad(command, "mem", text, "give a number and K, M or G, such as 64M");
	if (size < MEM_MIN_BYTES || size > MEM_MAX_BYTES)
		return option_bad(command, "mem", text, "must be between 1M and 512G");
	if (size % PAGE_SIZE)
		return option_bad(command, "mem", text, "must be a multiple of 4K");
	*bytes = size;
	return 0;
}

int option_timeout(const char *command, const char *text, uint64_t *ms)
{
	char *end;
	double s = strtod(text, &end);

	if (end == text || *end || !(s > 0) || s > MAX_TIMEOUT_S)
		return option_bad(command, "timeout", text, "give a number of seconds above 0");
	*ms = (uint64_t)ceil(s * 1000);
	return 0;
}

int option_cpu(const char *command, const char *text, enum cpu_model *cpu)
{
	return cpu_model_parse(text, cpu) < 0 ? option_bad(command, "cpu", text, "give base, v2 or notsc") : 0;
}

int option_huge(const char *command, const char *text, enum mem_huge *huge)
{
	if (strcmp(text, "on") && strcmp(text, "off"))
		return option_bad(command, "hugepages", text, "give on or off");
	*huge = strcmp(text, "on") ? MEM_HUGE_NEVER : MEM_HUGE_ADVISE;
	return 0;
}

int option_add_word(const char *what, char **line, const char *word)
{
	size_t used = *line ? strlen(*line) : 0, size = strlen(word);
	char *longer = realloc(*line, used + size + 2);

	if (!longer)
		return log_errno(ENOMEM, "%s", what);
	if (used)
		longer[used++] = ' ';
	memcpy(longer + used, word, size + 1);
	*line = longer;
	return 0;
}
