/*
 * Guests inside the test's own process: the library is called as the program calls it. What a guest prints goes into a
 * memory file of its own.
 */
#pragma once

#include "vmm/image.h"
#include "vmm/kvm.h"
#include "vmm/vm.h"

struct inside_guest {
	char *path;
	struct image image;
	int out;
	struct vm_config config; /* for vm_create() or fleet_launch(); tests may change it */
};

/* Opens KVM and prepares the process; close with kvm_close(). */
void inside_open(struct kvm *kvm);

/* `words`: an image's name and its arguments, such as "hello 7"; must outlive the guest. */
void inside_guest_open(struct inside_guest *g, const struct kvm *kvm, const char *words);
void inside_guest_close(struct inside_guest *g);

/* All that the guest has printed; the caller frees it. */
char *inside_output(const struct inside_guest *g);
