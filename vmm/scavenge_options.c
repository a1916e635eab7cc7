#include "vmm/scavenge_options.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/log.h"
#include "vmm/option_value.h"

#define MAX_WORD 63u /* bytes of an OPT or a group's name */
#define MAX_REFAULTS 1000000u
#define MAX_IDLE_MS 3600000u

#define WANTED "give stages=, cpu=, refaults=, memory=, idle= or off, with commas between"

static int set_off(struct scavenge_options *o, const char *command, const char *text)
{
	o->on = false;
	return 0;
}

static int set_stages(struct scavenge_options *o, const char *command, const char *text)
{
	static const char *const names[SCAVENGE_STAGES] = {
		[SCAVENGE_ZERO] = "zero", [SCAVENGE_SAME] = "same", [SCAVENGE_DELTA] = "delta", [SCAVENGE_COMPRESS] = "compress",
	};

	for (unsigned int i = 0; i < SCAVENGE_STAGES; i++)
		if (!strcmp(text, names[i])) {
			o->last = (enum scavenge_stage)i;
			return 0;
		}
	return option_bad(command, "scavenge=stages", text, "give the last stage: zero, same, delta or compress");
}

static int set_cpu(struct scavenge_options *o, const char *command, const char *text)
{
	return option_number(command, "scavenge=cpu", text, 100, &o->cpu_percent);
}

static int set_refaults(struct scavenge_options *o, const char *command, const char *text)
{
	return option_number(command, "scavenge=refaults", text, MAX_REFAULTS, &o->refaults);
}

static int set_memory(struct scavenge_options *o, const char *command, const char *text)
{
	uint64_t bytes;

	if (option_size(text, &bytes) < 0 || !bytes)
		return option_bad(command, "scavenge=memory", text, "give a number and K, M or G, such as 2G");
	o->memory = bytes;
	return 0;
}

static int set_idle(struct scavenge_options *o, const char *command, const char *text)
{
	return option_number(command, "scavenge=idle", text, MAX_IDLE_MS, &o->idle_ms);
}

static const struct word {
	const char *name;
	bool value;
	int (*set)(struct scavenge_options *o, const char *command, const char *text);
} words[] = {
	{"off", false, set_off},     {"stages", true, set_stages}, {"cpu", true, set_cpu}, {"refaults", true, set_refaults},
	{"memory", true, set_memory}, {"idle", true, set_idle},
};

/* Moves *text behind the next word of a list with commas, and copies that. Returns false where none could be so long. */
static bool next_word(const char **text, char word[MAX_WORD + 1])
{
	size_t size = strcspn(*text, ",");

	if (size > MAX_WORD)
		return false;
	memcpy(word, *text, size);
	word[size] = '\0';
	*text += size;
	return true;
}

static int set_word(struct scavenge_options *o, const char *command, const char *text)
{
	const char *value = strchr(text, '=');

	for (const struct word *w = words; w < words + sizeof(words) / sizeof(*words); w++) {
		size_t size = strlen(w->name);

		if (!w->value && !strcmp(text, w->name))
			return w->set(o, command, NULL);
		if (w->value && value == text + size && !strncmp(text, w->name, size))
			return w->set(o, command, value + 1);
	}
	return option_bad(command, "scavenge", text, WANTED);
}

void scavenge_options_init(struct scavenge_options *o)
{
	*o = (struct scavenge_options){.last = SCAVENGE_COMPRESS, .cpu_percent = 20, .refaults = 50, .idle_ms = 1000};
}

int scavenge_options_set(struct scavenge_options *o, const char *command, const char *text)
{
	char word[MAX_WORD + 1];
	const char *rest = text;

	o->on = true;
	while (rest) {
		int r = next_word(&rest, word) ? set_word(o, command, word) : option_bad(command, "scavenge", text, WANTED);

		if (r < 0)
			return r;
		rest = *rest ? rest + 1 : NULL;
	}
	return 0;
}

/* Names are told as text, as they are. */
static bool is_name(const char *name)
{
	for (const char *c = name; *c; c++)
		if (!isascii((unsigned char)*c) || (!isalnum((unsigned char)*c) && !strchr("-_.", *c)))
			return false;
	return *name;
}

static int add_group(struct scavenge_options *o, const char *name)
{
	char **longer = reallocarray(o->group, o->group_count + 1, sizeof(*longer));

	if (!longer)
		return log_errno(ENOMEM, "name of a group");
	o->group = longer;
	o->group[o->group_count] = strdup(name);
	if (!o->group[o->group_count])
		return log_errno(ENOMEM, "name of a group");
	o->group_count++;
	return 0;
}

int scavenge_options_add_groups(struct scavenge_options *o, const char *command, const char *text)
{
	char name[MAX_WORD + 1];
	const char *rest = text;

	while (rest) {
		if (!next_word(&rest, name) || !is_name(name))
			return option_bad(command, "share-group", text,
					  "give names of letters, digits, `-', `_' and `.', with commas between, or each");
		if (!strcmp(name, "each"))
			o->each = true;
		else if (add_group(o, name) < 0)
			return -ENOMEM;
		rest = *rest ? rest + 1 : NULL;
	}
	if (o->each && o->group_count)
		return option_bad(command, "share-group", text, "with each there are no other groups");
	return 0;
}

void scavenge_options_free(struct scavenge_options *o)
{
	for (unsigned int i = 0; i < o->group_count; i++)
		free(o->group[i]);
	free(o->group);
	o->group = NULL;
	o->group_count = 0;
}
