/*
 * The processor that a guest sees, against the walk of vmm/walk.h: the image paging performs accesses through entries of
 * all kinds, and every single verdict, error code, CR2, page that was reached, and accessed and dirty bit must be what
 * the walk says. In every MMU mode; direct mode on a host with nested paging makes it a test of the walk as well.
 *
 * Where a host may differ, and who is right:
 *  - Nested paging, accessed bits: an access that faults leaves A in entries it has read. The manuals say that A is set
 *    where an entry is used for a translation, and not whether one that faults counts (Intel SDM vol. 3, 4.8; AMD APM
 *    vol. 2, 5.4.2). KVM's own walk, like ours, sets none. Both are right.
 *  - Nested paging in the lab, error codes: QEMU 7.2's CPU says RSVD without P. It is wrong: P is 0 only when an entry
 *    was not present, and RSVD comes only with P (SDM vol. 3, 4.7).
 */
#include <stdio.h>
#include <string.h>

#include "ept/host_mmu.h"
#include "guest/images/paging_cases.h"
#include "tests/unit/expect.h"
#include "tests/unit/random.h"
#include "tests/vm/effort.h"
#include "tests/vm/modes.h"
#include "tests/vm/sanitized.h"
#include "tests/vm/spawn.h"
#include "tests/vm/suite.h"
#include "vmm/cpu_state.h"
#include "vmm/mem.h"
#include "vmm/mmu.h"
#include "vmm/walk.h"

#define RAM (8ull << 20)
#define TABLE(level) (0x10000ull * (uint64_t)(level))
#define SMALL_PAGE 0x123000ull
#define LARGE_PAGE 0x400000ull
#define LARGE_SIZE 0x200000ull
#define GVA 0x0000123456789abcull
#define WRONG_MAX 20 /* that are shown */
#define RANDOM_CASES effort(3000, 1000)
#define LIMIT_S 1000

/* What is run, and what is expected of it. */
struct run {
	const char *mode;
	const char *cpu;
	const char *cases; /* words for the guest */
	struct paging_plan plan;
	unsigned int first, last; /* groups */
	bool nested;		  /* the guest's tables are walked by a processor, which may differ */
	struct mem ram;
	struct bytes text; /* what the guest should print, but for the codes */
	unsigned int wrong;
};

static void set_entry(struct run *r, const struct paging_case *c, int level)
{
	uint64_t says = c->says[level], entry = level > 1 ? TABLE(level - 1) : SMALL_PAGE;

	if (level == 2 && (says & SAYS_PS))
		entry = LARGE_PAGE | (says & SAYS_LOW ? 1ull << 13 : 0);
	entry |= says & SAYS_BYTE;
	if (says & SAYS_HIGH)
		entry |= 1ull << 51;
	if (says & SAYS_NX)
		entry |= PTE_NX;
	expect_eq(mem_write(&r->ram, TABLE(level) + (GVA >> (12 + 9 * (level - 1)) & 511) * 8, &entry, sizeof(entry)), 0);
}

static uint32_t place_of(uint64_t gpa)
{
	if (gpa == SMALL_PAGE + GVA % PAGE_SIZE)
		return PLACE_SMALL;
	return gpa == LARGE_PAGE + GVA % LARGE_SIZE ? PLACE_LARGE : PLACE_WRONG;
}

static uint32_t marks_of(struct run *r)
{
	uint32_t marks = 0;

	for (int level = 1; level <= PAGING_LEVELS; level++) {
		uint64_t entry;

		expect_eq(mem_read(&r->ram, TABLE(level) + (GVA >> (12 + 9 * (level - 1)) & 511) * 8, &entry, sizeof(entry)), 0);
		marks |= entry & PTE_A ? 1u << (RESULT_A_SHIFT + level - 1) : 0;
		marks |= entry & PTE_D ? 1u << (RESULT_D_SHIFT + level - 1) : 0;
	}
	return marks;
}

/* The result by our walk; *level: the last entry it read. */
static uint32_t by_walk(struct run *r, const struct paging_case *c, int *level)
{
	const struct cpu_state cs = {
		.cr0 = CR0_PE | CR0_PG | (c->mode & MODE_WP ? CR0_WP : 0),
		.cr3 = TABLE(PAGING_LEVELS),
		.cr4 = CR4_PAE | (c->mode & MODE_SMEP ? CR4_SMEP : 0),
		.efer = EFER_LME | EFER_LMA | (c->mode & MODE_NXE ? EFER_NXE : 0),
	};
	unsigned int access = (c->access & ACCESS_WRITE ? MMU_WRITE : 0) | (c->access & ACCESS_FETCH ? MMU_EXEC : 0) |
			      (c->access & ACCESS_USER ? MMU_USER : 0);
	struct walk w;

	for (int l = 1; l <= PAGING_LEVELS; l++)
		set_entry(r, c, l);
	walk_guest(&r->ram, &cs, GVA, access, &w);
	*level = w.level;
	if (w.fault)
		return RESULT_FAULT | w.error | marks_of(r);
	expect(walk_mark(&r->ram, &w, access));
	return place_of(w.gpa) << RESULT_PLACE_SHIFT | marks_of(r);
}

/* Whether a processor that walks for itself may say `got` where our walk, which read down to `level`, says `want`. */
static bool may_differ(uint32_t got, uint32_t want, int level)
{
	uint32_t read = (0xfu << (level - 1) & 0xfu) << RESULT_A_SHIFT;

	if (!(want & RESULT_FAULT))
		return false;
	if ((want & PF_RESERVED) && !(got & PF_PRESENT))
		got |= PF_PRESENT;
	return (got & ~read) == (want & ~read) && (got & want & read) == (want & read);
}

static void complain(struct run *r, unsigned int group, uint64_t i, const struct paging_case *c, uint32_t got, uint32_t want)
{
	if (++r->wrong > WRONG_MAX)
		return;
	fprintf(stderr, "%s: %s %" PRIu64 ": entries %04x %04x %04x %04x, access %x, mode %x%s: 0x%05x, not 0x%05x\n",
		r->mode, paging_group_name(group), i, c->says[4], c->says[3], c->says[2], c->says[1], c->access, c->mode,
		c->reload ? ", CR3 load" : "", got, want);
}

/* The next result in the guest's output; *at moves on. */
static uint32_t next_result(const char **at)
{
	uint32_t result = 0;

	*at += strspn(*at, "\n|");
	for (int i = 0; i < PAGING_DIGITS; i++) {
		unsigned int digit = (unsigned char)**at - (unsigned int)PAGING_DIGIT;

		expect_msg(digit < 64, "no result at '%.80s'", *at);
		result |= digit << 6 * i;
		++*at;
	}
	return result;
}

/* The line of a group, and its sum. */
static uint64_t check_group(struct run *r, unsigned int group, const char **at)
{
	uint64_t size = paging_group_size(&r->plan, group), sum = 0;
	unsigned int verdicts[33] = {0};
	char line[512];
	int length;

	for (uint64_t i = 0; i < size; i++) {
		struct paging_case c = paging_case(&r->plan, group, i);
		uint32_t got = next_result(at);
		int level;
		uint32_t want = by_walk(r, &c, &level);

		if (got != want && !(r->nested && may_differ(got, want, level)))
			complain(r, group, i, &c, got, want);
		want = paging_result_common(&c, want);
		sum = paging_sum(sum, want);
		verdicts[want & RESULT_FAULT ? 1 + (want & RESULT_ERROR) : 0]++;
	}
	length = snprintf(line, sizeof(line), "%s: %" PRIu64 " cases, sum %016" PRIx64 ", %u fine",
			  paging_group_name(group), size, sum, verdicts[0]);
	for (unsigned int i = 1; i < 33; i++)
		if (verdicts[i])
			length += snprintf(line + length, sizeof(line) - (size_t)length, ", %u error %x", verdicts[i], i - 1);
	expect_msg(!r->wrong, "%s: %u cases of %s differ", r->mode, r->wrong, paging_group_name(group));
	expect_msg(**at == '\n' && !strncmp(*at + 1, line, (size_t)length) && (*at)[1 + length] == '\n',
		   "%s: the guest says '%.200s' instead of '%s'", r->mode, *at, line);
	*at += 1 + length;
	return sum;
}

static void check_output(struct run *r, const char *out)
{
	uint64_t cases = 0, sum = 0;
	char line[80];

	for (unsigned int group = r->first; group <= r->last; group++) {
		cases += paging_group_size(&r->plan, group);
		sum = (sum ^ check_group(r, group, &out)) * 0x100000001b3ull;
	}
	snprintf(line, sizeof(line), "\npaging: %" PRIu64 " cases, checksum %016" PRIx64 "\n", cases, sum);
	expect_msg(!strcmp(out, line), "%s: the guest ends with '%.200s' instead of '%s'", r->mode, out, line);
}

static void run_in(const char *mode, struct run *r)
{
	const struct host_mmu host = host_mmu_detect("");
	struct outcome o;
	char line[120];

	/* SMEP comes with v2, for which a host without hardware virtualisation lacks other features. */
	r->plan.smep = !host.ring0_interpreted;
	r->nested = host.nested && !strcmp(mode, "ept");
	r->mode = mode;
	snprintf(line, sizeof(line), "run --mmu %s --cpu %s @paging -- codes %s", mode, r->plan.smep ? "v2" : "base", r->cases);
	o = spawn(&(struct spawn){.line = line, .limit_s = LIMIT_S}, NULL, 0);
	ck_assert_msg(o.status == 0 && o.err.size == 0, "%s: status %d, said '%.300s', complained '%.2000s'", line, o.status,
		      o.out.data, o.err.data);
	ck_assert_int_eq(mem_create(&r->ram, RAM, MEM_HUGE_NEVER), 0);
	check_output(r, o.out.data);
	mem_destroy(&r->ram);
	outcome_free(&o);
}

/* All, or where that takes long every fifth case: five has no factor of the number of any kind of case, so all have their turn. */
START_TEST(test_exhaustive)
{
	struct random random = random_start("paging");
	uint64_t parts = (in_lab() || SANITIZED) && !is_long() ? 5 : 1, part = random_below(&random, parts);
	char cases[60];

	snprintf(cases, sizeof(cases), "exhaustive %" PRIu64 " %" PRIu64, part, parts);
	for (size_t i = 0; i < MMU_MODES; i++)
		run_in(mmu_modes[i], &(struct run){.cases = cases, .last = PAGING_RANDOM - 1,
						   .plan = {.part = part, .parts = parts}});
}
END_TEST

START_TEST(test_random)
{
	struct random random = random_start("paging");
	uint64_t seed = random_next(&random);
	char cases[60];

	snprintf(cases, sizeof(cases), "random %u %" PRIu64, RANDOM_CASES, seed);
	for (size_t i = 0; i < MMU_MODES; i++)
		run_in(mmu_modes[i], &(struct run){.cases = cases, .first = PAGING_RANDOM, .last = PAGING_RANDOM,
						   .plan = {.random_count = RANDOM_CASES, .seed = seed}});
}
END_TEST

/* In words, for people. */
START_TEST(test_show)
{
	struct outcome o = spawn_line("run @paging -- show random 2 6", "");

	assert_outcome(&o, 0,
		       "0: PWU-D---- PW--D---- PWUADS--- P-UA-----, kernel write nxe: large page A f D e\n"
		       "1: P-UA----- P-U------ PWUAD---- PWU-D----, kernel fetch wp: page A f D 3\n"
		       "random: 2 cases, sum 182e9b0ee0c7f016, 2 fine\n"
		       "paging: 2 cases, checksum df219047f3bcf562\n",
		       "show");
	outcome_free(&o);
}
END_TEST

START_TEST(test_usage)
{
	static const char *const bad[] = {
		"nonsense", "codes show", "random", "random 5", "random x 1", "random 1 1 1", "random 1000001 1",
		"exhaustive 1", "exhaustive 5 5", "exhaustive 0 0", "exhaustive 0 98", "exhaustive 0 5 1", "level-5", "level-1 1", "codes codes codes codes codes codes codes codes codes codes codes codes codes",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		char line[160];
		struct outcome o;

		snprintf(line, sizeof(line), "run @paging -- %s", bad[i]);
		o = spawn_line(line, "");
		assert_outcome(&o, 2, "usage: paging [codes|show] [exhaustive [PART PARTS] | random N SEED | GROUP]\n", bad[i]);
		outcome_free(&o);
	}
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {test_exhaustive, test_random, test_show, test_usage};

	return RUN_TESTS("paging", tests);
}
