#include "vmm/elf_header.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "vmm/elf_segments.h"
#include "vmm/image.h"

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

struct reading {
	Elf64_Ehdr *header;
	uint64_t file_size;
	struct image_reason *why;
};

#define REFUSE(r, ...) image_refuse((r)->why, ENOEXEC, __VA_ARGS__)

static int check_ident(const struct reading *r)
{
	const unsigned char *ident = r->header->e_ident;

	if (ident[EI_CLASS] == ELFCLASS32 && r->header->e_machine != EM_386)
		return REFUSE(r, "a 32-bit ELF file, not 64-bit");
	if (ident[EI_CLASS] != ELFCLASS64 && ident[EI_CLASS] != ELFCLASS32)
		return REFUSE(r, "an ELF file of unknown class %u, not 64-bit", ident[EI_CLASS]);
	if (ident[EI_DATA] == ELFDATA2MSB)
		return REFUSE(r, "a big-endian ELF file, not little-endian");
	if (ident[EI_DATA] != ELFDATA2LSB)
		return REFUSE(r, "an ELF file of unknown byte order %u", ident[EI_DATA]);
	if (ident[EI_VERSION] != EV_CURRENT || r->header->e_version != EV_CURRENT)
		return REFUSE(r, "an ELF file of unknown version");
	return 0;
}

static int check_type(const struct reading *r)
{
	const Elf64_Ehdr *h = r->header;

	if (h->e_machine != EM_X86_64 && !elf_is_32bit(h))
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

static int check_tables(const struct reading *r)
{
	const Elf64_Ehdr *h = r->header;
	const size_t entry = elf_is_32bit(h) ? sizeof(Elf32_Phdr) : sizeof(Elf64_Phdr);

	if (!h->e_phnum || !h->e_phoff)
		return REFUSE(r, "no program headers, so nothing to load");
	if (h->e_phentsize != entry)
		return REFUSE(r, "program headers of %u bytes instead of %zu", h->e_phentsize, entry);
	if (h->e_phnum == PN_XNUM)
		return REFUSE(r, "too many program headers");
	if (!elf_inside_file(h->e_phoff, h->e_phnum * entry, r->file_size))
		return REFUSE(r, "truncated: the program headers are bytes " ELF_RANGE
			      " of a file of 0x%" PRIx64, h->e_phoff,
			      h->e_phnum * entry, r->file_size);
	/*
	 * The escape for more sections than e_shnum can say would let the file choose how much
	 * libelf allocates.
	 */
	if (!h->e_shnum && h->e_shoff)
		return REFUSE(r, "a section table without a size");
	return 0;
}

/* The same in the words of the other class; both classes begin alike. */
static void widen(const Elf32_Ehdr *from, Elf64_Ehdr *to)
{
	*to = (Elf64_Ehdr){
		.e_type = from->e_type,
		.e_machine = from->e_machine,
		.e_version = from->e_version,
		.e_entry = from->e_entry,
		.e_phoff = from->e_phoff,
		.e_shoff = from->e_shoff,
		.e_phentsize = from->e_phentsize,
		.e_phnum = from->e_phnum,
		.e_shnum = from->e_shnum,
	};
	memcpy(to->e_ident, from->e_ident, sizeof(to->e_ident));
}

/* This machine is little-endian, as all files are that check_ident() lets pass. */
int elf_header_read(Elf64_Ehdr *header, const void *head, size_t head_size, uint64_t file_size, struct image_reason *why)
{
	struct reading r = {.header = header, .file_size = file_size, .why = why};
	Elf32_Ehdr narrow;
	bool short_class = head_size > EI_CLASS && ((const unsigned char *)head)[EI_CLASS] == ELFCLASS32;
	int err;

	if (head_size < (short_class ? sizeof(narrow) : sizeof(*header)))
		return REFUSE(&r, "truncated: %zu bytes hold no whole ELF header", head_size);
	if (short_class) {
		memcpy(&narrow, head, sizeof(narrow));
		widen(&narrow, header);
	} else {
		memcpy(header, head, sizeof(*header));
	}
	err = check_ident(&r);
	if (!err)
		err = check_type(&r);
	if (!err)
		err = check_tables(&r);
	return err;
}

bool elf_is_32bit(const Elf64_Ehdr *header)
{
	return header->e_ident[EI_CLASS] == ELFCLASS32;
}
