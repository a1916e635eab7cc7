/*
 * An instruction that needs a page which does not come: as data, stack, code, table or descriptor, of either ring. The VM ends
 * as the host's failure, and nothing that the instruction did with a zero in the page's place is seen: no access counts.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "guest/abi.h"
#include "tests/vm/assembled.h"
#include "tests/vm/suite.h"
#include "vmm/pager.h"
#include "vmm/run.h"

#define PAGE 0xa00000ull
#define DEADLINE_MS 200u
#define TABLE 0x603000ull
#define IDT 0x604000ull

#define CODE(...) {__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__})

static const struct trial {
	const char *what;
	uint64_t absent;
	uint8_t code[24];
	size_t size;
	bool user;
} trials[] = {
	/* mov $0x3f8, %dx; mov $PAGE, %esi; mov $8, %ecx; rep outsb */
	{"bytes for a port", PAGE, CODE(0x66, 0xba, 0xf8, 0x03, 0xbe, 0, 0, 0xa0, 0, 0xb9, 8, 0, 0, 0, 0xf3, 0x6e), false},
	/* mov PAGE, %al; out %al, $0x80 */
	{"a byte", PAGE, CODE(0x8a, 0x04, 0x25, 0, 0, 0xa0, 0, 0xe6, 0x80), false},
	/* movb $1, PAGE; out %al, $0x80 */
	{"a place for a byte", PAGE, CODE(0xc6, 0x04, 0x25, 0, 0, 0xa0, 0, 1, 0xe6, 0x80), false},
	/* mov $PAGE + 0x800, %esp; ret */
	{"a stack", PAGE, CODE(0xbc, 0, 0x08, 0xa0, 0, 0xc3), false},
	/* mov $PAGE, %eax; jmp *%rax */
	{"code", PAGE, CODE(0xb8, 0, 0, 0xa0, 0, 0xff, 0xe0), false},
	/* mov PAGE, %al; out %al, $0x80 */
	{"a page table", TABLE, CODE(0x8a, 0x04, 0x25, 0, 0, 0xa0, 0, 0xe6, 0x80), false},
	/* ud2 */
	{"a gate", IDT, CODE(0x0f, 0x0b), false},
	/* mov $SELECTOR_DATA, %ax; mov %ax, %es */
	{"a descriptor", ASSEMBLED_GDT, CODE(0x66, 0xb8, SELECTOR_DATA, 0, 0x8e, 0xc0), false},
	/* mov PAGE, %al; mov %al, PAGE */
	{"a byte of ring 3", PAGE, CODE(0x8a, 0x04, 0x25, 0, 0, 0xa0, 0, 0x88, 0x04, 0x25, 0, 0, 0xa0, 0), true},
	/* mov $PAGE, %eax; jmp *%rax */
	{"code of ring 3", PAGE, CODE(0xb8, 0, 0, 0xa0, 0, 0xff, 0xe0), true},
	/* ud2 */
	{"a gate for ring 3", IDT, CODE(0x0f, 0x0b), true},
};

#define TRIALS ((int)(sizeof(trials) / sizeof(*trials)))

static struct {
	struct pager pager;
	uint8_t page[PAGE_SIZE];
	bool fails;
	unsigned int ms, calls;
} has;

static int fetch(struct pager *p, uint64_t gpa, unsigned int pages, void *buffer, const void **bytes)
{
	has.calls++;
	*bytes = has.page;
	usleep(has.ms * 1000);
	return has.fails ? -EIO : 1;
}

/* Code that ends the guest, and an address to return to, where there is more of that. */
static void fill_page(struct assembled *a, const struct trial *t)
{
	static const uint8_t code[] = {0xb0, 1, 0x66, 0xba, ABI_PORT_EXIT & 0xff, ABI_PORT_EXIT >> 8, 0xee};

	ck_assert_int_eq(mem_write(&a->vm.mem, PAGE, code, sizeof(code)), 0);
	assembled_poke(a, PAGE + 0x800, ASSEMBLED_CODE + t->size);
}

/* Runs it with the page absent from its first instruction on. */
static struct vm_end run_trial(const struct trial *t, const struct kvm *kvm, uint64_t *position)
{
	static struct assembled a;
	struct vm_end end;

	assembled_open(&a, kvm);
	assembled_code(&a, t->code, t->size);
	fill_page(&a, t);
	if (t->user)
		assembled_user(&a);
	ck_assert_int_eq(a.vm.mmu->import_state(&a.vm.vcpu, &a.cs), 0);
	has.pager = (struct pager){.name = "the test's pager", .ahead = 1, .fetch = fetch};
	has.calls = 0;
	memcpy(has.page, mem_at(&a.vm.mem, t->absent, PAGE_SIZE, MEM_READ), PAGE_SIZE);
	a.vm.userfault.deadline_ms = DEADLINE_MS;
	ck_assert_int_eq(userfault_absent(&a.vm.userfault, &has.pager, t->absent, PAGE_SIZE), 0);
	run_vm(&a.vm);
	end = a.vm.end;
	*position = a.vm.vcpu.port.position;
	assembled_close(&a);
	return end;
}

static void lose(const struct trial *t, const struct kvm *kvm, const char *why)
{
	uint64_t position;
	struct vm_end end = run_trial(t, kvm, &position);

	ck_assert_msg(end.kind == VM_HOST_FAILED && !end.said && strstr(end.reason, why),
		      "%s: %s, and not%s%s", t->what, end.reason, why, end.said ? ", and said" : "");
	ck_assert_msg(position == 0, "%s: %lu accesses", t->what, position);
}

START_TEST(test_lost)
{
	const struct trial *t = &trials[_i];
	struct vm_end end;
	uint64_t position;
	struct kvm kvm;

	inside_open(&kvm);
	end = run_trial(t, &kvm, &position);
	ck_assert_msg(end.kind == VM_EXITED, "%s: %s", t->what, end.reason);
	ck_assert_msg(has.calls == 1 && position > 0, "%s: the page was not needed", t->what);
	has.fails = true;
	lose(t, &kvm, " is lost: the test's pager: Input/output error");
	has.ms = 10 * DEADLINE_MS;
	lose(t, &kvm, " was not there within 200 ms");
	kvm_close(&kvm);
}
END_TEST

int main(void)
{
	return run_loop_test("lost", test_lost, TRIALS);
}
