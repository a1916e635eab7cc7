#include "snapshot/cmd_pack.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <sys/stat.h>

#include "snapshot/find.h"
#include "snapshot/image_reader.h"
#include "snapshot/pack.h"
#include "snapshot/reason.h"
#include "vmm/command_line.h"
#include "vmm/log.h"
#include "vmm/program.h"

enum { KEY_PLAIN = 0x100 };

struct pack_options {
	const char *from, *to;
	bool plain;
};

static const struct argp_option options[] = {
	{"plain", KEY_PLAIN, NULL, 0, "Write memory as it is instead: page for page where it is in the guest, with holes", 0},
	{0},
};

static const char doc[] =
	"Write a saved guest anew, with its memory compressed.\v"
	"DIR is what `penumbra ctl SOCKET snapshot DIR` or `penumbra run --checkpoint DIR` made; of the latter's checkpoints it "
	"is the newest. All of it is checked, and it stays as it is. NEWDIR must not exist. It has all of the guest, even if DIR "
	"has only what changed since an earlier one, and is restored as DIR is.\n\n"
	"Examples:\n"
	"  penumbra pack saved small\n"
	"  penumbra pack --plain small large";

static error_t on_key(int key, char *arg, struct argp_state *state)
{
	struct pack_options *o = state->input;

	if (key == KEY_PLAIN) {
		o->plain = true;
		return 0;
	}
	if (key != ARGP_KEY_ARG)
		return ARGP_ERR_UNKNOWN;
	if (o->to)
		return -log_bad(EINVAL, "pack: %s: one snapshot at a time", arg);
	*(o->from ? &o->to : &o->from) = arg;
	return 0;
}

/* Sooner than all of DIR is read. */
static int check_new(const char *path, struct reason *why)
{
	struct stat st;

	return lstat(path, &st) == 0 ? reason_give(why, EEXIST, "%s: there is something of that name already", path) : 0;
}

static int pack(const struct pack_options *o, struct reason *why)
{
	struct image_reader r;
	struct packed p;
	char path[PATH_MAX];
	int err = check_new(o->to, why);

	if (err == 0)
		err = snapshot_find(o->from, path, why);
	if (err == 0)
		err = image_reader_open(&r, path, why);
	if (err < 0)
		return err;
	err = snapshot_id_make(&p.id, why);
	if (err == 0)
		err = pack_write(&r, o->to, !o->plain, &p, why);
	image_reader_close(&r);
	return err;
}

int cmd_pack(const struct program *p, int argc, char **argv)
{
	static const struct argp argp = {options, on_key, "DIR NEWDIR", doc, NULL, NULL, NULL};
	struct pack_options o = {0};
	struct reason why = {0};

	if (command_line_parse(&argp, argc, argv, &o) < 0)
		return EXIT_BAD;
	if (!o.to)
		log_print(LOG_ERROR, "pack: name a snapshot and a new directory; try `penumbra pack --help`");
	else if (pack(&o, &why) == 0)
		return 0;
	if (*why.text)
		log_print(LOG_ERROR, "%s", why.text);
	return EXIT_BAD;
}
