#include "vmm/elf_image.h"

#include <errno.h>
#include <gelf.h>
#include <inttypes.h>
#include <stdbool.h>

#include "guest/abi.h"
#include "vmm/elf_header.h"
#include "vmm/elf_notes.h"
#include "vmm/elf_segments.h"
#include "vmm/image.h"
#include "vmm/multiboot_image.h"
#include "vmm/solo5_image.h"

struct reading {
	struct image *im;
	struct image_reason *why;
	uint64_t file_size;
	Elf64_Ehdr header;
	Elf *elf;
	const struct multiboot_header *multiboot; /* NULL: it has none */
	struct elf_notes notes;
	bool entry_found, entry_in_data;
};

#define REFUSE(r, ...) image_refuse((r)->why, ENOEXEC, __VA_ARGS__)

/* Solo5's own: such an image has an interpreter and a note of another system, so that nobody takes it for a program. */
static int check_solo5(struct reading *r)
{
	r->im->kind = IMAGE_SOLO5;
	r->im->what = "a Solo5 unikernel";
	if (elf_is_32bit(&r->header))
		return REFUSE(r, "a 32-bit Solo5 unikernel");
	if (r->notes.solo5_error)
		*r->why = r->notes.solo5_why;
	return r->notes.solo5_error ? r->notes.solo5_error : solo5_manifest_check(&r->im->solo5, r->why);
}

static bool is_solo5(const struct reading *r)
{
	const struct solo5_manifest *m = &r->im->solo5;

	if (m->has_abi && m->target == SOLO5_ABI_HVT)
		return true;
	/* One for Xen is a PVH kernel, too. */
	return !r->notes.pvh && (m->has_abi || m->has_manifest || r->notes.solo5_error);
}

static int check_ours(struct reading *r)
{
	r->im->what = "a Penumbra guest image";
	if (elf_is_32bit(&r->header))
		return REFUSE(r, "a 32-bit ELF file, not 64-bit");
	if (r->im->abi_version != ABI_VERSION)
		return REFUSE(r, "built for version %u of the guest interface; this Penumbra "
			      "speaks version %u", r->im->abi_version, ABI_VERSION);
	return 0;
}

static int check_kernel(struct reading *r)
{
	r->im->kind = r->notes.pvh ? IMAGE_PVH : IMAGE_MULTIBOOT;
	r->im->what = r->notes.pvh ? "a PVH kernel" : "a multiboot kernel";
	r->im->enters_32 = true;
	return r->notes.pvh ? 0 : multiboot_check(r->multiboot, r->why);
}

static int check_foreign(struct reading *r)
{
	if (r->notes.foreign) {
		r->im->what = r->notes.foreign;
		return REFUSE(r, "%s, not a guest image", r->notes.foreign);
	}
	if (r->header.e_type == ET_DYN)
		return REFUSE(r, "a shared library or position-independent program, "
			      "not a guest image");
	if (elf_is_32bit(&r->header))
		return REFUSE(r, "not a guest image: a 32-bit ELF file without a multiboot header or PVH note");
	return REFUSE(r, "not a guest image: it has no " ABI_NOTE_NAME " note");
}

static int check_origin(struct reading *r)
{
	bool solo5 = !r->notes.ours && is_solo5(r);
	int err;

	if (!r->notes.ours && !solo5 && !r->notes.pvh && !r->multiboot)
		return check_foreign(r);
	err = r->notes.ours ? check_ours(r) : solo5 ? check_solo5(r) : check_kernel(r);
	if (err)
		return err;
	if (r->header.e_type == ET_DYN)
		return REFUSE(r, "linked position-independent; a guest image has fixed addresses "
			      "(-static -no-pie)");
	return 0;
}

static void look_for_entry(void *arg, const GElf_Phdr *ph)
{
	struct reading *r = arg;
	uint64_t entry = r->header.e_entry;

	if (entry < ph->p_vaddr || entry - ph->p_vaddr >= ph->p_memsz || r->entry_found)
		return;
	r->entry_found = ph->p_flags & PF_X;
	r->entry_in_data = !r->entry_found;
	r->im->entry = ph->p_paddr + (entry - ph->p_vaddr);
	r->im->entry_gva = entry;
}

/* A kernel's entry is physical, whatever its segment's flags say; multiboot's may be virtual, which was looked for before. */
static int find_kernel_entry(struct reading *r)
{
	struct image *im = r->im;
	uint64_t entry = r->notes.pvh ? r->notes.pvh_entry : r->entry_found || r->entry_in_data ? im->entry : r->header.e_entry;

	for (unsigned int i = 0; i < im->segment_count; i++) {
		const struct image_segment *s = &im->segment[i];

		if (entry < s->gpa || entry - s->gpa >= s->size)
			continue;
		im->entry = entry;
		im->entry_gva = s->gva + (entry - s->gpa);
		if (entry >= ABI_HOLE_START)
			return REFUSE(r, "the entry point is at physical 0x%" PRIx64 ", beyond what 32 bits reach", entry);
		return 0;
	}
	return REFUSE(r, "the entry point 0x%" PRIx64 " is outside all segments", entry);
}

static int find_entry(struct reading *r)
{
	struct image *im = r->im;

	if (im->kind == IMAGE_PVH || im->kind == IMAGE_MULTIBOOT)
		return find_kernel_entry(r);
	if (!r->entry_found)
		return REFUSE(r, "the entry point 0x%" PRIx64 " is %s", (uint64_t)r->header.e_entry,
			      r->entry_in_data ? "in a segment that is not executable" :
						 "outside all segments");
	if (im->kind == IMAGE_PENUMBRA && im->entry >= ABI_IDENTITY_SIZE)
		return REFUSE(r, "the entry point is at physical 0x%" PRIx64
			      ", beyond the first GiB that is mapped at start", im->entry);
	return 0;
}

static int read_body(struct reading *r)
{
	int err = elf_notes_read(&r->notes, r->im, r->elf, r->header.e_phnum, r->file_size, r->why);

	if (!err)
		err = check_origin(r);
	if (!err)
		err = elf_segments_read(r->im, r->elf, r->header.e_phnum, r->file_size, look_for_entry, r, r->why);
	if (!err)
		err = find_entry(r);
	if (!err && r->im->kind == IMAGE_SOLO5)
		err = solo5_image_check_segments(r->im, r->why);
	return err;
}

int elf_image_read(struct image *im, uint64_t file_size, const void *head, size_t head_size,
		   const struct multiboot_header *multiboot, struct image_reason *why)
{
	struct reading r = { .im = im, .why = why, .file_size = file_size, .multiboot = multiboot };
	int err;

	elf_version(EV_CURRENT);
	im->kind = IMAGE_PENUMBRA;
	errno = 0; /* elf_refuse() looks at it */
	err = elf_header_read(&r.header, head, head_size, file_size, why);
	if (err)
		return err;
	/* By read(), not mmap(): a file that shrinks under us must give an error, not SIGBUS. */
	r.elf = elf_begin(im->fd, ELF_C_READ, NULL);
	if (!r.elf)
		return elf_refuse(why, "unreadable ELF file");
	err = read_body(&r);
	elf_end(r.elf);
	return err;
}
