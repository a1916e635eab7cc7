/* What the kernel does for mmucost's operations of ring 3. */
#include "guest/images/mmucost.h"

#include <stddef.h>

#include "guest/kernel/io.h"
#include "guest/kernel/pages.h"
#include "guest/kernel/paging.h"

#define PAGES_OF_LARGE (LARGE_PAGE_SIZE / PAGE_SIZE)

static trap_handler *page_fault_of_processes;

static void clear_marks(uint64_t gva, uint64_t pages)
{
	uint64_t root = read_cr3();

	for (uint64_t end = gva + pages * PAGE_SIZE; gva < end; gva += PAGE_SIZE)
		*entry_at(root, gva, 1) &= ~(uint64_t)(PTE_A | PTE_D);
	write_cr3(root);
}

/* Runs end where a large page does, so a whole one is aligned. */
static uint64_t new_large_page(void)
{
	uint64_t page, got;

	do
		page = page_alloc_run(PAGES_OF_LARGE, &got);
	while (page != 0 && got < PAGES_OF_LARGE);
	return page;
}

static uint64_t map_large(uint64_t pages)
{
	uint64_t end = WINDOW + pages * PAGE_SIZE;
	uint64_t page;

	for (uint64_t gva = WINDOW; gva < end; gva += LARGE_PAGE_SIZE) {
		page = new_large_page();
		if (page == 0)
			return 0;
		*entry_at(read_cr3(), gva, 2) = page | PTE_KERNEL_DATA | PTE_U | PTE_PS;
	}
	return WINDOW;
}

/* A freed page has been written to, its link in the list of free pages, so the host has given memory to it. */
static uint64_t stock(uint64_t pages)
{
	uint64_t page, got;

	for (; pages > 0; pages -= got) {
		page = page_alloc_run(pages, &got);
		if (page == 0)
			return 0;
		for (uint64_t end = page + got * PAGE_SIZE; page < end; page += PAGE_SIZE)
			page_unref_zero(page);
	}
	return 1;
}

static void go_on(struct trap_frame *frame)
{
	if (!trap_from_ring3(frame)) {
		trap_unhandled(frame);
		return;
	}
	frame->rbx++;
	frame->rip = frame->rcx;
}

static void page_fault(struct trap_frame *frame)
{
	if (read_cr2() == MMUCOST_NOWHERE)
		go_on(frame);
	else
		page_fault_of_processes(frame);
}

static uint64_t handle_faults(void)
{
	entry_at(read_cr3(), MMUCOST_NOWHERE, 1);
	page_fault_of_processes = trap_set(VECTOR_PAGE_FAULT, page_fault);
	trap_set(VECTOR_DIVIDE, go_on);
	return 1;
}

void answer_request(struct trap_frame *frame)
{
	if (!trap_from_ring3(frame)) {
		trap_unhandled(frame);
		return;
	}
	switch (frame->rax) {
	case MMUCOST_CLEAR:
		clear_marks(frame->rdi, frame->rsi);
		break;
	case MMUCOST_LARGE:
		frame->rax = map_large(frame->rsi);
		break;
	case MMUCOST_STOCK:
		frame->rax = stock(frame->rsi);
		break;
	case MMUCOST_FAULTS:
		frame->rax = handle_faults();
		break;
	default:
		mark((uint32_t)frame->rax);
	}
}
