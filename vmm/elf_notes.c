#include "vmm/elf_notes.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "guest/abi.h"
#include "vmm/elf_segments.h"
#include "vmm/solo5_manifest.h"

#define MAX_NOTES_SIZE (64u << 10)

/* XEN_ELFNOTE_PHYS32_ENTRY, "PVH boot" (Xen: docs/misc/pvh.pandoc). */
#define PVH_NOTE_NAME "Xen"
#define PVH_NOTE_ENTRY 18u

struct reading {
	struct elf_notes *notes;
	struct image *im;
	Elf *elf;
	uint64_t file_size;
	struct image_reason *why;
};

#define REFUSE(r, ...) image_refuse((r)->why, ENOEXEC, __VA_ARGS__)

/* Notes that tell what a file without ours is. */
static const struct {
	const char *name;
	unsigned int type; /* 0 = any */
	const char *phrase;
} foreign_notes[] = {
	{ "GNU", NT_GNU_ABI_TAG, "a Linux program" },
	{ "Linux", 0, "a Linux kernel (vmlinux)" },
	{ "Xen", 0, "a kernel for Xen" },
	{ "Solo5", 0, "a Solo5 unikernel" },
	{ "NetBSD", 0, "a NetBSD program" },
	{ "FreeBSD", 0, "a FreeBSD program" },
	{ "OpenBSD", 0, "an OpenBSD program" },
};

static void note_foreign(struct reading *r, const GElf_Nhdr *note, const char *name)
{
	for (size_t i = 0; i < sizeof(foreign_notes) / sizeof(foreign_notes[0]); i++) {
		const char *known = foreign_notes[i].name;
		unsigned int type = foreign_notes[i].type;

		if (note->n_namesz == strlen(known) + 1 && (!type || type == note->n_type) &&
		    !memcmp(name, known, note->n_namesz))
			r->notes->foreign = foreign_notes[i].phrase;
	}
}

static int note_ours(struct reading *r, const GElf_Nhdr *note, const void *descriptor)
{
	if (note->n_descsz != sizeof(uint32_t))
		return REFUSE(r, "a damaged " ABI_NOTE_NAME " note of %u bytes", note->n_descsz);
	if (r->notes->ours)
		return REFUSE(r, "more than one " ABI_NOTE_NAME " note");
	memcpy(&r->im->abi_version, descriptor, sizeof(r->im->abi_version));
	r->notes->ours = true;
	return 0;
}

/* The descriptor has the width of an address, which differs by who made it. */
static int note_pvh(struct reading *r, const GElf_Nhdr *note, const void *descriptor)
{
	if (note->n_descsz != sizeof(uint32_t) && note->n_descsz != sizeof(uint64_t))
		return REFUSE(r, "a damaged PVH note of %u bytes", note->n_descsz);
	if (r->notes->pvh)
		return REFUSE(r, "more than one PVH note");
	memcpy(&r->notes->pvh_entry, descriptor, note->n_descsz);
	r->notes->pvh = true;
	return 0;
}

static int read_note(struct reading *r, const GElf_Nhdr *note, const char *name,
		     const void *descriptor)
{
	if (note->n_namesz == sizeof(ABI_NOTE_NAME) && note->n_type == ABI_NOTE_VERSION &&
	    !memcmp(name, ABI_NOTE_NAME, sizeof(ABI_NOTE_NAME)))
		return note_ours(r, note, descriptor);
	if (note->n_namesz == sizeof(PVH_NOTE_NAME) && note->n_type == PVH_NOTE_ENTRY &&
	    !memcmp(name, PVH_NOTE_NAME, sizeof(PVH_NOTE_NAME)))
		return note_pvh(r, note, descriptor);
	note_foreign(r, note, name);
	return 0;
}

/* With the bytes as they are: libelf finds other descriptors in segments that are aligned to 8. */
static int read_solo5_notes(struct reading *r, const GElf_Phdr *ph)
{
	Elf_Data *data = elf_getdata_rawchunk(r->elf, (int64_t)ph->p_offset, ph->p_filesz, ELF_T_BYTE);

	if (!data)
		return elf_refuse(r->why, "unreadable notes");
	if (!r->notes->solo5_error)
		r->notes->solo5_error = solo5_notes_read(&r->im->solo5, data->d_buf, data->d_size, ph->p_align,
							 &r->notes->solo5_why);
	return 0;
}

static int read_segment(struct reading *r, const GElf_Phdr *ph)
{
	Elf_Data *data;
	GElf_Nhdr note;
	size_t at = 0, next, name, descriptor;
	int err;

	if (!ph->p_filesz)
		return 0;
	if (!elf_inside_file(ph->p_offset, ph->p_filesz, r->file_size))
		return REFUSE(r, "truncated: its notes lie behind the end of the file");
	if (ph->p_filesz > MAX_NOTES_SIZE)
		return REFUSE(r, "%" PRIu64 " bytes of notes are more than %u", ph->p_filesz,
			      MAX_NOTES_SIZE);
	data = elf_getdata_rawchunk(r->elf, (int64_t)ph->p_offset, ph->p_filesz,
				    ph->p_align == 8 ? ELF_T_NHDR8 : ELF_T_NHDR);
	if (!data)
		return elf_refuse(r->why, "unreadable notes");
	err = read_solo5_notes(r, ph);
	if (err)
		return err;
	for (; (next = gelf_getnote(data, at, &note, &name, &descriptor)); at = next) {
		const char *bytes = data->d_buf;

		err = read_note(r, &note, bytes + name, bytes + descriptor);
		if (err)
			return err;
	}
	return 0;
}

int elf_notes_read(struct elf_notes *notes, struct image *im, Elf *elf, unsigned int count, uint64_t file_size,
		   struct image_reason *why)
{
	struct reading r = {.notes = notes, .im = im, .elf = elf, .file_size = file_size, .why = why};

	*notes = (struct elf_notes){0};
	for (unsigned int i = 0; i < count; i++) {
		GElf_Phdr ph;
		int err = 0;

		if (!gelf_getphdr(elf, (int)i, &ph))
			return elf_refuse(why, "unreadable program header");
		if (ph.p_type == PT_INTERP)
			notes->foreign = "a Linux program";
		else if (ph.p_type == PT_NOTE)
			err = read_segment(&r, &ph);
		if (err)
			return err;
	}
	return 0;
}
