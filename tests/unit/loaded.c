/*
 * What an image has brought: random writes through the door against a bitmap of them, and an image with all that goes with it against what
 * is in RAM afterwards.
 */
#include "vmm/loaded.h"

#include <check.h>
#include <errno.h>
#include <string.h>

#include "guest/abi.h"
#include "tests/unit/capture.h"
#include "tests/unit/kernel_writer.h"
#include "tests/unit/memory_file.h"
#include "tests/unit/random.h"
#include "tests/vm/suite.h"
#include "vmm/boot.h"
#include "vmm/cpu_state.h"
#include "vmm/image.h"
#include "vmm/vm.h"

#define GIB (1ull << 30)
#define LOW_PAGES 150u	/* pages tried at the start of RAM, */
#define EDGE_PAGES 40u	/* on both sides of the hole */
#define TRIED (LOW_PAGES + 2 * EDGE_PAGES + 2) /* and two that are not there, between those of different places */
#define BOOT_RAM (16ull << 20)

int __wrap_kvm_get_tsc_khz(int fd);

int __wrap_kvm_get_tsc_khz(int fd)
{
	return 2345678;
}

struct bitmap {
	bool page[TRIED];
};

static unsigned int index_of(uint64_t gpa)
{
	if (gpa >= 4 * GIB)
		return LOW_PAGES + EDGE_PAGES + 2 + (unsigned int)((gpa - 4 * GIB) / PAGE_SIZE);
	if (gpa >= 2 * GIB)
		return LOW_PAGES + EDGE_PAGES + 1 - (unsigned int)((3 * GIB - gpa) / PAGE_SIZE);
	return (unsigned int)(gpa / PAGE_SIZE);
}

static uint64_t random_gpa(struct random *r)
{
	uint64_t at = random_below(r, EDGE_PAGES * PAGE_SIZE);

	switch (random_below(r, 4)) {
	case 0: return 3 * GIB - 1 - at;
	case 1: return 4 * GIB + at;
	default: return random_below(r, LOW_PAGES * PAGE_SIZE);
	}
}

/* Whoever writes says so, and where; who reads, or fails, is not heard. */
static bool write_somewhere(struct mem *m, struct random *r, uint64_t *gpa, uint64_t *size)
{
	static const uint8_t bytes[4 * PAGE_SIZE];
	uint64_t end;

	*gpa = random_gpa(r);
	*size = 1 + random_below(r, random_below(r, 2) ? 64 : sizeof(bytes));
	end = *gpa + *size;
	if ((*gpa < GIB && end > LOW_PAGES * PAGE_SIZE) || end > 4 * GIB + EDGE_PAGES * PAGE_SIZE)
		return false;
	switch (random_below(r, 3)) {
	case 0: return mem_write(m, *gpa, bytes, *size) == 0;
	case 1: return mem_at(m, *gpa, *size, MEM_WRITE) != NULL;
	default: mem_at(m, *gpa, *size, MEM_READ);
	}
	return false;
}

static struct bitmap bitmap_of(const struct loaded *l)
{
	struct bitmap b = {0};

	for (unsigned int i = 0; i < LOADED_EXTENTS; i++) {
		const struct loaded_extent *e = &l->extent[i];

		ck_assert(e->gpa % PAGE_SIZE == 0 && e->size % PAGE_SIZE == 0);
		for (uint64_t at = e->gpa; at < e->gpa + e->size; at += PAGE_SIZE) {
			ck_assert(!b.page[index_of(at)]);
			b.page[index_of(at)] = true;
		}
	}
	return b;
}

/* The run of set pages that begins at or behind *first; 0 = none. */
static unsigned int run_from(const struct bitmap *b, unsigned int *first)
{
	unsigned int n = 0;

	while (*first < TRIED && !b->page[*first])
		++*first;
	while (*first + n < TRIED && b->page[*first + n])
		n++;
	return n;
}

/* Takes one run of the fewest pages out, if there are more runs than room: that one which is not in `noted`, for several may be as short. */
static void leave_smallest_out(struct bitmap *b, const struct bitmap *noted)
{
	unsigned int runs = 0, least = TRIED, out = TRIED;

	for (unsigned int at = 0, n; (n = run_from(b, &at)); at += n, runs++)
		least = n < least ? n : least;
	if (runs <= LOADED_EXTENTS)
		return;
	for (unsigned int at = 0, n; (n = run_from(b, &at)); at += n)
		if (n == least && !noted->page[at])
			out = at;
	ck_assert_uint_lt(out, TRIED);
	memset(&b->page[out], 0, least);
}

static void note(struct bitmap *b, uint64_t gpa, uint64_t size)
{
	for (uint64_t at = gpa / PAGE_SIZE; at <= (gpa + size - 1) / PAGE_SIZE; at++)
		b->page[index_of(at * PAGE_SIZE)] = true;
}

static void compare(const struct loaded *l, struct bitmap *model)
{
	struct bitmap noted = bitmap_of(l);

	leave_smallest_out(model, &noted);
	for (unsigned int i = 0; i < TRIED; i++)
		ck_assert_msg(noted.page[i] == model->page[i], "page %u", i);
}

static void load_randomly(struct mem *m, struct random *r)
{
	struct bitmap model = {0};
	uint64_t writes = 1 + random_below(r, 60), gpa, size;
	struct loaded l;

	memset(&l, 0xff, sizeof(l));
	loaded_begin(&l, m);
	compare(&l, &model);
	for (uint64_t i = 0; i < writes; i++) {
		if (write_somewhere(m, r, &gpa, &size))
			note(&model, gpa, size);
		compare(&l, &model);
	}
	loaded_end(&l, m);
	for (uint64_t i = 0; i < 10; i++)
		write_somewhere(m, r, &gpa, &size);
	compare(&l, &model);
}

START_TEST(what_is_written)
{
	struct random r = random_start("loaded");
	struct mem m;

	ck_assert_int_eq(mem_create(&m, 5 * GIB, MEM_HUGE_NEVER), 0);
	for (unsigned int i = 0; i < 500; i++)
		load_randomly(&m, &r);
	mem_destroy(&m);
}
END_TEST

static bool is_loaded(const struct loaded *l, uint64_t gpa)
{
	bool is = false;

	for (unsigned int i = 0; i < LOADED_EXTENTS; i++)
		is |= gpa >= l->extent[i].gpa && gpa - l->extent[i].gpa < l->extent[i].size;
	return is;
}

static bool is_zero(const uint8_t *page)
{
	return page[0] == 0 && !memcmp(page, page + 1, PAGE_SIZE - 1);
}

/* Boot structures may be zero in part; of these files every page that is brought has something in it. */
static void check_ram(struct vm *vm)
{
	for (uint64_t gpa = 0; gpa < BOOT_RAM; gpa += PAGE_SIZE) {
		bool zero = is_zero(mem_page_hva(&vm->mem, gpa / PAGE_SIZE)), noted = is_loaded(&vm->loaded, gpa);

		ck_assert_msg(noted != zero || (noted && gpa < ABI_LOAD_MIN), "page 0x%llx", (unsigned long long)gpa);
	}
}

/* Closes the file. Returns what boot_image() did. */
static int boot(struct memory_file f, const char *initrd)
{
	struct vm vm = {.fd = -1};
	struct image im;
	struct vm_config config = {.image = &im, .cmdline = "words", .initrd = initrd};
	struct cpu_state cs;
	int r;

	ck_assert_int_eq(image_open(&im, f.path), 0);
	ck_assert_int_eq(mem_create(&vm.mem, BOOT_RAM, MEM_HUGE_NEVER), 0);
	r = boot_image(&vm, &config, &cs);
	ck_assert_ptr_null(vm.mem.listeners);
	check_ram(&vm);
	mem_destroy(&vm.mem);
	image_close(&im);
	close(f.fd);
	return r;
}

static struct memory_file file_of_kernel(const struct kernel_file *k)
{
	return file_of(k->bytes, k->size);
}

START_TEST(what_an_image_brings)
{
	static struct kernel_file k;
	const struct writer_elf elf = writer_good();
	uint8_t bytes[3 * PAGE_SIZE + 5];
	struct memory_file initrd;

	memset(bytes, 7, sizeof(bytes));
	initrd = file_of(bytes, sizeof(bytes));
	ck_assert_int_eq(boot(file_of_elf(&elf), initrd.path), 0);
	kernel_write_linux(&k);
	ck_assert_int_eq(boot(file_of_kernel(&k), NULL), 0);
	ck_assert_int_eq(boot(file_of_kernel(&k), initrd.path), 0);
	kernel_write_pvh(&k, 0, 0);
	ck_assert_int_eq(boot(file_of_kernel(&k), initrd.path), 0);
	kernel_write_multiboot(&k, 1, 0);
	ck_assert_int_eq(boot(file_of_kernel(&k), initrd.path), 0);
	close(initrd.fd);
}
END_TEST

START_TEST(what_fails)
{
	static struct kernel_file k;
	struct capture c;

	kernel_write_linux(&k);
	capture_begin(&c);
	ck_assert_int_eq(boot(file_of_kernel(&k), "/nowhere"), -ENOENT);
	assert_one_line(capture_end(&c), "/nowhere");
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("loaded");

	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, what_is_written);
	tcase_add_test(tcase, what_an_image_brings);
	tcase_add_test(tcase, what_fails);
	return run_case("loaded", tcase);
}
