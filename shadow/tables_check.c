/*
 * The checker of tables.h: goes through all shadow pages and says what is wrong with the first bad thing it finds. It
 * uses nothing of the code it checks but the data, and reads the guest's tables in its own, plain way.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shadow/shadow_page.h"
#include "vmm/mem.h"

#define PATHS_MAX 20000u /* tables that lead to themselves have more paths than anyone can look at */

struct check {
	struct tables *t;
	uint64_t *entry; /* of all used pages, edits done */
	uint8_t *seen;	 /* by spte_id - 1: found in a list */
	unsigned int paths;
};

static bool bad(struct check *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static bool bad(struct check *c, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(c->t->complaint, sizeof(c->t->complaint), fmt, args);
	va_end(args);
	return false;
}

static bool is_ram(const struct check *c, uint64_t gpa)
{
	return mem_at(c->t->mem, gpa & ~(PAGE_SIZE - 1), PAGE_SIZE, MEM_READ) != NULL;
}

static uint64_t entry(const struct check *c, uint32_t page, unsigned int i)
{
	return c->entry[(size_t)page * TABLE_ENTRIES + i];
}

/* The root's entry for the monitor is nobody's business here, except that it is there. */
static bool is_monitor_entry(const struct check *c, uint32_t page, unsigned int i)
{
	return c->t->page[page].key.level == 4 && i == MONITOR_SLOT;
}

/* Invariant 7: the entries marked as pending are those with edits. Carries these out on the copy that all else looks at. */
static bool check_edits(struct check *c)
{
	struct tables *t = c->t;
	size_t entries = t->used * (size_t)TABLE_ENTRIES;
	uint8_t *has_edit = calloc(entries + 1, 1);
	bool good = has_edit != NULL;

	memcpy(c->entry, t->pool.hva, entries * sizeof(uint64_t));
	for (size_t i = 0; good && i < t->edits; i++) {
		size_t at = (t->edit[i].gpa - t->pool.gpa) / sizeof(uint64_t);

		if (at >= entries)
			good = bad(c, "edit %zu is of gpa 0x%" PRIx64 ", outside the pages in use", i, t->edit[i].gpa);
		else
			has_edit[at] = 1;
		if (good)
			c->entry[at] = t->edit[i].value;
	}
	for (size_t i = 0; good && i < entries; i++) {
		size_t page = i / TABLE_ENTRIES, at = i % TABLE_ENTRIES;
		bool marked = t->page[page].pending[at / 64] >> at % 64 & 1;

		if (marked != has_edit[i])
			good = bad(c, "page %zu entry %zu: pending %d, edits %d", page, at, marked, has_edit[i]);
	}
	free(has_edit);
	return good;
}

/* Invariant 1. */
static bool check_keys(struct check *c)
{
	const struct tables *t = c->t;

	for (uint32_t a = 0; a < t->used; a++) {
		for (uint32_t b = 0; b < a; b++) {
			const struct page_key *x = &t->page[a].key, *y = &t->page[b].key;

			if (t->page[a].live && t->page[b].live && x->gfn == y->gfn && x->level == y->level &&
			    x->view == y->view && x->role == y->role)
				return bad(c, "pages %u and %u stand for the same", b, a);
		}
	}
	return true;
}

/* Invariant 6: the guest may be writing to it, unseen. */
static bool is_lent(const struct check *c, uint64_t gfn)
{
	for (unsigned int i = 0; i < c->t->loans; i++) {
		if (c->t->loan[i].gfn == gfn)
			return true;
	}
	return false;
}

static bool is_loan(const struct check *c, uint32_t page, unsigned int i)
{
	for (unsigned int n = 0; n < c->t->loans; n++) {
		if (c->t->loan[n].page == page && c->t->loan[n].index == i)
			return true;
	}
	return false;
}

/* Nobody knows any more what the gptes said when the entries of the page were filled. */
static bool may_be_old(const struct check *c, uint32_t page)
{
	const struct shadow_page *p = &c->t->page[page];

	return p->unsync || (!(p->key.role & ROLE_DIRECT) && is_lent(c, p->key.gfn));
}

/* Pages that stand for the guest table, or of those the ones in sync. */
static unsigned int tables_at(const struct check *c, uint64_t gfn, bool in_sync)
{
	unsigned int count = 0;

	for (uint32_t n = 0; n < c->t->used; n++) {
		const struct shadow_page *p = &c->t->page[n];

		count += p->live && p->key.gfn == gfn && !(p->key.role & ROLE_DIRECT) && (!in_sync || !p->unsync);
	}
	return count;
}

/* Invariant 6: what is out of sync is so in all its pages, of the last level, and in the list. */
static bool check_unsync(struct check *c)
{
	const struct tables *t = c->t;

	for (uint32_t n = 0; n < t->used; n++) {
		const struct shadow_page *p = &t->page[n];
		unsigned int listed = 0;

		for (unsigned int i = 0; i < t->unsyncs; i++)
			listed += t->unsync[i] == p->key.gfn;
		if (!p->live || (p->key.role & ROLE_DIRECT))
			continue;
		if (listed != p->unsync || (p->unsync && (p->key.level > 1 || tables_at(c, p->key.gfn, true))))
			return bad(c, "page %u: level %u, out of sync %d, listed %u", n, p->key.level, p->unsync, listed);
	}
	for (unsigned int i = 0; i < t->unsyncs; i++) {
		if (!tables_at(c, t->unsync[i], false))
			return bad(c, "gfn 0x%" PRIx64 " is out of sync and no table", t->unsync[i]);
	}
	return true;
}

/*
 * Invariant 6: a loan is of one page, through the one entry it names; check_mapping() finds other ways to write there.
 * The VMM may have stored to either table since, and so made an end of it.
 */
static bool check_loans(struct check *c)
{
	const struct tables *t = c->t;

	if (t->loans > TABLES_MAX_LOANS)
		return bad(c, "%u loans", t->loans);
	for (unsigned int i = 0; i < t->loans; i++) {
		const struct loan *l = &t->loan[i];
		const struct shadow_page *p = &t->page[l->page];
		uint64_t spte;

		if (l->page >= t->used || l->index >= TABLE_ENTRIES || p->key.level != 1)
			return bad(c, "loan of gfn 0x%" PRIx64 " through page %u entry %u", l->gfn, l->page, l->index);
		spte = entry(c, l->page, l->index);
		if (p->live && (!(spte & 1) || (spte & PTE_ADDR) / PAGE_SIZE != l->gfn))
			return bad(c, "loan of gfn 0x%" PRIx64 ", which is 0x%" PRIx64, l->gfn, spte);
		for (uint32_t n = 0; n < t->used; n++) {
			const struct page_key *k = &t->page[n].key;

			if (t->page[n].live && t->page[n].unsync && k->gfn == l->gfn && !(k->role & ROLE_DIRECT))
				return bad(c, "gfn 0x%" PRIx64 " is lent and out of sync", l->gfn);
		}
	}
	return true;
}

/* The guest's entry as it was when the present entry was filled, as far as that one tells. */
static uint64_t old_entry(const struct check *c, uint32_t page, unsigned int i)
{
	const struct page_key *k = &c->t->page[page].key, *child;
	uint64_t spte = entry(c, page, i), n = ((spte & PTE_ADDR) - c->t->pool.gpa) / PAGE_SIZE;
	bool user;

	if (k->level == 1 || (k->level == 2 && (spte >> 7 & 1)) || n >= c->t->used)
		return spte;
	child = &c->t->page[n].key;
	user = !(k->role & ROLE_USER_PATH) || (child->role & ROLE_USER_PATH);
	return child->gfn * PAGE_SIZE | 0x23 | (user ? 4 : 0) | (child->role & ROLE_DIRECT ? 0x80 : 0);
}

/*
 * The guest's entry, or what stands for it in the parts of a large page. What a table out of sync, or lent, maps
 * has to be taken from the spte.
 */
static uint64_t guest_entry(const struct check *c, uint32_t page, unsigned int i)
{
	const struct page_key *k = &c->t->page[page].key;
	uint64_t gpte = 0;

	if (k->role & ROLE_DIRECT)
		return (k->gfn + i) * PAGE_SIZE | 0x67;
	if (may_be_old(c, page) && (entry(c, page, i) & 1))
		return old_entry(c, page, i);
	if (mem_read(c->t->mem, k->gfn * PAGE_SIZE + i * 8, &gpte, 8) < 0)
		return 0;
	return gpte;
}

/* Invariants 2 and 3, read off the manual: may page k have a present entry for gpte at all? */
static bool may_be_present(const struct page_key *k, uint64_t gpte)
{
	bool large = k->level == 2 && (gpte >> 7 & 1);

	if (!(gpte & 1) || !(gpte >> 5 & 1))
		return false;
	if (gpte >> 40 & 0xfff)
		return false;
	if ((gpte >> 63) && (k->role & ROLE_NXE_OFF))
		return false;
	if (k->level > 2 && (gpte >> 7 & 1))
		return false;
	if (large && (gpte & 0x1fe000))
		return false;
	return k->view == VIEW_KERNEL || (gpte >> 2 & 1) || (k->role & ROLE_DIRECT);
}

static bool check_rights(struct check *c, uint32_t page, unsigned int i, uint64_t spte, uint64_t gpte)
{
	const struct page_key *k = &c->t->page[page].key;
	bool leaf = k->level == 1 || (k->level == 2 && (gpte >> 7 & 1));
	bool may_write = (gpte & 2) || (k->role & ROLE_WP_OFF);
	bool no_exec = gpte >> 63;

	if (leaf && !(gpte >> 6 & 1))
		may_write = false;
	if (leaf && (k->role & ROLE_SMEP) && (k->role & ROLE_USER_PATH) && (gpte >> 2 & 1))
		no_exec = true;
	if ((spte & 0x100) || !(spte & 4) || !((spte & 0x20) || (k->level == 1 && c->t->accessed)) || (spte & 0x18))
		return bad(c, "page %u entry %u: 0x%" PRIx64 " has G, PCD or PWT, or no U or A", page, i, spte);
	if (may_be_old(c, page))
		return true;
	if (!may_be_present(k, gpte))
		return bad(c, "page %u entry %u: present, gpte 0x%" PRIx64 " must not be", page, i, gpte);
	if ((spte & 2) && !may_write)
		return bad(c, "page %u entry %u: writable, gpte 0x%" PRIx64 " is not", page, i, gpte);
	if (!(spte >> 63) && no_exec)
		return bad(c, "page %u entry %u: executable, gpte 0x%" PRIx64 " is not", page, i, gpte);
	return true;
}

/* Invariants 2 and 4 for an entry that maps `frames` frames. */
static bool check_mapping(struct check *c, uint32_t page, unsigned int i, uint64_t spte, uint64_t gpte, uint64_t frames)
{
	uint64_t mask = PTE_ADDR & ~(frames * PAGE_SIZE - 1), first = spte & mask;

	if (first != (gpte & mask) || !(spte & 0x40))
		return bad(c, "page %u entry %u: 0x%" PRIx64 " for gpte 0x%" PRIx64, page, i, spte, gpte);
	for (uint64_t gpa = first; gpa < first + frames * PAGE_SIZE; gpa += PAGE_SIZE) {
		if (!is_ram(c, gpa))
			return bad(c, "page %u entry %u: maps 0x%" PRIx64 ", which is not RAM", page, i, gpa);
		if (((spte & 2) || frames > 1) && !is_loan(c, page, i) && tables_at(c, gpa / PAGE_SIZE, frames == 1))
			return bad(c, "page %u entry %u: maps the table at 0x%" PRIx64 " writable", page, i, gpa);
	}
	return true;
}

/*
 * Invariant 2 for an entry that leads to a shadow page, and 8: that page is in use and stands for what gpte leads to.
 */
static bool check_child(struct check *c, uint32_t page, unsigned int i, uint64_t spte, uint64_t gpte)
{
	const struct page_key *k = &c->t->page[page].key, *child;
	uint64_t n = ((spte & PTE_ADDR) - c->t->pool.gpa) / PAGE_SIZE;
	bool parts = k->level == 2 && (gpte >> 7 & 1), user_path = (k->role & ROLE_USER_PATH) && (gpte >> 2 & 1);

	if ((spte & PTE_ADDR) < c->t->pool.gpa || n >= c->t->used || !c->t->page[n].live)
		return bad(c, "page %u entry %u: 0x%" PRIx64 " leads to no page in use", page, i, spte);
	child = &c->t->page[n].key;
	if (parts != !!(child->role & ROLE_DIRECT) || child->level != k->level - 1)
		return bad(c, "page %u entry %u: leads to page %" PRIu64 " of another kind", page, i, n);
	if (child->gfn * PAGE_SIZE != (gpte & PTE_ADDR & ~(parts ? 0x1fffffull : 0)))
		return bad(c, "page %u entry %u: leads to another table than gpte 0x%" PRIx64, page, i, gpte);
	if (parts)
		return true;
	if (!is_ram(c, gpte & PTE_ADDR) || child->view != k->view ||
	    child->role != ((k->role & ~ROLE_USER_PATH) | (user_path ? ROLE_USER_PATH : 0)))
		return bad(c, "page %u entry %u: leads to page %" PRIu64 " of another role", page, i, n);
	return true;
}

static bool check_entry(struct check *c, uint32_t page, unsigned int i)
{
	const struct page_key *k = &c->t->page[page].key;
	uint64_t spte = entry(c, page, i), gpte = guest_entry(c, page, i);

	if (is_monitor_entry(c, page, i))
		return spte == c->t->monitor_pml4e || bad(c, "root %u: no monitor", page);
	if (!(spte & 1))
		return spte == 0 || bad(c, "page %u entry %u: 0x%" PRIx64 ", not present", page, i, spte);
	if (!check_rights(c, page, i, spte, gpte))
		return false;
	if (k->level == 1)
		return check_mapping(c, page, i, spte, gpte, 1);
	if (k->level == 2 && (spte >> 7 & 1))
		return (gpte >> 7 & 1) ? check_mapping(c, page, i, spte, gpte, LARGE_FRAMES)
				       : bad(c, "page %u entry %u: large, gpte is not", page, i);
	return check_child(c, page, i, spte, gpte);
}

static bool check_entries(struct check *c)
{
	for (uint32_t n = 0; n < c->t->used; n++) {
		unsigned int present = 0;

		for (unsigned int i = 0; c->t->page[n].live && i < TABLE_ENTRIES; i++) {
			if (!check_entry(c, n, i))
				return false;
			present += !is_monitor_entry(c, n, i) && (entry(c, n, i) & 1);
		}
		if (present != c->t->page[n].present)
			return bad(c, "page %u: %u entries present, counted %u", n, present, c->t->page[n].present);
	}
	return true;
}

/* Invariant 5: the list at `head` holds sptes of that kind that lead to `target`, none twice. */
static bool check_list(struct check *c, spte_id head, uint64_t target, bool large, bool leaf)
{
	for (spte_id id = head, before = 0; id; before = id, id = c->t->link[id - 1].next) {
		uint32_t page = (id - 1) / TABLE_ENTRIES;
		uint64_t spte;

		if (page >= c->t->used || !c->t->page[page].live || c->seen[id - 1]++)
			return bad(c, "list of 0x%" PRIx64 ": spte %u has no business there", target, id);
		spte = c->entry[id - 1];
		if (!(spte & 1) || (spte & PTE_ADDR) != target || leaf != (c->t->page[page].key.level == 1 || large) ||
		    large != (c->t->page[page].key.level == 2 && (spte >> 7 & 1)))
			return bad(c, "list of 0x%" PRIx64 ": spte %u is 0x%" PRIx64, target, id, spte);
		if (c->t->link[id - 1].previous != before)
			return bad(c, "list of 0x%" PRIx64 ": spte %u leads back elsewhere", target, id);
	}
	return true;
}

/* Invariant 5 for one frame of RAM, and the count of tables in large pages. */
static bool check_frame(struct check *c, uint64_t frame, uint64_t gpa)
{
	unsigned int tables = 0;

	if (!check_list(c, c->t->small_maps[frame], gpa, false, true))
		return false;
	if (gpa & (LARGE_PAGE - 1))
		return true;
	if (!check_list(c, c->t->large_maps[frame / LARGE_FRAMES], gpa, true, true))
		return false;
	for (uint64_t i = 0; i < LARGE_FRAMES; i++)
		tables += tables_at(c, gpa / PAGE_SIZE + i, false) > 0;
	return tables == c->t->tables_in_large[frame / LARGE_FRAMES] ||
	       bad(c, "0x%" PRIx64 ": %u tables, counted %u", gpa, tables, c->t->tables_in_large[frame / LARGE_FRAMES]);
}

static bool check_parents(struct check *c, uint32_t n)
{
	const struct shadow_page *p = &c->t->page[n];
	bool root = false;

	for (unsigned int i = 0; i < c->t->roots; i++)
		root |= c->t->root[i] == n;
	if (!p->live)
		return !root || bad(c, "root %u is not in use", n);
	if (root != (p->key.level == 4) || (!root && !p->parents))
		return bad(c, "page %u, level %u: neither a root nor led to", n, p->key.level);
	return check_list(c, p->parents, c->t->pool.gpa + n * PAGE_SIZE, false, false);
}

static bool check_lists(struct check *c)
{
	uint64_t frame = 0;

	for (unsigned int r = 0; r < c->t->mem->region_count; r++) {
		const struct mem_region *region = &c->t->mem->region[r];

		for (uint64_t at = 0; at < region->size; at += PAGE_SIZE) {
			if (!check_frame(c, frame++, region->gpa + at))
				return false;
		}
	}
	for (uint32_t n = 0; n < c->t->used; n++) {
		if (!check_parents(c, n))
			return false;
	}
	for (size_t i = 0; i < c->t->used * (size_t)TABLE_ENTRIES; i++) {
		uint32_t page = (uint32_t)(i / TABLE_ENTRIES);
		unsigned int at = i % TABLE_ENTRIES;
		bool counts = c->t->page[page].live && (c->entry[i] & 1) && !is_monitor_entry(c, page, at);

		if (counts != c->seen[i])
			return bad(c, "page %u entry %u: present %d, in lists %d", page, at, counts, c->seen[i]);
	}
	return true;
}

/* What a path through the guest's tables allows, and the same of the shadow's. */
struct path {
	bool guest_write, guest_user, guest_exec, shadow_write, shadow_exec;
};

/*
 * All paths from a root, in the guest's tables and the shadow's at once: what the shadow allows at the end of a path
 * the guest allows. The entries have been checked one by one; this is about what they mean together.
 */
static bool check_paths(struct check *c, const struct page_key *root, uint32_t page, struct path so_far)
{
	const struct page_key *k = &c->t->page[page].key;

	for (unsigned int i = 0; i < TABLE_ENTRIES && c->paths < PATHS_MAX; i++) {
		uint64_t spte = entry(c, page, i), gpte = guest_entry(c, page, i);
		struct path p = so_far;

		if (is_monitor_entry(c, page, i) || !(spte & 1) || may_be_old(c, page))
			continue;
		c->paths++;
		p.shadow_write &= (spte & 2) != 0;
		p.shadow_exec &= !(spte >> 63);
		if (!(k->role & ROLE_DIRECT)) {
			p.guest_write &= (gpte & 2) != 0;
			p.guest_user &= (gpte & 4) != 0;
			p.guest_exec &= !(gpte >> 63);
		}
		if (k->level > 1 && !(k->level == 2 && (spte >> 7 & 1))) {
			if (!check_paths(c, root, (uint32_t)(((spte & PTE_ADDR) - c->t->pool.gpa) / PAGE_SIZE), p))
				return false;
			continue;
		}
		if (root->view == VIEW_USER && !p.guest_user)
			return bad(c, "page %u entry %u: a supervisor page in the user view", page, i);
		if (p.shadow_write && !p.guest_write && !(root->role & ROLE_WP_OFF))
			return bad(c, "page %u entry %u: writable on a path that is not", page, i);
		if (p.shadow_exec && (!p.guest_exec || ((root->role & ROLE_SMEP) && p.guest_user)))
			return bad(c, "page %u entry %u: executable on a path that is not", page, i);
	}
	return true;
}

static bool check_roots(struct check *c)
{
	for (unsigned int i = 0; i < c->t->roots; i++) {
		uint32_t n = c->t->root[i];

		if (!check_paths(c, &c->t->page[n].key, n, (struct path){true, true, true, true, true}))
			return false;
	}
	return true;
}

const char *tables_check(struct tables *t)
{
	struct check c = {.t = t};
	size_t entries = t->used * (size_t)TABLE_ENTRIES;
	bool good;

	if (t->must_recycle)
		return NULL;
	c.entry = calloc(entries + 1, sizeof(*c.entry));
	c.seen = calloc(entries + 1, sizeof(*c.seen));
	snprintf(t->complaint, sizeof(t->complaint), "no memory for the check");
	good = c.entry && c.seen && check_edits(&c) && check_keys(&c) && check_unsync(&c) && check_loans(&c) &&
	       check_entries(&c) && check_lists(&c) && check_roots(&c);
	free(c.entry);
	free(c.seen);
	return good ? NULL : t->complaint;
}
