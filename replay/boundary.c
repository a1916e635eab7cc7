#include "replay/boundary.h"

#include <string.h>
#include <xxhash.h>

#include "vmm/vm.h"

#define PREFIXES_MOST 14u /* an instruction has at most 15 bytes (SDM vol. 2, 2.3.11) */
#define RFLAGS_DF (1ull << 10)

static bool is_prefix(uint8_t byte)
{
	static const uint8_t legacy[] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3};

	return (byte & 0xf0) == 0x40 || memchr(legacy, byte, sizeof(legacy));
}

static bool is_string(uint8_t opcode)
{
	return (opcode >= 0x6c && opcode <= 0x6f) || (opcode >= 0xa4 && opcode <= 0xaf && opcode != 0xa8 && opcode != 0xa9);
}

static bool fetch(struct vm *vm, uint64_t gva, uint8_t *byte)
{
	uint64_t gpa;

	return vm->mmu->translate(&vm->vcpu, gva, MMU_EXEC, &gpa) == 0 && mem_read(&vm->mem, gpa, byte, 1) == 0;
}

/*
 * How many elements of a repeated string instruction go in one exit is up to the mode and the host, so nothing may happen between them. One
 * that has not begun looks the same, and is waited for, too. Returns its bytes, 0 = there is another instruction.
 */
static unsigned int repeated_string(struct vm *vm, uint64_t rip)
{
	bool repeated = false;
	uint8_t byte;

	for (unsigned int i = 0; i <= PREFIXES_MOST && fetch(vm, rip + i, &byte); i++) {
		if (!is_prefix(byte))
			return repeated && is_string(byte) ? i + 1 : 0;
		repeated |= byte == 0xf2 || byte == 0xf3;
	}
	return 0;
}

/* Behind its last element the CPU may stand on the instruction still, with nothing left to be done, or past it. */
static void pass_string(struct vm *vm, struct boundary *b)
{
	unsigned int bytes = repeated_string(vm, b->cpu.rip);

	b->in_string = bytes;
	b->rip = b->cpu.rip + (b->cpu.gpr[CPU_RCX] ? 0 : bytes);
}

int boundary_stand(struct vm *vm, struct boundary *b)
{
	int r = vm_settle(vm, &b->cpu);

	b->open = b->in_string = false;
	if (r < 0 || vm_ended(vm))
		return r;
	b->open = vm->mmu->interruptible(&vm->vcpu);
	pass_string(vm, b);
	return 0;
}

const char *const boundary_register_names[BOUNDARY_REGISTERS] = {
	"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8",  "r9",
	"r10", "r11", "r12", "r13", "r14", "r15", "rip", "cr3", "rflags (of which IF and DF)",
};

static void take_registers(const struct cpu_state *cs, uint64_t registers[BOUNDARY_REGISTERS])
{
	memcpy(registers, cs->gpr, sizeof(cs->gpr));
	registers[CPU_GPR_COUNT] = cs->rip;
	registers[CPU_GPR_COUNT + 1] = cs->cr3;
	registers[CPU_GPR_COUNT + 2] = cs->rflags & (RFLAGS_IF | RFLAGS_DF);
}

void boundary_registers(const struct boundary *b, uint64_t registers[BOUNDARY_REGISTERS])
{
	take_registers(&b->cpu, registers);
	registers[CPU_GPR_COUNT] = b->rip;
}

uint32_t boundary_check(const struct boundary *b)
{
	uint64_t registers[BOUNDARY_REGISTERS];

	boundary_registers(b, registers);
	return (uint32_t)XXH3_64bits(registers, sizeof(registers));
}

bool boundary_is_same(const struct cpu_state *a, const struct cpu_state *b)
{
	uint64_t in_a[BOUNDARY_REGISTERS], in_b[BOUNDARY_REGISTERS];

	take_registers(a, in_a);
	take_registers(b, in_b);
	return !memcmp(in_a, in_b, sizeof(in_a));
}
