#include "tests/unit/shadow_execute.h"

#include <string.h>

#include "vmm/ensure.h"

static struct execute *of(struct privileged *p)
{
	return (struct execute *)((char *)p - offsetof(struct execute, p));
}

uint64_t execute_port_value(uint64_t port, unsigned int n, unsigned int size)
{
	return (0x1122334455667788 ^ port * 0x0101 ^ n * 0x01010101) & ((1ull << 8 * size) - 1);
}

static bool port(struct privileged *p, struct access *a)
{
	struct execute *e = of(p);

	if (a->kind == ACCESS_PORT_READ)
		a->value = execute_port_value(a->addr, e->ports, a->size);
	if (e->ports < GUEST_LOG)
		e->port[e->ports] = *a;
	return ++e->ports != e->end_at;
}

static bool read_tsc(struct privileged *p, uint64_t *value)
{
	*value = of(p)->tsc;
	return true;
}

static bool write_tsc(struct privileged *p, uint64_t value)
{
	of(p)->tsc = value;
	return true;
}

void execute_start(struct execute *e, unsigned int cpl)
{
	memset(e, 0, sizeof(*e));
	kernel_create(&e->guest);
	kernel_enter(&e->guest, cpl);
	e->p = (struct privileged){.g = &e->guest.gmem, .iterations = 100, .port = port, .read_tsc = read_tsc,
				   .write_tsc = write_tsc,
				   .cr4_allowed = CR4_TSD | CR4_DE | CR4_PSE | CR4_PAE | CR4_PGE | CR4_OSFXSR |
						  CR4_OSXMMEXCPT | CR4_UMIP | CR4_SMEP};
}

void execute_end(struct execute *e)
{
	guest_destroy(&e->guest);
}

enum insn_result execute_bytes(struct execute *e, const uint8_t *bytes, unsigned int size)
{
	struct insn in;

	kernel_poke(&e->guest, e->guest.cs.rip, bytes, size);
	ensure(insn_fetch(&e->guest.gmem, &in, &e->trap) == INSN_DONE);
	ensure(in.info.length == size);
	return privileged_execute(&e->p, &in, &e->trap);
}

void execute_put_frame(struct execute *e, uint64_t rip, uint16_t cs, uint64_t rsp, uint16_t ss)
{
	const uint64_t words[] = {rip, cs, RFLAGS_ONE, rsp, ss};

	for (unsigned int i = 0; i < 5; i++)
		kernel_poke64(&e->guest, e->guest.cs.gpr[CPU_RSP] + i * 8, words[i]);
}
