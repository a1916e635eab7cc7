/*
 * How a Solo5 unikernel finds itself: its page tables, walked for every page against a naive rule; boot info, manifest and registers;
 * and the segments that an image may have.
 */
#include "vmm/boot.h"

#include <elf.h>
#include <errno.h>

#include "tests/unit/board.h"
#include "tests/unit/capture.h"
#include "tests/unit/memory_file.h"
#include "tests/unit/solo5_notes.h"
#include "vmm/cpu_state.h"
#include "vmm/image.h"
#include "vmm/mmu.h"
#include "vmm/solo5_abi.h"
#include "vmm/vm.h"
#include "vmm/walk.h"

#define PAGE 4096ull
#define LARGE (2ull << 20)
#define KHZ 2345678
#define MAX_RAM (32ull << 20)

static int khz = KHZ;

int __wrap_kvm_get_tsc_khz(int fd);

int __wrap_kvm_get_tsc_khz(int fd)
{
	return khz;
}

struct trial_boot {
	struct vm vm;
	struct image image;
	struct vm_config config;
	struct cpu_state cs;
};

static void add_segment(struct image *im, uint64_t gpa, uint64_t size, uint32_t flags)
{
	im->segment[im->segment_count++] = (struct image_segment){.gpa = gpa, .gva = gpa, .size = size, .flags = flags};
	im->top = gpa + size;
	im->low = im->segment[0].gpa;
}

static void start(struct trial_boot *t, uint64_t ram, const char *cmdline)
{
	t->image.kind = IMAGE_SOLO5;
	t->image.path = "image";
	t->image.entry = t->image.low;
	if (!t->image.solo5.count)
		t->image.solo5.count = 1;
	t->vm.image = &t->image;
	t->config = (struct vm_config){.image = &t->image, .cmdline = cmdline};
	ck_assert_int_eq(mem_create(&t->vm.mem, ram, MEM_HUGE_NEVER), 0);
}

/* Rights of a page, said again: 4 read, 2 write, 1 execute. */
static unsigned int rights(const struct image *im, uint64_t ram, uint64_t told_end, uint64_t page)
{
	if (page >= ram / LARGE * LARGE || page < 0x10000)
		return 0;
	if (page < 0x100000)
		return page < told_end ? 4 : 0;
	for (unsigned int i = 0; i < im->segment_count; i++) {
		uint64_t first = im->segment[i].gpa / PAGE, last = (im->segment[i].gpa + im->segment[i].size - 1) / PAGE;

		if (page / PAGE >= first && page / PAGE <= last)
			return 4 | (im->segment[i].flags & PF_W ? 2 : 0) | (im->segment[i].flags & PF_X ? 1 : 0);
	}
	return 6;
}

static void check_page(struct trial_boot *t, uint64_t page, unsigned int expected)
{
	static const struct {
		unsigned int access, needs;
	} kinds[] = {{MMU_READ, 4}, {MMU_WRITE, 2}, {MMU_EXEC, 1}};

	for (size_t i = 0; i < 3; i++) {
		struct walk w;

		walk_guest(&t->vm.mem, &t->cs, page + 8, kinds[i].access, &w);
		expect_msg(!w.fault == !!(expected & kinds[i].needs), "page %" PRIx64 ", access %u: fault %d", page,
			   kinds[i].access, w.fault);
		expect_msg(w.fault || w.gpa == page + 8, "page %" PRIx64 " leads to %" PRIx64, page, w.gpa);
		/* From ring 3 nothing is there. */
		walk_guest(&t->vm.mem, &t->cs, page, kinds[i].access | MMU_USER, &w);
		expect(w.fault);
	}
}

static void check_all_pages(struct trial_boot *t, uint64_t ram)
{
	struct solo5_boot_info info;
	uint64_t end;

	mem_read(&t->vm.mem, t->cs.gpr[CPU_RDI], &info, sizeof(info));
	end = info.cmdline + strlen(t->config.cmdline) + 1;
	for (uint64_t page = 0; page < ram + 4 * LARGE; page += PAGE)
		check_page(t, page, rights(&t->image, ram, end, page));
	check_page(t, 1ull << 30, 0);
	check_page(t, 0xc0000000, 0);
	check_page(t, 1ull << 32, 0);
	check_page(t, 1ull << 39, 0);
}

/* Segments anywhere, each with its own pages, in RAM of any size. */
START_TEST(test_tables)
{
	static const uint32_t flags[] = {PF_R, PF_R | PF_W, PF_R | PF_X, PF_X, 0};
	struct random dice = random_start("solo5_boot");

	for (int i = 0; i < 40; i++) {
		struct trial_boot *t = calloc(1, sizeof(*t));
		uint64_t at = 0x100000 + random_below(&dice, 3) * PAGE, ram;

		t->image.kind = IMAGE_SOLO5;
		for (uint64_t n = 1 + random_below(&dice, i % 4 ? 5 : IMAGE_MAX_SEGMENTS); n; n--) {
			uint64_t size = 1 + random_below(&dice, random_below(&dice, 4) ? 5 * PAGE : 3 * LARGE);

			if (at + size > MAX_RAM - LARGE)
				break;
			add_segment(&t->image, at + random_below(&dice, PAGE), size, flags[random_below(&dice, 5)]);
			at = (t->image.top + PAGE - 1) / PAGE * PAGE + random_below(&dice, 3) * PAGE;
			if (random_below(&dice, 6) == 0)
				at = (at + LARGE - 1) / LARGE * LARGE;
		}
		ram = image_ram_needed(&t->image) + random_below(&dice, 6) * (1ull << 20);
		start(t, ram, "some words");
		ck_assert_int_eq(boot_solo5(&t->vm, &t->config, &t->cs), 0);
		check_all_pages(t, ram);
		mem_destroy(&t->vm.mem);
		free(t);
	}
}
END_TEST

START_TEST(test_info)
{
	struct trial_boot *t = calloc(1, sizeof(*t));
	struct solo5_manifest_header header;
	struct solo5_boot_info info;
	struct solo5_entry e[3];
	char cmdline[20];

	add_segment(&t->image, 0x100000, 0x1234, PF_R | PF_X);
	t->image.solo5 = (struct solo5_manifest){.count = 3, .wanted = {{"", 0}, {"disk", SOLO5_BLOCK}, {"wire", SOLO5_NET}}};
	t->vm.solo5.units.count = 3;
	t->vm.solo5.units.unit[1] =
		(struct solo5_unit){.type = SOLO5_BLOCK, .open = true,
				    .block = {.disk = {.fd = 77, .bytes = 1 << 20}, .sector = 4096}};
	t->vm.solo5.units.unit[2] =
		(struct solo5_unit){.type = SOLO5_NET, .open = true, .net = {.fd = 78, .mac = {2, 3, 4, 5, 6, 7}, .mtu = 9000}};
	start(t, 5 << 20, "the command line");
	ck_assert_int_eq(boot_solo5(&t->vm, &t->config, &t->cs), 0);
	ck_assert_uint_eq(t->cs.gpr[CPU_RDI], 0x10000);
	ck_assert_uint_eq(t->cs.gpr[CPU_RSP], (4 << 20) - 8);
	ck_assert_uint_eq(t->cs.rip, 0x100000);
	ck_assert_uint_eq(t->cs.rflags, 2);
	ck_assert_uint_eq(t->cs.cr3, 0x2000);
	ck_assert_int_eq(mem_read(&t->vm.mem, 0x10000, &info, sizeof(info)), 0);
	ck_assert_uint_eq(info.mem_size, 4 << 20);
	ck_assert_uint_eq(info.kernel_end, 0x102000);
	ck_assert_uint_eq(info.cycle_hz, KHZ * 1000ull);
	ck_assert_int_eq(mem_read(&t->vm.mem, info.cmdline, cmdline, 17), 0);
	ck_assert_str_eq(cmdline, "the command line");
	mem_read(&t->vm.mem, info.manifest, &header, sizeof(header));
	ck_assert_uint_eq(header.version, 1);
	ck_assert_uint_eq(header.entries, 3);
	mem_read(&t->vm.mem, info.manifest + 8, e, sizeof(e));
	ck_assert_uint_eq(e[0].type, 1 << 30);
	ck_assert_uint_eq(e[0].attached, 0);
	ck_assert_str_eq(e[1].name, "disk");
	ck_assert_uint_eq(e[1].block.capacity, 1 << 20);
	ck_assert_uint_eq(e[1].block.block_size, 4096);
	ck_assert_str_eq(e[2].name, "wire");
	ck_assert_uint_eq(e[2].net.mtu, 9000);
	ck_assert_uint_eq(e[2].net.mac[5], 7);
	ck_assert(e[1].attached == 1 && e[2].attached == 1);
	/* What is the launcher's own, such as its descriptors, does not show. */
	ck_assert(e[1].backing == 0 && e[2].backing == 0);
	mem_destroy(&t->vm.mem);
	free(t);
}
END_TEST

static int boot_with(uint64_t ram, uint64_t top, const char *cmdline, const char *initrd, struct capture *c)
{
	struct trial_boot *t = calloc(1, sizeof(*t));
	int r;

	add_segment(&t->image, 0x100000, top - 0x100000, PF_R | PF_X);
	start(t, ram, cmdline);
	t->config.initrd = initrd;
	capture_begin(c);
	r = boot_solo5(&t->vm, &t->config, &t->cs);
	capture_end(c);
	mem_destroy(&t->vm.mem);
	free(t);
	return r;
}

START_TEST(test_refused)
{
	char line[SOLO5_CMDLINE_MAX + 1];
	struct capture c;

	memset(line, 'x', sizeof(line));
	line[SOLO5_CMDLINE_MAX] = '\0';
	ck_assert_int_eq(boot_with(4 << 20, 0x101000, line, NULL, &c), -E2BIG);
	line[SOLO5_CMDLINE_MAX - 1] = '\0';
	ck_assert_int_eq(boot_with(4 << 20, 0x101000, line, NULL, &c), 0);
	ck_assert_int_eq(boot_with(4 << 20, 0x101000, "", "initrd", &c), -EINVAL);
	ck_assert_int_eq(boot_with(4 << 20, (4 << 20) - PAGE, "", NULL, &c), 0);
	ck_assert_int_eq(boot_with(4 << 20, (4 << 20) - PAGE + 1, "", NULL, &c), -ENOSPC);
	ck_assert_ptr_nonnull(strstr(c.text, "--mem 6M"));
	ck_assert_int_eq(boot_with(1 << 20, 0x101000, "", NULL, &c), -ENOSPC);
	ck_assert_int_eq(boot_with(3ull << 30, 0x101000, "", NULL, &c), 0);
	ck_assert_int_eq(boot_with((3ull << 30) + PAGE, 0x101000, "", NULL, &c), -EINVAL);
	khz = 0;
	ck_assert_int_eq(boot_with(4 << 20, 0x101000, "", NULL, &c), -ENOTSUP);
	ck_assert_ptr_nonnull(strstr(c.text, "no steady time-stamp counter"));
}
END_TEST

/* A sound unikernel in a file: code, data, and both notes in one segment. */
static struct writer_elf good_file(void)
{
	struct writer_elf e = writer_good();

	e.entry = 0x100010;
	for (int i = 0; i < 2; i++)
		e.segment[i].vaddr = e.segment[i].paddr;
	return e;
}

static int probe(struct writer_elf *e, struct image *im, struct image_reason *why)
{
	static uint8_t bytes[WRITER_FILE_SIZE];
	struct solo5_notes n = {.size = 0};
	struct memory_file f;
	int r;

	solo5_put_abi(&n, 1, 2);
	solo5_put_manifest(&n, 3);
	e->note_count = 0;
	e->segment[2].filesz = e->segment[2].memsz = n.size;
	writer_write(e, bytes);
	memcpy(bytes + WRITER_NOTE_OFFSET, n.bytes, n.size);
	f = file_of(bytes, e->size);
	r = image_probe(im, f.path, why);
	close(f.fd);
	return r;
}

START_TEST(test_segments)
{
	static const struct {
		unsigned int segment; /* which is changed */
		uint32_t flags;	      /* 0: as they are */
		uint64_t vaddr, memsz;
		const char *part; /* NULL: good */
	} cases[] = {
		{0, 0, 0x100000, 0x123, NULL},
		{1, 0, 0x101000, 0x3000, NULL},
		{1, 0, 0x300fff, 0x1000, NULL},
		{1, WRITER_R, 0x101000, 0x3000, NULL},
		{1, WRITER_R | WRITER_W | WRITER_X, 0x101000, 0x3000, "both written and executed"},
		{0, WRITER_R | WRITER_W | WRITER_X, 0x100000, 0x123, "both written and executed"},
		{0, WRITER_R | WRITER_W, 0x100000, 0x123, "not executable"},
		{1, 0, 0x100fff, 0x1000, "share the page"},
		{1, 0, 0x100200, 0x1000, "share the page"},
		{1, 0, 0x100100, 0x1000, "overlap"},
		{1, 0, 0xff000, 0x1000, "0x100000"},
		{1, 0, 0x10000, 0x1000, "0x100000"},
		{1, 0, 0xbfe00000, 0x1000, "beyond any RAM"},
		{1, 0, 0xbfdff000, 0x1000, NULL},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct writer_elf e = good_file();
		struct writer_segment *s = &e.segment[cases[i].segment];
		struct image_reason why = {""};
		struct image im;
		int r;

		s->flags = cases[i].flags ? cases[i].flags : s->flags;
		s->vaddr = cases[i].vaddr;
		s->paddr = 0x7000; /* nobody looks at it */
		s->memsz = cases[i].memsz;
		r = probe(&e, &im, &why);
		ck_assert_msg(r == (cases[i].part ? -ENOEXEC : 0), "case %zu: %d, '%s'", i, r, why.text);
		ck_assert_msg(!cases[i].part || strstr(why.text, cases[i].part), "case %zu: '%s'", i, why.text);
		if (r < 0)
			continue;
		ck_assert_int_eq(im.kind, IMAGE_SOLO5);
		ck_assert_uint_eq(im.solo5.count, 3);
		ck_assert_uint_eq(im.entry, 0x100010);
		image_close(&im);
	}
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("boot");

	tcase_set_timeout(tcase, 0);
	tcase_add_test(tcase, test_tables);
	tcase_add_test(tcase, test_info);
	tcase_add_test(tcase, test_refused);
	tcase_add_test(tcase, test_segments);
	return run_case("solo5_boot", tcase);
}
