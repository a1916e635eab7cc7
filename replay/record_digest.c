#include "replay/record_digest.h"

#include <string.h>

#include "snapshot/host_time.h"
#include "vmm/vm.h"

#define EVERY_NS 250000000u
#define SHARE 200u	    /* one part of so many of the time may be spent on it */
#define EVENTS 128u	    /* so many bytes of them there can be that a few hundred do not count */
#define EVENTS_A_ROW 4u
#define REFAULT_NS 2500u    /* that a guest loses when it writes again to a page that was looked at: measured */
#define PUT_OFF_NS 1000000u

_Static_assert(BOUNDARY_REGISTERS == EVENT_DIGEST_REGISTERS, "as documented");

void record_digest_begin(struct record_digest *r, struct vm *vm)
{
	state_digest_init(&r->state, &vm->mem, &vm->dirty);
	r->not_before_ns = host_ns() + EVERY_NS;
	r->from = vm->vcpu.port.position;
}

bool record_digest_is_due(const struct record_digest *r, uint64_t now)
{
	return now - r->from >= EVENTS && host_ns() >= r->not_before_ns;
}

void record_digest_put_off(struct record_digest *r)
{
	r->not_before_ns = host_ns() + PUT_OFF_NS;
}

/* The log of a guest that does little may not become much longer by it. */
static unsigned int rows_for(uint64_t events)
{
	uint64_t rows = events / EVENTS_A_ROW + 1;

	return rows < EVENT_DIGEST_ROWS_MOST ? (unsigned int)rows : EVENT_DIGEST_ROWS_MOST;
}

static int take_ram(struct record_digest *r, const struct program *p, const struct mmu_ops *mmu, struct event *e, uint64_t events)
{
	int err = state_digest_take(&r->state);

	if (err < 0)
		return err;
	paging_name(r->paging, p, mmu);
	e->digest.size = (uint8_t)strlen(r->paging);
	e->digest.paging = r->paging;
	e->digest.ram = r->state.ram;
	e->digest.rows = (uint8_t)state_digest_rows(&r->state, r->rows, rows_for(events));
	e->digest.row_bytes = r->rows;
	return 0;
}

int record_digest_take(struct record_digest *r, const struct program *p, const struct mmu_ops *mmu, const struct boundary *at,
		       struct event *e, uint64_t now)
{
	uint64_t start = host_ns(), cost;
	int err = 0;

	*e = (struct event){.kind = EVENT_DIGEST};
	if (at) {
		boundary_registers(at, r->registers);
		e->digest.registers = BOUNDARY_REGISTERS;
		e->digest.register_bytes = r->registers;
	}
	if (mmu && state_digest_can(&r->state))
		err = take_ram(r, p, mmu, e, now - r->from);
	cost = SHARE * (host_ns() - start + r->state.looked_at * REFAULT_NS);
	r->not_before_ns = host_ns() + (cost > EVERY_NS ? cost : EVERY_NS);
	r->from = now;
	return err;
}
