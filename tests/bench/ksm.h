/*
 * The kernel's samepage merging, borrowed for a measurement: switched on with settings of ours, and put back afterwards as it was,
 * whichever way the program ends but SIGKILL.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum ksm_pace {
	KSM_FAST,    /* 5,000 pages a scan, every 20 ms */
	KSM_ADVISOR, /* as its advisor for scan times says */
};

/* Why that cannot be measured here, or NULL: no KSM, not allowed, in use by others, or no advisor in this kernel. */
const char *ksm_refuses(enum ksm_pace pace);

/* Begins to merge. What fails ends the benchmark. */
void ksm_borrow(enum ksm_pace pace);

/* Parts all that is merged, stops, and restores the settings. */
void ksm_return(void);

/* One of its figures; -1 where this kernel does not have it. */
int64_t ksm_figure(const char *name);

/* Processor time of its thread so far, s. */
double ksm_cpu_s(void);
