/*
 * Instructions that a guest means for ring 0, or for its own descriptor tables, and that do not fault in ring 3: under
 * --mmu=shadow they would run and give a wrong answer. What becomes of each is here; finding them is scan.h's work. The list for
 * guest authors is docs/shadow-guests.md. Sources: AMD APM vol. 3, Intel SDM vol. 2; what hosts do was measured.
 */
#pragma once

#include <Zydis/Zydis.h>
#include <stdbool.h>

/* What is to be done about an instruction; the last ones depend on the host. */
enum scan_rule_verdict {
	RULE_ALLOW,
	RULE_PATCH,	   /* a trap in its place, see patch.h */
	RULE_REFUSE,
	RULE_REFUSE_NATIVE, /* refused where ring 3 runs on the real CPU as it is */
	RULE_REFUSE_NO_UMIP, /* refused where the CPU model lacks UMIP, which makes it fault */
};

struct scan_rule {
	ZydisMnemonic mnemonic;
	bool (*is_meant)(const ZydisDecodedInstruction *in); /* which of the mnemonic's forms; NULL = all */
	enum scan_rule_verdict kernel, user;
	const char *why;    /* "reads ..." */
	const char *instead; /* what to do */
};

/* What the rules have to know of a host. */
struct scan_host {
	bool native; /* ring 3 runs on the real CPU: its CR4, and mostly its CPUID */
	bool umip;
};

/* The rule for an instruction, or NULL: it may stand anywhere. */
const struct scan_rule *scan_rule_find(const ZydisDecodedInstruction *in);

/* Does the verdict depend on the host? */
bool scan_rule_asks_host(enum scan_rule_verdict v);

/* RULE_ALLOW, RULE_PATCH or RULE_REFUSE. */
enum scan_rule_verdict scan_rule_decide(enum scan_rule_verdict v, const struct scan_host *host);
