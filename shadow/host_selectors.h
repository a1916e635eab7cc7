/*
 * Selectors that the guest kernel would load from the host's own GDT.
 *
 * Where ring 3 runs on the real CPU as it is, the descriptor table there is the host kernel's, and three of its entries are
 * open to ring 3: data at 0x28, 64-bit code at 0x30, and 0x78. A guest that has these selectors for itself loads the host's
 * without a trap: its IRETQ to 0x33 succeeds in ring 3, and its user code then runs on its kernel's page tables. So it is
 * refused, as soon as its GDT has them. Selectors that trap, all others, are emulated.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct cpu_state;
struct kvm;
struct mem;
struct shadow_vm;

enum host_selectors {
	HOST_SELECTORS_UNKNOWN, /* nobody had to know yet */
	HOST_SELECTORS_TRAP,
	HOST_SELECTORS_LOAD,
};

/*
 * A selector of the guest's that would be the host's: a segment for data at one of the three places, or code that ring 3 may go
 * to at 0x30. 0 if its GDT, as it is now, has none.
 */
uint16_t host_selectors_clash(struct mem *m, const struct cpu_state *cs);

/* Asks the host, by a tiny guest, whether ring 3 loads its selectors. Returns 0 or a logged -errno. */
int host_selectors_find(const struct kvm *k, bool *load);

/*
 * Before the guest runs on: ends the VM if its GDT has such a selector on a host where that matters. The host is asked at the
 * first that comes up.
 */
void host_selectors_check(struct shadow_vm *s);
