#include "tests/vm/assembled.h"

#include <check.h>
#include <string.h>

#include "guest/abi.h"
#include "vmm/run.h"
#include "vmm/walk.h"

#define PML4 0x601000ull
#define PDPT 0x602000ull
#define PD 0x603000ull
#define IDT 0x604000ull
#define TSS 0x605000ull
#define HANDLERS 0x606000ull
#define HANDLER_BYTES 16u
#define LARGE_PAGES 8u /* 16 MiB */

#define CODE64 0x00af9b000000ffffull
#define DATA 0x00cf93000000ffffull
#define USER_CODE64 0x00affb000000ffffull
#define USER_DATA 0x00cff3000000ffffull
#define TSS_LIMIT 103u

uint64_t assembled_peek(struct assembled *a, uint64_t gpa)
{
	uint64_t value;

	ck_assert_int_eq(mem_read(&a->vm.mem, gpa, &value, sizeof(value)), 0);
	return value;
}

void assembled_poke(struct assembled *a, uint64_t gpa, uint64_t value)
{
	ck_assert_int_eq(mem_write(&a->vm.mem, gpa, &value, sizeof(value)), 0);
}

/* mov $code, %al; mov $ABI_PORT_EXIT, %dx; out %al, %dx */
static void put_end(struct assembled *a, uint64_t gpa, uint8_t code)
{
	const uint8_t bytes[] = {0xb0, code, 0x66, 0xba, ABI_PORT_EXIT & 0xff, ABI_PORT_EXIT >> 8, 0xee, 0xf4};

	ck_assert_int_eq(mem_write(&a->vm.mem, gpa, bytes, sizeof(bytes)), 0);
}

void assembled_code(struct assembled *a, const uint8_t *code, size_t size)
{
	ck_assert_int_eq(mem_write(&a->vm.mem, ASSEMBLED_CODE, code, size), 0);
	put_end(a, ASSEMBLED_CODE + size, ASSEMBLED_DONE);
}

void assembled_descriptor(struct assembled *a, uint16_t selector, uint64_t raw)
{
	assembled_poke(a, ASSEMBLED_GDT + (selector & ~7u), raw);
}

static void write_paging(struct assembled *a)
{
	assembled_poke(a, PML4, PDPT | PTE_P | PTE_W | PTE_U | PTE_A);
	assembled_poke(a, PDPT, PD | PTE_P | PTE_W | PTE_U | PTE_A);
	for (uint64_t i = 0; i < LARGE_PAGES; i++)
		assembled_poke(a, PD + 8 * i, i << 21 | PTE_P | PTE_W | PTE_U | PTE_A | PTE_D | PTE_PS);
}

static void write_tables(struct assembled *a)
{
	assembled_descriptor(a, SELECTOR_CODE, CODE64);
	assembled_descriptor(a, SELECTOR_DATA, DATA);
	assembled_descriptor(a, SELECTOR_USER_DATA, USER_DATA);
	assembled_descriptor(a, SELECTOR_USER_CODE, USER_CODE64);
	assembled_descriptor(a, SELECTOR_TSS, 0x00008b0000000000ull | TSS << 16 | TSS_LIMIT);
	assembled_poke(a, TSS + 4, ASSEMBLED_HANDLER_STACK);
	for (uint64_t v = 0; v < 256; v++) {
		uint64_t to = HANDLERS + v * HANDLER_BYTES;

		assembled_poke(a, IDT + 16 * v, (to & 0xffff) | SELECTOR_CODE << 16 | 0xeeull << 40 | to >> 16 << 48);
		put_end(a, to, (uint8_t)v);
	}
}

static struct cpu_segment data_segment(uint16_t selector)
{
	unsigned int dpl = selector & 3;

	return (struct cpu_segment){.selector = selector, .limit = UINT32_MAX,
				    .attributes = (uint16_t)(0xc93 | dpl << CPU_SEGMENT_DPL_SHIFT)};
}

static void open_guest(struct assembled *a)
{
	struct cpu_state *cs = &a->cs;

	ck_assert_int_eq(vm_create(&a->vm, &a->guest.config), 0);
	write_paging(a);
	write_tables(a);
	ck_assert_int_eq(a->vm.mmu->export_state(&a->vm.vcpu, cs), 0);
	cs->rip = ASSEMBLED_CODE;
	cs->gpr[CPU_RSP] = ASSEMBLED_STACK;
	cs->cr3 = PML4;
	cs->gdt = (struct cpu_table){.base = ASSEMBLED_GDT, .limit = ASSEMBLED_GDT_LIMIT};
	cs->idt = (struct cpu_table){.base = IDT, .limit = 0xfff};
	cs->segment[CPU_TR] = (struct cpu_segment){.selector = SELECTOR_TSS, .base = TSS, .limit = TSS_LIMIT, .attributes = 0x8b};
	for (unsigned int i = CPU_ES; i <= CPU_GS; i++)
		if (i != CPU_CS)
			cs->segment[i] = data_segment(SELECTOR_DATA);
}

void assembled_open(struct assembled *a, const struct kvm *kvm)
{
	inside_guest_open(&a->guest, kvm, "hello");
	open_guest(a);
}

void assembled_open_in(struct assembled *a, const struct kvm *kvm, const struct mmu_ops *mmu)
{
	inside_guest_open(&a->guest, kvm, "hello");
	a->guest.config.mmu = mmu;
	open_guest(a);
}

void assembled_user(struct assembled *a)
{
	for (unsigned int i = CPU_ES; i <= CPU_GS; i++)
		a->cs.segment[i] = data_segment(SELECTOR_USER_DATA);
	a->cs.segment[CPU_CS].selector = SELECTOR_USER_CODE;
	a->cs.segment[CPU_CS].attributes = 0xafb;
	a->cs.segment[CPU_CS].limit = UINT32_MAX;
}

void assembled_run(struct assembled *a)
{
	ck_assert_int_eq(a->vm.mmu->import_state(&a->vm.vcpu, &a->cs), 0);
	run_vm(&a->vm);
	vcpu_close_mailbox(&a->vm.vcpu);
	ck_assert_int_eq(a->vm.mmu->export_state(&a->vm.vcpu, &a->cs), 0);
}

void assembled_close(struct assembled *a)
{
	vm_destroy(&a->vm);
	inside_guest_close(&a->guest);
}
