/*
 * The contract between a guest image and Penumbra: the only file both sides include.
 *
 * Image: a static ELF64 (ET_EXEC, x86-64) whose PT_LOAD segments are placed at their p_paddr, none of them below
 * ABI_LOAD_MIN or outside RAM, with one PT_NOTE named ABI_NOTE_NAME of type ABI_NOTE_VERSION whose descriptor is a
 * uint32_t: the ABI_VERSION the image was built for.
 *
 * Entry: at the physical address of e_entry, 64-bit mode, CPL 0, RFLAGS = 2, flat segments (no GDT or IDT in memory yet:
 * a guest loads its own before the first event), CR0 = PE|MP|ET|NE|WP|PG, CR4 = PAE|OSFXSR|OSXMMEXCPT,
 * EFER = SCE|LME|LMA|NXE. RDI = gpa of struct abi_boot; the other general registers are 0 (there is no stack).
 * CR3 maps the first GiB of gpa one to one, writable and executable, supervisor, in 2 MiB pages with A and D set.
 * Boot structures lie below ABI_LOAD_MIN; the guest may reuse that memory when it no longer needs them. All other RAM but
 * the image and the initrd reads zero.
 *
 * Machine: 8259 pair, 8254 (IRQ 0), 16550 at 0x3f8 (IRQ 4), RTC/CMOS (IRQ 8) at their PC addresses, no APIC, virtio devices
 * in the slots below, and the ports below. Reading a port nobody owns gives all ones, writing one does nothing. Touching a gpa that is neither RAM
 * nor device ends the guest, except in the PC's hole for devices, 3 to 4 GiB, which answers like an unowned port.
 */
#pragma once

#include <stdint.h>

#define ABI_VERSION 1u
#define ABI_NOTE_NAME "Penumbra"
#define ABI_NOTE_VERSION 1u

#define ABI_LOAD_MIN 0x10000ull
#define ABI_IDENTITY_SIZE 0x40000000ull /* what CR3 maps at entry, from gpa 0 on; the entry point lies inside */
#define ABI_HOLE_START 0xc0000000ull /* gpa of the device hole; RAM that does not fit below goes on at ABI_HOLE_END */
#define ABI_HOLE_END 0x100000000ull

/* Ports. Each is a register of 32 bits unless said otherwise. */
#define ABI_PORT_EXIT 0x500u    /* write: the guest ends; bits 7:0 are its exit code */
#define ABI_PORT_CLOCK 0x504u   /* read: low half of the guest's clock in ns since boot; latches the high half */
#define ABI_PORT_CLOCK_HI 0x508u /* read: the latched high half */
#define ABI_PORT_SCRATCH 0x50cu /* read and write: keeps what was written */
#define ABI_PORT_COUNTER 0x510u /* read, any size: 0, 1, 2, ... one more at each read; write: the next value */

/* MMIO: two pages; byte i holds what was last written to any byte j with j % ABI_SCRATCH_BYTES == i % it. */
#define ABI_MMIO_SCRATCH 0xd0000000ull
#define ABI_MMIO_SCRATCH_SIZE 0x2000ull
#define ABI_SCRATCH_BYTES 64u

/*
 * virtio-mmio devices (VIRTIO 1.2, 4.2.2, register layout version 2): slot i has its registers at ABI_VIRTIO_MMIO +
 * i * ABI_VIRTIO_STRIDE and the i-th of these IRQs. An empty slot reads all ones.
 */
#define ABI_VIRTIO_MMIO 0xd1000000ull
#define ABI_VIRTIO_STRIDE 0x1000u
#define ABI_VIRTIO_SLOTS 7u
#define ABI_VIRTIO_IRQS {5, 9, 10, 11, 12, 3, 14}

#define ABI_BOOT_MAGIC 0x554e4550u /* "PENU" */
#define ABI_MAX_REGIONS 4u

/* CPU facts (abi_boot.cpu): what CPUID would tell, for guests that must not execute CPUID. */
#define ABI_CPU_NX (1u << 0)
#define ABI_CPU_SMEP (1u << 1)
#define ABI_CPU_UMIP (1u << 2)
#define ABI_CPU_SYSCALL (1u << 3) /* SYSCALL from ring 3 enters ring 0 on this host in this mode */

/* RAM from gpa base on, size bytes; what boot structures, image and initrd occupy is part of it. */
struct abi_region {
	uint64_t base;
	uint64_t size;
};

struct abi_boot {
	uint32_t magic;   /* ABI_BOOT_MAGIC */
	uint32_t version; /* ABI_VERSION of the VMM */
	uint32_t size;    /* of this structure, in bytes */
	uint32_t cpu;     /* ABI_CPU_* */
	uint64_t cmdline; /* gpa of a NUL-terminated string, arguments separated by single spaces */
	uint64_t cmdline_size; /* bytes including the NUL */
	uint64_t initrd;  /* gpa, 0 = none */
	uint64_t initrd_size;
	uint64_t free;    /* gpa, page-aligned: first byte above image and initrd in the lowest region */
	uint32_t vm_number; /* 0 for the first guest of a command line, then 1, 2, ... */
	uint32_t region_count;
	struct abi_region region[ABI_MAX_REGIONS]; /* ascending, page-aligned */
	uint8_t seed[32]; /* random bytes, new at every launch */
};
