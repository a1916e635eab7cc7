/*
 * The map of the guest: gpas of the kernel (which is mapped one to one) and gvas of user space.
 * Included by C, by assembly and by the linker script, so it holds plain numbers only.
 *
 *   gpa 0         nothing: null pointers fault
 *       0x1000    boot structures of the VMM, read-only
 *       1 MiB     kernel text, read-only data, data and bss, stacks with guard pages, image of the user programs
 *       2 MiB     pages for the page allocator (from abi_boot.free on, if that is higher)
 *   gva 512 GiB   user half (PML4 slot 1): programs and stack in the first 2 MiB (one page table), the heap above
 *
 * The places are fixed, not packed, so that page tables, IDT and TSS descriptor are constants of the image: a guest
 * boots without building anything.
 */
#pragma once

#define TEXT_BASE 0x100000
#define RODATA_BASE 0x120000
#define DATA_BASE 0x130000
#define STACK_GUARD 0x180000
#define STACK_BASE 0x181000
#define STACK_TOP 0x185000
#define FAULT_STACK_GUARD 0x185000
#define FAULT_STACK_BASE 0x186000
#define FAULT_STACK_TOP 0x188000
#define USER_IMAGE_BASE 0x188000
#define KERNEL_END 0x200000

#define USER_BASE 0x8000000000
#define USER_TEXT 0x8000010000
#define USER_RODATA 0x8000040000
#define USER_DATA 0x8000080000
#define USER_STACK_LIMIT 0x8000101000 /* the lowest page a stack may grow to; the page below stays unmapped */
#define USER_STACK_TOP 0x8000200000
#define USER_HEAP 0x8000200000
#define USER_END 0x10000000000

#define KERNEL_CODE 0x08
#define KERNEL_DATA 0x10
#define USER_DATA_SELECTOR 0x1b
#define USER_CODE_SELECTOR 0x23
#define TSS_SELECTOR 0x28

/* Vectors: 32 exceptions, 16 interrupts of the 8259 pair. A stub takes 16 bytes, the first lies at TEXT_BASE. */
#define VECTOR_IRQ 0x20
#define VECTOR_COUNT 0x30
#define VECTOR_STUB 16
