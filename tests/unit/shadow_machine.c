#include "tests/unit/shadow_machine.h"

#include <stdlib.h>
#include <string.h>

#include "tests/unit/expect.h"
#include "vmm/mmu.h"

#define ENTRIES 512u

void machine_create(struct machine *m, uint64_t ram, uint32_t pool_pages)
{
	size_t bytes = pool_pages * (size_t)PAGE_SIZE;

	*m = (struct machine){.view = VIEW_KERNEL};
	expect(mem_create(&m->ram, ram, MEM_HUGE_NEVER) == 0);
	m->pool = (struct tables_pool){.hva = aligned_alloc(PAGE_SIZE, bytes), .gpa = MACHINE_POOL_GPA, .pages = pool_pages};
	m->host_entry = calloc(pool_pages * (size_t)ENTRIES, sizeof(*m->host_entry));
	m->used = calloc(ram >> PAGE_SHIFT, 1);
	expect(m->pool.hva && m->host_entry && m->used);
	memset(m->pool.hva, 0, bytes);
	m->tables = tables_create(&m->ram, &m->pool, MACHINE_MONITOR_PML4E);
	expect(m->tables);
	m->cs.cr0 = CR0_PE | CR0_PG | CR0_WP;
	m->cs.cr4 = CR4_PAE;
	m->cs.efer = EFER_LME | EFER_LMA | EFER_NXE;
}

void machine_destroy(struct machine *m)
{
	tables_destroy(m->tables);
	mem_destroy(&m->ram);
	free(m->pool.hva);
	free(m->host_entry);
	free(m->used);
}

static void load_cr3(struct machine *m, uint64_t root)
{
	m->root = root;
	m->tlb_used = 0;
}

static void recycle(struct machine *m)
{
	memset(m->host_entry, 0, m->pool.pages * (size_t)PAGE_SIZE);
	tables_recycle(m->tables);
	for (size_t i = 0; i < m->pool.pages * (size_t)PAGE_SIZE; i += sizeof(uint64_t))
		expect(*(uint64_t *)(m->pool.hva + i) == 0);
	load_cr3(m, 0);
}

static uint64_t ask_root(struct machine *m)
{
	uint64_t root;

	for (unsigned int tries = 0;; tries++) {
		expect(tries < 3);
		if (tables_must_recycle(m->tables))
			recycle(m);
		root = tables_root(m->tables, &m->cs, m->view);
		if (!tables_must_recycle(m->tables))
			return root;
	}
}

static void carry_out(struct machine *m, const struct tables_edit *edits, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		uint64_t offset = edits[i].gpa - m->pool.gpa;

		expect(offset < m->pool.pages * PAGE_SIZE && offset % 8 == 0);
		*(uint64_t *)(m->pool.hva + offset) = edits[i].value;
		m->host_entry[offset / 8] = 0;
	}
	m->edits += count;
}

/* The way out: at most so many edits, and if that are all, CR3. */
static void go_out(struct machine *m, uint64_t root, size_t most)
{
	size_t count;
	const struct tables_edit *edits = tables_edits(m->tables, &count);

	carry_out(m, edits, most < count ? most : count);
	if (most == SIZE_MAX && (count || root != m->root))
		load_cr3(m, root);
}

void machine_enter(struct machine *m)
{
	go_out(m, ask_root(m), SIZE_MAX);
}

void machine_enter_and_kick(struct machine *m, size_t done)
{
	go_out(m, ask_root(m), done);
}

static void use(struct machine *m, uint64_t gpa, enum machine_use how)
{
	if (mem_at(&m->ram, gpa, 1, MEM_READ))
		m->used[mem_page_number(&m->ram, gpa)] |= how;
}

static void use_tables(struct machine *m, const struct walk *w, enum machine_use how)
{
	for (int level = 4; w->level && level >= w->level; level--)
		use(m, w->gpte_gpa[level], how);
}

void machine_lend(struct machine *m, const uint64_t *gva, size_t count, size_t done)
{
	uint64_t root = ask_root(m);
	struct walk w;

	for (size_t i = 0; i < count; i++) {
		walk_guest(&m->ram, &m->cs, gva[i], MMU_WRITE, &w);
		use_tables(m, &w, MACHINE_MAY_BE_USED);
	}
	tables_lend(m->tables, &m->cs, m->view, MMU_WRITE | (m->view == VIEW_USER ? MMU_USER : 0), gva, count);
	if (tables_must_recycle(m->tables))
		root = ask_root(m);
	go_out(m, root, done);
}

/* A present entry is remembered, and only a wider one for the same page is ever looked at instead. */
static uint64_t host_read(struct machine *m, uint64_t gpa, int level, bool insufficient)
{
	uint64_t offset = gpa - m->pool.gpa, now, *noted;

	expect_msg(offset < m->pool.pages * PAGE_SIZE, "the CPU reads a table at 0x%" PRIx64, gpa);
	now = *(uint64_t *)(m->pool.hva + offset);
	noted = &m->host_entry[offset / 8];
	if (!*noted)
		*noted = now & PTE_P ? now : 0;
	if (insufficient && level == 1 && (now & PTE_P) && !((now ^ *noted) & PTE_ADDR))
		*noted = now;
	return *noted;
}

static bool enough(const struct translation *tr, unsigned int access)
{
	return (tr->write || !(access & MMU_WRITE)) && (tr->exec || !(access & MMU_EXEC));
}

/* Ring 3, CR0.WP = 1, EFER.NXE = 1: the real CPU's mode whatever the guest's. */
static bool walk_shadow(struct machine *m, uint64_t gva, bool again, struct translation *tr)
{
	uint64_t table = m->root;

	*tr = (struct translation){.gva_page = gva >> 12, .write = true, .exec = true};
	for (int level = 4; level; level--) {
		uint64_t spte;

		tr->leaf_gpa = table + (gva >> (3 + 9 * level) & 511) * 8;
		spte = host_read(m, tr->leaf_gpa, level, again);
		if (!(spte & PTE_P) || !(spte & PTE_U))
			return false;
		expect((spte & PTE_A) || level == 1);
		tr->write &= (spte & PTE_W) != 0;
		tr->exec &= !(spte & PTE_NX);
		table = spte & PTE_ADDR;
		if (level == 2 && (spte & PTE_PS)) {
			table += gva & 0x1ff000;
			break;
		}
	}
	tr->frame = table;
	return true;
}

/* By a host that looks at what it has noted, not at what is there now. */
static void set_accessed(struct machine *m, uint64_t spte_gpa)
{
	uint64_t offset = spte_gpa - m->pool.gpa, *spte = (uint64_t *)(m->pool.hva + offset);
	uint64_t *noted = &m->host_entry[offset / 8];

	if (*noted & PTE_A)
		return;
	expect((*spte & PTE_P) && !((*spte ^ *noted) & PTE_ADDR));
	*spte |= PTE_A;
	*noted |= PTE_A;
}

static bool hit(const struct machine *m, uint64_t gva, unsigned int access, struct translation *tr)
{
	for (unsigned int i = 0; i < m->tlb_used; i++) {
		*tr = m->tlb[i];
		if (tr->gva_page == gva >> 12 && enough(tr, access))
			return true;
	}
	return false;
}

bool machine_touch(struct machine *m, uint64_t gva, unsigned int access, uint64_t *gpa)
{
	struct translation tr;

	if (!hit(m, gva, access, &tr)) {
		if (gva + (1ull << 47) >= 1ull << 48)
			return false;
		if (!walk_shadow(m, gva, false, &tr) || !enough(&tr, access)) {
			if (!walk_shadow(m, gva, true, &tr) || !enough(&tr, access))
				return false;
		}
		set_accessed(m, tr.leaf_gpa);
		m->tlb[m->tlb_used++ % MACHINE_TLB] = tr;
		if (m->tlb_used > MACHINE_TLB)
			m->tlb_used = MACHINE_TLB;
	}
	*gpa = tr.frame | (gva & 4095);
	use(m, *gpa, MACHINE_USED);
	expect_msg(mem_at(&m->ram, *gpa, 1, MEM_READ), "the shadow of 0x%" PRIx64 " leads to 0x%" PRIx64, gva, *gpa);
	return true;
}

enum tables_verdict machine_fault(struct machine *m, uint64_t gva, unsigned int access, struct walk *w)
{
	enum tables_verdict v = tables_fault(m->tables, &m->cs, m->view, gva, access, w);

	use_tables(m, w, MACHINE_USED);
	return v;
}

bool machine_check_used(struct machine *m)
{
	uint64_t pages = m->ram.size >> PAGE_SHIFT, *said = calloc(pages / 64 + 1, sizeof(*said));
	int r = tables_accessed(m->tables, said);

	expect(said && r >= 0);
	for (uint64_t i = 0; r && i < pages; i++) {
		bool is = said[i / 64] >> i % 64 & 1;

		expect_msg(is ? m->used[i] : !(m->used[i] & MACHINE_USED), "page %" PRIu64 ": said to be used %d, was %u", i, is,
			   m->used[i]);
	}
	expect(r || !said[0]);
	memset(m->used, 0, pages);
	free(said);
	return r;
}

enum machine_verdict machine_access(struct machine *m, uint64_t gva, unsigned int access, unsigned int tries,
				    uint64_t *gpa, struct walk *w)
{
	for (unsigned int i = 0; i <= tries; i++) {
		bool done;

		machine_enter(m);
		done = machine_touch(m, gva, access, gpa);
		tables_edits_done(m->tables);
		if (done)
			return MACHINE_DONE;
		if (i == tries)
			break;
		m->exits++;
		switch (machine_fault(m, gva, access, w)) {
		case TABLES_FILLED:
		case TABLES_GUARDED:
			continue;
		case TABLES_GUEST_FAULT:
			return MACHINE_GUEST_FAULT;
		case TABLES_STORE:
			return MACHINE_STORE;
		case TABLES_DEVICE:
			return MACHINE_DEVICE;
		}
	}
	return MACHINE_STUCK;
}

void machine_store(struct machine *m, uint64_t gpa, const void *bytes, uint64_t size)
{
	bool table = tables_is_table(m->tables, gpa) || tables_is_table(m->tables, gpa + size - 1);

	expect(mem_write(&m->ram, gpa, bytes, size) == 0);
	if (!table)
		return;
	m->exits++;
	tables_stored(m->tables, gpa, size);
}

void machine_check(struct machine *m)
{
	const char *broken = tables_check(m->tables);

	expect_msg(!broken, "%s", broken);
}

uint64_t *machine_word(struct machine *m, uint64_t gpa)
{
	uint64_t *word = mem_at(&m->ram, gpa, sizeof(*word), MEM_READ);

	expect(word);
	return word;
}
