#include "vmm/symbols.h"

#include <errno.h>
#include <gelf.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "vmm/image.h"
#include "vmm/log.h"
#include "vmm/printable.h"

static const struct image_segment *segment_of(const struct image *im, uint64_t gva)
{
	for (unsigned int i = 0; i < im->segment_count; i++) {
		const struct image_segment *s = &im->segment[i];

		if (gva >= s->gva && gva - s->gva < s->size)
			return s;
	}
	return NULL;
}

/* The section's bytes, NULL if it is not there, empty, too large to read, or not inside the file. */
static Elf_Data *contents(Elf_Scn *section, GElf_Shdr *header)
{
	if (!section || !gelf_getshdr(section, header) || header->sh_type == SHT_NOBITS ||
	    header->sh_size > SYMBOLS_MAX_BYTES)
		return NULL;
	return elf_getdata(section, NULL);
}

/* The symbol table's and its names' bytes; false if there are none that can be trusted. */
static bool find_tables(Elf *elf, Elf_Data **table, Elf_Data **names)
{
	GElf_Shdr header, names_header;
	Elf_Scn *section = NULL;

	do {
		section = elf_nextscn(elf, section);
		if (!section || !gelf_getshdr(section, &header))
			return false;
	} while (header.sh_type != SHT_SYMTAB);
	*table = contents(section, &header);
	*names = contents(elf_getscn(elf, header.sh_link), &names_header);
	if (!*table || !(*table)->d_buf || !*names || !(*names)->d_buf || !(*names)->d_size)
		return false;
	/* So that every name that begins inside the table ends there. */
	return ((const char *)(*names)->d_buf)[(*names)->d_size - 1] == '\0';
}

static bool is_named_place(const struct symbols *s, const GElf_Sym *sym, const Elf_Data *names)
{
	unsigned int type = GELF_ST_TYPE(sym->st_info);

	if (type != STT_FUNC && type != STT_NOTYPE && type != STT_OBJECT)
		return false;
	if (sym->st_shndx == SHN_UNDEF || sym->st_shndx == SHN_ABS || sym->st_name >= names->d_size)
		return false;
	return ((const char *)names->d_buf)[sym->st_name] && segment_of(s->image, sym->st_value);
}

static enum symbol_kind kind_of(const GElf_Sym *sym)
{
	unsigned int type = GELF_ST_TYPE(sym->st_info);

	return type == STT_FUNC ? SYMBOL_FUNCTION : type == STT_OBJECT ? SYMBOL_DATA : SYMBOL_LABEL;
}

static void collect(struct symbols *s, Elf_Data *table, const Elf_Data *names, int count)
{
	for (int i = 0; i < count; i++) {
		GElf_Sym sym;

		if (!gelf_getsym(table, i, &sym) || !is_named_place(s, &sym, names))
			continue;
		s->functions += GELF_ST_TYPE(sym.st_info) == STT_FUNC;
		s->symbol[s->count++] = (struct symbol){
			.kind = kind_of(&sym), .gva = sym.st_value, .size = sym.st_size,
			.name = (const char *)names->d_buf + sym.st_name,
		};
	}
}

/* Of several at one address the largest comes last, so that symbols_find() comes to it first. */
static int compare(const void *a, const void *b)
{
	const struct symbol *x = a, *y = b;

	if (x->gva != y->gva)
		return x->gva < y->gva ? -1 : 1;
	return (x->size > y->size) - (x->size < y->size);
}

int symbols_read(struct symbols *s, const struct image *im)
{
	Elf_Data *table, *names;
	size_t count;

	*s = (struct symbols){.image = im};
	s->elf = elf_begin(im->fd, ELF_C_READ, NULL);
	if (!s->elf || !find_tables(s->elf, &table, &names))
		return 0;
	count = table->d_size / gelf_fsize(s->elf, ELF_T_SYM, 1, EV_CURRENT);
	s->symbol = calloc(count + 1, sizeof(*s->symbol));
	if (!s->symbol) {
		symbols_free(s);
		return log_errno(ENOMEM, "%s: symbols", im->path);
	}
	collect(s, table, names, (int)count);
	qsort(s->symbol, s->count, sizeof(*s->symbol), compare);
	return 0;
}

void symbols_free(struct symbols *s)
{
	free(s->symbol);
	if (s->elf)
		elf_end(s->elf);
	*s = (struct symbols){0};
}

const struct symbol *symbols_find(const struct symbols *s, uint64_t gva)
{
	size_t low = 0, high = s->count; /* the first symbol above gva is in [low, high] */
	const struct symbol *found;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (s->symbol[middle].gva <= gva)
			low = middle + 1;
		else
			high = middle;
	}
	if (!low)
		return NULL;
	found = &s->symbol[low - 1];
	if (found->size && gva - found->gva >= found->size)
		return NULL;
	return segment_of(s->image, gva) == segment_of(s->image, found->gva) ? found : NULL;
}

char *symbols_describe(const struct symbols *s, uint64_t gva, char *text, size_t room)
{
	const struct symbol *found = symbols_find(s, gva);
	char name[200];

	if (!found)
		text[0] = '\0';
	else if (gva == found->gva)
		printable(text, room, found->name, SIZE_MAX);
	else
		snprintf(text, room, "%s+0x%" PRIx64,
			 printable(name, sizeof(name), found->name, SIZE_MAX), gva - found->gva);
	return text;
}
