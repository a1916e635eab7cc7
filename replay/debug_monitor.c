#include "replay/debug_monitor.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "replay/debugger.h"
#include "replay/divergence.h"
#include "replay/replayer.h"
#include "replay/show_access.h"
#include "replay/timeline.h"
#include "vmm/cpu_state.h"
#include "vmm/mem.h"
#include "vmm/mmu.h"
#include "vmm/vm.h"
#include "vmm/walk.h"

static int position(struct debugger *d, const char *word, FILE *out)
{
	const struct place *here = &d->travel.here;

	fprintf(out, "position %" PRIu64, here->position);
	for (size_t i = 0; d->replayer && i < here->count; i++)
		fprintf(out, ", %" PRIu32 " %s", here->move[i].times, here->move[i].kind == MOVE_STEP ? "instructions" : "stops");
	fprintf(out, "\n");
	return 0;
}

static void show_passed(const struct passed *p, FILE *out)
{
	char access[SHOW_ACCESS_ROOM], event[DIVERGENCE_TEXT_ROOM];

	fprintf(out, "position %" PRIu64 ": %s\n", p->position,
		p->is_event ? divergence_event(event, &p->event) : show_access(access, &p->access));
}

static int events(struct debugger *d, const char *word, FILE *out)
{
	const struct replayer *r = d->replayer;
	char text[DIVERGENCE_TEXT_ROOM];
	uint64_t i;

	if (!r)
		return -EINVAL;
	for (i = r->passed.count > DIVERGENCE_LAST ? r->passed.count - DIVERGENCE_LAST : 0; i < r->passed.count; i++)
		show_passed(&r->passed.last[i % DIVERGENCE_LAST], out);
	if (r->has_next)
		fprintf(out, "next, at position %" PRIu64 ": %s\n", r->next.position, divergence_event(text, &r->next));
	else
		fprintf(out, "next: the recording ends\n");
	return 0;
}

static bool number(const char *word, uint64_t *value)
{
	char *end;

	errno = 0;
	*value = strtoull(word, &end, 0);
	return !errno && end != word && !*end && *word != '-';
}

/* gdb has to be told that it looks at another moment: it keeps what it has read. */
static int go(struct debugger *d, const char *word, FILE *out)
{
	uint64_t to;

	if (!d->replayer || !number(word, &to))
		return -EINVAL;
	if (travel_to(&d->travel, to) == TRAVEL_OVER)
		fprintf(out, "%s\n", d->travel.vm->end.reason);
	else
		fprintf(out, "position %" PRIu64 "; now: maintenance flush register-cache\n", d->travel.here.position);
	return 0;
}

static void show_entry(FILE *out, int level, uint64_t gpte, uint64_t spte)
{
	static const char *const names[] = {"", "PTE", "PDE", "PDPTE", "PML4E"};

	fprintf(out, "%-5s  guest %016" PRIx64 "  shadow ", names[level], gpte);
	if (spte & PTE_P)
		fprintf(out, "%016" PRIx64 "\n", spte);
	else
		fprintf(out, "not there\n");
}

static int walk(struct debugger *d, const char *word, FILE *out)
{
	struct vm *vm = d->travel.vm;
	const struct cpu_state *cs = vm->mmu->debug->registers(vm);
	uint64_t spte[WALK_LEVELS + 1] = {0}, gva;
	struct walk w = {0};

	if (!number(word, &gva))
		return -EINVAL;
	walk_guest(&vm->mem, cs, gva, MMU_READ, &w);
	vm->mmu->debug->shadow_walk(vm, gva, spte);
	for (int level = WALK_LEVELS; level >= w.level && level; level--)
		show_entry(out, level, w.gpte[level], spte[level]);
	if (w.fault)
		fprintf(out, "page fault, error code %" PRIu32 "\n", w.error);
	else
		fprintf(out, "gpa %" PRIx64 "\n", w.gpa);
	return 0;
}

static int timeline(struct debugger *d, const char *word, FILE *out)
{
	struct timeline_counts c;

	if (!d->replayer)
		return -EINVAL;
	timeline_count(d->travel.timeline, &c);
	fprintf(out, "%" PRIu64 " checkpoints, %" PRIu64 " KiB; %" PRIu64 " taken, %" PRIu64 " dropped; gone to %" PRIu64 " times\n", c.count,
		c.bytes / 1024, c.taken, c.dropped, c.gone);
	return 0;
}

static int help(struct debugger *d, const char *word, FILE *out);

static const struct {
	const char *name, *what;
	int (*run)(struct debugger *d, const char *word, FILE *out);
} commands[] = {
	{"position", "where the guest stands: accesses that it has made, and what it did since", position},
	{"events", "what happened last, and what comes next to the guest (replay)", events},
	{"goto", "POSITION: go there, back or on (replay)", go},
	{"walk", "ADDRESS: its entries in the guest's page tables and in the shadow's", walk},
	{"timeline", "checkpoints in memory (replay)", timeline},
	{"help", "this list", help},
};

#define COMMANDS (sizeof(commands) / sizeof(*commands))

static int help(struct debugger *d, const char *word, FILE *out)
{
	for (size_t i = 0; i < COMMANDS; i++)
		fprintf(out, "monitor %-9s %s\n", commands[i].name, commands[i].what);
	return 0;
}

int debug_monitor(struct debugger *d, const char *command, FILE *out)
{
	for (size_t i = 0; i < COMMANDS; i++) {
		size_t length = strlen(commands[i].name);
		const char *rest = command + length;

		if (!strncmp(command, commands[i].name, length) && (!*rest || *rest == ' '))
			return commands[i].run(d, rest + strspn(rest, " "), out);
	}
	return -EINVAL;
}
