/*
 * Names for guest addresses, from an image's symbol table: "kmain+0x12". Only people read them, so
 * an image without symbols, or with damaged ones, has none and is no error.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct image;

enum symbol_kind { SYMBOL_FUNCTION, SYMBOL_LABEL, SYMBOL_DATA };

struct symbol {
	enum symbol_kind kind;
	uint64_t gva, size; /* size 0: not told, reaches to the next symbol */
	const char *name;   /* the file's bytes: print only by way of symbols_describe() */
};

struct symbols {
	const struct image *image; /* not owned */
	void *elf;		   /* owns the names */
	struct symbol *symbol;	   /* ascending gva */
	size_t count;
	size_t functions; /* how many of the table's symbols are functions */
};

#define SYMBOLS_MAX_BYTES (64u << 20) /* a larger symbol table or table of names is not read */

/* Reads what the image, which stays open and outlives this, has. Returns 0 or a logged -ENOMEM. */
int symbols_read(struct symbols *s, const struct image *im);
void symbols_free(struct symbols *s);

/* The symbol that gva lies in or, where sizes are not told, behind; in the same segment. NULL = none. */
const struct symbol *symbols_find(const struct symbols *s, uint64_t gva);

/*
 * Writes "name", "name+0x12", or "" if there is none, into text[0, room), room > 0: printable whatever the
 * file says, cut where it is too long. Returns text.
 */
char *symbols_describe(const struct symbols *s, uint64_t gva, char *text, size_t room);
