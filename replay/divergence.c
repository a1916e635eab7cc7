#include "replay/divergence.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "replay/chance.h"
#include "replay/show_access.h"
#include "snapshot/reason.h"
#include "vmm/log.h"
#include "vmm/program.h"
#include "vmm/vm.h"

static struct passed *next(struct passed_ring *p)
{
	return &p->last[p->count++ % DIVERGENCE_LAST];
}

void passed_access(struct passed_ring *p, uint64_t position, const struct access *a)
{
	*next(p) = (struct passed){.position = position, .access = *a};
}

void passed_event(struct passed_ring *p, const struct event *e)
{
	*next(p) = (struct passed){.position = e->position, .is_event = true, .event = *e};
}

const char *divergence_event(char text[DIVERGENCE_TEXT_ROOM], const struct event *e)
{
	static const char *const words[EVENT_KINDS] = {
		[EVENT_EXTERNAL] = "bytes from outside",
		[EVENT_CLOCK] = "ns by which the clock moves on",
		[EVENT_INTERRUPT] = "is the interrupt",
		[EVENT_CHECKS] = "checks",
		[EVENT_PAGE] = "is the page of an asynchronous point",
		[EVENT_STATE] = "bytes of an asynchronous point",
		[EVENT_END] = "is the code of the guest's end",
		[EVENT_DIGEST] = "parts of a digest",
	};
	const uint64_t numbers[EVENT_KINDS] = {
		[EVENT_EXTERNAL] = e->external.size, [EVENT_CLOCK] = e->ns, [EVENT_INTERRUPT] = e->interrupt.vector,
		[EVENT_CHECKS] = e->checks.count, [EVENT_PAGE] = e->packed.page, [EVENT_STATE] = e->packed.size,
		[EVENT_END] = e->end.code, [EVENT_DIGEST] = e->digest.rows,
	};

	snprintf(text, DIVERGENCE_TEXT_ROOM, "%" PRIu64 " %s", numbers[e->kind], words[e->kind]);
	return text;
}

static void say_passed(const struct passed *p)
{
	char access[SHOW_ACCESS_ROOM], event[DIVERGENCE_TEXT_ROOM];

	log_print(LOG_WARN, "as it was: position %" PRIu64 ": %s", p->position,
		  p->is_event ? divergence_event(event, &p->event) : show_access(access, &p->access));
}

/* Where nothing better is known than the kind. */
static const char *const causes[DIVERGED_KINDS] = {
	[DIVERGED_ACCESS] = "the guest or a device was in another state before, which no digest covers",
	[DIVERGED_ARRIVAL] = "the guest was somewhere else before, which no access shows",
	[DIVERGED_REGISTERS] = "something came to the guest by no access",
	[DIVERGED_RAM] = "something came to the guest by no access",
	[DIVERGED_END] = "the guest was in another state before, which no digest covers",
};

const char *divergence_cause(char *text, enum divergence_kind kind, const struct program *p, const struct vm *vm)
{
	struct reason chance = {.text = ""};

	if (chance_find(vm->image, p->host_ring0_interpreted, &chance) == -EPERM)
		snprintf(text, sizeof(chance.text), "%s", chance.text);
	else
		snprintf(text, sizeof(chance.text), "%s; the image has no instruction that is known to do so, which leaves code that the "
			 "guest made itself, a log that was changed, another version of this program, or a bug of it", causes[kind]);
	return text;
}

void divergence_say(const struct divergence *d, const struct passed_ring *before, const struct program *p, const struct vm *vm)
{
	char cause[512];

	for (uint64_t i = before->count > DIVERGENCE_LAST ? before->count - DIVERGENCE_LAST : 0; i < before->count; i++)
		if (before->last[i % DIVERGENCE_LAST].position <= d->position)
			say_passed(&before->last[i % DIVERGENCE_LAST]);
	if (d->right != UINT64_MAX)
		log_print(LOG_WARN, "registers, and RAM where it can be compared, were last as recorded at position %" PRIu64, d->right);
	if (*d->expected)
		log_print(LOG_WARN, "expected: %s", d->expected);
	if (*d->found)
		log_print(LOG_WARN, "found: %s", d->found);
	log_print(LOG_WARN, "likely cause: %s", divergence_cause(cause, d->kind, p, vm));
}
