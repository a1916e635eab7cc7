/*
 * Guests whose RAM is absent when they start, and keeps going: pages are dropped to a pager, brought ahead, protected and saved,
 * and the MMU mode changes, while the guest checks its own memory and uses a disk. Its output must be that of a guest left alone,
 * every saved page what RAM held when it was protected. And when pages do not come any more, the VM ends as the host's failure,
 * in time, and nothing that was made of a zero leaves it.
 */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ept/ept.h"
#include "shadow/shadow.h"
#include "tests/unit/random.h"
#include "tests/vm/effort.h"
#include "tests/vm/modes.h"
#include "vmm/disk.h"
#include "vmm/image.h"
#include "vmm/kvm.h"
#include "vmm/pager.h"
#include "vmm/run.h"
#include "vmm/userfault_claim.h"
#include "vmm/vm.h"

#define RAM (32ull << 20)
#define PAGES (RAM / PAGE_SIZE)
#define OUTPUT_MAX 65536
#define DISK_BYTES (1u << 20)
#define DISK_BEFORE 0xee
#define FOR_EVER UINT32_MAX
#define HANG_DEADLINE_MS 200u

static const struct trial {
	const char *image, *arguments;
	bool disk;
} trials[] = {
	{"memory", "zero=64 dup=64 similar=64 unique=64 hot=32 cold=32 rounds=80", false},
	{"procs", "6", false},
	{"clock", "200 100", false},
	{"disk", "fill 7", true},
};

#define TRIALS ((int)(sizeof(trials) / sizeof(*trials)))

static struct kvm kvm;
static uint8_t *store, *then; /* what the pager has; what RAM held when it was protected */
static _Atomic unsigned char wanted[PAGES];
static char alone[OUTPUT_MAX], output[OUTPUT_MAX];
static uint8_t disk_alone[DISK_BYTES], disk_now[DISK_BYTES];

static struct {
	_Atomic uint32_t answers; /* the pager gives, FOR_EVER = no end */
	bool hangs;		  /* then it fails only when nobody waits for it any more */
	const struct mem *mem;	  /* whose pages these are */
	_Atomic bool failed;
	_Atomic uint64_t calls;
} paging;

static int fetch(struct pager *p, uint64_t gpa, unsigned int pages, void *buffer, const void **bytes)
{
	uint32_t left = atomic_load(&paging.answers);

	atomic_fetch_add(&paging.calls, 1);
	if (!left) {
		paging.failed = true;
		while (paging.hangs && !mem_is_lost(paging.mem))
			usleep(10000);
		return -EIO;
	}
	if (left != FOR_EVER)
		atomic_fetch_sub(&paging.answers, 1);
	*bytes = store + gpa;
	if (gpa / PAGE_SIZE % 2)
		return (int)pages;
	*bytes = memcpy(buffer, store + gpa, PAGE_SIZE);
	return 1;
}

static struct pager pager = {.name = "the test's pager", .fetch = fetch};

static bool is_absent(struct userfault *u, uint64_t page)
{
	bool absent;

	pthread_mutex_lock(&u->lock);
	absent = userfault_source_of(u, page) != NULL;
	pthread_mutex_unlock(&u->lock);
	return absent;
}

/* On the vCPU's thread, guest not running. */
static int drop(struct vm *vm, uint64_t first, uint64_t count)
{
	for (uint64_t n = first; n < first + count; n++)
		if (!is_absent(&vm->userfault, n))
			memcpy(store + n * PAGE_SIZE, mem_page_hva(&vm->mem, n), PAGE_SIZE);
	return userfault_absent(&vm->userfault, &pager, first * PAGE_SIZE, count * PAGE_SIZE);
}

static void protect_all(struct vm *vm, struct userfault_guard *g)
{
	for (uint64_t n = 0; n < PAGES; n++) {
		bool absent = is_absent(&vm->userfault, n);

		memcpy(then + n * PAGE_SIZE, absent ? store + n * PAGE_SIZE : mem_page_hva(&vm->mem, n), PAGE_SIZE);
		wanted[n] = 1;
	}
	ck_assert_int_eq(userfault_protect(&vm->userfault, g, 0, RAM), 0);
}

static void save(struct userfault_guard *g, uint64_t gpa, const void *bytes, unsigned int pages)
{
	static const uint8_t zero[PAGE_SIZE];

	for (unsigned int i = 0; i < pages; i++) {
		uint64_t n = gpa / PAGE_SIZE + i;

		ck_assert_msg(atomic_exchange(&wanted[n], 0), "page %lu was saved without need", n);
		ck_assert_msg(!memcmp(bytes ? (const uint8_t *)bytes + i * PAGE_SIZE : zero, then + n * PAGE_SIZE, PAGE_SIZE),
			      "page %lu was saved as something else", n);
	}
}

/* What is done to a running guest, by its vCPU's thread. */
struct deed {
	struct vcpu_work work;
	enum { DROP, DROP_ALL, PROTECT, FLIP, DEEDS } what;
	struct userfault_guard *guard;
	uint64_t first, count;
	sem_t done;
};

static void run_deed(struct vcpu_work *w, struct vm *vm)
{
	struct deed *d = (struct deed *)w;
	int r = 0;

	if (vm_ended(vm))
		r = 0;
	else if (d->what == DROP)
		r = drop(vm, d->first, d->count);
	else if (d->what == DROP_ALL)
		r = drop(vm, 0, PAGES);
	else if (d->what == PROTECT)
		protect_all(vm, d->guard);
	else
		r = vm_change_mmu(vm, vm->mmu == &ept_mmu ? &shadow_mmu : &ept_mmu);
	ck_assert_msg(r == 0 || (r == -EBUSY && d->what <= DROP_ALL) || (r == -ECANCELED && mem_is_lost(&vm->mem)), "deed %d: %d",
		      d->what, r);
	sem_post(&d->done);
}

static bool have_done(struct deed *d, struct vm *vm)
{
	if (!vcpu_post(&vm->vcpu, &d->work))
		return false;
	sem_wait(&d->done);
	return true;
}

struct pest {
	struct vm *vm;
	struct random random;
	struct userfault_guard guard;
	unsigned int deeds, epochs;
};

static void run_epoch(struct pest *p, struct deed *d, void *buffer)
{
	int64_t left = 1;

	d->what = PROTECT;
	if (!have_done(d, p->vm))
		return;
	while (left > 0) {
		left = userfault_save(&p->vm->userfault, &p->guard, buffer);
		if (random_below(&p->random, 50) == 0)
			usleep((useconds_t)random_below(&p->random, 1000));
	}
	ck_assert_int_eq(left, 0);
	for (uint64_t n = 0; n < PAGES; n++)
		ck_assert_msg(!wanted[n], "page %lu was not saved", n);
	p->epochs++;
}

static void *pester(void *arg)
{
	struct pest *p = arg;
	struct deed d = {.work.run = run_deed, .guard = &p->guard};
	void *buffer = aligned_alloc(PAGE_SIZE, USERFAULT_RUN * PAGE_SIZE);
	unsigned int most = effort(200, 30);

	sem_init(&d.done, 0, 0);
	do {
		d.first = random_below(&p->random, PAGES);
		d.count = 1 + random_below(&p->random, PAGES - d.first);
		d.what = random_below(&p->random, DEEDS);
		if (d.what == PROTECT)
			run_epoch(p, &d, buffer);
		else if (random_below(&p->random, 6) == 0)
			userfault_prefetch(&p->vm->userfault, d.first * PAGE_SIZE, d.count * PAGE_SIZE, buffer);
		usleep((useconds_t)random_below(&p->random, 3000));
	} while (++p->deeds < most && (d.what == PROTECT || have_done(&d, p->vm)));
	free(buffer);
	return NULL;
}

static void read_back(int fd, void *to, size_t size)
{
	ssize_t n = pread(fd, to, size - 1, 0);

	ck_assert_int_ge((int)n, 0);
	((char *)to)[n] = '\0';
}

static void make_disk(char *path, size_t size, int fd)
{
	uint8_t *bytes = malloc(DISK_BYTES);

	memset(bytes, DISK_BEFORE, DISK_BYTES);
	ck_assert_int_eq(pwrite(fd, bytes, DISK_BYTES, 0), DISK_BYTES);
	snprintf(path, size, "/proc/self/fd/%d", fd);
	free(bytes);
}

/* With a pest's guard, RAM is absent from the start. */
static void run(struct vm *vm, struct pest *p)
{
	pthread_t thread;

	if (p) {
		ck_assert_int_eq(drop(vm, 0, PAGES), 0);
		ck_assert_uint_eq(userfault_absent_count(&vm->userfault), PAGES);
		ck_assert_int_eq(userfault_guard_add(&vm->userfault, &p->guard), 0);
		if (paging.answers == FOR_EVER)
			ck_assert_int_eq(pthread_create(&thread, NULL, pester, p), 0);
	}
	run_vm(vm);
	vcpu_close_mailbox(&vm->vcpu);
	if (p && paging.answers == FOR_EVER)
		pthread_join(thread, NULL);
	if (p)
		userfault_guard_remove(&vm->userfault, &p->guard);
}

/* Runs an image to its end. Its output is in `text`, its disk's bytes in `disk`. */
static struct vm_end run_guest(const struct trial *t, struct pest *p, char *text, uint8_t *disk_bytes)
{
	static struct vm vm;
	struct image image;
	struct disk disk;
	int out = memfd_create("console", MFD_CLOEXEC), file = memfd_create("disk", MFD_CLOEXEC);
	struct vm_config config = {.kvm = &kvm, .mmu = mmu_is_shadow() ? &shadow_mmu : &ept_mmu, .image = &image,
				   .cmdline = t->arguments, .mem = RAM, .console.fd = out};
	char path[512], disk_path[64];
	struct vm_end end;

	snprintf(path, sizeof(path), "%s/guest/%s", getenv("PENUMBRA_BUILD"), t->image);
	ck_assert_int_eq(image_open(&image, path), 0);
	if (t->disk) {
		make_disk(disk_path, sizeof(disk_path), file);
		ck_assert_int_eq(disk_open(&disk, disk_path, DISK_READ_WRITE), 0);
		config.disks = &disk;
		config.disk_count = 1;
	}
	ck_assert_int_eq(vm_create(&vm, &config), 0);
	vm.userfault.deadline_ms = paging.hangs ? HANG_DEADLINE_MS : USERFAULT_DEADLINE_MS;
	paging.mem = &vm.mem;
	if (p)
		p->vm = &vm;
	run(&vm, p);
	end = vm.end;
	if (p && paging.answers == FOR_EVER)
		printf("%s: %u deeds, %u epochs; fetched %lu, zeroed %lu, saved %lu at faults, median %lu us, p99 %lu us\n", t->image,
		       p->deeds, p->epochs, vm.userfault.stats.fetched, vm.userfault.stats.zeroed,
		       vm.userfault.stats.saved_at_fault, latency_quantile(&vm.userfault.stats.answer, .5) / 1000,
		       latency_quantile(&vm.userfault.stats.answer, .99) / 1000);
	vm_destroy(&vm);
	read_back(out, text, OUTPUT_MAX);
	if (t->disk) {
		ck_assert_int_eq(pread(file, disk_bytes, DISK_BYTES, 0), DISK_BYTES);
		disk_close(&disk);
	}
	image_close(&image);
	close(out);
	close(file);
	return end;
}

static void run_alone(const struct trial *t)
{
	struct vm_end end = run_guest(t, NULL, alone, disk_alone);

	ck_assert_msg(end.kind == VM_EXITED && end.code == 0, "%s alone: %s", t->image, end.reason);
}

static void prepare(uint32_t answers, bool hangs, unsigned int ahead)
{
	paging.answers = answers;
	paging.hangs = hangs;
	paging.failed = false;
	paging.calls = 0;
	pager.ahead = ahead;
}

START_TEST(not_felt)
{
	const struct trial *t = &trials[_i];
	struct pest p = {.random = random_start(t->image), .guard.save = save};
	struct vm_end end;

	run_alone(t);
	prepare(FOR_EVER, false, random_below(&p.random, 2) ? 1 : 16);
	end = run_guest(t, &p, output, disk_now);
	ck_assert_msg(end.kind == VM_EXITED && end.code == 0, "%s: %s\n%s", t->image, end.reason, output);
	ck_assert_str_eq(output, alone);
	ck_assert_uint_gt(paging.calls, 0);
	if (t->disk)
		ck_assert_mem_eq(disk_now, disk_alone, DISK_BYTES);
}
END_TEST

/* Each sector is as it was, or as it should become. */
static void check_disk(void)
{
	for (unsigned int at = 0; at < DISK_BYTES; at += 512) {
		bool written = !memcmp(disk_now + at, disk_alone + at, 512);
		uint8_t before[512];

		memset(before, DISK_BEFORE, sizeof(before));
		ck_assert_msg(written || !memcmp(disk_now + at, before, 512), "something else was written at byte %u", at);
	}
}

/* The pager fails after so many answers, at once or when the deadline is over. */
static void lose(const struct trial *t, uint32_t answers, bool hangs)
{
	struct pest p = {.guard.save = save};
	struct vm_end end;

	prepare(answers, hangs, 1);
	end = run_guest(t, &p, output, disk_now);
	if (!paging.failed) {
		ck_assert_str_eq(output, alone);
		return;
	}
	ck_assert_msg(end.kind == VM_HOST_FAILED && !end.said, "%s", end.reason);
	ck_assert_msg(strstr(end.reason, hangs ? " was not there within " : " is lost: the test's pager: Input/output error"),
		      "%s", end.reason);
	ck_assert_msg(!strncmp(output, alone, strlen(output)), "a guest without its pages says '%s'", output);
	if (t->disk)
		check_disk();
}

START_TEST(lost)
{
	const struct trial *t = &trials[_i];
	struct random r = random_start(t->image);
	uint64_t calls;

	run_alone(t);
	prepare(FOR_EVER - 1, false, 1);
	ck_assert_int_eq(run_guest(t, &(struct pest){.guard.save = save}, output, disk_now).kind, VM_EXITED);
	ck_assert_str_eq(output, alone);
	calls = paging.calls;
	for (unsigned int n = effort(12, 4); n; n--)
		lose(t, (uint32_t)random_below(&r, calls), n % 4 == 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("absent");
	TCase *tc = tcase_create("absent");
	SRunner *sr;
	int failed;

	store = mmap(NULL, RAM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	then = malloc(RAM);
	if (store == MAP_FAILED || !then || kvm_open(&kvm) < 0 || vcpu_init_process() < 0)
		return EXIT_FAILURE;
	tcase_set_timeout(tc, 900);
	tcase_add_loop_test(tc, not_felt, 0, TRIALS);
	tcase_add_loop_test(tc, lost, 0, TRIALS);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	/* One process: the handle on KVM is made once. */
	srunner_set_fork_status(sr, CK_NOFORK);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	kvm_close(&kvm);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
