/*
 * The same by a peer: QEMU saves a guest of as much RAM, nearly all of it full, to a file while the guest runs (`migrate
 * "exec:cat > FILE"`), on KVM if it can, else by its emulator. Its file is not synced.
 */
#pragma once

#include <stdbool.h>

/* Whether there is a QEMU here. */
bool qemu_save_can(void);

/* What is compared, for a report. */
const char *qemu_save_what(void);

/* Starts a guest of so many MiB, saves it to `path`, which is removed again, and ends it. The time that QEMU says it took, ms. */
double qemu_save_ms(unsigned int mib, const char *path);
