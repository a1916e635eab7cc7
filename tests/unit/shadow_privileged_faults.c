/*
 * Every rule that makes a privileged instruction fault, one a case, from the manuals; and that a fault changes nothing. That
 * CPUs agree is shown by tests/vm/differential.c.
 */
#include "shadow/privileged.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "shadow/rflags.h"
#include "tests/unit/shadow_execute.h"
#include "tests/vm/suite.h"

static struct execute e;

/* Preparations, one a case; RBX points to data that ring 3 and ring 0 may use. */
static void nothing(void) { }
static void umip(void) { CS.cr4 |= CR4_UMIP; }
static void tsd(void) { CS.cr4 |= CR4_TSD; }
static void de(void) { CS.cr4 |= CR4_DE; }
static void odd_rbx(void) { RBX = NOT_CANONICAL; }
static void edge_rbx(void) { RBX = 0x7ffffffffffd; }
static void bad_rbx(void) { RBX = KERNEL_UNMAPPED; }
static void end_rbx(void) { RBX = USER_DATA + KERNEL_MAPPED - 1; }
static void read_only_rbx(void) { RBX = USER_DATA; CS.cr0 |= CR0_WP; kernel_protect(&e.guest, USER_DATA, PTE_W); }
static void high_rax(void) { RAX = CS.cr0 | 1ull << 32; }
static void nw_without_cd(void) { RAX = CS.cr0 | CR0_NW; }
static void no_pe(void) { RAX = CS.cr0 & ~CR0_PE; }
static void no_pg(void) { RAX = CS.cr0 & ~CR0_PG; }
static void cr3_high(void) { RAX = CS.cr3 | 1ull << 40; }
static void cr3_top(void) { RAX = CS.cr3 | 1ull << 63; }
static void cr4_unknown(void) { RAX = CS.cr4 | 1ull << 13; }
static void cr4_high(void) { RAX = CS.cr4 | 1ull << 32; }
static void no_pae(void) { RAX = CS.cr4 & ~CR4_PAE; }
static void cr8_big(void) { RAX = 16; }
static void dr_high(void) { RAX = 1ull << 32; }
static void table_odd(void) { kernel_poke64(&e.guest, RBX + 2, NOT_CANONICAL); }
static void efer_unknown(void) { RCX = 0xc0000080; RAX = CS.efer | 1; RDX = 1; }
static void efer_lme(void) { RCX = 0xc0000080; RAX = CS.efer & ~EFER_LME; RDX = 0; }
static void unknown_msr(void) { RCX = 0x12345; }
static void odd_lstar(void) { RCX = 0xc0000082; RAX = 0; RDX = 0x9000; }
static void odd_kernel_gs(void) { RCX = 0xc0000102; RAX = 0; RDX = 0x9000; }
static void odd_fs(void) { RCX = 0xc0000100; RAX = 0; RDX = 0x9000; }
static void odd_pat(void) { RCX = 0x277; RAX = 0x06020406; RDX = 0; }
static void big_pat(void) { RCX = 0x277; RAX = 0x0e060406; RDX = 0; }
static void no_sce(void) { CS.efer &= ~EFER_SCE; }
static void odd_rcx(void) { RCX = NOT_CANONICAL; }
static void iopl_2(void) { CS.rflags |= 2ull << 12; }
static void odd_rsp(void) { RSP = NOT_CANONICAL; }
static void bad_rsp(void) { RSP = KERNEL_UNMAPPED; }
static void short_rsp(void) { RSP = USER_STACK + KERNEL_MAPPED - 16; }
static void nt(void) { CS.rflags |= RFLAGS_NT; }

/* AX (and the word at RBX) a selector. */
static void ax(uint16_t selector)
{
	RAX = selector;
	kernel_poke64(&e.guest, RBX, selector);
}

static void free_as(unsigned int attributes, uint16_t rpl)
{
	kernel_descriptor(&e.guest, SEL_FREE, 0, 0xfffff, attributes);
	ax((uint16_t)(SEL_FREE | rpl));
}

static void null(void) { ax(0); }
static void null_1(void) { ax(1); }
static void beyond(void) { ax(SEL_LIMIT + 1); }
static void beyond_ldt(void) { ax(0x84); }
static void of_ldt(void) { ax(0x0c); }
static void no_ldt(void) { CS.segment[CPU_LDTR] = (struct cpu_segment){0}; ax(0x0c); }
static void system_segment(void) { ax(SEL_TSS); }
static void execute_only(void) { free_as(0xaf9, 3); }
static void cut_data(void) { free_as(0xcf3, 3); CS.gdt.limit = SEL_FREE + 6; }
static void inner_data(void) { free_as(0xc93, 3); }
static void rpl_too_low(void) { free_as(0xc93, 1); }
static void read_only_data(void) { free_as(0xc91, 0); }
static void outer_stack(void) { free_as(0xcf3, 0); }
static void stack_rpl(void) { free_as(0xc93, 3); }
static void absent_data(void) { free_as(0xc13, 0); }
static void absent_user_data(void) { free_as(0xc73, 3); }
static void busy_tss(void) { kernel_descriptor(&e.guest, SEL_TSS, 0, 0x67, 0x08b); ax(SEL_TSS); }
static void tss16(void) { kernel_descriptor(&e.guest, SEL_TSS, 0, 0x67, 0x081); ax(SEL_TSS); }
static void absent_tss(void) { kernel_descriptor(&e.guest, SEL_TSS, 0, 0x67, 0x009); ax(SEL_TSS); }
static void absent_ldt(void) { kernel_descriptor(&e.guest, SEL_LDT, 0, 0x67, 0x002); ax(SEL_LDT); }
static void tss(void) { ax(SEL_TSS); }
static void ldt(void) { ax(SEL_LDT); }
static void odd_base(void) { kernel_poke64(&e.guest, KERNEL_GDT + SEL_TSS + 8, 0x9000); ax(SEL_TSS); }
static void upper_type(void) { kernel_poke64(&e.guest, KERNEL_GDT + SEL_LDT + 8, 0x00000100ffff8880); ax(SEL_LDT); }
static void cut_ldt(void) { CS.gdt.limit = SEL_LDT + 14; ax(SEL_LDT); }
static void read_only_gdt(void) { CS.cr0 |= CR0_WP; kernel_protect(&e.guest, KERNEL_GDT, PTE_W); ax(SEL_TSS); }

static void unmarked_in_read_only_gdt(void)
{
	free_as(0xc92, 0);
	CS.cr0 |= CR0_WP;
	kernel_protect(&e.guest, KERNEL_GDT, PTE_W);
}

/* A GDT whose last whole descriptor is of a system segment: its upper half is no matter for DS. */
static void system_at_the_end(void)
{
	CS.gdt.base = KERNEL_GDT + KERNEL_MAPPED - SEL_FREE - 8;
	kernel_poke64(&e.guest, KERNEL_GDT + KERNEL_MAPPED - 8, 0x0000890000000067);
	ax(SEL_FREE);
}

/* Frames of IRET with one thing wrong. */
static void cs_null(void) { execute_put_frame(&e, USER_CODE, 2, USER_STACK, SEL_DATA); }
static void cs_beyond(void) { execute_put_frame(&e, USER_CODE, 0x1000, USER_STACK, SEL_DATA); }
static void cs_data(void) { execute_put_frame(&e, USER_CODE, SEL_DATA, USER_STACK, SEL_DATA); }
static void cs_rpl(void) { execute_put_frame(&e, USER_CODE, SEL_CODE, RSP, SEL_DATA); }
static void cs_dpl(void) { execute_put_frame(&e, USER_CODE, SEL_CODE | 3, USER_STACK, SEL_USER_DATA | 3); }
static void ss_null_user(void) { execute_put_frame(&e, USER_CODE, SEL_USER_CODE | 3, USER_STACK, 3); }
static void ss_null_rpl(void) { execute_put_frame(&e, USER_CODE, SEL_CODE, USER_STACK, 1); }
static void ss_rpl(void) { execute_put_frame(&e, USER_CODE, SEL_USER_CODE | 3, USER_STACK, SEL_USER_DATA); }
static void ss_dpl(void) { execute_put_frame(&e, USER_CODE, SEL_USER_CODE | 3, USER_STACK, SEL_DATA | 3); }
static void ss_beyond(void) { execute_put_frame(&e, USER_CODE, SEL_CODE, USER_STACK, SEL_LIMIT + 1); }
static void ss_code(void) { execute_put_frame(&e, USER_CODE, SEL_CODE, USER_STACK, SEL_CODE); }
static void rip_odd(void) { execute_put_frame(&e, NOT_CANONICAL, SEL_CODE, USER_STACK, SEL_DATA); }
static void eip_beyond(void) { execute_put_frame(&e, 0x100000000, SEL_USER_CODE32 | 3, USER_STACK, SEL_USER_DATA | 3); }

static void cs_free(unsigned int attributes, uint16_t rpl)
{
	kernel_descriptor(&e.guest, SEL_FREE, 0, 0xfffff, attributes);
	execute_put_frame(&e, USER_CODE, (uint16_t)(SEL_FREE | rpl), USER_STACK, rpl ? SEL_USER_DATA | 3 : SEL_DATA);
}

static void cs_absent(void) { cs_free(0xa7b, 3); }
static void cs_conforming_inner(void) { cs_free(0xafe, 0); }
static void cs_long_and_32(void) { cs_free(0xe9b, 0); }
static void ss_null_code32(void) { kernel_descriptor(&e.guest, SEL_FREE, 0, 0xfffff, 0xc9b); execute_put_frame(&e, USER_CODE, SEL_FREE, USER_STACK, 0); }

static void ss_free(unsigned int attributes)
{
	kernel_descriptor(&e.guest, SEL_FREE, 0, 0xfffff, attributes);
	execute_put_frame(&e, USER_CODE, SEL_USER_CODE | 3, USER_STACK, SEL_FREE | 3);
}

static void ss_absent(void) { ss_free(0xc73); }
static void ss_read_only(void) { ss_free(0xcf1); }

/* A bad CS counts before a stack that is missing behind the first three words. */
static void cs_bad_before_stack(void)
{
	RSP = KERNEL_STACK + KERNEL_MAPPED - 24;
	for (unsigned int i = 0; i < 3; i++)
		kernel_poke64(&e.guest, RSP + i * 8, i == 1 ? SEL_DATA : 0);
}

static void stack_ends(void)
{
	RSP = KERNEL_STACK + KERNEL_MAPPED - 24;
	for (unsigned int i = 0; i < 3; i++)
		kernel_poke64(&e.guest, RSP + i * 8, i == 1 ? SEL_CODE : 0);
}

/* Ports: bitmap of the TSS. */
static void port_3f8(void) { RDX = 0x3f8; CS.segment[CPU_TR].limit = 0x68 + 0x80; }
static void denied(void) { port_3f8(); kernel_poke64(&e.guest, KERNEL_TSS + 0x68 + 0x3f8 / 8, 1); }
static void denied_last(void) { port_3f8(); kernel_poke64(&e.guest, KERNEL_TSS + 0x68 + 0x3f8 / 8, 1 << 3); }
static void denied_across(void) { port_3f8(); RDX = 0x3fd; kernel_poke64(&e.guest, KERNEL_TSS + 0x68 + 0x400 / 8, 1); }
static void beyond_bitmap(void) { port_3f8(); CS.segment[CPU_TR].limit = 0x68 + 0x3f8 / 8; }
static void no_bitmap(void) { port_3f8(); CS.segment[CPU_TR].limit = 102; }
static void bitmap_missing(void) { port_3f8(); CS.segment[CPU_TR].base = KERNEL_TSS + KERNEL_MAPPED - 102; }
static void string_bad(void) { RCX = 3; CS.gpr[CPU_RSI] = CS.gpr[CPU_RDI] = KERNEL_UNMAPPED + 1; }
static void string_odd(void) { RCX = 3; CS.gpr[CPU_RSI] = CS.gpr[CPU_RDI] = 0x7ffffffffffe; }

#define GP 13
#define NP 11
#define SS 12
#define PF 14
#define UD 6
#define CR2_RBX 1 /* what `cr2` has to be is where RBX points */

static const struct faulting {
	const char *name;
	unsigned int cpl, size;
	uint8_t bytes[6];
	void (*prepare)(void);
	uint8_t vector;
	uint32_t error;
	uint64_t cr2;
} faulting[] = {
	/* What ring 3 may not do at all. */
	{"mov cr0", 3, 3, {0x0f, 0x22, 0xc0}, nothing, GP, 0, 0},
	{"read cr3", 3, 3, {0x0f, 0x20, 0xd8}, nothing, GP, 0, 0},
	{"mov dr0", 3, 3, {0x0f, 0x23, 0xc0}, nothing, GP, 0, 0},
	{"read dr6", 3, 3, {0x0f, 0x21, 0xf0}, nothing, GP, 0, 0},
	{"clts", 3, 2, {0x0f, 0x06}, nothing, GP, 0, 0},
	{"lmsw", 3, 3, {0x0f, 0x01, 0xf0}, nothing, GP, 0, 0},
	{"lgdt", 3, 3, {0x0f, 0x01, 0x13}, bad_rbx, GP, 0, 0},
	{"lidt", 3, 3, {0x0f, 0x01, 0x1b}, bad_rbx, GP, 0, 0},
	{"lldt", 3, 3, {0x0f, 0x00, 0xd0}, ldt, GP, 0, 0},
	{"ltr", 3, 3, {0x0f, 0x00, 0xd8}, tss, GP, 0, 0},
	{"hlt", 3, 1, {0xf4}, nothing, GP, 0, 0},
	{"invlpg", 3, 3, {0x0f, 0x01, 0x3b}, nothing, GP, 0, 0},
	{"swapgs", 3, 3, {0x0f, 0x01, 0xf8}, nothing, GP, 0, 0},
	{"rdmsr", 3, 2, {0x0f, 0x32}, nothing, GP, 0, 0},
	{"wrmsr", 3, 2, {0x0f, 0x30}, nothing, GP, 0, 0},
	{"wbinvd", 3, 2, {0x0f, 0x09}, nothing, GP, 0, 0},
	{"sysret", 3, 3, {0x48, 0x0f, 0x07}, nothing, GP, 0, 0},
	{"sysret without SCE", 3, 3, {0x48, 0x0f, 0x07}, no_sce, UD, 0, 0},
	/* By IOPL, UMIP and TSD. */
	{"cli", 3, 1, {0xfa}, iopl_2, GP, 0, 0},
	{"sti", 3, 1, {0xfb}, iopl_2, GP, 0, 0},
	{"smsw", 3, 3, {0x0f, 0x01, 0xe0}, umip, GP, 0, 0},
	{"sldt", 3, 3, {0x0f, 0x00, 0xc0}, umip, GP, 0, 0},
	{"str", 3, 3, {0x0f, 0x00, 0xc8}, umip, GP, 0, 0},
	{"sgdt", 3, 3, {0x0f, 0x01, 0x03}, umip, GP, 0, 0},
	{"sidt", 3, 3, {0x0f, 0x01, 0x0b}, umip, GP, 0, 0},
	{"rdtsc", 3, 2, {0x0f, 0x31}, tsd, GP, 0, 0},
	{"rdpmc", 0, 2, {0x0f, 0x33}, nothing, GP, 0, 0},
	/* Reserved bits. */
	{"cr0: upper half", 0, 3, {0x0f, 0x22, 0xc0}, high_rax, GP, 0, 0},
	{"cr0: NW without CD", 0, 3, {0x0f, 0x22, 0xc0}, nw_without_cd, GP, 0, 0},
	{"cr0: PG without PE", 0, 3, {0x0f, 0x22, 0xc0}, no_pe, GP, 0, 0},
	{"cr0: PG in 64-bit mode", 0, 3, {0x0f, 0x22, 0xc0}, no_pg, GP, 0, 0},
	{"cr3: beyond 40 bits", 0, 3, {0x0f, 0x22, 0xd8}, cr3_high, GP, 0, 0},
	{"cr3: bit 63", 0, 3, {0x0f, 0x22, 0xd8}, cr3_top, GP, 0, 0},
	{"cr4: not of the model", 0, 3, {0x0f, 0x22, 0xe0}, cr4_unknown, GP, 0, 0},
	{"cr4: upper half", 0, 3, {0x0f, 0x22, 0xe0}, cr4_high, GP, 0, 0},
	{"cr4: PAE", 0, 3, {0x0f, 0x22, 0xe0}, no_pae, GP, 0, 0},
	{"cr8", 0, 4, {0x44, 0x0f, 0x22, 0xc0}, cr8_big, GP, 0, 0},
	{"dr6: upper half", 0, 3, {0x0f, 0x23, 0xf0}, dr_high, GP, 0, 0},
	{"dr7: upper half", 0, 3, {0x0f, 0x23, 0xf8}, dr_high, GP, 0, 0},
	{"dr4 with DE", 0, 3, {0x0f, 0x23, 0xe0}, de, UD, 0, 0},
	{"read dr5 with DE", 0, 3, {0x0f, 0x21, 0xe8}, de, UD, 0, 0},
	{"efer: unknown bit", 0, 2, {0x0f, 0x30}, efer_unknown, GP, 0, 0},
	{"efer: LME while paging", 0, 2, {0x0f, 0x30}, efer_lme, GP, 0, 0},
	{"wrmsr: unknown", 0, 2, {0x0f, 0x30}, unknown_msr, GP, 0, 0},
	{"rdmsr: unknown", 0, 2, {0x0f, 0x32}, unknown_msr, GP, 0, 0},
	{"wrmsr: LSTAR", 0, 2, {0x0f, 0x30}, odd_lstar, GP, 0, 0},
	{"wrmsr: KERNEL_GS_BASE", 0, 2, {0x0f, 0x30}, odd_kernel_gs, GP, 0, 0},
	{"wrmsr: FS_BASE", 0, 2, {0x0f, 0x30}, odd_fs, GP, 0, 0},
	{"wrmsr: PAT type 2", 0, 2, {0x0f, 0x30}, odd_pat, GP, 0, 0},
	{"wrmsr: PAT type 14", 0, 2, {0x0f, 0x30}, big_pat, GP, 0, 0},
	/* Operands. */
	{"lgdt: operand", 0, 3, {0x0f, 0x01, 0x13}, bad_rbx, PF, 0, CR2_RBX},
	{"lgdt: odd operand", 0, 3, {0x0f, 0x01, 0x13}, odd_rbx, GP, 0, 0},
	{"lgdt: operand across the edge", 0, 3, {0x0f, 0x01, 0x13}, edge_rbx, GP, 0, 0},
	{"lgdt: operand across pages", 0, 3, {0x0f, 0x01, 0x13}, end_rbx, PF, 0, USER_DATA + KERNEL_MAPPED},
	{"lgdt: odd base", 0, 3, {0x0f, 0x01, 0x13}, table_odd, GP, 0, 0},
	{"lidt: odd base", 0, 3, {0x0f, 0x01, 0x1b}, table_odd, GP, 0, 0},
	{"sgdt: read-only", 0, 3, {0x0f, 0x01, 0x03}, read_only_rbx, PF, 3, CR2_RBX},
	{"sgdt: kernel page", 3, 3, {0x0f, 0x01, 0x03}, bad_rbx, PF, 6, CR2_RBX},
	{"sldt: read-only", 3, 3, {0x0f, 0x00, 0x03}, read_only_rbx, PF, 7, CR2_RBX},
	{"lmsw: operand", 0, 3, {0x0f, 0x01, 0x33}, bad_rbx, PF, 0, CR2_RBX},
	{"lldt: operand", 0, 3, {0x0f, 0x00, 0x13}, bad_rbx, PF, 0, CR2_RBX},
	/* Selectors. */
	{"lldt: of the LDT", 0, 3, {0x0f, 0x00, 0xd0}, of_ldt, GP, 0x0c, 0},
	{"lldt: a TSS", 0, 3, {0x0f, 0x00, 0xd0}, tss, GP, SEL_TSS, 0},
	{"lldt: absent", 0, 3, {0x0f, 0x00, 0xd0}, absent_ldt, NP, SEL_LDT, 0},
	{"lldt: beyond", 0, 3, {0x0f, 0x00, 0x13}, beyond, GP, SEL_LIMIT + 1, 0},
	{"lldt: cut off", 0, 3, {0x0f, 0x00, 0xd0}, cut_ldt, GP, SEL_LDT, 0},
	{"lldt: type in the upper half", 0, 3, {0x0f, 0x00, 0xd0}, upper_type, GP, SEL_LDT, 0},
	{"ltr: null", 0, 3, {0x0f, 0x00, 0xd8}, null, GP, 0, 0},
	{"ltr: of the LDT", 0, 3, {0x0f, 0x00, 0xd8}, of_ldt, GP, 0x0c, 0},
	{"ltr: busy", 0, 3, {0x0f, 0x00, 0xd8}, busy_tss, GP, SEL_TSS, 0},
	{"ltr: 16-bit", 0, 3, {0x0f, 0x00, 0xd8}, tss16, GP, SEL_TSS, 0},
	{"ltr: absent", 0, 3, {0x0f, 0x00, 0xd8}, absent_tss, NP, SEL_TSS, 0},
	{"ltr: odd base", 0, 3, {0x0f, 0x00, 0xd8}, odd_base, GP, SEL_TSS, 0},
	{"ltr: read-only GDT", 0, 3, {0x0f, 0x00, 0xd8}, read_only_gdt, PF, 3, KERNEL_GDT + SEL_TSS + 4},
	{"mov ss: null of ring 3", 3, 2, {0x8e, 0xd0}, null, GP, 0, 0},
	{"mov ss: null of another RPL", 0, 2, {0x8e, 0xd0}, null_1, GP, 0, 0},
	{"mov ss: read-only", 0, 2, {0x8e, 0xd0}, read_only_data, GP, SEL_FREE, 0},
	{"mov ss: DPL", 0, 2, {0x8e, 0xd0}, outer_stack, GP, SEL_FREE, 0},
	{"mov ss: RPL", 0, 2, {0x8e, 0xd0}, stack_rpl, GP, SEL_FREE, 0},
	{"mov ss: absent", 0, 2, {0x8e, 0xd0}, absent_data, SS, SEL_FREE, 0},
	{"mov ds: beyond", 0, 2, {0x8e, 0xd8}, beyond, GP, SEL_LIMIT + 1, 0},
	{"mov ds: cut off", 0, 2, {0x8e, 0xd8}, cut_data, GP, SEL_FREE, 0},
	{"mov ds: beyond the LDT", 0, 2, {0x8e, 0xd8}, beyond_ldt, GP, 0x84, 0},
	{"mov ds: no LDT", 0, 2, {0x8e, 0xd8}, no_ldt, GP, 0x0c, 0},
	{"mov ds: a TSS", 0, 2, {0x8e, 0xd8}, system_segment, GP, SEL_TSS, 0},
	{"mov ds: a TSS cut off", 0, 2, {0x8e, 0xd8}, system_at_the_end, GP, SEL_FREE, 0},
	{"mov ds: execute-only", 3, 2, {0x8e, 0xd8}, execute_only, GP, SEL_FREE, 0},
	{"mov ds: inner", 3, 2, {0x8e, 0xd8}, inner_data, GP, SEL_FREE, 0},
	{"mov es: RPL", 0, 2, {0x8e, 0xc0}, rpl_too_low, GP, SEL_FREE, 0},
	{"mov fs: absent", 3, 2, {0x8e, 0xe0}, absent_user_data, NP, SEL_FREE, 0},
	{"mov gs: mark", 0, 2, {0x8e, 0xe8}, unmarked_in_read_only_gdt, PF, 3, KERNEL_GDT + SEL_FREE + 4},
	{"mov ds, [rbx]", 3, 2, {0x8e, 0x1b}, bad_rbx, PF, 4, CR2_RBX},
	{"pop fs: stack", 0, 2, {0x0f, 0xa1}, bad_rsp, PF, 0, KERNEL_UNMAPPED},
	{"pop gs: odd stack", 0, 2, {0x0f, 0xa9}, odd_rsp, SS, 0, 0},
	/* IRET. */
	{"iret: NT", 0, 2, {0x48, 0xcf}, nt, GP, 0, 0},
	{"iret: odd stack", 0, 2, {0x48, 0xcf}, odd_rsp, SS, 0, 0},
	{"iret: stack", 0, 2, {0x48, 0xcf}, bad_rsp, PF, 0, KERNEL_UNMAPPED + 16},
	{"iret: stack of ring 3", 3, 2, {0x48, 0xcf}, short_rsp, PF, 4, USER_STACK + KERNEL_MAPPED},
	{"iret: SS:RSP missing", 0, 2, {0x48, 0xcf}, stack_ends, PF, 0, KERNEL_STACK + KERNEL_MAPPED + 8},
	{"iret: CS before SS:RSP", 0, 2, {0x48, 0xcf}, cs_bad_before_stack, GP, SEL_DATA, 0},
	{"iret: CS null", 0, 2, {0x48, 0xcf}, cs_null, GP, 0, 0},
	{"iret: CS beyond", 0, 2, {0x48, 0xcf}, cs_beyond, GP, 0x1000, 0},
	{"iret: CS data", 0, 2, {0x48, 0xcf}, cs_data, GP, SEL_DATA, 0},
	{"iret: inwards", 3, 2, {0x48, 0xcf}, cs_rpl, GP, SEL_CODE, 0},
	{"iret: CS DPL", 0, 2, {0x48, 0xcf}, cs_dpl, GP, SEL_CODE, 0},
	{"iret: conforming CS of an outer ring", 0, 2, {0x48, 0xcf}, cs_conforming_inner, GP, SEL_FREE, 0},
	{"iret: CS absent", 0, 2, {0x48, 0xcf}, cs_absent, NP, SEL_FREE, 0},
	{"iret: CS with L and D", 0, 2, {0x48, 0xcf}, cs_long_and_32, GP, SEL_FREE, 0},
	{"iret: SS null in ring 3", 0, 2, {0x48, 0xcf}, ss_null_user, GP, 0, 0},
	{"iret: SS null of another RPL", 0, 2, {0x48, 0xcf}, ss_null_rpl, GP, 0, 0},
	{"iret: SS null for 32-bit code", 0, 2, {0x48, 0xcf}, ss_null_code32, GP, 0, 0},
	{"iret: SS RPL", 0, 2, {0x48, 0xcf}, ss_rpl, GP, SEL_USER_DATA, 0},
	{"iret: SS DPL", 0, 2, {0x48, 0xcf}, ss_dpl, GP, SEL_DATA, 0},
	{"iret: SS beyond", 0, 2, {0x48, 0xcf}, ss_beyond, GP, SEL_LIMIT + 1, 0},
	{"iret: SS code", 0, 2, {0x48, 0xcf}, ss_code, GP, SEL_CODE, 0},
	{"iret: SS read-only", 0, 2, {0x48, 0xcf}, ss_read_only, GP, SEL_FREE, 0},
	{"iret: SS absent", 0, 2, {0x48, 0xcf}, ss_absent, SS, SEL_FREE, 0},
	{"iret: odd RIP", 0, 2, {0x48, 0xcf}, rip_odd, GP, 0, 0},
	{"iret: EIP beyond the segment", 0, 2, {0x48, 0xcf}, eip_beyond, GP, 0, 0},
	/* Far RET. */
	{"retf: stack", 0, 2, {0x48, 0xcb}, bad_rsp, PF, 0, KERNEL_UNMAPPED + 8},
	{"retf: inwards", 3, 2, {0x48, 0xcb}, cs_rpl, GP, SEL_CODE, 0},
	{"retf: CS absent", 0, 2, {0x48, 0xcb}, cs_absent, NP, SEL_FREE, 0},
	{"retf: odd RIP", 0, 2, {0x48, 0xcb}, rip_odd, GP, 0, 0},
	{"sysret: odd RIP", 0, 3, {0x48, 0x0f, 0x07}, odd_rcx, GP, 0, 0},
	/* Ports. */
	{"in: denied", 3, 1, {0xec}, denied, GP, 0, 0},
	{"in: last byte denied", 3, 1, {0xed}, denied_last, GP, 0, 0},
	{"out: next byte of the map", 3, 1, {0xef}, denied_across, GP, 0, 0},
	{"in: beyond the map", 3, 1, {0xec}, beyond_bitmap, GP, 0, 0},
	{"out: no map", 3, 1, {0xee}, no_bitmap, GP, 0, 0},
	{"in: map missing", 3, 1, {0xec}, bitmap_missing, PF, 0, KERNEL_TSS + KERNEL_MAPPED},
	{"insb: memory", 0, 1, {0x6c}, string_bad, PF, 2, KERNEL_UNMAPPED + 1},
	{"rep outsd: memory", 0, 2, {0xf3, 0x6f}, string_bad, PF, 0, KERNEL_UNMAPPED + 1},
	{"rep insd: edge", 0, 2, {0xf3, 0x6d}, string_odd, GP, 0, 0},
	{"outsd: edge", 0, 1, {0x6f}, string_odd, GP, 0, 0},
};

static void check_fault(const struct faulting *f)
{
	bool has_error = f->vector == GP || f->vector == NP || f->vector == SS || f->vector == PF;
	uint64_t cr2 = f->cr2 == CR2_RBX ? RBX : f->cr2;

	ck_assert_msg(e.trap.vector == f->vector, "%s: vector %u", f->name, e.trap.vector);
	ck_assert_msg(e.trap.has_error == has_error, "%s: error code or none", f->name);
	if (has_error)
		ck_assert_msg(e.trap.error == f->error, "%s: error %#x", f->name, e.trap.error);
	if (f->vector == PF)
		ck_assert_msg(e.trap.cr2 == cr2, "%s: CR2 %#lx", f->name, (unsigned long)e.trap.cr2);
}

START_TEST(faults_change_nothing)
{
	const struct faulting *f = &faulting[_i];
	static struct cpu_state before;
	static uint8_t ram[GUEST_RAM];

	execute_start(&e, f->cpl);
	RBX = USER_DATA + 0x100;
	kernel_poke(&e.guest, CS.rip, f->bytes, f->size);
	f->prepare();
	before = CS;
	memcpy(ram, guest_ram(&e.guest, 0), GUEST_RAM);
	ck_assert_msg(execute_bytes(&e, f->bytes, f->size) == INSN_TRAP, "%s: no trap", f->name);
	check_fault(f);
	ck_assert_msg(!memcmp(&before, &CS, sizeof(before)), "%s: registers", f->name);
	ck_assert_msg(!memcmp(ram, guest_ram(&e.guest, 0), GUEST_RAM), "%s: memory", f->name);
	ck_assert_uint_eq(e.p.effects, 0);
	ck_assert_uint_eq(e.ports, 0);
	execute_end(&e);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("shadow_privileged_faults");

	tcase_add_loop_test(tcase, faults_change_nothing, 0, sizeof(faulting) / sizeof(*faulting));
	return run_case("shadow_privileged_faults", tcase);
}
