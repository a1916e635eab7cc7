#include "vmm/elf_segments.h"

#include <errno.h>
#include <inttypes.h>

#include "guest/abi.h"
#include "vmm/image.h"
#include "vmm/mem.h"

#define MAX_GPA (MEM_MAX_BYTES + (ABI_HOLE_END - ABI_HOLE_START))

struct reading {
	struct image *im;
	struct image_reason *why;
	uint64_t file_size;
};

#define REFUSE(r, ...) image_refuse((r)->why, ENOEXEC, __VA_ARGS__)

int elf_refuse(struct image_reason *why, const char *what)
{
	int err = errno == ENOMEM || errno == EIO ? errno : ENOEXEC;

	return image_refuse(why, err, "%s: %s", what, elf_errmsg(-1));
}

bool elf_inside_file(uint64_t offset, uint64_t size, uint64_t file_size)
{
	return offset <= file_size && size <= file_size - offset;
}

static int check_segment(struct reading *r, const GElf_Phdr *ph)
{
	if (ph->p_filesz > ph->p_memsz)
		return REFUSE(r, "a segment has more bytes in the file (0x%" PRIx64
			      ") than in memory (0x%" PRIx64 ")", ph->p_filesz, ph->p_memsz);
	if (!elf_inside_file(ph->p_offset, ph->p_filesz, r->file_size))
		return REFUSE(r, "truncated: a segment is bytes " ELF_RANGE " of a file of 0x%" PRIx64,
			      ph->p_offset, ph->p_filesz, r->file_size);
	if (ph->p_memsz - 1 > UINT64_MAX - ph->p_vaddr)
		return REFUSE(r, "a segment's virtual addresses " ELF_RANGE " wrap", ph->p_vaddr,
			      ph->p_memsz);
	if (ph->p_paddr < ABI_LOAD_MIN)
		return REFUSE(r, "a segment at 0x%" PRIx64 " lies below 0x%llx, where the boot "
			      "structures are", ph->p_paddr, ABI_LOAD_MIN);
	if (ph->p_paddr > MAX_GPA || ph->p_memsz > MAX_GPA - ph->p_paddr)
		return REFUSE(r, "a segment at " ELF_RANGE " lies beyond any RAM", ph->p_paddr,
			      ph->p_memsz);
	if (ph->p_paddr < ABI_HOLE_END && ph->p_paddr + ph->p_memsz > ABI_HOLE_START)
		return REFUSE(r, "a segment at " ELF_RANGE " reaches into the device hole, 3 to 4 GiB",
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
			return REFUSE(r, "segments overlap: " ELF_RANGE " and " ELF_RANGE, a->gpa, a->size,
				      b->gpa, b->size);
	}
	return 0;
}

static int read_segment(struct reading *r, const GElf_Phdr *ph)
{
	int err = check_segment(r, ph);

	if (err)
		return err;
	return insert_segment(r, &(struct image_segment){
		.gpa = ph->p_paddr, .size = ph->p_memsz, .gva = ph->p_vaddr,
		.offset = ph->p_offset, .file_size = ph->p_filesz, .flags = ph->p_flags,
	});
}

int elf_segments_read(struct image *im, Elf *elf, unsigned int count, uint64_t file_size,
		      void (*seen)(void *arg, const GElf_Phdr *ph), void *arg, struct image_reason *why)
{
	struct reading r = { .im = im, .why = why, .file_size = file_size };
	const struct image_segment *last;

	for (unsigned int i = 0; i < count; i++) {
		GElf_Phdr ph;
		int err;

		if (!gelf_getphdr(elf, (int)i, &ph))
			return elf_refuse(why, "unreadable program header");
		if (ph.p_type != PT_LOAD || (!ph.p_memsz && !ph.p_filesz))
			continue;
		/* Such an image knows one kind of address. */
		if (im->kind == IMAGE_SOLO5)
			ph.p_paddr = ph.p_vaddr;
		err = read_segment(&r, &ph);
		if (err)
			return err;
		seen(arg, &ph);
	}
	if (!im->segment_count)
		return REFUSE(&r, "no loadable segment");
	last = &im->segment[im->segment_count - 1];
	im->low = im->segment[0].gpa;
	im->top = last->gpa + last->size;
	return 0;
}
