#include "vmm/elf_image.h"

#include <errno.h>
#include <gelf.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#include "guest/abi.h"
#include "vmm/image.h"
#include "vmm/mem.h"

#define MAX_NOTES_SIZE (64u << 10)
#define MAX_GPA (MEM_MAX_BYTES + (ABI_HOLE_END - ABI_HOLE_START))

struct reading {
	struct image *im;
	struct image_reason *why;
	uint64_t file_size;
	Elf64_Ehdr header;
	Elf *elf;
	bool noted;	     /* our note was there */
	const char *foreign; /* what the file is instead, if something in it says so */
	bool entry_found, entry_in_data;
};

#define RANGE "0x%" PRIx64 " + 0x%" PRIx64
#define REFUSE(r, ...) image_refuse((r)->why, ENOEXEC, __VA_ARGS__)

/* What libelf refuses is the file's fault, unless memory or the disk gave out under it. */
static int refuse_libelf(struct reading *r, const char *what)
{
	int err = errno == ENOMEM || errno == EIO ? errno : ENOEXEC;

	return image_refuse(r->why, err, "%s: %s", what, elf_errmsg(-1));
}

struct name {
	unsigned int number;
	const char *phrase;
};

static const struct name machines[] = {
	{ EM_386, "32-bit x86" }, { EM_AARCH64, "AArch64" }, { EM_ARM, "ARM" },
	{ EM_RISCV, "RISC-V" },	  { EM_PPC64, "PowerPC" },   { EM_S390, "S/390" },
	{ EM_MIPS, "MIPS" },	  { EM_SPARCV9, "SPARC" },
};

static const char *machine_name(unsigned int number)
{
	for (size_t i = 0; i < sizeof(machines) / sizeof(machines[0]); i++) {
		if (machines[i].number == number)
			return machines[i].phrase;
	}
	return "another machine";
}

static bool inside_file(const struct reading *r, uint64_t offset, uint64_t size)
{
	return offset <= r->file_size && size <= r->file_size - offset;
}

static int check_ident(struct reading *r)
{
	const unsigned char *ident = r->header.e_ident;

	if (ident[EI_CLASS] == ELFCLASS32)
		return REFUSE(r, "a 32-bit ELF file, not 64-bit");
	if (ident[EI_CLASS] != ELFCLASS64)
		return REFUSE(r, "an ELF file of unknown class %u, not 64-bit", ident[EI_CLASS]);
	if (ident[EI_DATA] == ELFDATA2MSB)
		return REFUSE(r, "a big-endian ELF file, not little-endian");
	if (ident[EI_DATA] != ELFDATA2LSB)
		return REFUSE(r, "an ELF file of unknown byte order %u", ident[EI_DATA]);
	if (ident[EI_VERSION] != EV_CURRENT || r->header.e_version != EV_CURRENT)
		return REFUSE(r, "an ELF file of unknown version");
	return 0;
}

static int check_type(struct reading *r)
{
	const Elf64_Ehdr *h = &r->header;

	if (h->e_machine != EM_X86_64)
		return REFUSE(r, "built for %s (ELF machine %u), not x86-64",
			      machine_name(h->e_machine), h->e_machine);
	if (h->e_type == ET_REL)
		return REFUSE(r, "an object file that is not linked yet");
	if (h->e_type == ET_CORE)
		return REFUSE(r, "a core dump");
	if (h->e_type != ET_EXEC && h->e_type != ET_DYN)
		return REFUSE(r, "an ELF file of unknown type %u", h->e_type);
	return 0;
}

static int check_tables(struct reading *r)
{
	const Elf64_Ehdr *h = &r->header;

	if (!h->e_phnum || !h->e_phoff)
		return REFUSE(r, "no program headers, so nothing to load");
	if (h->e_phentsize != sizeof(Elf64_Phdr))
		return REFUSE(r, "program headers of %u bytes instead of %zu", h->e_phentsize,
			      sizeof(Elf64_Phdr));
	if (h->e_phnum == PN_XNUM)
		return REFUSE(r, "too many program headers");
	if (!inside_file(r, h->e_phoff, (uint64_t)h->e_phnum * sizeof(Elf64_Phdr)))
		return REFUSE(r, "truncated: the program headers are bytes " RANGE
			      " of a file of 0x%" PRIx64, h->e_phoff,
			      (uint64_t)h->e_phnum * sizeof(Elf64_Phdr), r->file_size);
	/*
	 * The escape for more sections than e_shnum can say would let the file choose how much
	 * libelf allocates.
	 */
	if (!h->e_shnum && h->e_shoff)
		return REFUSE(r, "a section table without a size");
	return 0;
}

static int read_header(struct reading *r, const void *head, size_t head_size)
{
	Elf_Data in = { .d_type = ELF_T_EHDR, .d_version = EV_CURRENT, .d_size = sizeof(r->header) };
	Elf_Data out = in;
	char raw[sizeof(r->header)];
	int err;

	if (head_size < sizeof(raw))
		return REFUSE(r, "truncated: %zu bytes hold no whole ELF header", head_size);
	memcpy(raw, head, sizeof(raw));
	in.d_buf = raw;
	out.d_buf = &r->header;
	if (!elf64_xlatetom(&out, &in, ELFDATA2LSB))
		return refuse_libelf(r, "unreadable ELF header");
	err = check_ident(r);
	if (!err)
		err = check_type(r);
	if (!err)
		err = check_tables(r);
	return err;
}

/* Notes that tell what a file without ours is. */
static const struct {
	const char *name;
	unsigned int type; /* 0 = any */
	const char *phrase;
} foreign_notes[] = {
	{ "GNU", NT_GNU_ABI_TAG, "a Linux program" },
	{ "Linux", 0, "a Linux kernel (vmlinux)" },
	{ "Xen", 0, "a kernel for Xen or PVH" },
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
			r->foreign = foreign_notes[i].phrase;
	}
}

static int note_ours(struct reading *r, const GElf_Nhdr *note, const void *descriptor)
{
	if (note->n_descsz != sizeof(uint32_t))
		return REFUSE(r, "a damaged " ABI_NOTE_NAME " note of %u bytes", note->n_descsz);
	if (r->noted)
		return REFUSE(r, "more than one " ABI_NOTE_NAME " note");
	memcpy(&r->im->abi_version, descriptor, sizeof(r->im->abi_version));
	r->noted = true;
	return 0;
}

static int read_note(struct reading *r, const GElf_Nhdr *note, const char *name,
		     const void *descriptor)
{
	if (note->n_namesz == sizeof(ABI_NOTE_NAME) && note->n_type == ABI_NOTE_VERSION &&
	    !memcmp(name, ABI_NOTE_NAME, sizeof(ABI_NOTE_NAME)))
		return note_ours(r, note, descriptor);
	note_foreign(r, note, name);
	return 0;
}

static int read_notes(struct reading *r, const GElf_Phdr *ph)
{
	Elf_Data *data;
	GElf_Nhdr note;
	size_t at = 0, next, name, descriptor;

	if (!ph->p_filesz)
		return 0;
	if (!inside_file(r, ph->p_offset, ph->p_filesz))
		return REFUSE(r, "truncated: its notes lie behind the end of the file");
	if (ph->p_filesz > MAX_NOTES_SIZE)
		return REFUSE(r, "%" PRIu64 " bytes of notes are more than %u", ph->p_filesz,
			      MAX_NOTES_SIZE);
	data = elf_getdata_rawchunk(r->elf, (int64_t)ph->p_offset, ph->p_filesz,
				    ph->p_align == 8 ? ELF_T_NHDR8 : ELF_T_NHDR);
	if (!data)
		return refuse_libelf(r, "unreadable notes");
	for (; (next = gelf_getnote(data, at, &note, &name, &descriptor)); at = next) {
		const char *bytes = data->d_buf;
		int err = read_note(r, &note, bytes + name, bytes + descriptor);

		if (err)
			return err;
	}
	return 0;
}

static int read_notes_and_origin(struct reading *r)
{
	for (int i = 0; i < r->header.e_phnum; i++) {
		GElf_Phdr ph;
		int err = 0;

		if (!gelf_getphdr(r->elf, i, &ph))
			return refuse_libelf(r, "unreadable program header");
		if (ph.p_type == PT_INTERP)
			r->foreign = "a Linux program";
		else if (ph.p_type == PT_NOTE)
			err = read_notes(r, &ph);
		if (err)
			return err;
	}
	return 0;
}

static int check_origin(struct reading *r)
{
	if (r->noted || r->foreign)
		r->im->what = r->noted ? "a Penumbra guest image" : r->foreign;
	if (!r->noted && r->foreign)
		return REFUSE(r, "%s, not a guest image", r->foreign);
	if (!r->noted && r->header.e_type == ET_DYN)
		return REFUSE(r, "a shared library or position-independent program, "
			      "not a guest image");
	if (!r->noted)
		return REFUSE(r, "not a guest image: it has no " ABI_NOTE_NAME " note");
	if (r->header.e_type == ET_DYN)
		return REFUSE(r, "linked position-independent; a guest image has fixed addresses "
			      "(-static -no-pie)");
	if (r->im->abi_version != ABI_VERSION)
		return REFUSE(r, "built for version %u of the guest interface; this Penumbra "
			      "speaks version %u", r->im->abi_version, ABI_VERSION);
	return 0;
}

static int check_segment(struct reading *r, const GElf_Phdr *ph)
{
	if (ph->p_filesz > ph->p_memsz)
		return REFUSE(r, "a segment has more bytes in the file (0x%" PRIx64
			      ") than in memory (0x%" PRIx64 ")", ph->p_filesz, ph->p_memsz);
	if (!inside_file(r, ph->p_offset, ph->p_filesz))
		return REFUSE(r, "truncated: a segment is bytes " RANGE " of a file of 0x%" PRIx64,
			      ph->p_offset, ph->p_filesz, r->file_size);
	if (ph->p_memsz - 1 > UINT64_MAX - ph->p_vaddr)
		return REFUSE(r, "a segment's virtual addresses " RANGE " wrap", ph->p_vaddr,
			      ph->p_memsz);
	if (ph->p_paddr < ABI_LOAD_MIN)
		return REFUSE(r, "a segment at 0x%" PRIx64 " lies below 0x%llx, where the boot "
			      "structures are", ph->p_paddr, ABI_LOAD_MIN);
	if (ph->p_paddr > MAX_GPA || ph->p_memsz > MAX_GPA - ph->p_paddr)
		return REFUSE(r, "a segment at " RANGE " lies beyond any RAM", ph->p_paddr,
			      ph->p_memsz);
	if (ph->p_paddr < ABI_HOLE_END && ph->p_paddr + ph->p_memsz > ABI_HOLE_START)
		return REFUSE(r, "a segment at " RANGE " reaches into the device hole, 3 to 4 GiB",
			      ph->p_paddr, ph->p_memsz);
	return 0;
}

/* Inserts in ascending order of gpa; only the two new neighbours can overlap it. */
static int insert_segment(struct reading *r, const struct image_segment *s)
{
	struct image *im = r->im;
	unsigned int at = im->segment_count;

	if (at == IMAGE_MAX_SEGMENTS)
		return REFUSE(r, "more than %u segments", IMAGE_MAX_SEGMENTS);
	for (; at > 0 && im->segment[at - 1].gpa > s->gpa; at--)
		im->segment[at] = im->segment[at - 1];
	im->segment[at] = *s;
	im->segment_count++;
	for (unsigned int i = at ? at : 1; i < im->segment_count && i <= at + 1; i++) {
		const struct image_segment *a = &im->segment[i - 1], *b = &im->segment[i];

		if (a->gpa + a->size > b->gpa)
			return REFUSE(r, "segments overlap: " RANGE " and " RANGE, a->gpa, a->size,
				      b->gpa, b->size);
	}
	return 0;
}

static void look_for_entry(struct reading *r, const GElf_Phdr *ph)
{
	uint64_t entry = r->header.e_entry;

	if (entry < ph->p_vaddr || entry - ph->p_vaddr >= ph->p_memsz || r->entry_found)
		return;
	r->entry_found = ph->p_flags & PF_X;
	r->entry_in_data = !r->entry_found;
	r->im->entry = ph->p_paddr + (entry - ph->p_vaddr);
	r->im->entry_gva = entry;
}

static int read_segments(struct reading *r)
{
	for (int i = 0; i < r->header.e_phnum; i++) {
		struct image_segment s;
		GElf_Phdr ph;
		int err;

		if (!gelf_getphdr(r->elf, i, &ph))
			return refuse_libelf(r, "unreadable program header");
		if (ph.p_type != PT_LOAD || (!ph.p_memsz && !ph.p_filesz))
			continue;
		err = check_segment(r, &ph);
		if (err)
			return err;
		s = (struct image_segment){
			.gpa = ph.p_paddr, .size = ph.p_memsz, .gva = ph.p_vaddr,
			.offset = ph.p_offset, .file_size = ph.p_filesz, .flags = ph.p_flags,
		};
		err = insert_segment(r, &s);
		if (err)
			return err;
		look_for_entry(r, &ph);
	}
	return 0;
}

static int check_whole(struct reading *r)
{
	struct image *im = r->im;
	const struct image_segment *last;

	if (!im->segment_count)
		return REFUSE(r, "no loadable segment");
	if (!r->entry_found)
		return REFUSE(r, "the entry point 0x%" PRIx64 " is %s", (uint64_t)r->header.e_entry,
			      r->entry_in_data ? "in a segment that is not executable" :
						 "outside all segments");
	if (im->entry >= ABI_IDENTITY_SIZE)
		return REFUSE(r, "the entry point is at physical 0x%" PRIx64
			      ", beyond the first GiB that is mapped at start", im->entry);
	last = &im->segment[im->segment_count - 1];
	im->low = im->segment[0].gpa;
	im->top = last->gpa + last->size;
	return 0;
}

static int read_body(struct reading *r)
{
	int err = read_notes_and_origin(r);

	if (!err)
		err = check_origin(r);
	if (!err)
		err = read_segments(r);
	if (!err)
		err = check_whole(r);
	return err;
}

int elf_image_read(struct image *im, uint64_t file_size, const void *head, size_t head_size,
		   struct image_reason *why)
{
	struct reading r = { .im = im, .why = why, .file_size = file_size };
	int err;

	elf_version(EV_CURRENT);
	im->kind = IMAGE_PENUMBRA;
	errno = 0; /* refuse_libelf() looks at it */
	err = read_header(&r, head, head_size);
	if (err)
		return err;
	/* By read(), not mmap(): a file that shrinks under us must give an error, not SIGBUS. */
	r.elf = elf_begin(im->fd, ELF_C_READ, NULL);
	if (!r.elf)
		return refuse_libelf(&r, "unreadable ELF file");
	err = read_body(&r);
	elf_end(r.elf);
	return err;
}
