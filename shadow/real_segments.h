/*
 * Segment registers that ring 3 changed untrapped. A null selector loads into DS, ES, FS and GS without a fault, and what becomes
 * of the base of FS or GS then is the CPU's own matter: most clear it, older AMD processors keep it (APM vol. 2, 4.5.3).
 */
#pragma once

struct cpu_state;
struct kvm_sregs;

/*
 * Takes over what the real CPU has after a run: the bases of FS and GS, and selectors that have become null, where the host
 * tells (docs/shadow-guests.md). `real` was last written with selectors that are not null, and with cs's bases.
 */
void real_segments_take(struct cpu_state *cs, const struct kvm_sregs *real);
