#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "vmm/cmd_run.h"
#include "vmm/debug.h"
#include "vmm/fleet.h"
#include "vmm/image.h"
#include "vmm/keeper.h"
#include "vmm/kvm.h"
#include "vmm/log.h"
#include "vmm/overwrite.h"
#include "vmm/program.h"
#include "vmm/run_options.h"
#include "vmm/stats.h"
#include "vmm/steering.h"
#include "vmm/symbols.h"

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

static void report_exits(const struct fleet *f, const struct run_options *o)
{
	for (unsigned int i = 0; i < f->count; i++)
		if (f->members[i].vm.end.kind == VM_EXITED)
			log_print(LOG_INFO, "%s #%u: %s", o->image, i, f->members[i].vm.end.reason);
}

/* One line for every guest that did not end by itself; for the others only who wants to know more gets one. */
static void report(const struct fleet *f, const struct run_options *o, const struct image *image)
{
	struct symbols symbols;
	char place[160];

	report_exits(f, o);
	if (f->count < o->count)
		log_print(LOG_ERROR, "%s: ended when %u of %u guests had been started", o->image, f->count, o->count);
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
	int r = fleet_launch(f, *config);

	while (r == 0 && f->count < o->count && !fleet_is_ending(f))
		r = fleet_launch(f, *config);
	if (r < 0)
		fleet_ask_end(f, VM_STOPPED);
	return r;
}

/* *k stays NULL if no checkpoints are wanted. */
static int start_checkpoints(const struct program *p, const struct run_options *o, struct fleet *f, void **k)
{
	int r;

	if (!o->checkpoint)
		return 0;
	r = p->checkpointer->start(k, &f->members[0].vm, o->checkpoint,
				   o->checkpoint_every ? o->checkpoint_every : RUN_CHECKPOINT_EVERY);
	if (r < 0)
		fleet_ask_end(f, VM_STOPPED);
	return r;
}

static int start_scavenger(const struct program *p, const struct run_options *o, struct fleet *f)
{
	if (!o->scavenged)
		return 0;
	if (!p->scavenging)
		return log_bad(EOPNOTSUPP, "--scavenge: this build has no scavenger");
	return fleet_scavenge(f, p->scavenging, &o->scavenge);
}

static int run_fleet(const struct program *p, const struct run_options *o, const struct vm_config *config,
		     FILE *stats)
{
	bool interactive = o->console == RUN_CONSOLE_STDIO && o->count == 1;
	struct fleet f;
	int r = fleet_init(&f, o->count, interactive ? STDIN_FILENO : -1, o->timeout_ms);
	int status = EXIT_BAD;
	void *keeper = NULL;

	if (r < 0)
		return EXIT_BAD;
	r = fleet_control(&f, o->control, p);
	if (r == 0)
		r = start_scavenger(p, o, &f);
	if (r == 0)
		r = launch_all(&f, o, config);
	if (r == 0)
		r = start_checkpoints(p, o, &f, &keeper);
	fleet_wait(&f);
	if (keeper)
		p->checkpointer->stop(keeper);
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

int run_open_disks(struct disk *disks, const struct run_options *o)
{
	for (unsigned int i = 0; i < o->disk_count; i++) {
		int r = disk_open(&disks[i], o->disk[i].path, o->disk[i].use);

		while (r < 0 && i)
			disk_close(&disks[--i]);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Each guest has two descriptors. As many as the process may have at all; where that is too few, opening them says so. */
static void allow_files(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static int run_unrecorded(const struct program *p, const struct run_options *o, struct vm_config *config)
{
	struct kvm kvm;
	int status = EXIT_BAD;

	config->mmu = o->mmu;
	config->huge = o->huge;
	config->console.numbered = o->count > 1;
	allow_files();
	if (open_console(o, &config->console.fd) < 0)
		return EXIT_BAD;
	if (kvm_open(&kvm) == 0 && vcpu_init_process() == 0) {
		config->kvm = &kvm;
		status = run_with_stats(p, o, config);
	}
	kvm_close(&kvm);
	if (o->console == RUN_CONSOLE_FILE)
		close(config->console.fd);
	return status;
}

int run_guests(const struct program *p, const struct run_options *o, struct vm_config *config)
{
	int status;

	if (!o->record || config->steerer)
		return run_unrecorded(p, o, config);
	if (p->recording->open(&config->steerer, p, o->record, o->record_anyway) < 0)
		return EXIT_BAD;
	status = run_unrecorded(p, o, config);
	return p->recording->close(config->steerer) < 0 ? EXIT_BAD : status;
}

/* Debugged, if that is asked for. */
static int run_debugged(const struct program *p, const struct run_options *o, struct vm_config *config)
{
	int status;

	if (!o->gdb)
		return run_guests(p, o, config);
	if (p->debugging->open(&config->debug, o->gdb) < 0)
		return EXIT_BAD;
	status = run_guests(p, o, config);
	p->debugging->close(config->debug);
	return status;
}

static int run_with_disks(const struct program *p, const struct run_options *o, const struct image *image)
{
	struct disk disks[DISK_MAX];
	struct vm_config config = {.cpu = o->cpu, .image = image, .cmdline = o->cmdline, .initrd = o->initrd, .mem = o->mem,
				   .solo5 = &o->solo5, .module = o->module, .module_count = o->module_count, .disks = disks,
				   .disk_count = o->disk_count, .virtio_console = o->virtio_console, .balloon = true};
	int status;

	if (run_open_disks(disks, o) < 0)
		return EXIT_BAD;
	status = run_debugged(p, o, &config);
	for (unsigned int i = 0; i < o->disk_count; i++)
		disk_close(&disks[i]);
	return status;
}

/*
 * What was left open. Kernels of a PC touch most of their RAM, so large pages cost no memory there, and save a tenth of the time to
 * boot. Where pages are to be exchanged one by one, they would be broken up again.
 */
static void suit_image(struct run_options *o, const struct image *image)
{
	if (!o->mem)
		o->mem = image_ram_default(image);
	if (!o->huge_said && !o->scavenged && image_is_pc(image))
		o->huge = MEM_HUGE_ADVISE;
}

/* Returns 0 or a logged -errno. */
static int open_image(struct image *image, const struct program *p, const char *path)
{
	const struct inspector *other = program_find_inspector(p, path);

	return other ? log_bad(ENOEXEC, "%s: %s", path, other->hint) : image_open(image, path);
}

int cmd_run(const struct program *p, int argc, char **argv)
{
	struct run_options o;
	struct image image;
	int r = run_options_parse(&o, p, argc, argv), status = EXIT_BAD;

	if (r == 0)
		r = overwrite_check(&o);
	if (r < 0)
		goto options;
	r = open_image(&image, p, o.image);
	if (r < 0) {
		status = program_image_status(r);
		goto options;
	}
	suit_image(&o, &image);
	status = run_with_disks(p, &o, &image);
	image_close(&image);
options:
	run_options_free(&o);
	return status;
}
