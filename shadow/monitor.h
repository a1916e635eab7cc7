/*
 * The monitor: the only code of ours inside the VM. A hidden memslot, mapped supervisor-only into every shadow root at
 * MONITOR_GVA, holds a GDT, an IDT, a TSS, a stack, one stub for each vector, the code that leads back to the guest, and the
 * pool of shadow table pages.
 *
 * In: every event of the guest (which runs in ring 3 throughout) ends in its vector's stub, one `out`, and so in the VMM;
 * the CPU has pushed its frame on the monitor's stack. SYSCALL, where the host does it right, ends in a stub of its own.
 * Out: the VMM writes an IRETQ frame and generates straight-line code: pending stores to shadow entries, a CR3 reload, RAX,
 * IRETQ. All stores are idempotent: code that a kick interrupted is simply started again.
 *
 * Slot layout, in pages: 0 PDPT  1 PD  2 IDT  3 TSS  4 stack  5 stubs  6-21 GDT  22-27 way out  64 up: pool
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tables_edit;
struct tables_pool;

#define MONITOR_GPA 0xff00000000ull
#define MONITOR_GVA 0xffff800000000000ull
#define MONITOR_PML4_SLOT 256
#define MONITOR_PORT 0xe0 /* what the stubs write to */

/*
 * Selectors of the monitor's GDT, at its end, where no guest has its own: every selector a guest loads faults, and is loaded
 * by emulation. Code and data of ring 3 serve both views.
 */
#define MONITOR_GDT_BYTES 0x10000u
#define MONITOR_CS 0xffc0u
#define MONITOR_SS 0xffc8u
#define MONITOR_TSS 0xffd0u /* 16 bytes */
#define MONITOR_USER_CS 0xffe0u
#define MONITOR_USER_SS 0xffe8u
#define MONITOR_USER_CS32 0xfff0u
#define MONITOR_IDT_BYTES 0x1000u

struct monitor {
	int vm_fd;
	uint8_t *hva;
	size_t size; /* of the slot */
	unsigned int slot;
	bool mapped; /* the slot is there */
};

/* What the CPU pushed when an event entered the monitor. */
struct monitor_frame {
	uint64_t rip, cs, rflags, rsp, ss;
};

/* Vector of the stub at gva rip, MONITOR_SYSCALL for the SYSCALL stub, -1 for none. */
#define MONITOR_SYSCALL 256
int monitor_vector(uint64_t rip);

/* Adds the hidden slot with room for pool_pages shadow pages, and fills it. Returns 0 or a logged -errno. */
int monitor_create(struct monitor *m, int vm_fd, unsigned int slot, uint32_t pool_pages);

/* Takes the slot away again: a direct guest must not be able to touch it. */
void monitor_destroy(struct monitor *m);

struct tables_pool monitor_pool(const struct monitor *m);

/* Entry of every root's slot MONITOR_PML4_SLOT. */
uint64_t monitor_pml4e(const struct monitor *m);

/* Deletes and adds the slot: the host forgets every translation of it. Returns 0 or a logged -errno. */
int monitor_forget(struct monitor *m);

/* Frame and error code that the last event left. */
struct monitor_frame monitor_frame(const struct monitor *m, bool has_error, uint32_t *error);

/*
 * Writes the way out: edits in order, then CR3 = root if `reload`, RAX, IRETQ to `frame`. It starts with RIP =
 * monitor_way_out_gva() and RSP = monitor_frame_gva(). count <= TABLES_MAX_EDITS.
 */
void monitor_way_out(struct monitor *m, const struct tables_edit *edits, size_t count, bool reload, uint64_t root,
		     uint64_t rax, const struct monitor_frame *frame);

/* Addresses for the vCPU's registers. */
uint64_t monitor_way_out_gva(void);
uint64_t monitor_frame_gva(void);
uint64_t monitor_gdt_gva(void);
uint64_t monitor_idt_gva(void);
uint64_t monitor_tss_gva(void);
uint64_t monitor_syscall_gva(void);

/* True for an address of the monitor's mapping. */
bool monitor_contains(uint64_t gva);
