#include "shadow/scan.h"

#include <elf.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/ensure.h"
#include "vmm/image.h"
#include "vmm/log.h"
#include "vmm/symbols.h"

/* A segment being swept. */
struct sweep {
	struct scan *scan;
	const struct image_segment *segment;
	ZydisDecoder decoder;
	const uint8_t *code; /* bytes of the segment in the file */
	uint64_t size;
	bool user;
	struct image_reason *why;
};

static bool inside(const struct image_segment *s, uint64_t gva)
{
	return gva >= s->gva && gva - s->gva < s->size;
}

static bool is_code(const struct symbol *symbol)
{
	return symbol->kind != SYMBOL_DATA;
}

static int add_site(struct sweep *w, const struct scan_site *site)
{
	struct scan *s = w->scan;

	if (s->count == SCAN_MAX_SITES)
		return image_refuse(w->why, ENOTSUP, "more than %u instructions that need the kernel's ring", SCAN_MAX_SITES);
	/* Grows by doubling: a power of two is full. */
	if (!(s->count & (s->count - 1))) {
		void *grown = reallocarray(s->site, s->count ? 2 * s->count : 1, sizeof(*s->site));

		if (!grown)
			return log_errno(ENOMEM, "%s: instructions found", s->image->path);
		s->site = grown;
	}
	s->site[s->count++] = *site;
	return 0;
}

static void keep_bytes(const struct sweep *w, struct scan_site *site, uint64_t last)
{
	uint64_t first = last < SCAN_REACH ? 0 : last - SCAN_REACH;
	uint64_t end = w->size - last <= SCAN_REACH ? w->size : last + SCAN_REACH + 1;

	site->before = (uint8_t)(last - first);
	site->size = (uint8_t)(end - first);
	memcpy(site->bytes, w->code + first, end - first);
}

static int look_at(struct sweep *w, const ZydisDecodedInstruction *in, uint64_t offset, bool sure)
{
	const struct scan_rule *rule = scan_rule_find(in);
	struct scan_site site = {.gva = w->segment->gva + offset, .gpa = w->segment->gpa + offset, .rule = rule,
				 .length = in->length, .user = w->user, .sure = sure};

	if (!rule || (w->user ? rule->user : rule->kernel) == RULE_ALLOW)
		return 0;
	keep_bytes(w, &site, offset + in->length - 1u);
	return add_site(w, &site);
}

/* Sweeps the instructions that begin in [from, to), offsets in the segment. */
static int sweep_range(struct sweep *w, uint64_t from, uint64_t to, bool sure)
{
	ZydisDecodedInstruction in;
	int r = 0;

	while (from < to && from < w->size && r == 0) {
		ZyanStatus status = ZydisDecoderDecodeInstruction(&w->decoder, NULL, w->code + from, w->size - from, &in);

		if (ZYAN_SUCCESS(status)) {
			r = look_at(w, &in, from, sure);
			from += in.length;
		} else {
			sure = false;
			from++;
		}
	}
	return r;
}

/*
 * Every symbol begins a range, so each byte is swept at most once. A label inside a function that tells its size reaches to
 * the next symbol or the function's end.
 */
static int sweep_symbols(struct sweep *w, const struct symbol *symbol, size_t count)
{
	uint64_t base = w->segment->gva, cover = 0;
	int r = 0;

	for (size_t i = 0; i < count && r == 0; i++) {
		uint64_t from = symbol[i].gva - base, next = i + 1 < count ? symbol[i + 1].gva - base : w->segment->size;
		uint64_t room = w->segment->size - from, size = symbol[i].size < room ? symbol[i].size : room;

		if (!is_code(&symbol[i]))
			continue;
		if (size && from + size > cover)
			cover = from + size;
		r = sweep_range(w, from, cover > from && cover < next ? cover : next, true);
	}
	return r;
}

static bool is_user(const struct sweep *w, const struct symbol *symbol, size_t count)
{
	bool any = false;

	if (inside(w->segment, w->scan->image->entry_gva))
		return false;
	for (size_t i = 0; i < count; i++) {
		if (!is_code(&symbol[i]))
			continue;
		if (strncmp(symbol[i].name, SCAN_USER_PREFIX, strlen(SCAN_USER_PREFIX)))
			return false;
		any = true;
	}
	return any;
}

static bool has_code(const struct symbol *symbol, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (is_code(&symbol[i]))
			return true;
	return false;
}

static int sweep_segment(struct sweep *w, const struct symbols *symbols)
{
	size_t first = 0, last;

	if (!symbols->count)
		return sweep_range(w, 0, w->size, false);
	while (first < symbols->count && symbols->symbol[first].gva < w->segment->gva)
		first++;
	for (last = first; last < symbols->count && inside(w->segment, symbols->symbol[last].gva); last++)
		;
	w->user = is_user(w, symbols->symbol + first, last - first);
	if (has_code(symbols->symbol + first, last - first))
		return sweep_symbols(w, symbols->symbol + first, last - first);
	return sweep_range(w, 0, w->size, false);
}

static int scan_segment(struct scan *s, const struct image_segment *segment, const struct symbols *symbols,
			struct image_reason *why)
{
	struct sweep w = {.scan = s, .segment = segment, .size = segment->file_size, .why = why};
	uint8_t *code;
	int r;

	if (!(segment->flags & PF_X) || !segment->file_size)
		return 0;
	if (segment->file_size > SCAN_MAX_CODE)
		return image_refuse(why, ENOTSUP, "a segment with more than %u MiB of code", SCAN_MAX_CODE >> 20);
	code = malloc(segment->file_size);
	if (!code)
		return log_errno(ENOMEM, "%s: code of the image", s->image->path);
	/* AMD's branches, as in insn.c. */
	ensure(ZYAN_SUCCESS(ZydisDecoderInit(&w.decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64)));
	ensure(ZYAN_SUCCESS(ZydisDecoderEnableMode(&w.decoder, ZYDIS_DECODER_MODE_AMD_BRANCHES, ZYAN_TRUE)));
	w.code = code;
	r = image_read(s->image, segment->offset, code, segment->file_size);
	if (r == 0)
		r = sweep_segment(&w, symbols);
	free(code);
	return r;
}

int scan_image(struct scan *s, const struct image *im, struct image_reason *why)
{
	struct symbols symbols;
	int r;

	*s = (struct scan){.image = im};
	if (im->kind == IMAGE_LINUX)
		return image_refuse(why, ENOTSUP, "a bzImage's code is packed, so nobody can look through it for what ring 3 does otherwise");
	r = symbols_read(&symbols, im);
	if (r < 0)
		return r;
	for (unsigned int i = 0; i < im->segment_count && r == 0; i++)
		r = scan_segment(s, &im->segment[i], &symbols, why);
	symbols_free(&symbols);
	if (r < 0)
		scan_free(s);
	return r;
}

void scan_free(struct scan *s)
{
	free(s->site);
	*s = (struct scan){0};
}

static enum scan_rule_verdict rule_verdict(const struct scan_site *site)
{
	return site->user ? site->rule->user : site->rule->kernel;
}

bool scan_asks_host(const struct scan *s)
{
	for (size_t i = 0; i < s->count; i++)
		if (scan_rule_asks_host(rule_verdict(&s->site[i])))
			return true;
	return false;
}

enum scan_rule_verdict scan_decide(const struct scan_site *site, const struct scan_host *host)
{
	enum scan_rule_verdict v = scan_rule_decide(rule_verdict(site), host);

	return v == RULE_PATCH && !site->sure ? RULE_REFUSE : v;
}

static void write_instruction(const struct scan *s, const struct scan_site *site, char *text, size_t room)
{
	uint8_t bytes[ZYDIS_MAX_INSTRUCTION_LENGTH];
	ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
	ZydisDecodedInstruction in;
	ZydisFormatter formatter;
	ZydisDecoder decoder;

	snprintf(text, room, "%s", ZydisMnemonicGetString(site->rule->mnemonic));
	for (unsigned int i = 0; i < s->image->segment_count; i++) {
		const struct image_segment *segment = &s->image->segment[i];

		if (!inside(segment, site->gva))
			continue;
		if (image_read(s->image, segment->offset + (site->gva - segment->gva), bytes, site->length) < 0)
			return;
	}
	ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_ATT);
	if (ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, bytes, site->length, &in, op)))
		ZydisFormatterFormatInstruction(&formatter, &in, op, in.operand_count_visible, text, room, site->gva, NULL);
}

static int refuse(const struct scan *s, const struct scan_site *site, size_t more, const char *note,
		  struct image_reason *why)
{
	char name[64], instruction[48], rest[40] = "";
	struct symbols symbols;
	int r = symbols_read(&symbols, s->image);

	if (r < 0)
		return r;
	symbols_describe(&symbols, site->gva, name, sizeof(name));
	symbols_free(&symbols);
	write_instruction(s, site, instruction, sizeof(instruction));
	if (more)
		snprintf(rest, sizeof(rest), " (and %zu more)", more);
	return image_refuse(why, ENOTSUP, "`%s` at 0x%" PRIx64 "%s%s%s %s: %s%s", instruction, site->gva, *name ? " (" : "", name,
			    *name ? ")" : "", site->rule->why, *note ? note : site->rule->instead, rest);
}

int scan_verdict(const struct scan *s, const struct scan_host *host, struct image_reason *why)
{
	const struct scan_site *first = NULL;
	const char *note = "";
	size_t refused = 0;

	for (size_t i = 0; i < s->count; i++) {
		const struct scan_site *site = &s->site[i];
		bool unknown = !host && scan_rule_asks_host(rule_verdict(site));

		if (!unknown && scan_decide(site, host) != RULE_REFUSE)
			continue;
		if (!refused++) {
			first = site;
			note = unknown ? "whether it does depends on the host" :
			       rule_verdict(site) == RULE_PATCH ? "it cannot be patched, for no symbol says that this is code" : "";
		}
	}
	return refused ? refuse(s, first, refused - 1, note, why) : 0;
}
