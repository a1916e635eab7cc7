#include "tests/unit/snapshot_sample.h"

#include <check.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/mem.h"

static void fill(struct random *r, void *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		((uint8_t *)bytes)[i] = (uint8_t)random_next(r);
}

static void make_machine(struct manifest *m, struct random *r)
{
	m->program = strdup("0.0");
	m->mmu = strdup("ept");
	m->image = strdup("/some where/image");
	m->taken_ns = random_next(r) >> 2;
	m->ram = SAMPLE_RAM;
	m->position = random_next(r);
	m->balloon = m->position & 1;
	m->feature[m->feature_count++] = strdup("fpu");
	m->feature[m->feature_count++] = strdup("nx");
	m->disk[m->disk_count++] = (struct manifest_disk){.path = strdup("/disk"), .use = DISK_READ_ONLY};
	m->unit[m->unit_count++] = (struct manifest_unit){.name = strdup("block"), .where = strdup("/file"), .block = true,
							  .sector = 512};
}

static void make_cpu(struct cpu_state *cs, struct random *r)
{
	fill(r, cs->gpr, sizeof(cs->gpr));
	fill(r, cs->xsave, sizeof(cs->xsave));
	xsave_unpack(cs->xsave);
	memset(cs->xsave + XSAVE_MXCSR + 2, 0, 2); /* reserved bits */
	cs->rip = random_next(r);
	cs->halted = true;
	cs->cr0 = CR0_PE | CR0_PG;
	cs->efer = EFER_LME | EFER_LMA;
}

static void make_image(struct capture *c, struct random *r)
{
	uint8_t bytes[3000];

	fill(r, bytes, sizeof(bytes));
	c->image_fd = memfd_create("image", MFD_CLOEXEC);
	ck_assert_int_eq(write(c->image_fd, bytes, sizeof(bytes)), sizeof(bytes));
}

/* What compresses not at all, somewhat, or to nothing. */
static void fill_page(struct random *r, uint8_t *page)
{
	uint64_t kind = random_below(r, 3);

	if (kind == 0) {
		fill(r, page, PAGE_SIZE);
		return;
	}
	for (uint64_t i = 0; i < PAGE_SIZE; i++)
		page[i] = kind == 1 ? (uint8_t)(random_next(r) & 3) : (uint8_t)(1 + i / 1000);
}

/* Every fourth page is zero: held, or not. */
static void copy_page(struct ram_copy *c, uint64_t at, struct random *r)
{
	uint64_t page = at / PAGE_SIZE;

	if (random_below(r, 8) == 0)
		return;
	c->held[page / 64] |= 1ull << page % 64;
	if (random_below(r, 8))
		fill_page(r, c->bytes + at);
}

/* Ranges of up to eight pages with gaps between. */
static void make_ram(struct capture *c, struct random *r)
{
	static struct mem ram = {.size = SAMPLE_RAM};
	uint64_t gpa = random_below(r, 4) * PAGE_SIZE;

	ck_assert_int_eq(ram_copy_reserve(&c->ram, &ram, 0), 0);
	while (gpa < SAMPLE_RAM) {
		uint64_t most = SAMPLE_RAM - gpa, size = (1 + random_below(r, 8)) * PAGE_SIZE;

		size = size < most ? size : most;
		ck_assert_int_eq(ram_copy_add(&c->ram, gpa, size), 0);
		for (uint64_t at = c->ram.used - size; at < c->ram.used; at += PAGE_SIZE)
			copy_page(&c->ram, at, r);
		gpa += size + (1 + random_below(r, 64)) * PAGE_SIZE;
	}
}

void sample_make(struct capture *c, struct random *r)
{
	*c = (struct capture){.image_fd = -1};
	fill(r, c->sn.id.byte, sizeof(c->sn.id.byte));
	make_machine(&c->sn.machine, r);
	make_cpu(&c->sn.cpu, r);
	c->sn.device_bytes = 300;
	c->sn.devices = malloc(c->sn.device_bytes);
	fill(r, c->sn.devices, c->sn.device_bytes);
	make_image(c, r);
	make_ram(c, r);
}

char *sample_directory(void)
{
	char *name = strdup("/tmp/penumbra-snapshot.XXXXXX");

	ck_assert_ptr_nonnull(mkdtemp(name));
	return name;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

void sample_remove(char *directory)
{
	ck_assert_int_eq(nftw(directory, remove_entry, 8, FTW_DEPTH | FTW_PHYS), 0);
	free(directory);
}

static bool same_machine(const struct manifest *a, const struct manifest *b)
{
	return !strcmp(a->program, b->program) && !strcmp(a->mmu, b->mmu) && !strcmp(a->image, b->image) &&
	       a->taken_ns == b->taken_ns && a->ram == b->ram && a->position == b->position && a->image_size == b->image_size &&
	       !memcmp(&a->image_checksum, &b->image_checksum, sizeof(a->image_checksum)) &&
	       a->feature_count == b->feature_count && !strcmp(a->feature[1], b->feature[1]) && a->disk_count == b->disk_count &&
	       !strcmp(a->disk[0].path, b->disk[0].path) && a->disk[0].use == b->disk[0].use && a->unit_count == b->unit_count &&
	       !strcmp(a->unit[0].name, b->unit[0].name) && !strcmp(a->unit[0].where, b->unit[0].where) &&
	       a->unit[0].sector == b->unit[0].sector && a->virtio_console == b->virtio_console && a->balloon == b->balloon;
}

static bool same_pages(const struct page_map *a, const struct page_map *b)
{
	if (a->runs != b->runs || a->checksums != b->checksums)
		return false;
	for (size_t i = 0; i < a->runs; i++)
		if (a->run[i].gpa != b->run[i].gpa || a->run[i].pages != b->run[i].pages || a->run[i].zero != b->run[i].zero)
			return false;
	return !memcmp(a->checksum, b->checksum, a->checksums * sizeof(*a->checksum));
}

static bool same_blocks(const struct snapshot *a, const struct snapshot *b)
{
	const struct block_map *x = &a->blocks, *y = &b->blocks;

	if (a->compressed != b->compressed || x->pages != y->pages || x->blocks != y->blocks || x->bytes != y->bytes)
		return false;
	for (size_t i = 0; i < x->blocks; i++)
		if (x->block[i].at != y->block[i].at || x->block[i].size != y->block[i].size ||
		    x->block[i].checksum != y->block[i].checksum)
			return false;
	return true;
}

bool sample_same(const struct snapshot *a, const struct snapshot *b)
{
	return !memcmp(&a->id, &b->id, sizeof(a->id)) && !memcmp(&a->checksum, &b->checksum, sizeof(a->checksum)) &&
	       a->incremental == b->incremental && same_machine(&a->machine, &b->machine) &&
	       !memcmp(a->cpu.gpr, b->cpu.gpr, sizeof(a->cpu.gpr)) && a->cpu.rip == b->cpu.rip && a->cpu.halted == b->cpu.halted &&
	       !memcmp(a->cpu.xsave, b->cpu.xsave, sizeof(a->cpu.xsave)) && a->device_bytes == b->device_bytes &&
	       !memcmp(a->devices, b->devices, a->device_bytes) && same_pages(&a->pages, &b->pages) &&
	       same_blocks(a, b);
}
