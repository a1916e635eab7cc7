/*
 * Guest images: what a file is, whether it can boot, and its way into guest RAM.
 *
 * Errors are said in one line that names the file and the cause. Their class is in the return value: -ENOENT and -ENOEXEC
 * mean "no such image or not one we can boot" (exit 127), everything else is the host's or the command line's (125).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/solo5_manifest.h"

struct mem;

#define IMAGE_MAX_SEGMENTS 32

enum image_kind {
	IMAGE_PENUMBRA,  /* guest/abi.h */
	IMAGE_LINUX,	 /* bzImage: linux_image.h */
	IMAGE_PVH,	 /* ELF with a PVH note: elf_image.h */
	IMAGE_MULTIBOOT, /* multiboot 1: multiboot_image.h */
	IMAGE_SOLO5,	 /* Solo5 hvt unikernel: solo5_abi.h */
};

/* One PT_LOAD: file bytes [offset, offset + file_size) go to gpa, zeros follow up to size. All checked. */
struct image_segment {
	uint64_t gpa, size;
	uint64_t gva; /* where the guest will map it; only names for people come from it */
	uint64_t offset, file_size;
	uint32_t flags; /* PF_R, PF_W, PF_X */
};

struct image {
	const char *path; /* the caller's */
	const char *what; /* a phrase for it, such as "a gzip file"; also when refused, unless it could not be read */
	int fd;
	enum image_kind kind;
	uint32_t abi_version; /* Penumbra images */
	bool enters_32; /* in 32-bit protected mode, without paging; else in 64-bit mode */
	uint64_t initrd_max; /* Linux: the last byte where an initrd may lie */
	uint64_t cmdline_max; /* Linux: bytes without the NUL */
	struct solo5_manifest solo5; /* Solo5 images */
	uint64_t entry; /* gpa of the first instruction, where the CPU can reach it: below 1 GiB, in 32-bit mode 3 GiB */
	uint64_t entry_gva; /* the same as the file names it */
	uint64_t low, top; /* gpa range of all segments: [low, top) */
	struct image_segment segment[IMAGE_MAX_SEGMENTS]; /* ascending gpa, not overlapping */
	unsigned int segment_count;
};

/* Why a file was refused: one line, without the path. */
struct image_reason {
	char text[200];
};

/*
 * Opens `path` and reads what it is. Everything that can be checked without knowing the RAM's size is checked here: a
 * regular file, ELF64, x86-64, ET_EXEC, whole headers, 1..IMAGE_MAX_SEGMENTS segments that lie inside the file, do not
 * wrap, overlap or reach below ABI_LOAD_MIN or where no RAM can be, an entry inside an executable segment, our note with a
 * version we speak. Returns 0 or a logged error; then nothing is left open.
 */
int image_open(struct image *im, const char *path);

/* The same for whoever says it in another way: nothing is logged, an error's reason is in *why. */
int image_probe(struct image *im, const char *path, struct image_reason *why);

/* Writes the reason and returns -err, so that a check can write `return image_refuse(why, ENOEXEC, "...")`. */
int image_refuse(struct image_reason *why, int err, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* One word for the kind ("penumbra", "linux", ...), and a phrase about how its kernel is entered, such as "multiboot, 32-bit entry". */
const char *image_kind_name(const struct image *im);
const char *image_protocol(const struct image *im);

/*
 * Is it a kernel for a PC? Such a kernel may end its run as a PC is switched off or reset; a Penumbra guest has a port for
 * that, and a PC's reset ports are nobody's.
 */
bool image_is_pc(const struct image *im);

/* RAM for a guest of this image when nobody says how much. */
uint64_t image_ram_default(const struct image *im);

/* The smallest RAM, in bytes and whole MiB, in which all segments have a place. */
uint64_t image_ram_needed(const struct image *im);

/*
 * Reads the segments into RAM, which must be all zero there (so what is zero in the image is not written). An image that
 * does not fit is a logged -ENOSPC that says how much RAM it needs; a file that shrank meanwhile is -ENOEXEC.
 */
int image_load(const struct image *im, struct mem *m);

/* Reads bytes of the file. Returns 0 or a logged error; a file that shrank meanwhile is -ENOEXEC. */
int image_read(const struct image *im, uint64_t offset, void *to, size_t size);

void image_close(struct image *im);
