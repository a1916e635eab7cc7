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
 * that has not begun looks the same, and is waited for, too.
 */
static bool at_repeated_string(struct vm *vm, uint64_t rip)
{
	bool repeated = false;
	uint8_t byte;

	for (unsigned int i = 0; i <= PREFIXES_MOST && fetch(vm, rip + i, &byte); i++) {
		if (!is_prefix(byte))
			return repeated && is_string(byte);
		repeated |= byte == 0xf2 || byte == 0xf3;
	}
	return false;
}

int boundary_stand(struct vm *vm, struct boundary *b)
{
	int r = vm_settle(vm, &b->cpu);

	b->open = r == 0 && !vm_ended(vm) && vm->mmu->interruptible(&vm->vcpu);
	b->in_string = r == 0 && !vm_ended(vm) && at_repeated_string(vm, b->cpu.rip);
	return r;
}

const char *const boundary_register_names[BOUNDARY_REGISTERS] = {
	"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8",  "r9",
	"r10", "r11", "r12", "r13", "r14", "r15", "rip", "cr3", "rflags (of which IF and DF)",
};

void boundary_registers(const struct cpu_state *cs, uint64_t registers[BOUNDARY_REGISTERS])
{
	memcpy(registers, cs->gpr, sizeof(cs->gpr));
	registers[CPU_GPR_COUNT] = cs->rip;
	registers[CPU_GPR_COUNT + 1] = cs->cr3;
	registers[CPU_GPR_COUNT + 2] = cs->rflags & (RFLAGS_IF | RFLAGS_DF);
}

uint32_t boundary_check_of(const struct cpu_state *cs)
{
	uint64_t registers[BOUNDARY_REGISTERS];

	boundary_registers(cs, registers);
	return (uint32_t)XXH3_64bits(registers, sizeof(registers));
}

uint32_t boundary_check(const struct boundary *b)
{
	return boundary_check_of(&b->cpu);
}
