/*
 * The length of a page walk, against walks that are really done: through tables in a small memory, every read counted.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "compare/walk_length.h"
#include "tests/vm/suite.h"

#define LEVELS 4
#define ENTRIES 4 /* of a table: two bits of an address for a level */
#define TABLES 512
#define LEAF 0x8000

/* A machine with tables of ENTRIES; a page frame is the index of a table. */
struct machine {
	unsigned int table[TABLES][ENTRIES];
	unsigned int used, reads;
	unsigned int host_root;
	unsigned int data_leaf, table_leaf; /* level at which the host maps frames of guest data, and of guest tables */
	bool two_dimensions;
};

#define FIRST_TABLE_FRAME 0x80u /* guest frames from here on hold guest tables */

static unsigned int read_entry(struct machine *m, unsigned int table, unsigned int index)
{
	m->reads++;
	return m->table[table][index];
}

static unsigned int index_of(unsigned int frame, unsigned int level)
{
	return frame >> (2 * (level - 1)) & (ENTRIES - 1);
}

static unsigned int new_table(struct machine *m)
{
	ck_assert_uint_lt(m->used, TABLES);
	return m->used++;
}

/* Where the host has a guest frame: the frames of a big page follow each other. */
static unsigned int host_frame(struct machine *m, unsigned int guest_frame)
{
	unsigned int table = m->host_root;

	if (!m->two_dimensions)
		return guest_frame;
	for (unsigned int level = LEVELS;; level--) {
		unsigned int entry = read_entry(m, table, index_of(guest_frame, level));

		if (entry & LEAF)
			return (entry & ~LEAF) + (guest_frame & ((1u << 2 * (level - 1)) - 1));
		table = entry;
	}
}

/* The host maps a guest frame to a frame of its own. */
static void host_map(struct machine *m, unsigned int guest_frame, unsigned int frame, unsigned int leaf)
{
	unsigned int table = m->host_root, below = (1u << 2 * (leaf - 1)) - 1;

	for (unsigned int level = LEVELS; level > leaf; level--) {
		unsigned int *entry = &m->table[table][index_of(guest_frame, level)];

		if (!*entry)
			*entry = new_table(m);
		table = *entry;
	}
	m->table[table][index_of(guest_frame, leaf)] = LEAF | (frame - (guest_frame & below));
}

/* Reads of a whole walk to a page that the guest maps at level `leaf`. */
static unsigned int walk(struct machine *m, unsigned int leaf)
{
	unsigned int table[LEVELS + 1] = {0}, frame;

	for (unsigned int level = LEVELS; level >= leaf; level--) {
		table[level] = new_table(m);
		if (m->two_dimensions)
			host_map(m, FIRST_TABLE_FRAME + level * (m->table_leaf > 1 ? 16 : 1), table[level], m->table_leaf);
	}
	for (unsigned int level = LEVELS; level > leaf; level--)
		m->table[table[level]][1] = m->two_dimensions ? FIRST_TABLE_FRAME + (level - 1) * (m->table_leaf > 1 ? 16 : 1) :
							       table[level - 1];
	m->table[table[leaf]][1] = LEAF | 3;
	if (m->two_dimensions)
		host_map(m, 3, TABLES + 3, m->data_leaf);
	m->reads = 0;
	frame = m->two_dimensions ? FIRST_TABLE_FRAME + LEVELS * (m->table_leaf > 1 ? 16 : 1) : table[LEVELS];
	for (unsigned int level = LEVELS; level >= leaf; level--)
		frame = read_entry(m, host_frame(m, frame), 1);
	ck_assert_uint_eq(frame, LEAF | 3);
	if (m->two_dimensions)
		ck_assert_uint_eq(host_frame(m, frame & ~LEAF), TABLES + 3);
	return m->reads;
}

static unsigned int count(bool two_dimensions, unsigned int guest_leaf, unsigned int data_leaf, unsigned int table_leaf)
{
	struct machine *m = calloc(1, sizeof(*m));
	unsigned int reads;

	ck_assert_ptr_nonnull(m);
	m->two_dimensions = two_dimensions;
	m->used = 1;
	m->host_root = new_table(m);
	m->data_leaf = data_leaf;
	m->table_leaf = table_leaf;
	reads = walk(m, guest_leaf);
	free(m);
	return reads;
}

static struct column host(const char *mmu, const char *host_mmu, bool nested, uint64_t page)
{
	struct column c = {.nested = nested, .host_page = page};

	snprintf(c.mmu, sizeof(c.mmu), "%s", mmu);
	snprintf(c.host_mmu, sizeof(c.host_mmu), "%s", host_mmu);
	return c;
}

START_TEST(formula)
{
	for (unsigned int guest = 1; guest <= LEVELS; guest++) {
		ck_assert_uint_eq(walk_references(LEVELS + 1 - guest, 0, 0), count(false, guest, 1, 1));
		for (unsigned int data = 1; data <= 3; data++)
			for (unsigned int table = 1; table <= 2; table++)
				ck_assert_uint_eq(walk_references(LEVELS + 1 - guest, LEVELS + 1 - table, LEVELS + 1 - data),
						  count(true, guest, data, table));
	}
}
END_TEST

static const struct {
	uint64_t size;
	unsigned int leaf;
} host_pages[] = {{4096, 1}, {2 << 20, 2}};

START_TEST(nested)
{
	for (unsigned int pages = WORKLOAD_4K; pages <= WORKLOAD_2M; pages++)
		for (size_t i = 0; i < 2; i++) {
			struct column direct = host("ept", "npt", true, host_pages[i].size);
			struct column shadow = host("shadow", "npt", true, host_pages[i].size);
			struct walk_length w = walk_length_of(&direct, pages);

			ck_assert_uint_eq(w.references, count(true, pages, host_pages[i].leaf, host_pages[i].leaf));
			ck_assert_uint_eq(w.references, (w.guest_levels + 1) * (w.host_levels + 1) - 1);
			ck_assert_uint_eq(walk_length_of(&shadow, pages).references, count(true, pages, host_pages[i].leaf, 1));
		}
	ck_assert_uint_eq(walk_length_of(&(struct column){.nested = true, .host_page = 4096}, WORKLOAD_4K).references, 24);
}
END_TEST

/* KVM's tables end at the smaller of the two sizes, whoever asks it for shadow pages. */
START_TEST(one_dimension)
{
	static const char *const modes[] = {"ept", "shadow"}, *const hosts[] = {"kvm-shadow", "pvm-shadow"};

	for (unsigned int i = 0; i < 8; i++) {
		struct column c = host(modes[i & 1], hosts[i >> 1 & 1], false, host_pages[i >> 2].size);

		for (unsigned int pages = WORKLOAD_4K; pages <= WORKLOAD_2M; pages++) {
			struct walk_length w = walk_length_of(&c, pages);
			unsigned int leaf = pages < host_pages[i >> 2].leaf ? pages : host_pages[i >> 2].leaf;

			ck_assert_uint_eq(w.references, count(false, leaf, 1, 1));
			ck_assert_uint_eq(w.host_levels, 0);
		}
	}
}
END_TEST

START_TEST(unknown)
{
	struct column ept = host("ept", "ept", true, 0), shadowed = host("ept", "kvm-shadow", false, 0);
	struct column odd = host("ept", "ept", true, 12345), nobody = host("ept", "unknown", false, 4096);

	ck_assert_uint_eq(walk_length_of(&ept, WORKLOAD_4K).references, 0);
	ck_assert_uint_eq(walk_length_of(&odd, WORKLOAD_4K).references, 0);
	ck_assert_uint_eq(walk_length_of(&nobody, WORKLOAD_4K).references, 0);
	ck_assert_uint_eq(walk_length_of(&shadowed, WORKLOAD_2M).references, 0);
	/* Whatever the host's pages are, KVM's tables cannot end above pages of 4 KiB. */
	ck_assert_uint_eq(walk_length_of(&shadowed, WORKLOAD_4K).references, 4);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {formula, nested, one_dimension, unknown};

	return RUN_TESTS("compare_walk", tests);
}
