#include "vmm/vcpu_state.h"

#include <linux/kvm.h>
#include <stddef.h>
#include <string.h>

#include "vmm/cpu_state.h"
#include "vmm/ensure.h"
#include "vmm/kvm.h"
#include "vmm/vcpu.h"

_Static_assert(sizeof(struct kvm_xsave) == XSAVE_SIZE, "KVM's XSAVE area");

/* Where each general register lies in struct kvm_regs, by enum cpu_gpr. */
static const size_t gpr_offset[CPU_GPR_COUNT] = {
	[CPU_RAX] = offsetof(struct kvm_regs, rax), [CPU_RCX] = offsetof(struct kvm_regs, rcx),
	[CPU_RDX] = offsetof(struct kvm_regs, rdx), [CPU_RBX] = offsetof(struct kvm_regs, rbx),
	[CPU_RSP] = offsetof(struct kvm_regs, rsp), [CPU_RBP] = offsetof(struct kvm_regs, rbp),
	[CPU_RSI] = offsetof(struct kvm_regs, rsi), [CPU_RDI] = offsetof(struct kvm_regs, rdi),
	[CPU_R8] = offsetof(struct kvm_regs, r8),   [CPU_R9] = offsetof(struct kvm_regs, r9),
	[CPU_R10] = offsetof(struct kvm_regs, r10), [CPU_R11] = offsetof(struct kvm_regs, r11),
	[CPU_R12] = offsetof(struct kvm_regs, r12), [CPU_R13] = offsetof(struct kvm_regs, r13),
	[CPU_R14] = offsetof(struct kvm_regs, r14), [CPU_R15] = offsetof(struct kvm_regs, r15),
};

/* The same for struct kvm_sregs, by enum cpu_segment_name. */
static const size_t segment_offset[CPU_SEGMENT_COUNT] = {
	[CPU_ES] = offsetof(struct kvm_sregs, es),   [CPU_CS] = offsetof(struct kvm_sregs, cs),
	[CPU_SS] = offsetof(struct kvm_sregs, ss),   [CPU_DS] = offsetof(struct kvm_sregs, ds),
	[CPU_FS] = offsetof(struct kvm_sregs, fs),   [CPU_GS] = offsetof(struct kvm_sregs, gs),
	[CPU_LDTR] = offsetof(struct kvm_sregs, ldt), [CPU_TR] = offsetof(struct kvm_sregs, tr),
};

void vcpu_gprs_from_kvm(uint64_t gpr[CPU_GPR_COUNT], const struct kvm_regs *regs)
{
	for (unsigned int i = 0; i < CPU_GPR_COUNT; i++)
		memcpy(&gpr[i], (const uint8_t *)regs + gpr_offset[i], sizeof(gpr[i]));
}

void vcpu_gprs_to_kvm(struct kvm_regs *regs, const uint64_t gpr[CPU_GPR_COUNT])
{
	for (unsigned int i = 0; i < CPU_GPR_COUNT; i++)
		memcpy((uint8_t *)regs + gpr_offset[i], &gpr[i], sizeof(gpr[i]));
}

static struct kvm_segment *segment_of(struct kvm_sregs *sregs, unsigned int i)
{
	return (struct kvm_segment *)((uint8_t *)sregs + segment_offset[i]);
}

static struct cpu_segment get_segment(const struct kvm_segment *k)
{
	unsigned int attributes = k->type | k->s << 4 | k->dpl << 5 | k->present << 7 | k->avl << 8 | k->l << 9 |
				  k->db << 10 | k->g << 11;

	return (struct cpu_segment){.selector = k->selector, .attributes = (uint16_t)attributes, .limit = k->limit,
				    .base = k->base};
}

static struct kvm_segment set_segment(const struct cpu_segment *c)
{
	unsigned int a = c->attributes;

	return (struct kvm_segment){
		.base = c->base, .limit = c->limit, .selector = c->selector,
		.type = a & 15, .s = a >> 4 & 1, .dpl = a >> 5 & 3, .present = a >> 7 & 1, .avl = a >> 8 & 1,
		.l = a >> 9 & 1, .db = a >> 10 & 1, .g = a >> 11 & 1, .unusable = !(a >> 7 & 1),
	};
}

static int get_regs(struct vcpu *v, struct cpu_state *cs)
{
	struct kvm_regs regs;
	int r = kvm_get_regs(v->fd, &regs);

	if (r < 0)
		return r;
	vcpu_gprs_from_kvm(cs->gpr, &regs);
	cs->rip = regs.rip;
	cs->rflags = regs.rflags;
	return 0;
}

static int set_regs(struct vcpu *v, const struct cpu_state *cs)
{
	struct kvm_regs regs = {.rip = cs->rip, .rflags = cs->rflags};

	vcpu_gprs_to_kvm(&regs, cs->gpr);
	return kvm_set_regs(v->fd, &regs);
}

static int get_sregs(struct vcpu *v, struct cpu_state *cs)
{
	struct kvm_sregs sregs;
	int r = kvm_get_sregs(v->fd, &sregs);

	if (r < 0)
		return r;
	for (unsigned int i = 0; i < CPU_SEGMENT_COUNT; i++)
		cs->segment[i] = get_segment(segment_of(&sregs, i));
	cs->gdt = (struct cpu_table){sregs.gdt.base, sregs.gdt.limit};
	cs->idt = (struct cpu_table){sregs.idt.base, sregs.idt.limit};
	cs->cr0 = sregs.cr0;
	cs->cr2 = sregs.cr2;
	cs->cr3 = sregs.cr3;
	cs->cr4 = sregs.cr4;
	cs->cr8 = sregs.cr8;
	cs->efer = sregs.efer;
	return 0;
}

static int set_sregs(struct vcpu *v, const struct cpu_state *cs)
{
	/* apic_base: where the model would have an APIC; KVM wants a valid address even without one. */
	struct kvm_sregs sregs = {
		.gdt = {.base = cs->gdt.base, .limit = cs->gdt.limit},
		.idt = {.base = cs->idt.base, .limit = cs->idt.limit},
		.cr0 = cs->cr0, .cr2 = cs->cr2, .cr3 = cs->cr3, .cr4 = cs->cr4, .cr8 = cs->cr8, .efer = cs->efer,
		.apic_base = 0xfee00000,
	};

	for (unsigned int i = 0; i < CPU_SEGMENT_COUNT; i++)
		*segment_of(&sregs, i) = set_segment(&cs->segment[i]);
	/* Without a local APIC in the kernel KVM_RUN takes CR8 from here. */
	v->run->cr8 = cs->cr8;
	return kvm_set_sregs(v->fd, &sregs);
}

struct msr_block {
	struct kvm_msrs head;
	struct kvm_msr_entry entries[CPU_MSR_COUNT];
};

/* MSRs first..first + count - 1 of the model, with the values that are in `values`. */
static struct msr_block msr_block(unsigned int first, unsigned int count, const uint64_t *values)
{
	struct msr_block b = {.head.nmsrs = count};

	for (unsigned int i = 0; i < count; i++)
		b.entries[i] = (struct kvm_msr_entry){.index = cpu_msr_number[first + i], .data = values[i]};
	return b;
}

static int get_msrs(struct vcpu *v, struct cpu_state *cs)
{
	struct msr_block b = msr_block(0, CPU_MSR_COUNT, cs->msr);
	int r = kvm_get_msrs(v->fd, &b.head);

	for (unsigned int i = 0; i < CPU_MSR_COUNT && r == 0; i++)
		cs->msr[i] = b.entries[i].data;
	return r;
}

static int set_msrs(struct vcpu *v, const struct cpu_state *cs)
{
	struct msr_block b = msr_block(0, CPU_MSR_COUNT, cs->msr);

	return kvm_set_msrs(v->fd, &b.head);
}

int vcpu_read_msr(struct vcpu *v, enum cpu_msr msr, uint64_t *value)
{
	struct msr_block b = msr_block(msr, 1, &(uint64_t){0});
	int r = kvm_get_msrs(v->fd, &b.head);

	*value = b.entries[0].data;
	return r;
}

int vcpu_write_msr(struct vcpu *v, enum cpu_msr msr, uint64_t value)
{
	struct msr_block b = msr_block(msr, 1, &value);

	return kvm_set_msrs(v->fd, &b.head);
}

static int get_debugregs(struct vcpu *v, struct cpu_state *cs)
{
	struct kvm_debugregs dr;
	int r = kvm_get_debugregs(v->fd, &dr);

	if (r < 0)
		return r;
	memcpy(cs->dr, dr.db, sizeof(cs->dr));
	cs->dr6 = dr.dr6;
	cs->dr7 = dr.dr7;
	return 0;
}

static int set_debugregs(struct vcpu *v, const struct cpu_state *cs)
{
	struct kvm_debugregs dr = {.dr6 = cs->dr6, .dr7 = cs->dr7};

	memcpy(dr.db, cs->dr, sizeof(dr.db));
	return kvm_set_debugregs(v->fd, &dr);
}

static int get_events(struct vcpu *v, struct cpu_state *cs)
{
	struct kvm_vcpu_events e;
	int r = kvm_get_events(v->fd, &e);

	if (r < 0)
		return r;
	cs->exception = (struct cpu_event){.valid = e.exception.injected || e.exception.pending,
					   .vector = e.exception.nr,
					   .has_error = e.exception.has_error_code,
					   .error = e.exception.error_code};
	cs->interrupt = (struct cpu_event){.valid = e.interrupt.injected && !e.interrupt.soft,
					   .vector = e.interrupt.nr};
	/* What is over leaves no trace: KVM tells the last vector for ever. */
	if (!cs->exception.valid)
		cs->exception = (struct cpu_event){0};
	if (!cs->interrupt.valid)
		cs->interrupt = (struct cpu_event){0};
	cs->interrupt_shadow = e.interrupt.shadow;
	cs->nmi_masked = e.nmi.masked;
	return 0;
}

static int set_events(struct vcpu *v, const struct cpu_state *cs)
{
	struct kvm_vcpu_events e = {
		.flags = KVM_VCPUEVENT_VALID_SHADOW,
		.exception = {.injected = cs->exception.valid, .nr = cs->exception.vector,
			      .has_error_code = cs->exception.has_error, .error_code = cs->exception.error},
		.interrupt = {.injected = cs->interrupt.valid, .nr = cs->interrupt.vector,
			      .shadow = cs->interrupt_shadow ? KVM_X86_SHADOW_INT_STI : 0},
		.nmi = {.masked = cs->nmi_masked},
	};

	return kvm_set_events(v->fd, &e);
}

static int get_xsave(struct vcpu *v, struct cpu_state *cs)
{
	struct kvm_xsave xsave;
	int r = kvm_get_xsave(v->fd, &xsave);

	if (r < 0)
		return r;
	memcpy(cs->xsave, &xsave, sizeof(cs->xsave));
	xsave_unpack(cs->xsave);
	return 0;
}

static int set_xsave(struct vcpu *v, const struct cpu_state *cs)
{
	struct kvm_xsave xsave;

	memcpy(&xsave, cs->xsave, sizeof(xsave));
	return kvm_set_xsave(v->fd, &xsave);
}

/* In the order of setting: setting registers drops a pending exception, so events come last. */
static const struct {
	enum vcpu_part part;
	int (*get)(struct vcpu *, struct cpu_state *);
	int (*set)(struct vcpu *, const struct cpu_state *);
} parts_table[] = {
	{VCPU_SREGS, get_sregs, set_sregs},
	{VCPU_REGS, get_regs, set_regs},
	{VCPU_MSRS, get_msrs, set_msrs},
	{VCPU_XSAVE, get_xsave, set_xsave},
	{VCPU_DEBUGREGS, get_debugregs, set_debugregs},
	{VCPU_EVENTS, get_events, set_events},
};

#define PARTS (sizeof(parts_table) / sizeof(*parts_table))

int vcpu_get_parts(struct vcpu *v, struct cpu_state *cs, unsigned int parts)
{
	int r = 0;

	for (unsigned int i = 0; i < PARTS && r == 0; i++)
		if (parts & parts_table[i].part)
			r = parts_table[i].get(v, cs);
	return r;
}

int vcpu_set_parts(struct vcpu *v, const struct cpu_state *cs, unsigned int parts)
{
	int r = 0;

	for (unsigned int i = 0; i < PARTS && r == 0; i++)
		if (parts & parts_table[i].part)
			r = parts_table[i].set(v, cs);
	return r;
}

int vcpu_get_state(struct vcpu *v, struct cpu_state *cs)
{
	memset(cs, 0, sizeof(*cs));
	cs->halted = v->halted;
	return vcpu_get_parts(v, cs, VCPU_ALL);
}

/*
 * KVM tells once per exit whether an interrupt may be injected; after an import it has not told anything yet, so the
 * shared area is made to say what the imported state says.
 */
static void set_readiness(struct vcpu *v, const struct cpu_state *cs)
{
	v->run->if_flag = (cs->rflags & RFLAGS_IF) != 0;
	v->run->ready_for_interrupt_injection = v->run->if_flag && !cs->interrupt_shadow && !cs->interrupt.valid &&
						!cs->exception.valid;
}

int vcpu_set_state(struct vcpu *v, const struct cpu_state *cs)
{
	v->halted = cs->halted;
	set_readiness(v, cs);
	return vcpu_set_parts(v, cs, VCPU_ALL);
}
