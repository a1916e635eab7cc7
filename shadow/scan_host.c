#include "shadow/scan_host.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include "guest/abi.h"
#include "shadow/insn.h"
#include "shadow/scan.h"
#include "vmm/cpu_model.h"
#include "vmm/cpu_state.h"
#include "vmm/image.h"
#include "vmm/kvm.h"
#include "vmm/probe.h"
#include "vmm/probe_guest.h"

/*
 * Does CR4.TSD not keep ring 3 from RDTSC? Then what else ring 3 can ask is the real CPU's, too. CPUID does not tell: a KVM that
 * runs ring 3 natively has it fault where the processor can.
 */
static int find_native(const struct kvm *k, struct kvm_cpuid2 *cpuid, bool *native)
{
	struct probe_result result;
	struct probe p;
	int r = probe_open(&p, k, cpuid);

	if (r < 0)
		return r;
	r = probe_start(&p, probe_enter, probe_rdtsc, CR4_TSD);
	if (r == 0)
		r = probe_run(&p, &result);
	if (r == 0)
		*native = result.stop != PROBE_EVENT || result.vector != TRAP_GP;
	probe_close(&p);
	return r;
}

int scan_host_find(const struct kvm *k, struct scan_host *host)
{
	struct kvm_cpuid2 *cpuid;
	uint32_t facts;
	int r = cpu_model_create(CPU_MODEL_BASE, k->supported, &cpuid, &facts);

	if (r < 0)
		return r;
	host->umip = facts & ABI_CPU_UMIP;
	r = find_native(k, cpuid, &host->native);
	free(cpuid);
	return r;
}

int scan_for_host(struct scan *s, const struct image *im, const struct kvm *k, struct scan_host *host,
		  struct image_reason *why)
{
	int r;

	*host = (struct scan_host){0};
	why->text[0] = '\0';
	r = scan_image(s, im, why);
	if (r < 0)
		return r;
	if (scan_asks_host(s))
		r = scan_host_find(k, host);
	if (r == 0)
		r = scan_verdict(s, host, why);
	if (r < 0)
		scan_free(s);
	return r;
}

static int open_and_find(struct scan_host *host)
{
	struct kvm k;
	int r = kvm_open(&k);

	if (r < 0)
		return r;
	r = scan_host_find(&k, host);
	kvm_close(&k);
	return r;
}

int scan_check(const struct image *im, struct image_reason *why)
{
	struct scan_host host = {0};
	bool known = false;
	struct scan s;
	int r;

	why->text[0] = '\0';
	if (im->enters_32 && im->kind != IMAGE_LINUX)
		return image_refuse(why, ENOTSUP, "it starts in 32-bit mode; from 64-bit mode on `penumbra ctl SOCKET mmu shadow` may do");
	r = scan_image(&s, im, why);
	if (r < 0)
		return r;
	if (scan_asks_host(&s) && access("/dev/kvm", R_OK | W_OK) == 0) {
		r = open_and_find(&host);
		known = r == 0;
	}
	if (r == 0)
		r = scan_verdict(&s, known ? &host : NULL, why);
	scan_free(&s);
	return r;
}
