#include "compare/host_facts.h"

#include <stdio.h>
#include <string.h>

#include "compare/amount.h"
#include "compare/label.h"
#include "compare/versus.h"

#define WHAT_ROOM 512

typedef void fact_fn(void *arg, const char *name, const char *what);

static bool same_host(const struct column *a, const struct column *b)
{
	return column_same_machine(a, b) && !strcmp(a->host_mmu, b->host_mmu) && !strcmp(a->host_words, b->host_words) &&
	       !strcmp(a->clocksource, b->clocksource) && a->tlb_reach == b->tlb_reach;
}

bool host_facts_first(const struct comparison *c, unsigned int column)
{
	for (unsigned int i = 0; i < column; i++)
		if (same_host(&c->column[i], &c->column[column]))
			return false;
	return true;
}

char *host_facts_columns(char *out, const struct comparison *c, unsigned int column)
{
	size_t used = (size_t)snprintf(out, LABEL_ROOM, "Host of");
	const char *separator = " ";
	char name[LABEL_ROOM];

	for (unsigned int i = column; i < c->columns && used < LABEL_ROOM; i++) {
		if (!same_host(&c->column[i], &c->column[column]))
			continue;
		used += (size_t)snprintf(out + used, LABEL_ROOM - used, "%s%s", separator, label(name, c->column[i].name));
		separator = ", ";
	}
	return out;
}

static void describe_page(char *out, const struct column *c)
{
	char size[AMOUNT_ROOM];

	snprintf(out, WHAT_ROOM, "%s", amount_bytes(size, c->host_page));
}

static void describe_floors(char *out, const struct column *c)
{
	char bare[AMOUNT_ROOM], step[AMOUNT_ROOM];

	snprintf(out, WHAT_ROOM, "a bare exit to the program and back %s, a step of the computing loop without a guest %s",
		 c->bare_exit_us > 0 ? amount_time(bare, c->bare_exit_us) : "not measured",
		 c->bare_loop_ns > 0 ? amount_time(step, c->bare_loop_ns / 1e3) : "not measured");
}

/* Once if it is the same for all columns of the host, otherwise once for each. */
static void per_column(const struct comparison *c, unsigned int column, const char *name,
		       void (*describe)(char *out, const struct column *c), fact_fn *fact, void *arg)
{
	char first[WHAT_ROOM], what[WHAT_ROOM], of[LABEL_ROOM], text[WHAT_ROOM + LABEL_ROOM];
	bool same = true;

	describe(first, &c->column[column]);
	for (unsigned int i = column + 1; i < c->columns; i++) {
		describe(what, &c->column[i]);
		same &= !same_host(&c->column[i], &c->column[column]) || !strcmp(first, what);
	}
	if (same) {
		fact(arg, name, first);
		return;
	}
	for (unsigned int i = column; i < c->columns; i++) {
		if (!same_host(&c->column[i], &c->column[column]))
			continue;
		describe(what, &c->column[i]);
		snprintf(text, sizeof(text), "%s: %s", label(of, c->column[i].name), what);
		fact(arg, i == column ? name : "", text);
	}
}

void host_facts(const struct comparison *c, unsigned int column, fact_fn *fact, void *arg)
{
	const struct column *h = &c->column[column];
	char one[LABEL_ROOM], other[LABEL_ROOM], size[AMOUNT_ROOM], text[3 * LABEL_ROOM];

	snprintf(text, sizeof(text), "%s: %s", label(one, h->host_mmu), label(other, h->host_words));
	fact(arg, "KVM", text);
	snprintf(text, sizeof(text), "%s%s", label(one, h->cpu), h->emulated ? " (emulated)" : "");
	fact(arg, "processor", text);
	fact(arg, "kernel", label(one, h->kernel));
	fact(arg, "clock", label(one, h->clocksource));
	per_column(c, column, "host pages", describe_page, fact, arg);
	snprintf(text, sizeof(text), "reaches %s with pages of 4 KiB", amount_bytes(size, h->tlb_reach));
	fact(arg, "TLB", text);
	per_column(c, column, "floors", describe_floors, fact, arg);
}
