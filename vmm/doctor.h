/*
 * The parts of `penumbra doctor`. Each looks at one side of the host and adds its findings to the report; none of them
 * fails: what is wrong is a finding.
 */
#pragma once

#include "vmm/kvm.h"
#include "vmm/report.h"

struct program;

struct doctor {
	const struct program *program;
	struct report *report;
	struct kvm kvm; /* fd -1 = guests cannot run */
};

/* /dev/kvm (at `path`), and what keeps it from working; opens d->kvm if it works. `root` is "" but in tests. */
void doctor_device(struct doctor *d, const char *path, const char *root);

/* What is underneath, MMU modes, CPU models, interfaces of KVM. Needs d->kvm. */
void doctor_kvm(struct doctor *d);

/* What tiny guests find out when they run here. Needs d->kvm. */
void doctor_probes(struct doctor *d);

/* Memory, processors and limits, from the files below `root`, "" for the real ones. */
void doctor_host(struct doctor *d, const char *root);
