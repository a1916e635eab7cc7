/*
 * The direct MMU backend (--mmu=ept): the guest's own page tables run at ring 0, and KVM translates what they give with
 * whatever the host has (host_mmu.h). The name stands for the mode; what is really underneath is always told.
 */
#pragma once

#include "vmm/mmu.h"

extern const struct mmu_ops ept_mmu;
