/*
 * The scan of an image for instructions that a guest kernel in ring 3 would execute without a trap and with a wrong result
 * (scan_rules.h).
 *
 * Executable segments are swept instruction by instruction. With symbols in a segment, each function or label is swept from
 * its start to its end (or the next symbol, if its size is not told), and what lies between functions is taken for data.
 * Without, the whole segment is swept from its start, one byte further wherever the bytes are no instruction. What is found
 * is sure only inside a symbol whose bytes have all decoded so far; elsewhere it may be data, so nothing is patched there.
 *
 * A segment is user code if it has symbols, all of its functions and labels begin with SCAN_USER_PREFIX, and the entry
 * point is not in it. Everything else is the kernel's. Code that is not in the image's segments is not seen.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shadow/scan_rules.h"

struct image;
struct image_reason;

#define SCAN_USER_PREFIX "user_"
#define SCAN_MAX_CODE (256u << 20) /* bytes of one segment */
#define SCAN_MAX_SITES (1u << 20)
#define SCAN_REACH 8u /* bytes kept on either side of an instruction's last byte */

/* One instruction that has a rule. */
struct scan_site {
	uint64_t gva, gpa;
	const struct scan_rule *rule;
	uint8_t length;
	bool user, sure;
	uint8_t before, size; /* of `bytes` that precede the instruction's last byte, and in all */
	uint8_t bytes[2 * SCAN_REACH + 1];
};

struct scan {
	const struct image *image; /* not owned, open */
	struct scan_site *site;	   /* ascending gva within a segment, none of them allowed on every host */
	size_t count;
};

/* Sweeps the image. Returns 0, a logged -errno, or -ENOTSUP (not logged) with a reason: too much code. */
int scan_image(struct scan *s, const struct image *im, struct image_reason *why);
void scan_free(struct scan *s);

/* Is there a site whose verdict depends on the host? */
bool scan_asks_host(const struct scan *s);

/* RULE_ALLOW, RULE_PATCH or RULE_REFUSE. */
enum scan_rule_verdict scan_decide(const struct scan_site *site, const struct scan_host *host);

/*
 * Returns 0 if the image can run, or -ENOTSUP with a reason that names the first instruction refused, or a logged -errno.
 * host NULL: not known; then what depends on it is a reason, too.
 */
int scan_verdict(const struct scan *s, const struct scan_host *host, struct image_reason *why);
