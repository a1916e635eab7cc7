#include "vmm/solo5_options.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "vmm/log.h"
#include "vmm/solo5_manifest.h"

const char *const solo5_option_name[SOLO5_OPTION_KINDS] = {
	[SOLO5_GIVE_BLOCK] = "block",
	[SOLO5_GIVE_SECTOR_SIZE] = "block-sector-size",
	[SOLO5_GIVE_NET] = "net",
	[SOLO5_GIVE_MAC] = "net-mac",
};

static const char *const wanted[SOLO5_OPTION_KINDS] = {
	[SOLO5_GIVE_BLOCK] = "FILE",
	[SOLO5_GIVE_SECTOR_SIZE] = "BYTES",
	[SOLO5_GIVE_NET] = "TAP",
	[SOLO5_GIVE_MAC] = "MAC",
};

/* Is it an option that takes the next word as its value? */
static bool takes_next_word(const char *word, const struct argp_option *known)
{
	if (strncmp(word, "--", 2) || strchr(word, '='))
		return false;
	for (; known->name; known++)
		if (known->arg && !strcmp(known->name, word + 2))
			return true;
	return false;
}

static void open_name(char *word)
{
	size_t length = strcspn(word, ":=");

	if (strncmp(word, "--", 2) || word[length] != ':')
		return;
	for (unsigned int i = 0; i < SOLO5_OPTION_KINDS; i++)
		if (strlen(solo5_option_name[i]) == length - 2 && !strncmp(solo5_option_name[i], word + 2, length - 2))
			word[length] = '=';
}

void solo5_options_open_names(int argc, char **argv, const struct argp_option *known)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--"); i++) {
		if (takes_next_word(argv[i], known))
			i++;
		else
			open_name(argv[i]);
	}
}

int solo5_options_add(struct solo5_options *o, enum solo5_option_kind kind, const char *arg)
{
	const char *option = solo5_option_name[kind];
	size_t length = strcspn(arg, "=");

	if (!arg[length] || !arg[length + 1] || !solo5_name_is_good(arg, length))
		return log_bad(EINVAL, "run: --%s:%s: write --%s:NAME=%s, with the device's NAME in letters and digits", option,
			       arg, option, wanted[kind]);
	if (o->count == SOLO5_MAX_OPTIONS)
		return log_bad(EINVAL, "run: --%s:%s: more than %u such options", option, arg, SOLO5_MAX_OPTIONS);
	o->option[o->count++] =
		(struct solo5_option){.kind = kind, .name = arg, .name_length = length, .value = arg + length + 1};
	return 0;
}
