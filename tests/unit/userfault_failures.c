/*
 * What becomes of RAM and of those who wait for it when a page does not come: a pager or a host that fails, is slow, or does
 * what it must not do. And what is left of it all: nothing.
 */
#include "vmm/userfault.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/capture.h"
#include "vmm/pager.h"

#define RAM (4ull << 20)
#define GIB (1ull << 30)
#define DEADLINE_MS 400u
#define SLACK_MS 2000u /* a busy host: waits that never end last longer */

static struct mem ram;
static struct userfault uf;
static char reason[256];
static uint8_t buffer[USERFAULT_RUN * PAGE_SIZE] __attribute__((aligned(4096)));

/* What the host refuses: an ioctl of userfaultfd, after so many that it does; the system call; the device. */
static struct {
	unsigned long request;
	int error, after, syscall_error, device_error;
} host;

int __real_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...);
long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);
int __real_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);

int __wrap_ioctl(int fd, unsigned long request, ...)
{
	va_list args;
	void *arg;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	if (request != host.request || host.after-- > 0)
		return __real_ioctl(fd, request, arg);
	if (request == UFFDIO_COPY)
		((struct uffdio_copy *)arg)->copy = -host.error;
	if (request == UFFDIO_ZEROPAGE)
		((struct uffdio_zeropage *)arg)->zeropage = -host.error;
	errno = host.error;
	return -1;
}

long __wrap_syscall(long number, ...)
{
	va_list args;
	long a[5];

	va_start(args, number);
	for (int i = 0; i < 5; i++)
		a[i] = va_arg(args, long);
	va_end(args);
	if (number != SYS_userfaultfd || !host.syscall_error)
		return __real_syscall(number, a[0], a[1], a[2], a[3], a[4]);
	errno = host.syscall_error;
	return -1;
}

int __wrap_open64(const char *path, int flags, ...)
{
	if (strcmp(path, "/dev/userfaultfd") || !host.device_error)
		return __real_open64(path, flags);
	errno = host.device_error;
	return -1;
}

/* What the pager does. Its pages are full of their number. */
static struct {
	int error;
	unsigned int sleep_ms, calls;
	const uint8_t *touches, *file;
} does;

static int fetch(struct pager *p, uint64_t gpa, unsigned int pages, void *to, const void **bytes)
{
	does.calls++;
	if (does.sleep_ms)
		usleep(does.sleep_ms * 1000);
	if (does.touches)
		__atomic_load_n(does.touches, __ATOMIC_RELAXED);
	if (does.error)
		return does.error;
	*bytes = does.file ? does.file : to;
	for (unsigned int n = 0; n < pages && !does.file; n++)
		memset((uint8_t *)to + n * PAGE_SIZE, (int)(gpa / PAGE_SIZE + n), PAGE_SIZE);
	return does.file ? 1 : (int)pages;
}

static struct pager pager = {.name = "the test's pager", .ahead = 1, .fetch = fetch};

/* Takes its time: nobody may see a zero before it has returned. */
static void on_failed(void *arg, const char *why)
{
	ck_assert_str_eq(reason, "");
	usleep(50000);
	snprintf(reason, sizeof(reason), "%s", why);
	atomic_store(&ram.lost, true);
}

static void start_with(uint64_t size, enum mem_huge huge)
{
	memset(&host, 0, sizeof(host));
	memset(&does, 0, sizeof(does));
	reason[0] = '\0';
	ck_assert_int_eq(mem_create(&ram, size, huge), 0);
	userfault_init(&uf, &ram, on_failed, NULL);
	uf.deadline_ms = DEADLINE_MS;
}

static void start(void)
{
	start_with(RAM, MEM_HUGE_NEVER);
}

static void start_absent(void)
{
	start();
	ck_assert_int_eq(userfault_absent(&uf, &pager, 0, RAM), 0);
}

static void end(void)
{
	userfault_destroy(&uf);
	mem_destroy(&ram);
}

static uint8_t byte_at(uint64_t page)
{
	return __atomic_load_n(ram.region[0].hva + page * PAGE_SIZE + 17, __ATOMIC_RELAXED);
}

static uint64_t now_ms(void)
{
	return watchdog_now() / 1000000;
}

/* Touches a page that is lost by that, within `ms`; whoever saw the zero can know. */
static void lose(uint64_t page, const char *why, unsigned int ms)
{
	uint64_t before = now_ms();

	ck_assert_uint_eq(byte_at(page), 0);
	ck_assert(mem_is_lost(&ram));
	ck_assert_uint_le(now_ms() - before, ms + SLACK_MS);
	ck_assert_msg(strstr(reason, why), "'%s' is not in '%s'", why, reason);
	/* All of RAM is there, and nobody waits any more. */
	ck_assert_uint_eq(byte_at(page + 1), 0);
	ck_assert_int_eq(userfault_prefetch(&uf, 0, RAM, buffer), -ECANCELED);
	ck_assert_int_eq(userfault_absent(&uf, &pager, 0, RAM), -ECANCELED);
}

START_TEST(pager_fails)
{
	start_absent();
	ck_assert_uint_eq(byte_at(200), 200);
	ck_assert(!mem_is_lost(&ram));
	does.error = -EIO;
	lose(201, "page 0xc9000 is lost: the test's pager: Input/output error", 0);
	ck_assert_uint_eq(byte_at(200), 200);
	end();
}
END_TEST

START_TEST(pager_is_slow)
{
	start_absent();
	does.sleep_ms = DEADLINE_MS / 2;
	ck_assert_uint_eq(byte_at(200), 200);
	does.sleep_ms = DEADLINE_MS + 2 * SLACK_MS;
	lose(201, "page 0xc9000 was not there within 400 ms: the test's pager", DEADLINE_MS);
	end();
}
END_TEST

/* A process that was stopped (^Z) has not been slow. */
START_TEST(stopped_for_a_while)
{
	pid_t parent = getpid(), child = fork();

	if (child == 0) {
		usleep(100000);
		kill(parent, SIGSTOP);
		usleep(3 * DEADLINE_MS * 1000);
		kill(parent, SIGCONT);
		_exit(0);
	}
	start_absent();
	does.sleep_ms = DEADLINE_MS / 2;
	for (uint64_t page = 1; page < 6; page++)
		ck_assert_uint_eq(byte_at(page), page);
	ck_assert(!mem_is_lost(&ram));
	ck_assert_int_eq(waitpid(child, NULL, 0), child);
	end();
}
END_TEST

/* The serving thread waits for itself; that ends, too. */
START_TEST(pager_touches_ram)
{
	start_absent();
	does.touches = ram.region[0].hva + 300 * PAGE_SIZE;
	lose(201, "within 400 ms", DEADLINE_MS);
	end();
}
END_TEST

static void *touch_all(void *arg)
{
	for (uint64_t page = 0; page < RAM / PAGE_SIZE; page++)
		__atomic_load_n(ram.region[0].hva + page * PAGE_SIZE, __ATOMIC_RELAXED);
	return NULL;
}

/* However many wait, and come back to wait while RAM is given up, or while the last page comes: none stays behind. */
START_TEST(all_get_out)
{
	enum { WAITING = 4, ROUNDS = 300 };
	pthread_t thread[WAITING];

	for (int round = 0; round < ROUNDS; round++) {
		start();
		ck_assert_int_eq(userfault_absent(&uf, &pager, 0, (1 + (uint64_t)round % 8) * PAGE_SIZE), 0);
		does.error = round % 2 ? -EIO : 0;
		for (int i = 0; i < WAITING; i++)
			ck_assert_int_eq(pthread_create(&thread[i], NULL, touch_all, NULL), 0);
		for (int i = 0; i < WAITING; i++)
			pthread_join(thread[i], NULL);
		ck_assert_int_eq(mem_is_lost(&ram), round % 2);
		end();
	}
}
END_TEST

static void *prefetch_page_7(void *arg)
{
	*(int64_t *)arg = userfault_prefetch(&uf, 7 * PAGE_SIZE, PAGE_SIZE, buffer);
	return NULL;
}

/* Who fetches ahead may take long; not when somebody waits for it. */
START_TEST(prefetch_is_slow)
{
	pthread_t thread;
	int64_t result;

	start_absent();
	does.sleep_ms = 2 * DEADLINE_MS;
	ck_assert_int_eq(userfault_prefetch(&uf, 9 * PAGE_SIZE, PAGE_SIZE, buffer), 1);
	ck_assert_uint_eq(byte_at(9), 9);
	does.sleep_ms = DEADLINE_MS + 2 * SLACK_MS;
	ck_assert_int_eq(pthread_create(&thread, NULL, prefetch_page_7, &result), 0);
	usleep(50000);
	lose(7, "page 0x7000 was not there within 400 ms", DEADLINE_MS);
	pthread_join(thread, NULL);
	ck_assert_int_eq(result, -ECANCELED);
	end();
}
END_TEST

/* A failed prefetch costs nothing: the pager is asked again when it is needed. */
START_TEST(prefetch_fails)
{
	start_absent();
	does.error = -EIO;
	ck_assert_int_eq(userfault_prefetch(&uf, 0, RAM, buffer), -EIO);
	ck_assert_uint_eq(does.calls, 1);
	does.error = 0;
	ck_assert_uint_eq(byte_at(7), 7);
	ck_assert_uint_eq(userfault_absent_count(&uf), RAM / PAGE_SIZE - 1);
	ck_assert_int_eq(userfault_prefetch(&uf, 0, RAM, buffer), RAM / PAGE_SIZE - 1);
	end();
}
END_TEST

/* The file that the pager shows has become shorter. */
START_TEST(pager_shows_no_bytes)
{
	FILE *file = tmpfile();
	void *map;

	start_absent();
	ck_assert_int_eq(ftruncate(fileno(file), 4096), 0);
	map = mmap(NULL, PAGE_SIZE, PROT_READ, MAP_SHARED, fileno(file), 0);
	does.file = map;
	ck_assert_uint_eq(byte_at(1), 0);
	ck_assert(!mem_is_lost(&ram));
	ck_assert_int_eq(ftruncate(fileno(file), 0), 0);
	lose(2, "the test's pager: Bad address", 0);
	munmap(map, PAGE_SIZE);
	fclose(file);
	end();
}
END_TEST

static volatile unsigned int saves;
static unsigned int save_ms;

static void save(struct userfault_guard *g, uint64_t gpa, const void *bytes, unsigned int pages)
{
	__atomic_fetch_add(&saves, pages, __ATOMIC_RELAXED);
	if (save_ms)
		usleep(save_ms * 1000);
}

static struct userfault_guard guard = {.save = save};

static void start_guarded(void)
{
	start();
	saves = save_ms = 0;
	memset(ram.region[0].hva, 0x77, RAM / 2);
	ck_assert_int_eq(userfault_guard_add(&uf, &guard), 0);
	ck_assert_int_eq(userfault_protect(&uf, &guard, 0, RAM), 0);
}

START_TEST(save_is_slow)
{
	start_guarded();
	save_ms = DEADLINE_MS + 2 * SLACK_MS;
	ram.region[0].hva[0] = 1;
	ck_assert(mem_is_lost(&ram));
	ck_assert_msg(strstr(reason, "page 0x0 was not there within 400 ms"), "%s", reason);
	ck_assert_int_eq(userfault_save(&uf, &guard, buffer), -ECANCELED);
	userfault_guard_remove(&uf, &guard);
	end();
}
END_TEST

/* Behind the guest it may be slow; only what the guest waits for has a deadline. */
START_TEST(save_behind_is_slow)
{
	start_guarded();
	save_ms = 2 * DEADLINE_MS;
	ck_assert_int_eq(userfault_save(&uf, &guard, buffer), RAM / PAGE_SIZE - USERFAULT_RUN);
	ck_assert(!mem_is_lost(&ram));
	userfault_guard_remove(&uf, &guard);
	ck_assert(!atomic_load(&ram.paged));
	end();
}
END_TEST

/* The pager fails the one that saves; the guest finds its page later. */
START_TEST(save_of_absent_fails)
{
	start_absent();
	saves = save_ms = 0;
	ck_assert_int_eq(userfault_guard_add(&uf, &guard), 0);
	ck_assert_int_eq(userfault_protect(&uf, &guard, 0, RAM), 0);
	does.error = -EIO;
	ck_assert_int_eq(userfault_save(&uf, &guard, buffer), -EIO);
	ck_assert_uint_eq(saves, 0);
	does.error = 0;
	userfault_guard_remove(&uf, &guard);
	ck_assert_uint_eq(byte_at(1), 1);
	ck_assert(!mem_is_lost(&ram));
	end();
}
END_TEST

static const struct {
	unsigned long request;
	bool guarded;
	const char *why;
} refusals[] = {
	{UFFDIO_COPY, false, "page 0xa000 cannot be brought in: Cannot allocate memory"},
	{UFFDIO_ZEROPAGE, true, "page 0x300000 cannot be brought in: Cannot allocate memory"},
	{UFFDIO_WRITEPROTECT, true, "page 0xa000 cannot be made writable: Cannot allocate memory"},
};

START_TEST(host_fails)
{
	bool untouched = refusals[_i].request == UFFDIO_ZEROPAGE;

	if (refusals[_i].guarded)
		start_guarded();
	else
		start_absent();
	host.request = refusals[_i].request;
	host.error = ENOMEM;
	ram.region[0].hva[(untouched ? 768 : 10) * PAGE_SIZE] = 1;
	ck_assert(mem_is_lost(&ram));
	ck_assert_msg(strstr(reason, refusals[_i].why), "%s", reason);
	if (refusals[_i].guarded)
		userfault_guard_remove(&uf, &guard);
	end();
}
END_TEST

static void refused(int result, const char *why, struct capture *c)
{
	const char *text = capture_end(c);

	ck_assert_int_lt(result, 0);
	assert_one_line(text, why);
	ck_assert(!uf.open && !atomic_load(&ram.paged));
}

START_TEST(no_userfaultfd)
{
	struct capture c;

	start();
	host.syscall_error = EPERM;
	host.device_error = EACCES;
	capture_begin(&c);
	refused(userfault_absent(&uf, &pager, 0, RAM), "sudo sysctl vm.unprivileged_userfaultfd=1", &c);
	host.syscall_error = ENOSYS;
	capture_begin(&c);
	refused(userfault_absent(&uf, &pager, 0, RAM), "this kernel has none", &c);
	host.syscall_error = 0;
	host.request = UFFDIO_API;
	host.error = EINVAL;
	capture_begin(&c);
	refused(userfault_absent(&uf, &pager, 0, RAM), "Linux 5.7", &c);
	/* The next need finds a host that has changed its mind. */
	host.request = 0;
	ck_assert_int_eq(userfault_absent(&uf, &pager, 0, RAM), 0);
	ck_assert_uint_eq(byte_at(3), 3);
	end();
}
END_TEST

/* Where only the device is given to this user. */
START_TEST(by_the_device)
{
	if (access("/dev/userfaultfd", R_OK | W_OK)) {
		puts("by_the_device: skipped, there is none");
		return;
	}
	start();
	host.syscall_error = EPERM;
	ck_assert_int_eq(userfault_absent(&uf, &pager, 0, RAM), 0);
	ck_assert_uint_eq(byte_at(3), 3);
	end();
}
END_TEST

START_TEST(not_around_a_file)
{
	struct capture c;

	start();
	mem_remapped(&ram, 0, PAGE_SIZE);
	capture_begin(&c);
	ck_assert_int_eq(userfault_absent(&uf, &pager, 0, RAM), -ENOTSUP);
	assert_one_line(capture_end(&c), "remap");
	ck_assert(!atomic_load(&ram.paged));
	end();
}
END_TEST

/* A child that still has the descriptor does not keep the parent's threads waiting. */
START_TEST(forked)
{
	pid_t child;
	int status;

	start_absent();
	child = fork();
	if (child == 0) {
		usleep(300000);
		_exit(0);
	}
	userfault_destroy(&uf);
	ck_assert_uint_eq(byte_at(3), 0);
	ck_assert_int_eq(waitpid(child, &status, WNOHANG), 0);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	mem_destroy(&ram);
}
END_TEST

static int count_in(const char *directory, bool check_exec)
{
	DIR *d = opendir(directory);
	int n = 0;

	for (const struct dirent *e = readdir(d); e; e = readdir(d)) {
		int fd = atoi(e->d_name);

		n += e->d_name[0] != '.';
		if (check_exec && fd > 2 && fd != dirfd(d) && (fd == uf.fd || fd == uf.stop_fd || fd == uf.pagemap_fd))
			ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
	}
	closedir(d);
	return n;
}

/* A VM that needs nothing has nothing; one that did leaves nothing. */
START_TEST(nothing_left)
{
	int fds, threads;

	start_absent(); /* what a first use leaves for good: a sanitizer's own */
	end();
	usleep(100000);
	fds = count_in("/proc/self/fd", false);
	threads = count_in("/proc/self/task", false);
	for (int i = 0; i < 5; i++) {
		start();
		ck_assert_int_eq(count_in("/proc/self/fd", false), fds);
		ck_assert_int_eq(userfault_absent(&uf, &pager, 0, RAM), 0);
		ck_assert_int_eq(userfault_guard_add(&uf, &guard), 0);
		ck_assert_int_eq(count_in("/proc/self/fd", true), fds + 3);
		ck_assert_int_eq(count_in("/proc/self/task", false), threads + 2);
		ck_assert_uint_eq(byte_at(3), 3);
		userfault_guard_remove(&uf, &guard);
		end();
	}
	ck_assert_int_eq(count_in("/proc/self/fd", false), fds);
	for (int i = 0; i < 100 && count_in("/proc/self/task", false) != threads; i++)
		usleep(10000);
	ck_assert_int_eq(count_in("/proc/self/task", false), threads);
}
END_TEST

/* When all is there nobody serves anything any more, and untouched pages cost what they always cost. */
START_TEST(done_is_done)
{
	struct userfault_stats stats;

	start();
	ck_assert_int_eq(userfault_absent(&uf, &pager, 0, RAM / 2), 0);
	ck_assert_uint_eq(byte_at(RAM / PAGE_SIZE / 2), 0);
	userfault_stats(&uf, &stats);
	ck_assert_uint_eq(stats.zeroed, 1);
	ck_assert_int_eq(userfault_prefetch(&uf, 0, RAM, buffer), RAM / PAGE_SIZE / 2);
	ck_assert_uint_eq(userfault_absent_count(&uf), 0);
	ck_assert(!atomic_load(&ram.paged));
	for (uint64_t page = 0; page < RAM / PAGE_SIZE; page++)
		ck_assert_uint_eq(byte_at(page), page < RAM / PAGE_SIZE / 2 ? page % 256 : 0);
	userfault_stats(&uf, &stats);
	ck_assert_uint_eq(stats.zeroed, 1);
	ck_assert_uint_eq(stats.answer.count, 1);
	/* And again. */
	ck_assert_int_eq(userfault_absent(&uf, &pager, 5 * PAGE_SIZE, PAGE_SIZE), 0);
	ck_assert_uint_eq(byte_at(5), 5);
	/* Who waited for the last page may be quicker than the thread that brought it. */
	for (int i = 0; i < 500 && atomic_load(&ram.paged); i++)
		usleep(10000);
	ck_assert(!atomic_load(&ram.paged));
	end();
}
END_TEST

/* RAM on both sides of the hole: no run goes across it. */
START_TEST(both_regions)
{
	uint64_t last = 3 * GIB / PAGE_SIZE - 1;

	start_with(4 * GIB, MEM_HUGE_NEVER);
	pager.ahead = 16;
	ck_assert_int_eq(userfault_absent(&uf, &pager, 3 * GIB - 8 * PAGE_SIZE, 8 * PAGE_SIZE), 0);
	ck_assert_int_eq(userfault_absent(&uf, &pager, 4 * GIB, 8 * PAGE_SIZE), 0);
	ck_assert_uint_eq(byte_at(last - 1), (last - 1) % 256);
	ck_assert_uint_eq(userfault_absent_count(&uf), 6 + 8);
	ck_assert_uint_eq(byte_at(last - 7), (last - 7) % 256);
	ck_assert_uint_eq(userfault_absent_count(&uf), 8);
	ck_assert_uint_eq(ram.region[1].hva[3 * PAGE_SIZE], 3);
	ck_assert_uint_eq(userfault_absent_count(&uf), 3);
	ck_assert_int_eq(userfault_prefetch(&uf, 4 * GIB, PAGE_SIZE, buffer), 1);
	ck_assert_uint_eq(ram.region[1].hva[0], 0);
	pager.ahead = 1;
	end();
}
END_TEST

/* A write to a 2 MiB page, if the host gives any, has one small page saved. */
START_TEST(huge_pages)
{
	volatile uint8_t *hva;

	start_with(8 << 20, MEM_HUGE_ADVISE);
	saves = save_ms = 0;
	hva = ram.region[0].hva;
	memset(ram.region[0].hva, 0x31, 8 << 20);
	ck_assert_int_eq(userfault_guard_add(&uf, &guard), 0);
	ck_assert_int_eq(userfault_protect(&uf, &guard, 0, 8 << 20), 0);
	hva[3 << 20] = 1;
	hva[(3 << 20) + 1] = 2;
	hva[(3 << 20) + PAGE_SIZE] = 3;
	ck_assert_uint_eq(saves, 2);
	while (userfault_save(&uf, &guard, buffer))
		;
	ck_assert_uint_eq(saves, (8 << 20) / PAGE_SIZE);
	hva[0] = 1;
	ck_assert_uint_eq(saves, (8 << 20) / PAGE_SIZE);
	ck_assert_uint_eq(hva[(3 << 20) + 1], 2);
	userfault_guard_remove(&uf, &guard);
	end();
}
END_TEST

START_TEST(too_many_guards)
{
	struct userfault_guard more[USERFAULT_GUARDS + 1];
	struct capture c;

	start();
	for (unsigned int i = 0; i < USERFAULT_GUARDS; i++) {
		more[i].save = save;
		ck_assert_int_eq(userfault_guard_add(&uf, &more[i]), 0);
	}
	capture_begin(&c);
	ck_assert_int_eq(userfault_guard_add(&uf, &more[USERFAULT_GUARDS]), -EBUSY);
	assert_one_line(capture_end(&c), "more than 4");
	for (unsigned int i = 0; i < USERFAULT_GUARDS; i++)
		userfault_guard_remove(&uf, &more[i]);
	ck_assert(!atomic_load(&ram.paged));
	end();
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		pager_fails, pager_is_slow, stopped_for_a_while, all_get_out, pager_touches_ram, prefetch_is_slow, prefetch_fails, pager_shows_no_bytes,
		save_is_slow, save_behind_is_slow, save_of_absent_fails, no_userfaultfd, by_the_device, not_around_a_file,
		forked, nothing_left, done_is_done, both_regions, huge_pages, too_many_guards,
	};
	Suite *suite = suite_create("userfault_failures");
	TCase *tcase = tcase_create("userfault_failures");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(tcase, 50);
	for (size_t i = 0; i < sizeof(tests) / sizeof(*tests); i++)
		tcase_add_test(tcase, tests[i]);
	tcase_add_loop_test(tcase, host_fails, 0, sizeof(refusals) / sizeof(*refusals));
	suite_add_tcase(suite, tcase);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
