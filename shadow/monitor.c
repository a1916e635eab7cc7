#include "shadow/monitor.h"

#include <errno.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/mman.h>

#include "shadow/tables.h"
#include "vmm/ensure.h"
#include "vmm/kvm.h"
#include "vmm/log.h"
#include "vmm/mem.h"

enum page { PAGE_PDPT, PAGE_PD, PAGE_IDT, PAGE_TSS, PAGE_STACK, PAGE_STUBS, PAGE_GDT, PAGE_WAY_OUT = 22, PAGE_POOL = 64 };

#define VECTORS 256u
#define STUB_BYTES 8u /* out %al, $imm8; the rest is never reached */
#define STUB_FILL 0xf4
#define LARGE_PAGE (2ull << 20)
#define PTES_PER_TABLE 512u
#define TSS_BYTES 104u
#define TSS_RSP0 4u
#define GATE_INTERRUPT_DPL0 0x8e00ull
#define GATE_INTERRUPT_DPL3 0xee00ull
#define CODE64_DPL0 0x00af9b000000ffffull
#define DATA_DPL0 0x00cf93000000ffffull
#define CODE64_DPL3 0x00affb000000ffffull
#define CODE32_DPL3 0x00cffb000000ffffull
#define DATA_DPL3 0x00cff3000000ffffull
#define TSS_DESCRIPTOR 0x0000890000000000ull
#define TSS_NO_IO_BITMAP TSS_BYTES

static uint64_t gva(enum page page)
{
	return MONITOR_GVA + (uint64_t)page * PAGE_SIZE;
}

static uint64_t gpa(enum page page)
{
	return MONITOR_GPA + (uint64_t)page * PAGE_SIZE;
}

static uint8_t *hva(const struct monitor *m, enum page page)
{
	return m->hva + (size_t)page * PAGE_SIZE;
}

uint64_t monitor_gdt_gva(void)
{
	return gva(PAGE_GDT);
}

uint64_t monitor_idt_gva(void)
{
	return gva(PAGE_IDT);
}

uint64_t monitor_tss_gva(void)
{
	return gva(PAGE_TSS);
}

uint64_t monitor_way_out_gva(void)
{
	return gva(PAGE_WAY_OUT);
}

uint64_t monitor_frame_gva(void)
{
	return gva(PAGE_STACK) + PAGE_SIZE - sizeof(struct monitor_frame);
}

uint64_t monitor_syscall_gva(void)
{
	return gva(PAGE_STUBS) + VECTORS * STUB_BYTES;
}

bool monitor_contains(uint64_t address)
{
	return address >> 39 == MONITOR_GVA >> 39;
}

/* RIP is past the `out` on some hosts and still on it on others. */
int monitor_vector(uint64_t rip)
{
	uint64_t offset = rip - gva(PAGE_STUBS);

	return offset < (VECTORS + 1) * STUB_BYTES ? (int)(offset / STUB_BYTES) : -1;
}

static void write_tables(struct monitor *m)
{
	uint64_t *pdpt = (uint64_t *)hva(m, PAGE_PDPT), *pd = (uint64_t *)hva(m, PAGE_PD);

	pdpt[0] = gpa(PAGE_PD) | PTE_P | PTE_W | PTE_A;
	for (uint64_t i = 0; i < PTES_PER_TABLE && i * LARGE_PAGE < m->size; i++)
		pd[i] = (MONITOR_GPA + i * LARGE_PAGE) | PTE_P | PTE_W | PTE_A | PTE_D | PTE_PS;
}

/*
 * INT 3 and INT 4 of ring 3 are delivered whatever the gate says on hosts that interpret; where the gate counts it must let
 * them in, so that both kinds of host arrive at the same stub. So must all vectors that only INT n can raise.
 */
static bool open_to_ring3(unsigned int vector)
{
	return vector == 3 || vector == 4 || vector >= 32;
}

/* APM vol. 2, 4.8.4: offset 15:0, selector, type, offset 31:16; then offset 63:32. */
static void write_idt(struct monitor *m)
{
	uint64_t *idt = (uint64_t *)hva(m, PAGE_IDT);

	for (unsigned int v = 0; v < VECTORS; v++) {
		uint64_t to = gva(PAGE_STUBS) + v * STUB_BYTES;
		uint64_t type = open_to_ring3(v) ? GATE_INTERRUPT_DPL3 : GATE_INTERRUPT_DPL0;

		idt[2 * v] = (to & 0xffff) | (uint64_t)MONITOR_CS << 16 | type << 32 | (to >> 16 & 0xffff) << 48;
		idt[2 * v + 1] = to >> 32;
	}
}

static uint64_t stack_top(void)
{
	return gva(PAGE_STACK) + PAGE_SIZE;
}

static void write_tss(struct monitor *m)
{
	uint64_t rsp0 = stack_top();
	uint16_t bitmap = TSS_NO_IO_BITMAP;

	memcpy(hva(m, PAGE_TSS) + TSS_RSP0, &rsp0, sizeof(rsp0));
	memcpy(hva(m, PAGE_TSS) + 102, &bitmap, sizeof(bitmap));
}

static void write_gdt(struct monitor *m)
{
	uint64_t *gdt = (uint64_t *)hva(m, PAGE_GDT), tss = gva(PAGE_TSS);

	gdt[MONITOR_CS / 8] = CODE64_DPL0;
	gdt[MONITOR_SS / 8] = DATA_DPL0;
	gdt[MONITOR_USER_CS / 8] = CODE64_DPL3;
	gdt[MONITOR_USER_CS32 / 8] = CODE32_DPL3;
	gdt[MONITOR_USER_SS / 8] = DATA_DPL3;
	gdt[MONITOR_TSS / 8] = TSS_DESCRIPTOR | (TSS_BYTES - 1) | (tss & 0xffffff) << 16 | (tss >> 24 & 0xff) << 56;
	gdt[MONITOR_TSS / 8 + 1] = tss >> 32;
}

static void write_stubs(struct monitor *m)
{
	uint8_t *stubs = hva(m, PAGE_STUBS);

	memset(stubs, STUB_FILL, PAGE_SIZE);
	for (unsigned int i = 0; i <= VECTORS; i++) {
		stubs[i * STUB_BYTES] = 0xe6;
		stubs[i * STUB_BYTES + 1] = MONITOR_PORT;
	}
}

static int set_slot(struct monitor *m, size_t size)
{
	struct kvm_userspace_memory_region slot = {
		.slot = m->slot,
		.guest_phys_addr = MONITOR_GPA,
		.memory_size = size,
		.userspace_addr = (uintptr_t)m->hva,
	};
	int r = kvm_set_slot(m->vm_fd, &slot);

	if (r == 0)
		m->mapped = size > 0;
	return r;
}

int monitor_create(struct monitor *m, int vm_fd, unsigned int slot, uint32_t pool_pages)
{
	size_t bytes = ((size_t)PAGE_POOL + pool_pages) * PAGE_SIZE;
	void *p;
	int r;

	*m = (struct monitor){.vm_fd = vm_fd, .slot = slot};
	m->size = (bytes + LARGE_PAGE - 1) & ~(LARGE_PAGE - 1);
	ensure(m->size <= PTES_PER_TABLE * LARGE_PAGE);
	p = mmap(NULL, m->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return log_errno(errno, "shadow: monitor and %u pages for tables", pool_pages);
	m->hva = p;
	write_tables(m);
	write_idt(m);
	write_tss(m);
	write_gdt(m);
	write_stubs(m);
	r = set_slot(m, m->size);
	if (r < 0)
		munmap(m->hva, m->size);
	return r;
}

void monitor_destroy(struct monitor *m)
{
	/* Only what KVM logs could be said of a failure; the slot goes with the VM at the latest. */
	if (m->mapped)
		(void)set_slot(m, 0);
	munmap(m->hva, m->size);
}

int monitor_forget(struct monitor *m)
{
	int r = set_slot(m, 0);

	return r < 0 ? r : set_slot(m, m->size);
}

struct tables_pool monitor_pool(const struct monitor *m)
{
	return (struct tables_pool){.hva = hva(m, PAGE_POOL), .gpa = gpa(PAGE_POOL),
				    .pages = (uint32_t)(m->size / PAGE_SIZE - PAGE_POOL)};
}

uint64_t monitor_pml4e(const struct monitor *m)
{
	return gpa(PAGE_PDPT) | PTE_P | PTE_W | PTE_A;
}

struct monitor_frame monitor_frame(const struct monitor *m, bool has_error, uint32_t *error)
{
	struct monitor_frame frame;
	const uint8_t *top = hva(m, PAGE_STACK) + PAGE_SIZE;

	memcpy(&frame, top - sizeof(frame), sizeof(frame));
	*error = 0;
	if (has_error)
		memcpy(error, top - sizeof(frame) - 8, sizeof(*error));
	return frame;
}

/* mov $value, %rax */
static uint8_t *emit_load(uint8_t *at, uint64_t value)
{
	*at++ = 0x48;
	*at++ = 0xb8;
	memcpy(at, &value, sizeof(value));
	return at + sizeof(value);
}

/* mov $value, %rax; mov %rax, address */
static uint8_t *emit_store(uint8_t *at, uint64_t address, uint64_t value)
{
	at = emit_load(at, value);
	*at++ = 0x48;
	*at++ = 0xa3;
	memcpy(at, &address, sizeof(address));
	return at + sizeof(address);
}

/* mov $root, %rax; mov %rax, %cr3 */
static uint8_t *emit_cr3(uint8_t *at, uint64_t root)
{
	static const uint8_t mov_cr3[] = {0x0f, 0x22, 0xd8};

	at = emit_load(at, root);
	memcpy(at, mov_cr3, sizeof(mov_cr3));
	return at + sizeof(mov_cr3);
}

void monitor_way_out(struct monitor *m, const struct tables_edit *edits, size_t count, bool reload, uint64_t root,
		     uint64_t rax, const struct monitor_frame *frame)
{
	uint8_t *at = hva(m, PAGE_WAY_OUT);

	ensure(count <= TABLES_MAX_EDITS);
	for (size_t i = 0; i < count; i++)
		at = emit_store(at, edits[i].gpa - MONITOR_GPA + MONITOR_GVA, edits[i].value);
	if (reload)
		at = emit_cr3(at, root);
	at = emit_load(at, rax);
	*at++ = 0x48; /* iretq */
	*at++ = 0xcf;
	memcpy(hva(m, PAGE_STACK) + PAGE_SIZE - sizeof(*frame), frame, sizeof(*frame));
}
