/*
 * Instructions that tell a guest what no recording can know: they are neither trapped by KVM nor the same the next time
 * (docs/determinism.md).
 */
#pragma once

#include <stdbool.h>

struct image;
struct reason;

/*
 * Looks for them in the executable segments, byte after byte where there is no instruction. `native`: ring 3 runs on the real CPU, CPUID,
 * too. Returns 0: there is none; -EPERM with the reason, which names the first one, or says that the image cannot be looked into; or a
 * logged -errno. Code that comes into being later is not seen.
 */
int chance_find(const struct image *im, bool native, struct reason *why);

/* The same, for who is about to record it: the reason says what he can do. */
int chance_look(const struct image *im, bool native, struct reason *why);
