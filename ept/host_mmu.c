#include "ept/host_mmu.h"

#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

#include "vmm/host_file.h"

struct vendor {
	const char *module, *parameter; /* the parameter that switches nested paging, NULL = has none */
	struct host_mmu with, without;
};

#define PLAIN .syscall_enters_ring0 = true

static const struct vendor vendors[] = {
	{"kvm_intel", "ept",
	 {"ept", "kvm_intel", "Intel EPT: nested paging in hardware", .nested = true, PLAIN},
	 {"kvm-shadow", "kvm_intel", "no EPT: KVM shadows the guest's page tables in the kernel", PLAIN}},
	{"kvm_amd", "npt",
	 {"npt", "kvm_amd", "AMD NPT: nested paging in hardware", .nested = true, PLAIN},
	 {"kvm-shadow", "kvm_amd", "no NPT: KVM shadows the guest's page tables in the kernel", PLAIN}},
	{"kvm_pvm", NULL,
	 {0},
	 {"pvm-shadow", "kvm_pvm",
	  "no hardware virtualisation: KVM shadows the guest's page tables and interprets its ring 0",
	  .ring0_interpreted = true}},
};

static bool module_present(const char *root, const char *module)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/sys/module/%s", root, module);
	return access(path, F_OK) == 0;
}

/* Module parameters of type bool read Y/N, older kernels show 1/0. */
static bool parameter_on(const char *root, const char *module, const char *parameter)
{
	char path[256], value[8];

	snprintf(path, sizeof(path), "/sys/module/%s/parameters/%s", module, parameter);
	return host_file_line(root, path, "", value, sizeof(value)) && (*value == 'Y' || *value == '1');
}

struct host_mmu host_mmu_detect(const char *root)
{
	for (size_t i = 0; i < sizeof(vendors) / sizeof(*vendors); i++) {
		const struct vendor *v = &vendors[i];

		if (module_present(root, v->module))
			return v->parameter && parameter_on(root, v->module, v->parameter) ? v->with : v->without;
	}
	if (module_present(root, "kvm"))
		return (struct host_mmu){.name = "unknown", .module = "", PLAIN,
					 .words = "KVM without a vendor module this program knows"};
	return (struct host_mmu){.name = "none", .module = "", .words = "no KVM"};
}
