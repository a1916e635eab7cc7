#include "vmm/solo5_image.h"

#include <elf.h>
#include <errno.h>
#include <inttypes.h>

#include "vmm/image.h"
#include "vmm/mem.h"
#include "vmm/solo5_abi.h"

#define REFUSE(why, ...) image_refuse(why, ENOEXEC, __VA_ARGS__)

int solo5_image_check_segments(const struct image *im, struct image_reason *why)
{
	if (im->low < SOLO5_LOAD_MIN)
		return REFUSE(why, "a segment at 0x%" PRIx64 " lies below 0x%" PRIx64 ", where a Solo5 unikernel begins", im->low,
			      (uint64_t)SOLO5_LOAD_MIN);
	if (im->top > SOLO5_MEM_MAX - SOLO5_LARGE_PAGE)
		return REFUSE(why, "reaches to 0x%" PRIx64 ", beyond any RAM of a Solo5 unikernel", im->top);
	for (unsigned int i = 0; i < im->segment_count; i++) {
		const struct image_segment *s = &im->segment[i];

		if ((s->flags & PF_W) && (s->flags & PF_X))
			return REFUSE(why, "the segment at 0x%" PRIx64 " may be both written and executed", s->gpa);
		if (i && s->gpa / PAGE_SIZE == (s[-1].gpa + s[-1].size - 1) / PAGE_SIZE)
			return REFUSE(why, "two segments share the page at 0x%" PRIx64, (uint64_t)(s->gpa / PAGE_SIZE * PAGE_SIZE));
	}
	return 0;
}
