/*
 * What a VM is, as a manifest says it.
 */
#pragma once

struct manifest;
struct vm;

/*
 * Fills *m, which is all zero, but for the image's size and checksum; free it with manifest_free(), after a failure, too. The
 * vCPU's thread. Returns 0 or -ENOMEM (not logged).
 */
int describe_vm(struct manifest *m, const struct vm *vm);
