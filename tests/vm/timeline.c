/*
 * Recorded guests that are put back, and forward, at random moments to checkpoints of theirs, and go on from there: at each checkpoint all
 * of the guest is what it was there the first time, seen by an eye of the test's own; what they say is said once, and they end as they
 * did, however often. So in little room, too, where checkpoints go.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>

#include "ept/ept.h"
#include "replay/recording_files.h"
#include "replay/replayer.h"
#include "replay/timeline.h"
#include "shadow/shadow.h"
#include "snapshot/image_reader.h"
#include "snapshot/reason.h"
#include "snapshot/restore.h"
#include "tests/unit/memory_fails.h"
#include "tests/unit/random.h"
#include "tests/vm/directory.h"
#include "tests/vm/effort.h"
#include "tests/vm/modes.h"
#include "tests/vm/snapshot_place.h"
#include "tests/vm/suite.h"
#include "tests/vm/way.h"
#include "vmm/cpu_state.h"
#include "vmm/kvm.h"
#include "vmm/program.h"
#include "vmm/run.h"
#include "vmm/state.h"

#define SEEN_MOST 20000u
#define ENOUGH UINT64_MAX

static const struct guest {
	const char *words, *input;
} guests[] = {
	{"@echo", "one\ntwo\nexit 17\n"},
	{"@clock -- 20 1000", ""},
	{"@procs", ""},
	{"@memory -- pause=1", ""},
	{"@compute -- 10", ""},
	{"@compute -- sse 3", ""},
	{"@ports", ""},
	{"@accesses", ""},
	{"@frames", ""},
	{"@shell", "hello a b\nticks\nbogus\ntime\nprocs\nexit 3\n"},
	{"--virtio-console @disk -- console", "first\nsecond\n"},
	{"@disk -- entropy", ""},
	{"@hostile -- triple-fault", ""},
	{"@hostile -- interrupt-storm 20", ""},
	{"@hostile -- pit-garbage 2000", ""},
	{"@hostile -- rtc-garbage 2000", ""},
	{"@solo5-hello", ""},
};

#define GUESTS (sizeof(guests) / sizeof(*guests))

/* All of a guest in numbers. */
struct sight {
	uint64_t position, ram, cpu, devices;
};

struct walk {
	struct replay_follower follower;
	struct steerer steerer;
	struct replayer replayer;
	struct timeline *timeline;
	struct timeline_options options;
	struct timeline_counts counts; /* at last */
	uint64_t little; /* bytes that there are beside the first checkpoint; or ENOUGH */
	uint64_t first;	 /* that it takes */
	struct random *random;
	const char *what;
	unsigned int jumps, ends, spoils; /* that are left */
	uint64_t furthest;
	uint64_t *gaps; /* NULL = nobody wants to know */
	struct sight *seen; /* by position; where there was a checkpoint */
	unsigned int count, compared, short_of_memory;
	bool has_points; /* asynchronous ones, to which the guest is put */
	struct way way;
	struct vm_end end; /* the first time */
	uint64_t end_position, end_ram;
};

static uint64_t ram_of(struct vm *vm)
{
	uint64_t digest = 0;

	for (unsigned int i = 0; i < vm->mem.region_count; i++)
		digest = XXH3_64bits_withSeed(vm->mem.region[i].hva, vm->mem.region[i].size, digest);
	return digest;
}

/* Registers that say something in each mode and on each host. */
static uint64_t cpu_of(struct vm *vm)
{
	struct cpu_state cs;
	uint64_t word[CPU_GPR_COUNT + 9];

	ck_assert_int_eq(vm_settle(vm, &cs), 0);
	ck_assert(!vm_ended(vm));
	memcpy(word, cs.gpr, sizeof(cs.gpr));
	memcpy(word + CPU_GPR_COUNT, (uint64_t[]){cs.rip, cs.rflags, cs.cr0, cs.cr2, cs.cr3, cs.cr4, cs.efer, cs.halted, cs.interrupt.valid},
	       9 * sizeof(uint64_t));
	return XXH3_64bits(word, sizeof(word));
}

static uint64_t devices_of(struct vm *vm)
{
	struct state s;
	uint64_t digest;

	state_save_init(&s);
	clock_visit(&vm->clock, &s);
	bus_visit(&vm->bus, &s);
	ck_assert_ptr_null(state_error(&s));
	digest = XXH3_64bits(s.bytes, s.size);
	state_free(&s);
	return digest;
}

static struct sight look_at(struct vm *vm)
{
	uint64_t cpu = cpu_of(vm); /* first: the guest stands still then */

	return (struct sight){vm->vcpu.port.position, ram_of(vm), cpu, devices_of(vm)};
}

static struct sight *find_sight(struct walk *w, uint64_t position)
{
	for (unsigned int i = 0; i < w->count; i++)
		if (w->seen[i].position == position)
			return &w->seen[i];
	return NULL;
}

/* As it was here the first time; if it is the first time, it is noted. */
static void compare(struct walk *w, struct vm *vm)
{
	struct sight is = look_at(vm), *was = find_sight(w, is.position);

	if (!was) {
		ck_assert_uint_lt(w->count, SEEN_MOST);
		w->seen[w->count++] = is;
		return;
	}
	w->compared++;
	ck_assert_msg(was->ram == is.ram && was->cpu == is.cpu && was->devices == is.devices, "%s: position %" PRIu64 ":%s%s%s", w->what,
		      is.position, was->ram == is.ram ? "" : " RAM", was->cpu == is.cpu ? "" : " registers",
		      was->devices == is.devices ? "" : " devices");
}

static void assert_room(const struct walk *w)
{
	struct timeline_counts c;

	timeline_count(w->timeline, &c);
	ck_assert_msg(c.bytes <= w->options.room, "%s: %" PRIu64 " bytes", w->what, c.bytes);
	ck_assert_uint_eq(timeline_before(w->timeline, 0), w->replayer.begun);
}

static void jump(struct walk *w, struct vm *vm)
{
	uint64_t to = w->replayer.begun + random_below(w->random, w->furthest - w->replayer.begun + 2);

	ck_assert_int_eq(timeline_go(w->timeline, to), 0);
	ck_assert(!vm_ended(vm));
	ck_assert_uint_eq(vm->vcpu.port.position, timeline_before(w->timeline, to));
	ck_assert_ptr_nonnull(find_sight(w, vm->vcpu.port.position));
	compare(w, vm);
	if (!random_below(w->random, effort(1, 4)))
		way_begin(&w->way, vm, !w->has_points);
}

/* Something that the guest does not look at. */
static void spoil_ram(struct vm *vm)
{
	uint8_t *page = mem_at(&vm->mem, 0x3f0000, PAGE_SIZE, MEM_WRITE);

	page[100] ^= 1;
}

static void spoil_cpu(struct vm *vm)
{
	struct cpu_state cs;

	ck_assert_int_eq(vm_settle(vm, &cs), 0);
	cs.dr[1] ^= 0x1000;
	ck_assert_int_eq(vm_go_on_from(vm, &cs), 0);
}

static void spoil_devices(struct vm *vm)
{
	vm->rtc.cmos[0x50] ^= 1;
}

static const struct {
	void (*spoil)(struct vm *vm);
	const char *said;
} spoils[] = {
	{spoil_ram, "RAM is not as it was: the page at 0x3f0000"},
	{spoil_cpu, "control or system registers are not as they were"},
	{spoil_devices, "devices are not as they were"},
};

#define SPOILS (sizeof(spoils) / sizeof(*spoils))

/* Back to the first checkpoint, where all is as it was, and something is done that was not done. */
static void spoil(struct walk *w, struct vm *vm)
{
	ck_assert_int_eq(timeline_go(w->timeline, 0), 0);
	compare(w, vm);
	if (w->spoils)
		spoils[w->spoils - 1].spoil(vm);
}

/* It is found at the next checkpoint, and nothing is done about it. */
static void find_spoiled(struct walk *w, struct vm *vm)
{
	struct timeline_counts before, after;
	struct reason why = {0};

	timeline_count(w->timeline, &before);
	ck_assert_int_eq(timeline_take(w->timeline, &why), 1);
	timeline_count(w->timeline, &after);
	ck_assert(!memcmp(&before, &after, sizeof(before)));
	ck_assert_msg(strstr(why.text, spoils[w->spoils - 1].said), "%s", why.text);
	w->spoils--;
	spoil(w, vm);
}

/* The host has no memory in the middle of it: there is no checkpoint then, and the others are as they were. */
static void take_without_memory(struct walk *w)
{
	struct timeline_counts before, after;
	struct reason why = {0};
	int r;

	timeline_count(w->timeline, &before);
	fails_in = 1 + (unsigned int)random_below(w->random, 12);
	r = timeline_take(w->timeline, &why);
	fails_in = 0;
	timeline_count(w->timeline, &after);
	ck_assert_msg(r == 0 || r == -ENOMEM, "%s", why.text);
	ck_assert(r == 0 || (before.count == after.count && before.taken == after.taken));
	w->short_of_memory += r < 0;
}

static void take(struct walk *w, struct vm *vm)
{
	struct reason why = {0};
	int r;

	if (w->end.kind && w->spoils) {
		find_spoiled(w, vm);
		return;
	}
	if (w->little == ENOUGH && !random_below(w->random, 4))
		take_without_memory(w);
	r = timeline_take(w->timeline, &why);
	ck_assert_msg(r == 0, "%s: position %" PRIu64 ": %s", w->what, vm->vcpu.port.position, why.text);
	compare(w, vm);
	way_end(&w->way, vm, w->timeline);
	assert_room(w);
}

/* Little room is what the first checkpoint needs, which has to be there, and some more. */
static void begin_timeline(struct walk *w, struct replayer *r)
{
	struct timeline_counts c;

	ck_assert_int_eq(timeline_begin(&w->timeline, r->vm, r, &w->options), 0);
	timeline_count(w->timeline, &c);
	w->first = c.bytes;
	if (w->little != ENOUGH) {
		timeline_end(w->timeline);
		w->options.room = c.bytes - 1;
		ck_assert_int_eq(timeline_begin(&w->timeline, r->vm, r, &w->options), -ENOMEM);
		w->options.room = c.bytes + w->little;
		ck_assert_int_eq(timeline_begin(&w->timeline, r->vm, r, &w->options), 0);
	}
	compare(w, r->vm);
}

static void look(struct replay_follower *f, struct replayer *r)
{
	struct walk *w = (struct walk *)((char *)f - offsetof(struct walk, follower));

	if (!w->timeline) {
		if (replayer_rest(r))
			begin_timeline(w, r);
	} else if (timeline_due(w->timeline) && replayer_rest(r)) {
		take(w, r->vm);
	}
	if (r->vm->vcpu.port.position > w->furthest)
		w->furthest = r->vm->vcpu.port.position;
	if (!vm_ended(r->vm) && w->jumps && !random_below(w->random, 40)) {
		w->jumps--;
		jump(w, r->vm);
	}
}

/* The greatest distance between two checkpoints in that half of the past that is nearer, and in the other. */
static void note_gaps(struct walk *w, uint64_t here)
{
	uint64_t first = w->replayer.begun, middle = first + (here - first) / 2, at, before;

	for (at = timeline_before(w->timeline, here); at > first; at = before) {
		uint64_t *gap = &w->gaps[at < middle];

		before = timeline_before(w->timeline, at - 1);
		*gap = at - before > *gap ? at - before : *gap;
	}
}

static void ended(struct replay_follower *f, struct replayer *r)
{
	struct walk *w = (struct walk *)((char *)f - offsetof(struct walk, follower));
	struct vm *vm = r->vm;

	if (w->gaps)
		note_gaps(w, vm->vcpu.port.position);
	if (!w->end.kind) {
		w->end = vm->end;
		w->end_position = vm->vcpu.port.position;
		w->end_ram = ram_of(vm);
	}
	ck_assert_msg(vm->end.kind == w->end.kind && vm->end.code == w->end.code && !strcmp(vm->end.reason, w->end.reason) &&
		      vm->vcpu.port.position == w->end_position && ram_of(vm) == w->end_ram, "%s: ended: %s", w->what, vm->end.reason);
	if (w->spoils) {
		spoil(w, vm);
	} else if (w->ends) {
		w->ends--;
		jump(w, vm);
	}
}

static int begin(struct steerer *s, struct vm *vm)
{
	struct walk *w = (struct walk *)((char *)s - offsetof(struct walk, steerer));

	w->replayer.follower = &w->follower;
	return replayer_begin(&w->replayer, vm);
}

struct said {
	char *text;
	size_t size;
	int status;
};

static void read_output(struct said *s, int fd)
{
	s->size = (size_t)lseek(fd, 0, SEEK_END);
	s->text = calloc(1, s->size + 1);
	ck_assert_int_eq(pread(fd, s->text, s->size, 0), (ssize_t)s->size);
}

/* A VM of the snapshot that the recording begins with, steered by the walk to its end. */
static struct said run_walk(struct walk *w, const struct image_reader *reader, const struct mmu_ops *mmu)
{
	const struct solo5_options none = {0};
	struct said said;
	struct disk disks[DISK_MAX];
	struct restore restore;
	struct kvm kvm;
	struct vm_config config = {.kvm = &kvm, .mmu = mmu, .steerer = &w->steerer, .disks = disks, .console.fd = memfd_create("output", MFD_CLOEXEC)};
	struct vm *vm = calloc(1, sizeof(*vm));

	ck_assert_int_eq(kvm_open(&kvm), 0);
	ck_assert_int_eq(vcpu_init_process(), 0);
	ck_assert_int_eq(restore_open(&restore, reader, &none, false), 0);
	config.disk_count = reader->sn.machine.disk_count;
	for (uint32_t i = 0; i < config.disk_count; i++)
		disk_make_absent(&disks[i], reader->sn.machine.disk[i].path, reader->sn.machine.disk[i].use);
	restore_configure(&restore, &config);
	ck_assert_int_eq(vm_create(vm, &config), 0);
	run_vm(vm);
	vcpu_close_mailbox(&vm->vcpu);
	said.status = vm_end_status(&vm->end);
	timeline_count(w->timeline, &w->counts);
	timeline_end(w->timeline);
	vm_destroy(vm);
	read_output(&said, config.console.fd);
	close(config.console.fd);
	restore_close(&restore);
	kvm_close(&kvm);
	free(vm);
	return said;
}

static struct said replay(struct walk *w, const char *directory, bool shadow)
{
	static const struct mmu_ops *const mmus[] = {&ept_mmu, &shadow_mmu, NULL};
	static const struct program program = {.mmus = mmus, .host_mmu = "unknown"};
	struct image_reader reader;
	struct reason why = {0};
	char name[PATH_MAX], start[PATH_MAX];
	struct said said;
	bool partial;
	int fd = recording_open_log(directory, name, &partial, &why);

	ck_assert_msg(fd >= 0, "%s", why.text);
	ck_assert_int_eq(recording_file(start, directory, RECORDING_START, &why), 0);
	ck_assert_msg(image_reader_open(&reader, start, &why) == 0, "%s", why.text);
	ck_assert_int_eq(replayer_open(&w->replayer, &program, fd, name, REPLAYER_TO_THE_END, &why), 0);
	w->follower = (struct replay_follower){look, ended};
	w->steerer.begin = begin;
	w->seen = calloc(SEEN_MOST, sizeof(*w->seen));
	said = run_walk(w, &reader, shadow ? &shadow_mmu : &ept_mmu);
	free(w->seen);
	way_forget(&w->way);
	replayer_close(&w->replayer);
	image_reader_close(&reader);
	close(fd);
	return said;
}

static void type(struct child *c, const char *input, struct random *r)
{
	size_t size = strlen(input), n;

	for (; size; input += n, size -= n) {
		n = 1 + random_below(r, size);
		child_send(c, input, n);
		child_linger(c, (unsigned int)random_below(r, 20));
	}
	child_close_input(c);
}

static struct outcome record(const struct snapshot_place *p, const struct guest *g, struct random *r)
{
	char line[600];
	struct spawn s = {.line = line};
	struct child c;

	snprintf(line, sizeof(line), "run --mmu %s --mem 4M --record %s/r %s", mmu_is_shadow() ? "shadow" : "ept", p->control.directory, g->words);
	c = child_start(&s);
	type(&c, g->input, r);
	return child_end(&c);
}

static void assert_said(const struct said *s, const struct outcome *o, const char *what)
{
	ck_assert_msg(s->status == o->status && s->size == o->out.size && !memcmp(s->text, o->out.data, s->size), "%s: status %d, not %d: '%s', not '%s'",
		      what, s->status, o->status, s->text, o->out.data);
}

/* So many positions between two checkpoints that there are some, and not too many. */
static uint64_t spacing(struct random *r, uint64_t positions)
{
	return 1 + positions / (5 + random_below(r, 60));
}

/* What is the same of each walk through a recording, and what they have met in all. */
struct recorded {
	char directory[PATH_MAX];
	const struct guest *guest;
	struct outcome outcome;
	uint64_t positions;
	bool has_points;
};

struct met {
	uint64_t dropped; /* checkpoints, for want of room */
	unsigned int short_of_memory, unwritten, unused;
};

/* Returns what all checkpoints but the first took, at last. */
static uint64_t wander(const struct recorded *from, struct random *r, bool shadow, uint64_t little, struct met *met)
{
	struct walk w = {
		.options = {.every = spacing(r, from->positions), .room = TIMELINE_ROOM, .uses = random_below(r, 4) > 0}, .little = little, .random = r,
		.what = from->guest->words, .jumps = effort(6, 3), .ends = effort(2, 1), .has_points = from->has_points,
	};
	struct said said = replay(&w, from->directory, shadow);

	assert_said(&said, &from->outcome, from->guest->words);
	ck_assert_uint_ge(w.compared, effort(2, 1));
	ck_assert(little != ENOUGH || !w.counts.dropped);
	met->dropped += w.counts.dropped;
	met->short_of_memory += w.short_of_memory;
	met->unwritten += w.way.unwritten;
	met->unused += w.way.unused;
	free(said.text);
	return w.counts.bytes - w.first;
}

static void read_log(struct recorded *f)
{
	struct log_reader r;
	struct reason why = {0};
	struct event e;
	char name[PATH_MAX];
	bool partial;
	int fd = recording_open_log(f->directory, name, &partial, &why);

	ck_assert_int_eq(log_reader_open(&r, fd, name, &why), 0);
	while (log_reader_next(&r, &e, &why) == 1)
		f->has_points |= e.kind == EVENT_STATE;
	f->positions = r.position;
	log_reader_close(&r);
	close(fd);
}

START_TEST(test_guests)
{
	struct random r = random_start("timeline");
	struct met met = {0};

	for (size_t i = 0; i < GUESTS; i++) {
		struct snapshot_place p = make_snapshot_place();
		struct recorded from = {.guest = &guests[i], .outcome = record(&p, &guests[i], &r)};
		uint64_t bytes;

		snprintf(from.directory, sizeof(from.directory), "%s/r", p.control.directory);
		read_log(&from);
		bytes = wander(&from, &r, mmu_is_shadow(), ENOUGH, &met);
		wander(&from, &r, mmu_is_shadow(), bytes / (2 + random_below(&r, 6)), &met);
		if (is_long() || random_below(&r, 2))
			wander(&from, &r, !mmu_is_shadow(), ENOUGH, &met);
		outcome_free(&from.outcome);
		leave_snapshot_place(&p);
	}
	ck_assert_uint_gt(met.dropped, 20);
	ck_assert_uint_gt(met.short_of_memory, 5);
	ck_assert_uint_gt(met.unwritten, 1000);
	ck_assert(met.unused > 1000 || !mmu_is_shadow());
}
END_TEST

/* Where room is short the past gets sparse, the more the further it is; and what goes is never much more than has to. */
START_TEST(test_thinned)
{
	static const struct guest guest = {"@ports", ""};
	struct random r = random_start("thinned");
	struct snapshot_place p = make_snapshot_place();
	struct outcome first = record(&p, &guest, &r);
	char directory[PATH_MAX];
	struct walk all = {.options = {.every = 4, .room = TIMELINE_ROOM}, .little = ENOUGH, .random = &r, .what = "all"}, few;
	uint64_t gaps[2] = {0}, bytes;

	snprintf(directory, sizeof(directory), "%s/r", p.control.directory);
	free(replay(&all, directory, mmu_is_shadow()).text);
	bytes = all.counts.bytes - all.first;
	few = (struct walk){.options = {.every = 4, .room = TIMELINE_ROOM}, .little = bytes / 8, .random = &r, .what = "few", .gaps = gaps};
	free(replay(&few, directory, mmu_is_shadow()).text);
	ck_assert_uint_eq(few.counts.taken, all.counts.taken);
	ck_assert_uint_gt(few.counts.count, all.counts.count / 16);
	ck_assert_uint_lt(few.counts.count, all.counts.count / 2);
	ck_assert_msg(gaps[1] > gaps[0] && gaps[0], "gaps of %" PRIu64 " and %" PRIu64, gaps[0], gaps[1]);
	outcome_free(&first);
	leave_snapshot_place(&p);
}
END_TEST

START_TEST(test_spoiled)
{
	struct random r = random_start("spoiled");
	struct snapshot_place p = make_snapshot_place();
	struct outcome first = record(&p, &guests[0], &r);
	char directory[PATH_MAX];
	struct walk w = {.options = {.every = 5, .room = TIMELINE_ROOM}, .little = ENOUGH, .random = &r, .what = "spoiled", .spoils = SPOILS};
	struct said said;

	snprintf(directory, sizeof(directory), "%s/r", p.control.directory);
	said = replay(&w, directory, mmu_is_shadow());
	assert_said(&said, &first, "spoiled");
	ck_assert_uint_eq(w.spoils, 0);
	ck_assert_uint_ge(w.compared, SPOILS + 1);
	free(said.text);
	outcome_free(&first);
	leave_snapshot_place(&p);
}
END_TEST

static struct outcome replay_by_program(const struct snapshot_place *p, const char *words)
{
	char line[400];

	snprintf(line, sizeof(line), "replay --mmu %s %s %s/r", mmu_is_shadow() ? "shadow" : "ept", words, p->control.directory);
	return spawn_line(line, "");
}

static void assert_twice(const struct snapshot_place *p, const struct outcome *first, const char *words, int status, const char *said)
{
	struct outcome o = replay_by_program(p, words);

	ck_assert_msg(o.status == status && strstr(o.err.data, said), "%s: %d '%s'", words, o.status, o.err.data);
	ck_assert_msg(!strncmp(first->out.data, o.out.data, o.out.size) && (status != first->status || o.out.size == first->out.size), "%s: '%s'", words,
		      o.out.data);
	outcome_free(&o);
}

/* The user's way. */
START_TEST(test_twice)
{
	struct random r = random_start("twice");
	struct snapshot_place p = make_snapshot_place();
	struct outcome first = record(&p, &guests[0], &r);

	assert_twice(&p, &first, "--log=info --twice", 17, "replayed twice; 0 checkpoints compared");
	assert_twice(&p, &first, "--log=info --twice --checkpoint-every 20", 17, "checkpoints compared");
	assert_twice(&p, &first, "--log=info --twice --checkpoint-every 1 --until 20", 0, "replayed: at position 20, as --until says");
	assert_twice(&p, &first, "--twice --checkpoint-room 10K", 125, "the first checkpoint takes");
	assert_twice(&p, &first, "--twice --checkpoint-room 0K", 125, "give a size");
	assert_twice(&p, &first, "--twice --checkpoint-every 0", 125, "give a number from 1");
	assert_twice(&p, &first, "--checkpoint-every 5", 125, "are for --twice");
	assert_twice(&p, &first, "--checkpoint-room 5M", 125, "are for --twice");
	outcome_free(&first);
	leave_snapshot_place(&p);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {test_guests, test_thinned, test_spoiled, test_twice};

	return RUN_TESTS("timeline", tests);
}
