/*
 * Exchanges that cannot be, or must not: pages that somebody else needs, hosts that refuse, pagers that fail, RAM that is mapped from
 * files.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/userfaultfd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "tests/unit/capture.h"
#include "tests/unit/exchange_fixture.h"
#include "tests/vm/suite.h"

#define PAGE 43u
#define RAM (FIXTURE_RAM_PAGES * PAGE_SIZE)

static struct fixture f;
static uint8_t buffer[USERFAULT_RUN * PAGE_SIZE] __attribute__((aligned(4096)));

/* What the host does to mappings of guest RAM, and to registrations. */
static enum { HELPS, REFUSES, TAKES_AWAY, DOES_NOT_REGISTER } host;

void *__real_mmap64(void *at, size_t size, int prot, int flags, int fd, off_t offset);
void *__wrap_mmap64(void *at, size_t size, int prot, int flags, int fd, off_t offset);
void *__real_mremap(void *from, size_t old_size, size_t size, int flags, void *to);
void *__wrap_mremap(void *from, size_t old_size, size_t size, int flags, void *to);
int __real_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...);

static bool refuses(void *at, size_t size)
{
	if (host != REFUSES && host != TAKES_AWAY)
		return false;
	if (host == TAKES_AWAY)
		munmap(at, size);
	errno = ENOMEM;
	return true;
}

void *__wrap_mmap64(void *at, size_t size, int prot, int flags, int fd, off_t offset)
{
	return at && refuses(at, size) ? MAP_FAILED : __real_mmap64(at, size, prot, flags, fd, offset);
}

void *__wrap_mremap(void *from, size_t old_size, size_t size, int flags, void *to)
{
	return refuses(to, size) ? MAP_FAILED : __real_mremap(from, old_size, size, flags, to);
}

int __wrap_ioctl(int fd, unsigned long request, ...)
{
	va_list args;
	void *arg;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	if (request != UFFDIO_REGISTER || host != DOES_NOT_REGISTER)
		return __real_ioctl(fd, request, arg);
	errno = ENOMEM;
	return -1;
}

static void start(void)
{
	host = HELPS;
	fixture_start(&f);
	for (uint64_t page = 0; page < FIXTURE_RAM_PAGES; page++)
		fixture_fill(fixture_at(&f, page), page % FIXTURE_VALUES);
	ck_assert_int_eq(userfault_exchange_begin(&f.uf, &f.cold.pager), 0);
}

static void hold_page(struct userfault_hold *h, uint64_t page)
{
	ck_assert_int_eq(userfault_hold(&f.uf, h, page * PAGE_SIZE, 1), 0);
}

static int evict(struct userfault_hold *h)
{
	fixture_put(&f.cold, h->gpa / PAGE_SIZE, h->gpa / PAGE_SIZE % FIXTURE_VALUES);
	return userfault_evict(&f.uf, h, 0, 1);
}

static int show(struct userfault_hold *h)
{
	return userfault_show(&f.uf, h, 0, 1, f.pool, h->gpa / PAGE_SIZE % FIXTURE_VALUES * PAGE_SIZE);
}

static void show_page(uint64_t page)
{
	struct userfault_hold h;

	hold_page(&h, page);
	ck_assert_int_eq(show(&h), 0);
	userfault_let_go(&f.uf, &h);
}

static uint64_t value_at(uint64_t page)
{
	return fixture_value(fixture_at(&f, page));
}

static void expect_lost(const char *why)
{
	ck_assert(mem_is_lost(&f.ram));
	ck_assert_msg(strstr(f.reason, why), "'%s' is not in '%s'", why, f.reason);
}

START_TEST(pinned)
{
	struct userfault_hold h;
	struct mem_pin pin;

	start();
	ck_assert_ptr_nonnull(mem_pin(&f.ram, &pin, PAGE * PAGE_SIZE + 5, 1, MEM_READ));
	ck_assert_int_eq(userfault_hold(&f.uf, &h, (PAGE - 3) * PAGE_SIZE, 8), -EBUSY);
	fixture_fill(fixture_at(&f, PAGE), 1); /* nobody is kept waiting */
	mem_unpin(&f.ram, &pin);
	ck_assert_int_eq(userfault_hold(&f.uf, &h, (PAGE - 3) * PAGE_SIZE, 8), 0);
	ck_assert_int_eq(userfault_absent(&f.uf, &f.lazy.pager, PAGE * PAGE_SIZE, PAGE_SIZE), -EBUSY);
	userfault_let_go(&f.uf, &h);
	fixture_end(&f);
}
END_TEST

static uint64_t saved[FIXTURE_RAM_PAGES];

static void save(struct userfault_guard *g, uint64_t gpa, const void *bytes, unsigned int pages)
{
	for (unsigned int n = 0; n < pages; n++)
		saved[gpa / PAGE_SIZE + n] = bytes ? fixture_value((const uint8_t *)bytes + n * PAGE_SIZE) : 0;
}

/* A guard that comes while pages are held has them as they are then, and who holds them finds out. */
START_TEST(guarded_meanwhile)
{
	struct userfault_guard g = {.save = save};
	struct userfault_hold h;

	start();
	memset(saved, 0xff, sizeof(saved));
	show_page(PAGE);
	hold_page(&h, PAGE);
	ck_assert_int_eq(userfault_guard_add(&f.uf, &g), 0);
	ck_assert_int_eq(userfault_protect(&f.uf, &g, 0, RAM), 0);
	ck_assert_int_eq(show(&h), -EBUSY);
	ck_assert_int_eq(userfault_show_zero(&f.uf, &h, 0, 1), -EBUSY);
	ck_assert_int_eq(evict(&h), -EBUSY);
	userfault_let_go(&f.uf, &h);
	ck_assert_int_eq(userfault_hold(&f.uf, &h, PAGE * PAGE_SIZE, 1), -EBUSY);
	fixture_fill(fixture_at(&f, PAGE), 7);
	ck_assert_uint_eq(saved[PAGE], PAGE % FIXTURE_VALUES);
	hold_page(&h, PAGE);
	userfault_let_go(&f.uf, &h);
	while (userfault_save(&f.uf, &g, buffer))
		;
	for (uint64_t page = 0; page < FIXTURE_RAM_PAGES; page++)
		ck_assert_uint_eq(saved[page], page % FIXTURE_VALUES);
	userfault_guard_remove(&f.uf, &g);
	fixture_end(&f);
}
END_TEST

/* Pages of files that nobody has looked at are protected, too: there is nothing in the page table yet. */
START_TEST(guarded_without_a_look)
{
	struct userfault_guard g = {.save = save};
	uint8_t *hva;

	start();
	memset(saved, 0xff, sizeof(saved));
	show_page(PAGE);
	hva = fixture_at(&f, PAGE);
	ck_assert_int_eq(madvise(hva, PAGE_SIZE, MADV_DONTNEED), 0); /* as the host does that reclaims memory */
	ck_assert_int_eq(userfault_guard_add(&f.uf, &g), 0);
	ck_assert_int_eq(userfault_protect(&f.uf, &g, 0, RAM), 0);
	fixture_fill(hva, 5);
	ck_assert_uint_eq(saved[PAGE], PAGE % FIXTURE_VALUES);
	ck_assert_uint_eq(value_at(PAGE), 5);
	userfault_guard_remove(&f.uf, &g);
	fixture_end(&f);
}
END_TEST

/* The host has no room for one more mapping: all is as it was. */
START_TEST(no_more_mappings)
{
	struct userfault_hold h;

	start();
	show_page(PAGE + 8);
	host = REFUSES;
	hold_page(&h, PAGE);
	ck_assert_int_eq(show(&h), -ENOMEM);
	userfault_let_go(&f.uf, &h);
	hold_page(&h, PAGE + 8);
	ck_assert_int_eq(userfault_show_zero(&f.uf, &h, 0, 1), -ENOMEM);
	ck_assert_int_eq(evict(&h), -ENOMEM);
	userfault_let_go(&f.uf, &h);
	ck_assert(!userfault_is_shown(&f.uf, PAGE * PAGE_SIZE) && userfault_is_shown(&f.uf, (PAGE + 8) * PAGE_SIZE));
	for (uint64_t page = 0; page < FIXTURE_RAM_PAGES; page++)
		ck_assert_uint_eq(value_at(page), page % FIXTURE_VALUES);
	ck_assert(!mem_is_lost(&f.ram));
	fixture_end(&f);
}
END_TEST

START_TEST(mapping_is_gone)
{
	struct userfault_hold h;

	start();
	hold_page(&h, PAGE);
	host = TAKES_AWAY;
	ck_assert_int_eq(show(&h), -ENOMEM);
	expect_lost("page 0x2b000: nothing can be mapped there: Cannot allocate memory");
	host = HELPS;
	ck_assert_int_eq(userfault_show_zero(&f.uf, &h, 0, 1), -ECANCELED);
	userfault_let_go(&f.uf, &h);
	ck_assert_int_eq(userfault_hold(&f.uf, &h, 0, 1), -ECANCELED);
	fixture_end(&f);
}
END_TEST

static void *write_page(void *arg)
{
	fixture_fill(fixture_at(&f, PAGE), 1);
	return NULL;
}

START_TEST(not_registered)
{
	struct userfault_hold h;
	pthread_t thread;
	struct capture c;

	start();
	hold_page(&h, PAGE);
	ck_assert_int_eq(pthread_create(&thread, NULL, write_page, NULL), 0);
	usleep(20000);
	host = DOES_NOT_REGISTER;
	capture_begin(&c);
	ck_assert_int_eq(show(&h), -ENOMEM);
	capture_end(&c);
	expect_lost("page 0x2b000: it cannot be registered again");
	pthread_join(thread, NULL); /* before the page is let go */
	userfault_let_go(&f.uf, &h);
	fixture_end(&f);
}
END_TEST

/* Who holds pages for too long loses them. */
START_TEST(held_for_too_long)
{
	struct userfault_hold h;
	pthread_t thread;

	host = HELPS;
	fixture_start(&f);
	f.uf.deadline_ms = 200;
	ck_assert_int_eq(userfault_exchange_begin(&f.uf, &f.cold.pager), 0);
	hold_page(&h, PAGE);
	ck_assert_int_eq(pthread_create(&thread, NULL, write_page, NULL), 0);
	pthread_join(thread, NULL);
	expect_lost("page 0x2b000 was not there within 200 ms");
	ck_assert_int_eq(userfault_show_zero(&f.uf, &h, 0, 1), -ECANCELED);
	userfault_let_go(&f.uf, &h);
	fixture_end(&f);
}
END_TEST

/* Of two pagers each answers for its own pages. */
START_TEST(pager_fails)
{
	struct fixture_store *fails = _i ? &f.lazy : &f.cold;
	struct userfault_hold h;

	start();
	hold_page(&h, PAGE);
	ck_assert_int_eq(evict(&h), 0);
	userfault_let_go(&f.uf, &h);
	fixture_put(&f.lazy, PAGE + 1, (PAGE + 1) % FIXTURE_VALUES);
	ck_assert_int_eq(userfault_absent(&f.uf, &f.lazy.pager, (PAGE + 1) * PAGE_SIZE, PAGE_SIZE), 0);
	ck_assert_uint_eq(userfault_absent_count(&f.uf), 2);
	atomic_store(&fails->error, -EIO);
	ck_assert_int_eq(userfault_prefetch(&f.uf, (PAGE + (uint64_t)_i) * PAGE_SIZE, PAGE_SIZE, buffer), -EIO);
	ck_assert_uint_eq(value_at(PAGE + !_i), (PAGE + !_i) % FIXTURE_VALUES);
	ck_assert(!mem_is_lost(&f.ram));
	ck_assert_uint_eq(value_at(PAGE + (uint64_t)_i), 0);
	expect_lost(_i ? "page 0x2c000 is lost: the snapshot: Input/output error" : "page 0x2b000 is lost: the cold store: Input/output error");
	fixture_end(&f);
}
END_TEST

static void refused(const char *why)
{
	struct capture c;

	capture_begin(&c);
	ck_assert_int_eq(userfault_exchange_begin(&f.uf, &f.cold.pager), -ENOTSUP);
	assert_one_line(capture_end(&c), why);
	ck_assert(!atomic_load(&f.ram.paged));
}

START_TEST(over_a_disk)
{
	host = HELPS;
	fixture_start(&f);
	mem_remapped(&f.ram, 0, PAGE_SIZE);
	refused("--disk FILE,remap");
	fixture_end(&f);
}
END_TEST

static void map_from(int fd)
{
	ck_assert_int_eq(ftruncate(fd, RAM), 0);
	ck_assert_ptr_eq(mmap(fixture_at(&f, 0), RAM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, fd, 0),
			 fixture_at(&f, 0));
	mem_remapped(&f.ram, 0, RAM);
	mem_backed(&f.ram, fd);
}

START_TEST(mapped_from_a_disk)
{
	FILE *file = tmpfile();
	struct statfs st;

	host = HELPS;
	fixture_start(&f);
	map_from(fileno(file));
	ck_assert_int_eq(fstatfs(fileno(file), &st), 0);
	if (st.f_type != TMPFS_MAGIC)
		refused("--ram=mapped");
	ck_assert(f.ram.backed || st.f_type == TMPFS_MAGIC);
	fixture_end(&f);
	fclose(file);
}
END_TEST

/* RAM of a clone: of every four pages one is a hole, one was never looked at, one was read, and one is written. */
START_TEST(mapped_from_memory)
{
	static uint8_t bytes[PAGE_SIZE] __attribute__((aligned(4096)));
	int fd = memfd_create("template", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	struct userfault_guard g = {.save = save};
	struct userfault_hold h;

	host = HELPS;
	fixture_start(&f);
	map_from(fd);
	for (uint64_t page = 0; page < FIXTURE_RAM_PAGES; page++) {
		fixture_fill(bytes, page % FIXTURE_VALUES);
		if (page % 4)
			ck_assert_int_eq(pwrite(fd, bytes, PAGE_SIZE, (off_t)(page * PAGE_SIZE)), PAGE_SIZE);
	}
	ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE), 0);
	for (uint64_t page = 0; page < FIXTURE_RAM_PAGES; page++) {
		if (page % 4 == 2)
			ck_assert_uint_eq(value_at(page), page % FIXTURE_VALUES);
		else if (page % 4 == 3)
			fixture_fill(fixture_at(&f, page), page % FIXTURE_VALUES);
	}
	ck_assert_int_eq(userfault_exchange_begin(&f.uf, &f.cold.pager), 0);
	ck_assert(!f.ram.backed && !f.ram.overlaid && atomic_load(&f.ram.paged));
	for (uint64_t page = 0; page < FIXTURE_RAM_PAGES; page++) {
		uint64_t value = page % 4 ? page % FIXTURE_VALUES : 0;

		ck_assert(userfault_is_shown(&f.uf, page * PAGE_SIZE));
		hold_page(&h, page);
		if (page % 3 == 0) {
			fixture_put(&f.cold, page, value);
			ck_assert_int_eq(userfault_evict(&f.uf, &h, 0, 1), 0);
		} else if (page % 3 == 1) {
			ck_assert_int_eq(value ? show(&h) : userfault_show_zero(&f.uf, &h, 0, 1), 0);
		}
		userfault_let_go(&f.uf, &h);
	}
	ck_assert_int_eq(userfault_guard_add(&f.uf, &g), 0);
	ck_assert_int_eq(userfault_protect(&f.uf, &g, 0, RAM), 0);
	memset(saved, 0xff, sizeof(saved));
	for (uint64_t page = 0; page < FIXTURE_RAM_PAGES; page += 5)
		fixture_fill(fixture_at(&f, page), 6);
	while (userfault_save(&f.uf, &g, buffer))
		;
	for (uint64_t page = 0; page < FIXTURE_RAM_PAGES; page++) {
		ck_assert_uint_eq(saved[page], page % 4 ? page % FIXTURE_VALUES : 0);
		ck_assert_uint_eq(value_at(page), page % 5 == 0 ? 6 : saved[page]);
	}
	userfault_guard_remove(&f.uf, &g);
	fixture_end(&f);
	close(fd);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		pinned, guarded_meanwhile, guarded_without_a_look, no_more_mappings, mapping_is_gone, not_registered,
		held_for_too_long, over_a_disk, mapped_from_a_disk, mapped_from_memory,
	};
	TCase *tcase = tcase_create("userfault_exchange_failures");

	for (size_t i = 0; i < sizeof(tests) / sizeof(*tests); i++)
		tcase_add_test(tcase, tests[i]);
	tcase_add_loop_test(tcase, pager_fails, 0, 2);
	return run_case("userfault_exchange_failures", tcase);
}
