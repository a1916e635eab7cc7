#include "vmm/linux_image.h"

#include <elf.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "guest/abi.h"
#include "vmm/image.h"
#include "vmm/memory_map.h"

/* Fields of the header, by their place in the file. */
#define SETUP_SECTS 0x1f1u
#define SYSSIZE 0x1f4u
#define BOOT_FLAG 0x1feu
#define JUMP_LENGTH 0x201u
#define MAGIC 0x202u
#define VERSION 0x206u
#define LOADFLAGS 0x211u
#define INITRD_ADDR_MAX 0x22cu
#define XLOADFLAGS 0x236u
#define CMDLINE_SIZE 0x238u
#define PREF_ADDRESS 0x258u
#define INIT_SIZE 0x260u
#define HEADER_NEEDED 0x264u /* all of the above */

#define SECTOR 512u
#define DEFAULT_SETUP_SECTS 4u
#define PARAGRAPH 16u
#define VERSION_64 0x20cu   /* the first with xloadflags */
#define VERSION_PLACE 0x20au /* the first that says where it goes and how much it needs */
#define LOADED_HIGH 1u
#define XLF_KERNEL_64 1u
#define ENTRY_64 0x200u
#define MAX_CMDLINE 0x7fffu

#define WHAT "a Linux kernel (bzImage)"
#define REFUSE(why, ...) image_refuse(why, ENOEXEC, WHAT ", " __VA_ARGS__)

static uint64_t field(const uint8_t *head, size_t at, unsigned int bytes)
{
	uint64_t value = 0;

	memcpy(&value, head + at, bytes); /* little endian, as this machine */
	return value;
}

bool linux_image_is(const void *head, size_t size)
{
	return size >= MAGIC + 4 && !memcmp((const uint8_t *)head + MAGIC, "HdrS", 4);
}

/* The words that do not depend on how large the file is. */
static int check_header(const uint8_t *head, size_t size, struct image_reason *why)
{
	unsigned int version = size > VERSION + 1 ? (unsigned int)field(head, VERSION, 2) : 0;

	if (size < HEADER_NEEDED)
		return REFUSE(why, "truncated: %zu bytes hold no whole setup header", size);
	if (field(head, BOOT_FLAG, 2) != 0xaa55)
		return REFUSE(why, "with a damaged header: no 0xaa55 at 0x1fe");
	if (version < VERSION_PLACE)
		return REFUSE(why, "of boot protocol %u.%02u: too old, 2.10 is needed", version >> 8, version & 0xff);
	if (MAGIC + field(head, JUMP_LENGTH, 1) < HEADER_NEEDED)
		return REFUSE(why, "with a damaged header: it is shorter than its version says");
	if (!(field(head, LOADFLAGS, 1) & LOADED_HIGH))
		return REFUSE(why, "that loads below 1 MiB (a zImage), which needs the BIOS");
	return 0;
}

static int check_place(const struct image_segment *s, struct image_reason *why)
{
	if (s->gpa < MEMORY_MAP_HIGH || s->gpa % PARAGRAPH)
		return REFUSE(why, "that wants to lie at 0x%" PRIx64 ", which is no place above 1 MiB", s->gpa);
	if (s->size < s->file_size)
		return REFUSE(why, "with a damaged header: 0x%" PRIx64 " bytes need only 0x%" PRIx64 " of memory",
			      s->file_size, s->size);
	if (s->gpa > ABI_IDENTITY_SIZE || s->size > ABI_IDENTITY_SIZE - s->gpa)
		return REFUSE(why, "at 0x%" PRIx64 " + 0x%" PRIx64 ", beyond the first GiB", s->gpa, s->size);
	return 0;
}

static int check_size(uint64_t file_size, uint64_t setup, uint64_t code, struct image_reason *why)
{
	if (code <= ENTRY_64)
		return REFUSE(why, "with a damaged header: no code behind its setup part");
	if (setup > file_size || code > file_size - setup)
		return REFUSE(why, "truncated: the kernel is bytes 0x%" PRIx64 " + 0x%" PRIx64 " of a file of 0x%" PRIx64,
			      setup, code, file_size);
	return 0;
}

/* The header counts paragraphs, of which the last need not be whole. */
static uint64_t code_size(uint64_t paragraphs, uint64_t file_size, uint64_t setup)
{
	uint64_t size = paragraphs * PARAGRAPH, left = file_size > setup ? file_size - setup : 0;

	return size > left && size - left < PARAGRAPH ? left : size;
}

int linux_image_read(struct image *im, uint64_t file_size, const void *head, size_t size, struct image_reason *why)
{
	const uint8_t *h = head;
	struct image_segment *s = &im->segment[0];
	uint64_t setup, code;
	int err;

	im->kind = IMAGE_LINUX;
	im->what = WHAT;
	err = check_header(h, size, why);
	if (err)
		return err;
	setup = field(h, SETUP_SECTS, 1);
	setup = ((setup ? setup : DEFAULT_SETUP_SECTS) + 1) * SECTOR;
	code = code_size(field(h, SYSSIZE, 4), file_size, setup);
	err = check_size(file_size, setup, code, why);
	if (err)
		return err;
	*s = (struct image_segment){.gpa = field(h, PREF_ADDRESS, 8), .size = field(h, INIT_SIZE, 4), .offset = setup,
				    .file_size = code, .flags = PF_R | PF_W | PF_X};
	s->gva = s->gpa;
	err = check_place(s, why);
	if (err)
		return err;
	im->segment_count = 1;
	im->low = s->gpa;
	im->top = s->gpa + s->size;
	im->enters_32 = field(h, VERSION, 2) < VERSION_64 || !(field(h, XLOADFLAGS, 2) & XLF_KERNEL_64);
	im->entry = im->entry_gva = s->gpa + (im->enters_32 ? 0 : ENTRY_64);
	im->initrd_max = field(h, INITRD_ADDR_MAX, 4);
	im->cmdline_max = field(h, CMDLINE_SIZE, 4) < MAX_CMDLINE ? field(h, CMDLINE_SIZE, 4) : MAX_CMDLINE;
	return 0;
}
