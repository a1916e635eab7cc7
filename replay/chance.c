#include "replay/chance.h"

#include <Zydis/Zydis.h>
#include <elf.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "snapshot/reason.h"
#include "vmm/image.h"
#include "vmm/log.h"
#include "vmm/symbols.h"

#define SEGMENT_MOST (256u << 20)

static const struct {
	ZydisMnemonic mnemonic;
	bool native_only;
	const char *what;
} chances[] = {
	{ZYDIS_MNEMONIC_RDTSC, false, "reads the host's time stamp"},
	{ZYDIS_MNEMONIC_RDTSCP, false, "reads the host's time stamp"},
	{ZYDIS_MNEMONIC_RDRAND, false, "takes the host's random numbers"},
	{ZYDIS_MNEMONIC_RDSEED, false, "takes the host's random numbers"},
	{ZYDIS_MNEMONIC_RDPMC, false, "reads the host's counters"},
	{ZYDIS_MNEMONIC_CPUID, true, "asks the host's processor, which is not always the same one"},
};

static const char *what_of(ZydisMnemonic mnemonic, bool native)
{
	for (size_t i = 0; i < sizeof(chances) / sizeof(*chances); i++)
		if (chances[i].mnemonic == mnemonic && (native || !chances[i].native_only))
			return chances[i].what;
	return NULL;
}

static int name(const struct image *im, uint64_t gva, ZydisMnemonic mnemonic, const char *what, struct reason *why)
{
	struct symbols symbols;
	char place[128];

	if (symbols_read(&symbols, im) < 0)
		return -ENOMEM;
	symbols_describe(&symbols, gva, place, sizeof(place));
	symbols_free(&symbols);
	return reason_give(why, EPERM, "%s: %s at 0x%" PRIx64 "%s%s%s %s, and cannot be kept from it here", im->path,
			   ZydisMnemonicGetString(mnemonic), gva, *place ? " (" : "", place, *place ? ")" : "", what);
}

static int sweep(const struct image *im, const struct image_segment *s, const uint8_t *code, bool native, struct reason *why)
{
	ZydisDecoder decoder;
	ZydisDecodedInstruction in;

	ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	for (uint64_t at = 0; at < s->file_size; at += in.length) {
		const char *what;

		if (!ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&decoder, NULL, code + at, s->file_size - at, &in))) {
			in.length = 1;
			continue;
		}
		what = what_of(in.mnemonic, native);
		if (what)
			return name(im, s->gva + at, in.mnemonic, what, why);
	}
	return 0;
}

static int look_into(const struct image *im, const struct image_segment *s, bool native, struct reason *why)
{
	uint8_t *code;
	int r;

	if (s->file_size > SEGMENT_MOST)
		return reason_give(why, EPERM, "%s: too much code to be looked into", im->path);
	code = malloc(s->file_size + 1);
	if (!code)
		return log_errno(ENOMEM, "%s: code", im->path);
	r = image_read(im, s->offset, code, s->file_size);
	if (r == 0)
		r = sweep(im, s, code, native, why);
	free(code);
	return r;
}

int chance_find(const struct image *im, bool native, struct reason *why)
{
	int r = 0;

	if (im->kind == IMAGE_LINUX)
		return reason_give(why, EPERM, "%s: a packed kernel cannot be looked into, and Linux reads the host's time stamp where no mode "
				   "can keep it from that", im->path);
	for (unsigned int i = 0; i < im->segment_count && r == 0; i++)
		if (im->segment[i].flags & PF_X)
			r = look_into(im, &im->segment[i], native, why);
	return r;
}

int chance_look(const struct image *im, bool native, struct reason *why)
{
	struct reason found = {.text = ""};
	int r = chance_find(im, native, &found);

	if (r == -EPERM)
		return reason_give(why, EPERM, "%.400s: a replay may diverge (--record-anyway%s)", found.text,
				   im->kind == IMAGE_LINUX ? ", best with --cpu notsc" : "");
	return r;
}
