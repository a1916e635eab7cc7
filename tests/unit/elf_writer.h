/*
 * Writes guest images, good ones and broken ones, byte by byte from the specification: it shares no
 * header and no code with the loader that it tests. Offsets: System V ABI, "ELF Header", "Program
 * Header", "Note Section".
 */
#pragma once

#include <stdint.h>
#include <string.h>

#define WRITER_MAX_HEADERS 48
#define WRITER_FILE_SIZE 0x4000u
#define WRITER_NOTE_OFFSET 0x1000u

enum { WRITER_LOAD = 1, WRITER_DYNAMIC = 2, WRITER_INTERP = 3, WRITER_NOTE = 4 };
enum { WRITER_X = 1, WRITER_W = 2, WRITER_R = 4 };

struct writer_segment {
	uint32_t type, flags;
	uint64_t offset, vaddr, paddr, filesz, memsz, align;
};

struct writer_note {
	char name[16];
	uint32_t namesz, descsz, type, desc;
};

struct writer_elf {
	uint8_t magic[4], class, data, ident_version;
	uint16_t type, machine;
	uint32_t version;
	uint64_t entry, phoff, shoff;
	uint16_t phentsize, phnum, shentsize, shnum;
	struct writer_segment segment[WRITER_MAX_HEADERS];
	struct writer_note note[3];
	unsigned int note_count;
	uint32_t note_offset; /* in the file, at most WRITER_NOTE_OFFSET */
	uint64_t size; /* of the file, at most WRITER_FILE_SIZE */
};

/* A sound image: code at 1 MiB, data and zeros behind it (linked 2 GiB below the top), our note. */
static inline struct writer_elf writer_good(void)
{
	struct writer_elf e = {
		.magic = { 0x7f, 'E', 'L', 'F' }, .class = 2, .data = 1, .ident_version = 1,
		.type = 2, .machine = 62, .version = 1, .entry = 0xffffffff80000010, .phoff = 64,
		.phentsize = 56, .phnum = 3, .shentsize = 64, .size = WRITER_FILE_SIZE,
		.segment = {
			{ WRITER_LOAD, WRITER_R | WRITER_X, 0x2000, 0xffffffff80000000, 0x100000,
			  0x123, 0x123, 4096 },
			{ WRITER_LOAD, WRITER_R | WRITER_W, 0x2200, 0xffffffff80001000, 0x101000,
			  0x456, 0x3000, 4096 },
			{ WRITER_NOTE, WRITER_R, WRITER_NOTE_OFFSET, 0, 0, 28, 28, 4 },
		},
		.note = { { "Penumbra", 9, 4, 1, 1 } },
		.note_count = 1,
		.note_offset = WRITER_NOTE_OFFSET,
	};

	return e;
}

/* The same in as few bytes as it takes: 64 of code behind the note, the whole file as data. */
static inline struct writer_elf writer_small(void)
{
	struct writer_elf e = writer_good();

	e.note_offset = 64 + 3 * 56;
	e.size = e.note_offset + 28 + 64;
	e.segment[0].offset = e.note_offset + 28;
	e.segment[0].filesz = e.segment[0].memsz = 64;
	e.segment[1].offset = 0;
	e.segment[1].filesz = e.size;
	e.segment[2].offset = e.note_offset;
	return e;
}

static inline void writer_put(uint8_t *at, uint64_t value, unsigned int bytes)
{
	for (unsigned int i = 0; i < bytes; i++)
		at[i] = (uint8_t)(value >> 8 * i);
}

static inline void writer_put_header(const struct writer_elf *e, uint8_t *file)
{
	memcpy(file, e->magic, 4);
	file[4] = e->class;
	file[5] = e->data;
	file[6] = e->ident_version;
	writer_put(file + 16, e->type, 2);
	writer_put(file + 18, e->machine, 2);
	writer_put(file + 20, e->version, 4);
	writer_put(file + 24, e->entry, 8);
	writer_put(file + 32, e->phoff, 8);
	writer_put(file + 40, e->shoff, 8);
	writer_put(file + 52, 64, 2);
	writer_put(file + 54, e->phentsize, 2);
	writer_put(file + 56, e->phnum, 2);
	writer_put(file + 58, e->shentsize, 2);
	writer_put(file + 60, e->shnum, 2);
}

static inline void writer_put_segment(const struct writer_segment *s, uint8_t *at)
{
	writer_put(at, s->type, 4);
	writer_put(at + 4, s->flags, 4);
	writer_put(at + 8, s->offset, 8);
	writer_put(at + 16, s->vaddr, 8);
	writer_put(at + 24, s->paddr, 8);
	writer_put(at + 32, s->filesz, 8);
	writer_put(at + 40, s->memsz, 8);
	writer_put(at + 48, s->align, 8);
}

/* Every note takes 28 bytes: 12 of header, 12 of name, 4 of descriptor. */
static inline void writer_put_note(const struct writer_note *n, uint8_t *at)
{
	writer_put(at, n->namesz, 4);
	writer_put(at + 4, n->descsz, 4);
	writer_put(at + 8, n->type, 4);
	memcpy(at + 12, n->name, 12);
	writer_put(at + 24, n->desc, 4);
}

#define WRITER_SECTIONS_OFFSET 0x3000u
#define WRITER_SYMBOLS_OFFSET 0x3100u
#define WRITER_NAMES_OFFSET 0x3c00u
#define WRITER_MAX_SYMBOLS 100u

struct writer_symbol {
	uint32_t name; /* offset in the names */
	uint8_t type;  /* 0 none, 1 object, 2 function */
	uint16_t section;
	uint64_t value, size;
};

struct writer_symbols {
	struct writer_symbol symbol[WRITER_MAX_SYMBOLS];
	unsigned int count;
	char names[0x400];
	uint64_t names_size;
};

static inline void writer_put_section(uint8_t *at, uint32_t type, uint64_t offset, uint64_t size,
				      uint32_t link, uint64_t entry_size)
{
	memset(at, 0, 64);
	writer_put(at + 4, type, 4);
	writer_put(at + 24, offset, 8);
	writer_put(at + 32, size, 8);
	writer_put(at + 40, link, 4);
	writer_put(at + 48, 8, 8);
	writer_put(at + 56, entry_size, 8);
}

/* Adds three sections, of which writer_sections() tells the header: none, symbols, names. */
static inline void writer_put_symbols(const struct writer_symbols *s, uint8_t *file)
{
	uint8_t *at = file + WRITER_SECTIONS_OFFSET;

	writer_put_section(at, 0, 0, 0, 0, 0);
	writer_put_section(at + 64, 2, WRITER_SYMBOLS_OFFSET, 24 * s->count, 2, 24);
	writer_put_section(at + 128, 3, WRITER_NAMES_OFFSET, s->names_size, 0, 0);
	for (unsigned int i = 0; i < s->count; i++) {
		at = file + WRITER_SYMBOLS_OFFSET + 24 * i;
		writer_put(at, s->symbol[i].name, 4);
		writer_put(at + 4, s->symbol[i].type, 2);
		writer_put(at + 6, s->symbol[i].section, 2);
		writer_put(at + 8, s->symbol[i].value, 8);
		writer_put(at + 16, s->symbol[i].size, 8);
	}
	memcpy(file + WRITER_NAMES_OFFSET, s->names, sizeof(s->names));
}

static inline void writer_sections(struct writer_elf *e)
{
	e->shoff = WRITER_SECTIONS_OFFSET;
	e->shnum = 3;
}

/* Fills file[0, WRITER_FILE_SIZE), whose first e->size bytes are the image. */
static inline void writer_write(const struct writer_elf *e, uint8_t *file)
{
	for (unsigned int i = 0; i < WRITER_FILE_SIZE; i++)
		file[i] = (uint8_t)(i * 7 + i / 256 + 1);
	memset(file, 0, 64);
	writer_put_header(e, file);
	for (unsigned int i = 0; i < WRITER_MAX_HEADERS && i < e->phnum; i++)
		writer_put_segment(&e->segment[i], file + 64 + 56 * i);
	for (unsigned int i = 0; i < e->note_count; i++)
		writer_put_note(&e->note[i], file + e->note_offset + 28 * i);
}
