/*
 * The architectural state of one vCPU as the guest believes it is, the same for every MMU mode. It exists only at guest
 * instruction boundaries. Snapshots, recordings and changes of mode carry this and nothing else, so nothing of KVM or of
 * the shadow may show in it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "vmm/xsave.h"

struct state;

/* Order of gpr[]: the register numbers of the instruction encoding (AMD64 APM vol. 3, 1.2.7 / Intel SDM vol. 2, 3.1.1). */
enum cpu_gpr {
	CPU_RAX, CPU_RCX, CPU_RDX, CPU_RBX, CPU_RSP, CPU_RBP, CPU_RSI, CPU_RDI,
	CPU_R8, CPU_R9, CPU_R10, CPU_R11, CPU_R12, CPU_R13, CPU_R14, CPU_R15,
	CPU_GPR_COUNT
};

enum cpu_segment_name { CPU_ES, CPU_CS, CPU_SS, CPU_DS, CPU_FS, CPU_GS, CPU_LDTR, CPU_TR, CPU_SEGMENT_COUNT };

/*
 * A segment register with its hidden part. attributes are bits 55:52 and 47:40 of the descriptor packed into 12 bits, as
 * in the VMCB (APM vol. 2, 15.5 and 4.7): type 3:0, S 4, DPL 6:5, P 7, AVL 8, L 9, D/B 10, G 11.
 */
struct cpu_segment {
	uint16_t selector;
	uint16_t attributes;
	uint32_t limit;
	uint64_t base;
};

#define CPU_SEGMENT_DPL_SHIFT 5
#define CPU_SEGMENT_PRESENT (1u << 7)
#define CPU_SEGMENT_LONG (1u << 9)

struct cpu_table {
	uint64_t base;
	uint16_t limit;
};

/* The MSRs of the CPU model, beyond EFER and the segment bases: index in msr[]. */
enum cpu_msr {
	CPU_MSR_STAR, CPU_MSR_LSTAR, CPU_MSR_CSTAR, CPU_MSR_SFMASK, CPU_MSR_KERNEL_GS_BASE, CPU_MSR_SYSENTER_CS,
	CPU_MSR_SYSENTER_ESP, CPU_MSR_SYSENTER_EIP, CPU_MSR_PAT, CPU_MSR_TSC,
	CPU_MSR_COUNT
};

/* MSR numbers, by enum cpu_msr. */
extern const uint32_t cpu_msr_number[CPU_MSR_COUNT];

/* An exception or interrupt the guest is about to take. */
struct cpu_event {
	bool valid;
	bool has_error;
	uint8_t vector;
	uint32_t error;
};

struct cpu_state {
	uint64_t gpr[CPU_GPR_COUNT];
	uint64_t rip, rflags;
	struct cpu_segment segment[CPU_SEGMENT_COUNT];
	struct cpu_table gdt, idt;
	uint64_t cr0, cr2, cr3, cr4, cr8, efer;
	uint64_t dr[4], dr6, dr7;
	uint64_t msr[CPU_MSR_COUNT];
	struct cpu_event exception; /* pending or in delivery; a page fault's address is cr2 */
	struct cpu_event interrupt; /* taken from the controller, not yet delivered */
	bool interrupt_shadow;	    /* after STI or MOV SS */
	bool nmi_masked;
	bool halted;
	uint8_t xsave[XSAVE_SIZE]; /* unpacked (xsave.h) wherever it comes from a vCPU or a file */
};

#define CR0_PE (1ull << 0)
#define CR0_MP (1ull << 1)
#define CR0_EM (1ull << 2)
#define CR0_TS (1ull << 3)
#define CR0_ET (1ull << 4)
#define CR0_NE (1ull << 5)
#define CR0_WP (1ull << 16)
#define CR0_AM (1ull << 18)
#define CR0_NW (1ull << 29)
#define CR0_CD (1ull << 30)
#define CR0_PG (1ull << 31)
#define CR4_TSD (1ull << 2)
#define CR4_DE (1ull << 3)
#define CR4_PSE (1ull << 4)
#define CR4_PAE (1ull << 5)
#define CR4_PGE (1ull << 7)
#define CR4_OSFXSR (1ull << 9)
#define CR4_OSXMMEXCPT (1ull << 10)
#define CR4_UMIP (1ull << 11)
#define CR4_SMEP (1ull << 20)
#define EFER_SCE (1ull << 0)
#define EFER_LME (1ull << 8)
#define EFER_LMA (1ull << 10)
#define EFER_NXE (1ull << 11)
#define RFLAGS_ONE (1ull << 1)
#define RFLAGS_IF (1ull << 9)
#define RFLAGS_RF (1ull << 16)

/* Saves or loads the state. Loading checks what the host would refuse or misread; see state.h. */
void cpu_state_visit(struct cpu_state *cs, struct state *s);
