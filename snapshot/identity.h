/*
 * What makes a clone of a guest another guest.
 */
#pragma once

struct vm;

/*
 * The guest's RAM is that of its snapshot. A guest of abi.h that has kept the boot structure where it was finds its own number and
 * a new seed in it. Returns 0 or a logged -errno.
 */
int identity_renew(struct vm *vm);
