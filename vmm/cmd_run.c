#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "vmm/fleet.h"
#include "vmm/image.h"
#include "vmm/kvm.h"
#include "vmm/log.h"
#include "vmm/program.h"
#include "vmm/run_options.h"
#include "vmm/stats.h"
#include "vmm/symbols.h"

int program_image_status(int error)
{
	return error == -ENOENT || error == -ENOEXEC ? EXIT_NO_IMAGE : EXIT_BAD;
}

/* File descriptor for the guests' output; -1 = none. Returns a logged -errno below -1 on failure. */
static int open_console(const struct run_options *o, int *fd)
{
	*fd = o->console == RUN_CONSOLE_STDIO ? STDOUT_FILENO : -1;
	if (o->console != RUN_CONSOLE_FILE)
		return 0;
	*fd = open(o->console_file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	return *fd < 0 ? log_errno(errno, "%s", o->console_file) : 0;
}

static void describe_place(const struct vm_end *end, const struct symbols *symbols, char *text, size_t room)
{
	char name[128];

	*text = '\0';
	if (!end->has_rip)
		return;
	symbols_describe(symbols, end->rip, name, sizeof(name));
	snprintf(text, room, *name ? ", at 0x%llx (%s)" : ", at 0x%llx", (unsigned long long)end->rip, name);
}

static bool all_exited(const struct fleet *f)
{
	for (unsigned int i = 0; i < f->count; i++)
		if (f->members[i].vm.end.kind != VM_EXITED)
			return false;
	return true;
}

/* One line for every guest that did not end by itself. */
static void report(const struct fleet *f, const struct run_options *o, const struct image *image)
{
	struct symbols symbols;
	char place[160];

	if (all_exited(f) || symbols_read(&symbols, image) < 0)
		return;
	for (unsigned int i = 0; i < f->count; i++) {
		const struct vm_end *end = &f->members[i].vm.end;

		if (end->kind == VM_EXITED || end->said)
			continue;
		describe_place(end, &symbols, place, sizeof(place));
		if (f->count == 1)
			log_print(LOG_ERROR, "%s: %s: %s%s", o->image, vm_end_name(end->kind), end->reason, place);
		else
			log_print(LOG_ERROR, "%s #%u: %s: %s%s", o->image, i, vm_end_name(end->kind), end->reason, place);
	}
	symbols_free(&symbols);
}

/* One status for all: a host's failure before a killed guest, before a stop, before a guest's own code. */
static int fleet_status(const struct fleet *f)
{
	static const int order[] = {125, 126, 130};
	int status[256] = {0}, first = 0;

	for (unsigned int i = 0; i < f->count; i++) {
		int s = vm_end_status(&f->members[i].vm.end);

		status[f->members[i].vm.end.kind == VM_EXITED ? 0 : s] = 1;
		first = first ? first : s;
	}
	for (unsigned int i = 0; i < sizeof(order) / sizeof(*order); i++)
		if (status[order[i]])
			return order[i];
	return first;
}

static int launch_all(struct fleet *f, const struct run_options *o, const struct vm_config *config)
{
	int r = 0;

	for (unsigned int i = 0; i < o->count && r == 0; i++)
		r = fleet_launch(f, *config);
	if (r < 0)
		fleet_ask_end(f, VM_STOPPED);
	return r;
}

static int run_fleet(const struct program *p, const struct run_options *o, const struct vm_config *config,
		     FILE *stats)
{
	bool interactive = o->console == RUN_CONSOLE_STDIO && o->count == 1;
	struct fleet f;
	int r = fleet_init(&f, o->count, interactive ? STDIN_FILENO : -1, o->timeout_ms);
	int status = EXIT_BAD;

	if (r < 0)
		return EXIT_BAD;
	r = fleet_control(&f, o->control, p);
	if (r == 0)
		r = launch_all(&f, o, config);
	fleet_wait(&f);
	terminal_give_back(&f.terminal);
	if (r == 0) {
		report(&f, o, config->image);
		status = fleet_status(&f);
	}
	if (r == 0 && stats && stats_write(stats, &f, p, o) < 0)
		status = EXIT_BAD;
	fleet_destroy(&f);
	return status;
}

static int run_with_stats(const struct program *p, const struct run_options *o, const struct vm_config *config)
{
	FILE *stats = o->stats ? stats_open(o->stats) : NULL;
	int status;

	if (o->stats && !stats)
		return EXIT_BAD;
	status = run_fleet(p, o, config, stats);
	if (stats && stats != stderr)
		fclose(stats);
	return status;
}

static int run_image(const struct program *p, const struct run_options *o, const struct image *image)
{
	struct vm_config config = {.mmu = o->mmu, .cpu = o->cpu, .image = image, .cmdline = o->cmdline, .initrd = o->initrd,
				   .mem = o->mem, .huge = o->huge, .console.numbered = o->count > 1};
	struct kvm kvm;
	int status = EXIT_BAD;

	if (open_console(o, &config.console.fd) < 0)
		return EXIT_BAD;
	if (kvm_open(&kvm) == 0 && vcpu_init_process() == 0) {
		config.kvm = &kvm;
		status = run_with_stats(p, o, &config);
	}
	kvm_close(&kvm);
	if (o->console == RUN_CONSOLE_FILE)
		close(config.console.fd);
	return status;
}

int cmd_run(const struct program *p, int argc, char **argv)
{
	struct run_options o;
	struct image image;
	int r = run_options_parse(&o, p, argc, argv), status = EXIT_BAD;

	if (r < 0)
		goto options;
	r = image_open(&image, o.image);
	if (r < 0) {
		status = program_image_status(r);
		goto options;
	}
	status = run_image(p, &o, &image);
	image_close(&image);
options:
	run_options_free(&o);
	return status;
}
