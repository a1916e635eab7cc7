/*
 * All state of a VM but RAM, as bytes: registers, clock, devices. It is loaded into the same VM, which is alive.
 *
 * All functions: the vCPU's thread, between guest runs.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct reason;
struct vm;

struct vm_state {
	uint8_t *bytes;
	size_t size, cpu; /* of these, the vCPU's are the first */
};

/* The guest stands between two instructions (boundary.h), and goes on afterwards. Returns 0 or a logged -errno. */
int vm_state_save(struct vm_state *s, struct vm *vm);
void vm_state_free(struct vm_state *s);

/* Whether the guest, which stands likewise, is as it was: 0; or 1 with the reason; or a logged -errno. */
int vm_state_compare(const struct vm_state *s, struct vm *vm, struct reason *why);

/*
 * The guest will not go on from where it is: what is half done in KVM is ended, and nobody sees anything of it. It may have ended, and
 * has not any more. vm_state_load() must follow. Returns 0 or a logged -errno.
 */
int vm_state_leave(struct vm *vm);

/* RAM is as it belongs to this state. Returns 0 or a logged -errno: then the VM cannot run any more. */
int vm_state_load(const struct vm_state *s, struct vm *vm);
