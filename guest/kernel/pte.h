/* Page-table entry bits (Intel SDM volume 3, section 4.5), for C and assembly. */
#pragma once

#define PTE_P 0x1
#define PTE_W 0x2
#define PTE_U 0x4
#define PTE_PWT 0x8
#define PTE_PCD 0x10
#define PTE_A 0x20
#define PTE_D 0x40
#define PTE_PS 0x80
#define PTE_COW 0x200 /* ours: read-only now, copied at the first write */
#define PTE_NX 0x8000000000000000
#define PTE_FRAME 0x000ffffffffff000

/* Kernel maps carry A and D from the start: nobody needs to learn whether the kernel used its own pages. */
#define PTE_KERNEL_TEXT (PTE_P | PTE_A)
#define PTE_KERNEL_RODATA (PTE_NX | PTE_P | PTE_A)
#define PTE_KERNEL_DATA (PTE_NX | PTE_P | PTE_W | PTE_A | PTE_D)
#define PTE_TABLE (PTE_P | PTE_W | PTE_U | PTE_A)
