#include "vmm/filetype.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

struct magic {
	size_t offset;
	const char *bytes;
	size_t size;
	const char *phrase;
};

#define MAGIC(offset, bytes, phrase) { offset, bytes, sizeof(bytes) - 1, phrase }

/* Where two can be there, the more telling one comes first: a Linux kernel begins with MZ, too. */
static const struct magic magics[] = {
	MAGIC(0, "\177ELF", "an ELF file"),
	MAGIC(0x202, "HdrS", "a Linux kernel (bzImage)"),
	MAGIC(0, "#!", "a script"),
	MAGIC(0, "\x1f\x8b", "a gzip file"),
	MAGIC(0, "BZh", "a bzip2 file"),
	MAGIC(0, "\xfd" "7zXZ", "an xz file"),
	MAGIC(0, "\x28\xb5\x2f\xfd", "a zstd file"),
	MAGIC(0, "\x04\x22\x4d\x18", "an lz4 file"),
	MAGIC(0, "PK\3\4", "a zip file"),
	MAGIC(0, "MZ", "a Windows or UEFI program"),
	MAGIC(0, "!<arch>\n", "a static library"),
	MAGIC(0, "!<thin>\n", "a static library"),
	MAGIC(0, "070701", "a cpio archive (initrd)"),
	MAGIC(257, "ustar", "a tar archive"),
	MAGIC(0, "QFI\xfb", "a qcow2 disk image"),
	MAGIC(0, "\xcf\xfa\xed\xfe", "a macOS program"),
	MAGIC(0, "\0asm", "a WebAssembly module"),
	MAGIC(510, "\x55\xaa", "a boot sector or disk image"),
};

static bool is_text(const uint8_t *head, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		/* Bytes from 0x80 on may be any language's letters. */
		if (head[i] == 0x7f || (head[i] < 0x20 && !memchr("\t\n\f\r", head[i], 4)))
			return false;
	}
	return size > 0;
}

static bool is_zeros(const uint8_t *head, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		if (head[i])
			return false;
	}
	return size > 0;
}

const char *filetype_guess(const void *head, size_t size)
{
	const uint8_t *bytes = head;

	for (size_t i = 0; i < sizeof(magics) / sizeof(magics[0]); i++) {
		const struct magic *m = &magics[i];

		if (m->offset + m->size <= size && !memcmp(bytes + m->offset, m->bytes, m->size))
			return m->phrase;
	}
	if (is_text(bytes, size))
		return "a text file";
	return is_zeros(bytes, size) ? "nothing but zeros" : "data";
}
