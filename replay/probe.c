#include "replay/probe.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "replay/state_digest.h"
#include "snapshot/write_all.h"
#include "vmm/log.h"
#include "vmm/vm.h"

static bool is_wanted(const struct probe *p, uint64_t position)
{
	return (p->count < PROBE_SAMPLES && position >= p->from) || (!p->dumped && position >= p->dump_at);
}

static void take_sample(struct probe *p, uint64_t position, const struct boundary *b, const struct state_digest *s)
{
	p->sample[p->count++] = (struct probe_sample){position, s->ram, boundary_check(b)};
	p->from = position + p->step;
}

static int dump_ram(const struct probe *p, const struct state_digest *s)
{
	int r = 0;

	for (uint64_t i = 0; i < state_digest_pages(s) && r == 0; i++)
		if (s->page[i])
			r = write_all(p->ram_fd, mem_page_hva(s->mem, i), PAGE_SIZE, mem_page_gpa(s->mem, i));
	return r < 0 ? log_errno(-r, "bisect: contents of RAM") : 0;
}

static int dump(struct probe *p, uint64_t position, const struct boundary *b, const struct state_digest *s, const struct passed_ring *passed)
{
	const struct passed *last = passed->count ? &passed->last[(passed->count - 1) % DIVERGENCE_LAST] : NULL;

	boundary_registers(b, p->registers);
	p->dumped_at = position;
	p->dumped = true;
	p->has_access = last && !last->is_event && last->position == position;
	if (p->has_access)
		p->access = last->access;
	return dump_ram(p, s);
}

int probe_look(struct probe *p, struct vm *vm, struct boundary *b, struct state_digest *s, const struct passed_ring *passed)
{
	uint64_t position = vm->vcpu.port.position;
	int r;

	if (!is_wanted(p, position))
		return 0;
	r = boundary_stand(vm, b);
	if (r < 0 || vm_ended(vm) || vm->vcpu.port.position != position || b->in_string)
		return r;
	r = state_digest_take(s);
	if (r == 0 && p->count < PROBE_SAMPLES && position >= p->from)
		take_sample(p, position, b, s);
	if (r == 0 && !p->dumped && position >= p->dump_at)
		r = dump(p, position, b, s, passed);
	return r;
}

void probe_end(struct probe *p, const struct vm *vm, const struct divergence *d)
{
	p->ended = true;
	p->end = vm->end.kind;
	p->end_position = vm->vcpu.port.position;
	memcpy(p->reason, vm->end.reason, sizeof(p->reason));
	p->divergence = *d;
}
