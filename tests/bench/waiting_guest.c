#include "tests/bench/waiting_guest.h"

#include <err.h>
#include <stdio.h>

#include "tests/unit/elf_writer.h"

#define ENTRY_OFFSET 0x2010u /* in the file that writer_good() describes */

static const uint8_t code[] = {
	0xba, 0xfc, 0x03, 0x00, 0x00, /* mov $0x3fc, %edx: modem control */
	0xb0, 0x02,		      /* mov $2, %al: ready to receive */
	0xee,			      /* out %al, (%dx) */
	0xff, 0xc2,		      /* inc %edx: line status */
	0xec,			      /* in (%dx), %al */
	0xa8, 0x01,		      /* test $1, %al: a byte has come */
	0x74, 0xfb,		      /* jz, to the in */
	0xba, 0x00, 0x05, 0x00, 0x00, /* mov $0x500, %edx: ABI_PORT_EXIT */
	0x31, 0xc0,		      /* xor %eax, %eax */
	0xef,			      /* out %eax, (%dx) */
	0xf4,			      /* hlt */
};

void waiting_guest_write(const char *path)
{
	struct writer_elf e = writer_good();
	uint8_t file[WRITER_FILE_SIZE];
	FILE *f = fopen(path, "we");

	writer_write(&e, file);
	memcpy(file + ENTRY_OFFSET, code, sizeof(code));
	if (!f || fwrite(file, e.size, 1, f) != 1 || fclose(f))
		err(1, "%s", path);
}
