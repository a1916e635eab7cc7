#include "guest/images/badtables_common.h"

#include "guest/images/badtables_descriptors.h"
#include "guest/kernel/layout.h"
#include "guest/lib/string.h"

#define TAG_PAGES 24u
#define TABLE_GVA (BAD_TEST | SLOT(3, 6))

const char *delivery_ring(unsigned int user)
{
	return user ? "ring 3" : "ring 0";
}

void delivery_map(unsigned int n, uint64_t flags)
{
	bad_map(WINDOW(n), flags ? bad_page(n) : 0, flags);
	bad_flush();
}

struct outcome delivery_run(const uint8_t *code, bool user, uint64_t rdi, uint64_t rsp)
{
	struct trap_frame frame = bad_frame(code, user);
	struct outcome o;

	frame.rdi = rdi;
	if (rsp != 0)
		frame.rsp = rsp;
	o = bad_run(&frame);
	bad_restore_descriptors();
	return o;
}

void delivery_expect_double(const struct outcome *o, uint64_t cr2)
{
	if (bad_expect_trap(o, VECTOR_DOUBLE_FAULT, 0))
		bad_expect_value("CR2", o->cr2, cr2);
}

void delivery_expect_fault(const struct outcome *o, uint64_t error, uint64_t cr2, const uint8_t *code)
{
	if (bad_expect_fault(o, error, cr2))
		bad_expect_value("RIP", o->frame.rip, bad_frame(code, trap_from_ring3(&o->frame)).rip);
}

void delivery_own_idt(unsigned int ist)
{
	delivery_map(IDT_PAGE, OPEN);
	delivery_map(IST_PAGE, OPEN);
	bad_place_idt(WINDOW(IDT_PAGE), bad_page(IDT_PAGE));
	if (ist != 0) {
		bad_gate_ist(bad_page(IDT_PAGE), ist, 2);
		bad_tss_stack((uint64_t)bad_boot_tss, 2, IST_TOP);
	}
}

uint64_t delivery_tag_page(unsigned int n)
{
	return bad_page(TAG_PAGES + n);
}

void delivery_live_table(unsigned int entry, unsigned int n)
{
	*bad_entry(TABLE_GVA, 2) = bad_page(TABLE) | PTE_OPEN;
	memset(page_pointer(delivery_tag_page(n)), (int)(n + 1), PAGE_SIZE);
	((volatile uint64_t *)page_pointer(bad_page(TABLE)))[entry] = delivery_tag_page(n) | PTE_OPEN;
	delivery_map(TABLE, OPEN);
}

void delivery_expect_tag(unsigned int entry, unsigned int n, bool user)
{
	struct outcome o = bad_access(user ? ACCESS_USER : 0, TABLE_GVA + SLOT(1, entry), 0);

	if (o.vector == BAD_NOTHING)
		bad_expect_value("through the table", o.rax & 0xff, n + 1);
	else
		bad_expect_fine(&o);
}
