/*
 * An interrupt waits while the guest stands behind STI, as a kick may find it. The instruction that STI covers comes first, always: if
 * it is HLT the interrupt ends it, and does not come before it, after which nothing would.
 */
#include "ept/ept.h"
#include "guest/abi.h"
#include "tests/vm/assembled.h"
#include "tests/vm/modes.h"
#include "tests/vm/suite.h"

#define PIC_COMMAND 0x20
#define PIC_DATA 0x21
#define VECTOR 0x40
#define ROUNDS 20

static void write_port(struct vm *vm, uint16_t port, uint8_t value)
{
	bus_access(&vm->bus, &(struct access){.kind = ACCESS_PORT_WRITE, .addr = port, .size = 1, .value = value});
}

/* ICW1 to 4 and OCW1 of the master (Intel 8259A data sheet, figures 7 and 8): vectors from 0x40, input 0 open. */
static void raise_interrupt(struct vm *vm)
{
	write_port(vm, PIC_COMMAND, 0x11);
	write_port(vm, PIC_DATA, VECTOR);
	write_port(vm, PIC_DATA, 4);
	write_port(vm, PIC_DATA, 1);
	write_port(vm, PIC_DATA, 0xfe);
	pic_set_irq(&vm->pic, 0, true);
}

static void run_covered(const struct kvm *kvm, const uint8_t *code, size_t size)
{
	struct assembled a;

	assembled_open(&a, kvm);
	assembled_code(&a, code, size);
	a.cs.rflags |= RFLAGS_IF;
	a.cs.interrupt_shadow = true;
	raise_interrupt(&a.vm);
	assembled_run(&a);
	ck_assert_msg(a.vm.end.kind == VM_EXITED && a.vm.end.code == VECTOR, "%s", a.vm.end.reason);
	ck_assert_uint_gt(assembled_peek(&a, ASSEMBLED_STACK - 40), ASSEMBLED_CODE);
	assembled_close(&a);
}

START_TEST(test_covered)
{
	static const uint8_t hlt[] = {0xf4};
	static const uint8_t jumps[] = {0xeb, 0x00, 0xeb, 0xfe}; /* jmp to the next, which is: jmp to itself */
	struct kvm kvm;

	inside_open(&kvm);
	for (unsigned int i = 0; i < ROUNDS; i++) {
		run_covered(&kvm, hlt, sizeof(hlt));
		run_covered(&kvm, jumps, sizeof(jumps));
	}
	kvm_close(&kvm);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {test_covered};

	return RUN_TESTS("interrupt_shadow", tests);
}
