/* badtables: copies of the descriptor tables, placed and changed at will, and the way back to those of boot.S. */
#pragma once

#include <stdint.h>

#define GATE_SIZE 16u
#define TSS_SIZE 104u

struct table_pointer {
	uint16_t limit;
	uint64_t base;
} __attribute__((packed));

extern uint8_t bad_boot_tss[TSS_SIZE] __asm__("tss");

/* Loads IDTR, GDTR and TR as boot.S did. RSP0 and the IST of its TSS but the first go back, too. */
void bad_restore_descriptors(void);

/* Loads IDTR with a copy of boot.S's IDT at gva; it is written at gpa, contiguous from there on. */
void bad_place_idt(uint64_t gva, uint64_t gpa);
void bad_load_idt(uint64_t base, uint16_t limit);
/* The same for the GDT, whose copy is followed by zeros up to `limit`. */
void bad_place_gdt(uint64_t gva, uint64_t gpa, uint16_t limit);
/* The same for the TSS and TR, whose descriptor in boot.S's GDT gets that base and limit. */
void bad_place_tss(uint64_t gva, uint64_t gpa, uint16_t limit);

/* A gate of the IDT at gpa: its stack (0 or IST 1 to 7), its handler, its code segment, whether it is there. */
void bad_gate_ist(uint64_t gpa, unsigned int vector, uint8_t ist);
void bad_gate_handler(uint64_t gpa, unsigned int vector, uint64_t handler);
void bad_gate_selector(uint64_t gpa, unsigned int vector, uint16_t selector);
void bad_gate_absent(uint64_t gpa, unsigned int vector);

/* RSP of an IST (0: RSP0) in the TSS at gpa. */
void bad_tss_stack(uint64_t gpa, unsigned int ist, uint64_t rsp);
