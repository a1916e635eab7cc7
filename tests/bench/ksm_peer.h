/* What the kernel's KSM saves of the yardstick's memory, in anonymous pages of this process: in which time, for which effort. */
#pragma once

#include "tests/bench/ksm.h"
#include "tests/bench/savings.h"

/* For guests with so much RAM each. ksm_refuses() has said that it can be. */
struct savings ksm_measure(unsigned int mib, enum ksm_pace pace);

/* At 5,000 pages a scan; all zeros: that could not be measured. */
struct ksm_found {
	struct savings alone, beside; /* threads that are as busy as the guests (busy_threads.h) */
};

/* Those, and that of its advisor, a row for each; `oracle_kib` is what can be saved of zero and equal pages. */
struct ksm_found ksm_rows(struct grid *g, unsigned int mib, double oracle_kib);
