#include <elf.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "vmm/command_line.h"
#include "vmm/image.h"
#include "vmm/log.h"
#include "vmm/mmu.h"
#include "vmm/printable.h"
#include "vmm/program.h"
#include "vmm/symbols.h"

#define MIB_SHIFT 20
#define MAX_MODES 4u

enum key { KEY_JSON = 0x100, KEY_EVENTS };

struct inspect_options {
	const char *path;
	bool json, events;
};

/* Whether the image can run in a mode on this host. */
struct mode {
	const char *name;
	bool runs;
	struct image_reason why;
};

/* What is to be said, in words fit for a terminal. */
struct findings {
	const struct image *image;
	const char *reason; /* why it cannot boot, NULL if it can */
	char path[512], entry[128];
	size_t functions;
	bool has_symbols;
	struct mode mode[MAX_MODES];
	unsigned int modes;
};

static const struct argp_option options[] = {
	{"json", KEY_JSON, NULL, 0,
	 "Print one JSON object (addresses as \"0x...\" strings, sizes in bytes)", 0},
	{"events", KEY_EVENTS, NULL, 0, "Print every event of a recording; with --json an object a line", 0},
	{0},
};

static const char doc[] =
	"Say what a guest image, a snapshot or a recording is, and whether it is whole.\v"
	"An image is not run. Printed are the entry point with its name, the RAM the image needs at "
	"least, for each --mmu whether it can run there on this host, and its segments: where in "
	"guest-physical memory (gpa) they go, how large they are there and in the file, and at which "
	"virtual address (gva) the guest will use them. A Solo5 unikernel's devices are listed as `run` wants them.\n\n"
	"Of a snapshot's directory every byte is checked, and nothing is changed. Of a directory of checkpoints they are listed, "
	"and the one that `restore` takes is checked.\n\n"
	"The exit status is 0 for an image that can boot and a snapshot that is whole, 127 for a file that is not there or "
	"cannot boot (the reason is printed), 125 for bad usage, a file that cannot be read, and a damaged snapshot.\n\n"
	"Examples:\n"
	"  penumbra inspect build/guest/hello\n"
	"  penumbra inspect --json build/guest/hello | jq .segments";

static error_t on_key(int key, char *arg, struct argp_state *state)
{
	struct inspect_options *o = state->input;

	switch (key) {
	case KEY_JSON:
		o->json = true;
		return 0;
	case KEY_EVENTS:
		o->events = true;
		return 0;
	case ARGP_KEY_ARG:
		if (o->path)
			return -log_bad(EINVAL, "inspect: %s: one file at a time", arg);
		o->path = arg;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static int options_parse(struct inspect_options *o, int argc, char **argv)
{
	static const struct argp argp = {options, on_key, "PATH", doc, NULL, NULL, NULL};
	int r;

	*o = (struct inspect_options){0};
	r = command_line_parse(&argp, argc, argv, o);
	if (r < 0)
		return r;
	if (!o->path)
		return log_bad(EINVAL, "inspect: no file named; try `penumbra inspect --help`");
	return 0;
}

static const char *flags_text(uint32_t flags, char text[4])
{
	text[0] = flags & PF_R ? 'r' : '-';
	text[1] = flags & PF_W ? 'w' : '-';
	text[2] = flags & PF_X ? 'x' : '-';
	text[3] = '\0';
	return text;
}

static void print_segments(const struct image *im)
{
	printf("segments  %18s %12s %12s  flags  %18s\n", "gpa", "size", "from file", "gva");
	for (unsigned int i = 0; i < im->segment_count; i++) {
		const struct image_segment *s = &im->segment[i];
		char flags[4];

		printf("          %#18" PRIx64 " %#12" PRIx64 " %#12" PRIx64 "  %-5s  %#18" PRIx64
		       "\n", s->gpa, s->size, s->file_size, flags_text(s->flags, flags), s->gva);
	}
}

/* What the manifest of a Solo5 unikernel wants. */
static void print_devices(const struct image *im)
{
	for (unsigned int i = 1; im->kind == IMAGE_SOLO5 && i < im->solo5.count; i++)
		printf("%-9s %-5s  --%s:%s=%s\n", i == 1 ? "devices" : "", solo5_type_name(im->solo5.wanted[i].type),
		       solo5_type_name(im->solo5.wanted[i].type), im->solo5.wanted[i].name,
		       im->solo5.wanted[i].type == SOLO5_BLOCK ? "FILE" : "TAP");
}

/* The reason without what the line before has said already. */
static const char *rest_of_reason(const struct findings *r)
{
	size_t known = strlen(r->image->what);

	if (!strncmp(r->reason, r->image->what, known) && !strncmp(r->reason + known, ", ", 2))
		return r->reason + known + 2;
	return r->reason;
}

static void print_text(const struct findings *r)
{
	const struct image *im = r->image;
	uint64_t mib;

	printf("%s: %s\n", r->path, im->what);
	if (r->reason) {
		printf("bootable  no: %s\n", rest_of_reason(r));
		return;
	}
	mib = image_ram_needed(im) >> MIB_SHIFT;
	if (im->kind == IMAGE_PENUMBRA)
		printf("bootable  yes, the file is whole; guest interface version %" PRIu32 "\n", im->abi_version);
	else
		printf("bootable  yes, the file is whole; %s\n", image_protocol(im));
	printf("entry     gpa %#" PRIx64 ", gva %#" PRIx64 "%s%s\n", im->entry, im->entry_gva,
	       *r->entry ? ", " : "", r->entry);
	printf("RAM       at least %" PRIu64 " MiB (--mem %" PRIu64 "M)\n", mib, mib);
	printf("functions %zu%s\n", r->functions, r->has_symbols ? "" : " (no symbol table)");
	for (unsigned int i = 0; i < r->modes; i++)
		printf("%-9s %s%s\n", r->mode[i].name, r->mode[i].runs ? "ok" : "no: ", r->mode[i].why.text);
	print_devices(im);
	print_segments(im);
}

static json_t *address(uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "0x%" PRIx64, value);
	return json_string(text);
}

static json_t *segments_array(const struct image *im)
{
	json_t *all = json_array();

	for (unsigned int i = 0; i < im->segment_count; i++) {
		const struct image_segment *s = &im->segment[i];
		char flags[4];

		json_array_append_new(
			all, json_pack("{s:o, s:I, s:I, s:I, s:o, s:s}",
				       "gpa", address(s->gpa), "size", (json_int_t)s->size,
				       "file_offset", (json_int_t)s->offset,
				       "file_size", (json_int_t)s->file_size,
				       "gva", address(s->gva),
				       "flags", flags_text(s->flags, flags)));
	}
	return all;
}

static json_t *devices_array(const struct image *im)
{
	json_t *all = json_array();

	for (unsigned int i = 1; i < im->solo5.count; i++)
		json_array_append_new(all, json_pack("{s:s, s:s}", "name", im->solo5.wanted[i].name, "type",
						     solo5_type_name(im->solo5.wanted[i].type)));
	return all;
}

static json_t *modes_object(const struct findings *r)
{
	json_t *all = json_object();

	for (unsigned int i = 0; i < r->modes; i++) {
		const struct mode *mode = &r->mode[i];

		json_object_set_new(all, mode->name, json_pack("{s:b, s:s?}", "runs", mode->runs, "reason",
							       mode->runs ? NULL : mode->why.text));
	}
	return all;
}

static json_t *findings_object(const struct findings *r)
{
	const struct image *im = r->image;
	json_t *root = json_pack("{s:s, s:s, s:b, s:s?}", "path", r->path, "what", im->what,
				 "bootable", !r->reason, "reason", r->reason);

	if (r->reason)
		return root;
	json_object_set_new(root, "kind", json_string(image_kind_name(im)));
	json_object_set_new(root, "protocol", json_string(image_protocol(im)));
	if (im->kind == IMAGE_PENUMBRA)
		json_object_set_new(root, "abi_version", json_integer(im->abi_version));
	json_object_set_new(root, "entry",
			    json_pack("{s:o, s:o, s:s?}", "gpa", address(im->entry),
				      "gva", address(im->entry_gva),
				      "symbol", *r->entry ? r->entry : NULL));
	json_object_set_new(root, "ram_needed", json_integer((json_int_t)image_ram_needed(im)));
	json_object_set_new(root, "functions", json_integer((json_int_t)r->functions));
	json_object_set_new(root, "modes", modes_object(r));
	if (im->kind == IMAGE_SOLO5)
		json_object_set_new(root, "devices", devices_array(im));
	json_object_set_new(root, "segments", segments_array(im));
	return root;
}

static void print_json(const struct findings *r)
{
	json_t *root = findings_object(r);

	json_dumpf(root, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
	putchar('\n');
	json_decref(root);
}

static int read_names(struct findings *r)
{
	struct symbols symbols;
	int err = symbols_read(&symbols, r->image);

	if (err < 0)
		return err;
	symbols_describe(&symbols, r->image->entry_gva, r->entry, sizeof(r->entry));
	r->functions = symbols.functions;
	r->has_symbols = symbols.count > 0;
	symbols_free(&symbols);
	return 0;
}

static int ask_modes(struct findings *r, const struct mmu_ops *const *mmus)
{
	for (; *mmus && r->modes < MAX_MODES; mmus++) {
		struct mode *mode = &r->mode[r->modes++];
		int err = (*mmus)->check_image ? (*mmus)->check_image(r->image, &mode->why) : 0;

		mode->name = (*mmus)->name;
		mode->runs = err == 0;
		if (err < 0 && !*mode->why.text)
			return err;
	}
	return 0;
}

static int print_findings(const struct findings *r, bool json)
{
	if (json)
		print_json(r);
	else
		print_text(r);
	return program_flush_output();
}

int cmd_inspect(const struct program *p, int argc, char **argv)
{
	struct inspect_options o;
	struct image image;
	struct image_reason why;
	struct findings r = {.image = &image};
	const struct inspector *other;
	int err, status = EXIT_BAD;

	if (options_parse(&o, argc, argv) < 0)
		return EXIT_BAD;
	other = program_find_inspector(p, o.path);
	if (o.events && (!other || !other->events)) {
		log_print(LOG_ERROR, "inspect: %s: --events is for recordings", o.path);
		return EXIT_BAD;
	}
	if (other)
		return (o.events ? other->events : other->inspect)(o.path, o.json);
	printable(r.path, sizeof(r.path), o.path, SIZE_MAX);
	err = image_probe(&image, o.path, &why);
	if (err < 0 && err != -ENOEXEC) {
		log_print(LOG_ERROR, "%s: %s", *o.path ? o.path : "(empty name)", why.text);
		return program_image_status(err);
	}
	r.reason = err < 0 ? why.text : NULL;
	if ((err < 0 || (read_names(&r) == 0 && ask_modes(&r, p->mmus) == 0)) && print_findings(&r, o.json) == 0)
		status = err < 0 ? program_image_status(err) : 0;
	if (err == 0)
		image_close(&image);
	return status;
}
