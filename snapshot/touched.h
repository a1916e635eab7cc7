/*
 * Which pages of guest RAM hold anything of its own: a page that nobody has touched is zero, and looking at it would touch it; where RAM
 * is backed (mem.h), one that nobody has written is as in the file.
 */
#pragma once

#include <stdint.h>

struct mem;
struct reason;

/* About how many bytes that is at the moment, as a hint. Any thread. 0 if it cannot be known. */
uint64_t touched_bytes(const struct mem *m);

/*
 * The vCPU's thread: calls `found` for every range [gpa, gpa + size) of one region that may be other than zero, or than in
 * the backing file, in ascending order, as long as it returns 0; not for RAM with absent pages. Returns 0, what `found` returned, or -errno with the reason.
 */
int touched_walk(const struct mem *m, int (*found)(void *arg, uint64_t gpa, uint64_t size), void *arg, struct reason *why);
