#include "shadow/counters.h"

#include <stddef.h>

#include "shadow/tables.h"
#include "vmm/ensure.h"
#include "vmm/mmu.h"

static const char *const names[SHADOW_COUNTS] = {
	[SHADOW_HIDDEN_FAULT] = "hidden_faults",
	[SHADOW_TABLE_STORE] = "table_stores",
	[SHADOW_TABLE_STEP] = "table_steps",
	[SHADOW_DEVICE] = "device",
	[SHADOW_REFLECTED] = "reflected",
	[SHADOW_SYSTEM_CALL] = "system_calls",
	[SHADOW_INTERRUPT] = "interrupts",
	[SHADOW_STEP] = "steps",
	[SHADOW_KICK] = "kicks",
	[SHADOW_CONTROL] = "control_registers",
	[SHADOW_MSR] = "msrs",
	[SHADOW_FLAGS] = "cli_sti",
	[SHADOW_RETURN] = "returns",
	[SHADOW_PORT] = "ports",
	[SHADOW_SEGMENT] = "segments",
	[SHADOW_INVLPG] = "invlpgs",
	[SHADOW_HLT] = "hlts",
	[SHADOW_OTHER] = "other",
};

static const struct {
	ZydisMnemonic mnemonic;
	enum shadow_count kind;
} kinds[] = {
	{ZYDIS_MNEMONIC_CLI, SHADOW_FLAGS},	{ZYDIS_MNEMONIC_STI, SHADOW_FLAGS},
	{ZYDIS_MNEMONIC_PUSHFQ, SHADOW_FLAGS},	{ZYDIS_MNEMONIC_POPFQ, SHADOW_FLAGS},
	{ZYDIS_MNEMONIC_IRETQ, SHADOW_RETURN},	{ZYDIS_MNEMONIC_SYSRET, SHADOW_RETURN},
	{ZYDIS_MNEMONIC_RET, SHADOW_RETURN},	{ZYDIS_MNEMONIC_IN, SHADOW_PORT},
	{ZYDIS_MNEMONIC_OUT, SHADOW_PORT},	{ZYDIS_MNEMONIC_INSB, SHADOW_PORT},
	{ZYDIS_MNEMONIC_INSW, SHADOW_PORT},	{ZYDIS_MNEMONIC_INSD, SHADOW_PORT},
	{ZYDIS_MNEMONIC_OUTSB, SHADOW_PORT},	{ZYDIS_MNEMONIC_OUTSW, SHADOW_PORT},
	{ZYDIS_MNEMONIC_OUTSD, SHADOW_PORT},	{ZYDIS_MNEMONIC_INVLPG, SHADOW_INVLPG},
	{ZYDIS_MNEMONIC_HLT, SHADOW_HLT},	{ZYDIS_MNEMONIC_RDMSR, SHADOW_MSR},
	{ZYDIS_MNEMONIC_WRMSR, SHADOW_MSR},	{ZYDIS_MNEMONIC_SWAPGS, SHADOW_SEGMENT},
	{ZYDIS_MNEMONIC_LGDT, SHADOW_SEGMENT},	{ZYDIS_MNEMONIC_LIDT, SHADOW_SEGMENT},
	{ZYDIS_MNEMONIC_LLDT, SHADOW_SEGMENT},	{ZYDIS_MNEMONIC_LTR, SHADOW_SEGMENT},
	{ZYDIS_MNEMONIC_POP, SHADOW_SEGMENT},	{ZYDIS_MNEMONIC_MOV, SHADOW_CONTROL},
	{ZYDIS_MNEMONIC_CLTS, SHADOW_CONTROL},	{ZYDIS_MNEMONIC_LMSW, SHADOW_CONTROL},
};

void counters_privileged(struct shadow_counters *c, ZydisMnemonic mnemonic)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		if (kinds[i].mnemonic == mnemonic) {
			c->count[kinds[i].kind]++;
			return;
		}
	c->count[SHADOW_OTHER]++;
}

static void add(struct mmu_stats *stats, const char *name, uint64_t value)
{
	ensure(stats->count < MMU_MAX_COUNTERS);
	stats->counter[stats->count++] = (struct mmu_counter){name, value};
}

void counters_report(const struct shadow_counters *c, const struct tables *t, struct mmu_stats *stats)
{
	struct tables_stats ts = tables_stats(t);

	*stats = (struct mmu_stats){.hidden_faults = c->count[SHADOW_HIDDEN_FAULT], .pte_writes = ts.gpte_stores};
	for (unsigned int i = 0; i < SHADOW_COUNTS; i++)
		add(stats, names[i], c->count[i]);
	add(stats, "fills", ts.fills);
	add(stats, "prefetched", ts.prefetched);
	add(stats, "unsynced", ts.unsynced);
	add(stats, "unshadowed", ts.unshadowed);
	add(stats, "recycled", ts.recycled);
	add(stats, "root_hits", ts.root_hits);
	add(stats, "root_misses", ts.root_misses);
}
