#include "vmm/multiboot_image.h"

#include <elf.h>
#include <errno.h>
#include <string.h>

#include "guest/abi.h"
#include "vmm/image.h"

#define MAGIC 0x1badb002u
#define HEADER_WORDS 3u
#define ADDRESS_WORDS 5u
#define FLAGS_KNOWN 0x7u /* of those that must be refused if unknown: aligned modules, memory, video mode */
#define FLAGS_REQUIRED 0xffffu

#define WHAT "a multiboot kernel"
#define REFUSE(why, ...) image_refuse(why, ENOEXEC, WHAT ", " __VA_ARGS__)

static bool is_header(const uint32_t *word)
{
	return word[0] == MAGIC && word[0] + word[1] + word[2] == 0;
}

/* A header that is cut off by the end of the file has no addresses: zeros, which no check passes. */
static void read_addresses(struct multiboot_header *h, const uint8_t *from, size_t size)
{
	uint32_t word[ADDRESS_WORDS] = {0};

	memcpy(word, from, size < sizeof(word) ? size : sizeof(word));
	h->header_addr = word[0];
	h->load_addr = word[1];
	h->load_end_addr = word[2];
	h->bss_end_addr = word[3];
	h->entry_addr = word[4];
}

bool multiboot_find(const void *head, size_t size, struct multiboot_header *h)
{
	const uint8_t *bytes = head;
	const size_t header = HEADER_WORDS * sizeof(uint32_t);

	size = size < MULTIBOOT_SEARCH ? size : MULTIBOOT_SEARCH;
	for (size_t at = 0; at + header <= size; at += sizeof(uint32_t)) {
		uint32_t word[HEADER_WORDS];

		memcpy(word, bytes + at, sizeof(word));
		if (!is_header(word))
			continue;
		*h = (struct multiboot_header){.at = (uint32_t)at, .flags = word[1]};
		if (multiboot_has_addresses(h))
			read_addresses(h, bytes + at + header, size - at - header);
		return true;
	}
	return false;
}

int multiboot_check(const struct multiboot_header *h, struct image_reason *why)
{
	uint32_t unknown = h->flags & FLAGS_REQUIRED & ~FLAGS_KNOWN;

	return unknown ? REFUSE(why, "which requires what the specification does not know (flags 0x%x)", unknown) : 0;
}

/* In the order of the addresses; each check counts on those before. */
static int check_addresses(const struct multiboot_header *h, struct image_reason *why)
{
	if (h->header_addr < h->load_addr || h->header_addr - h->load_addr > h->at)
		return REFUSE(why, "with a damaged header: it is at 0x%x of the file, and at 0x%x of a kernel from 0x%x on", h->at,
			      h->header_addr, h->load_addr);
	if (h->load_end_addr && h->load_end_addr <= h->load_addr)
		return REFUSE(why, "with a damaged header: it is loaded from 0x%x to 0x%x", h->load_addr, h->load_end_addr);
	if (h->load_addr < ABI_LOAD_MIN)
		return REFUSE(why, "to be loaded at 0x%x: below 0x%llx the boot structures are", h->load_addr, ABI_LOAD_MIN);
	return 0;
}

static int check_segment(const struct multiboot_header *h, const struct image_segment *s, uint64_t file_size,
			 struct image_reason *why)
{
	if (s->offset >= file_size || s->file_size > file_size - s->offset)
		return REFUSE(why, "truncated: it is bytes 0x%llx + 0x%llx of a file of 0x%llx", (unsigned long long)s->offset,
			      (unsigned long long)s->file_size, (unsigned long long)file_size);
	if (s->size > ABI_HOLE_START - s->gpa)
		return REFUSE(why, "to be loaded at 0x%x + 0x%llx, which reaches into the device hole, 3 to 4 GiB", h->load_addr,
			      (unsigned long long)s->size);
	if (h->entry_addr < s->gpa || h->entry_addr - s->gpa >= s->file_size)
		return REFUSE(why, "with an entry point 0x%x outside what is loaded", h->entry_addr);
	return 0;
}

static struct image_segment segment_of(const struct multiboot_header *h, uint64_t file_size)
{
	uint64_t offset = h->at - (h->header_addr - h->load_addr);
	uint64_t size = h->load_end_addr ? h->load_end_addr - h->load_addr : file_size > offset ? file_size - offset : 0;
	uint64_t all = h->bss_end_addr > h->load_addr ? h->bss_end_addr - h->load_addr : 0;

	return (struct image_segment){.gpa = h->load_addr, .gva = h->load_addr, .offset = offset, .file_size = size,
				      .size = all > size ? all : size, .flags = PF_R | PF_W | PF_X};
}

int multiboot_image_read(struct image *im, const struct multiboot_header *h, uint64_t file_size, struct image_reason *why)
{
	struct image_segment *s = &im->segment[0];
	int err;

	im->kind = IMAGE_MULTIBOOT;
	im->what = WHAT;
	im->enters_32 = true;
	err = multiboot_check(h, why);
	if (!err)
		err = check_addresses(h, why);
	if (err)
		return err;
	*s = segment_of(h, file_size);
	if (s->gpa >= ABI_HOLE_START)
		return REFUSE(why, "to be loaded at 0x%x, where no RAM is", h->load_addr);
	err = check_segment(h, s, file_size, why);
	if (err)
		return err;
	im->segment_count = 1;
	im->low = s->gpa;
	im->top = s->gpa + s->size;
	im->entry = im->entry_gva = h->entry_addr;
	return 0;
}
