#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/cpu_model.h"
#include "vmm/doctor.h"
#include "vmm/host_file.h"
#include "vmm/mmu.h"
#include "vmm/program.h"

/* The lab brings its own KVM, so it is the way out wherever the host's cannot be had. */
#define USE_LAB "or run in the lab, an emulated machine with nested paging: tests/lab/lab -- build/penumbra run IMAGE"

/* Is `flag` among the CPU's flags, as root/proc/cpuinfo tells them? */
static bool cpu_has(const char *root, const char *flag)
{
	char flags[8192], *rest;

	host_file_line(root, "/proc/cpuinfo", "flags", flags, sizeof(flags));
	for (char *word = strtok_r(flags, " \t", &rest); word; word = strtok_r(NULL, " \t", &rest))
		if (!strcmp(word, flag))
			return true;
	return false;
}

static void advise_on_absence(struct report *r, const char *root)
{
	bool vmx = cpu_has(root, "vmx");

	if (vmx || cpu_has(root, "svm"))
		report_mean(r, "load KVM: sudo modprobe %s; if that says it is not supported, switch virtualisation on in "
			    "the firmware's set-up, " USE_LAB, vmx ? "kvm_intel" : "kvm_amd");
	else if (cpu_has(root, "hypervisor"))
		report_mean(r, "this is a virtual machine, and its host gives it no virtualisation of its own: switch "
			    "nested virtualisation on there (a CPU of the host's kind, module parameter nested=1), " USE_LAB);
	else
		report_mean(r, "this CPU shows neither VMX nor SVM: look for a switch in the firmware's set-up, " USE_LAB);
}

static void advise_on_permission(struct report *r, const char *path)
{
	struct group *group = NULL;
	struct stat st;

	if (stat(path, &st) == 0)
		group = getgrgid(st.st_gid);
	if (group && st.st_gid && (st.st_mode & S_IRGRP) && (st.st_mode & S_IWGRP))
		report_mean(r, "join the group that may use it: sudo usermod -aG %s $USER, then log in anew", group->gr_name);
	else
		report_mean(r, "only its owner may use it: run as root, or let a group in: sudo chgrp kvm %s; sudo chmod "
			    "g+rw %s", path, path);
}

static void device_fails(struct report *r, int error, const char *path, const char *root)
{
	report_add(r, FINDING_BAD, "device", "%s: %s", path, strerrordesc_np(error));
	if (error == ENOENT || error == ENODEV || error == ENXIO)
		advise_on_absence(r, root);
	else if (error == EACCES || error == EPERM)
		advise_on_permission(r, path);
	else
		report_mean(r, "something else is wrong with it, " USE_LAB);
}

/* Can a VM be made? */
static bool try_vm(struct doctor *d)
{
	int fd = kvm_create_vm(&d->kvm);

	if (fd >= 0) {
		close(fd);
		return true;
	}
	report_add(d->report, FINDING_BAD, "device", "no VM can be made: %s", strerrordesc_np(-fd));
	report_mean(d->report, "%s", fd == -EBUSY ? "another hypervisor holds the CPU's virtualisation: stop it"
						  : "the kernel's log (dmesg) may say why");
	return false;
}

static bool check_interfaces(struct doctor *d, const char *path, int fd)
{
	const char *missing = kvm_lacks(fd);
	struct stat st;

	if (!missing)
		return true;
	if (fstat(fd, &st) || !S_ISCHR(st.st_mode) || !kvm_capability(fd, KVM_CAP_USER_MEMORY)) {
		report_add(d->report, FINDING_BAD, "device", "%s is not KVM", path);
		report_mean(d->report, "something else lies in its place: remove it and load KVM anew");
	} else {
		report_add(d->report, FINDING_BAD, "device", "this KVM has no %s", missing);
		report_mean(d->report, "guests need it: use a newer kernel, " USE_LAB);
	}
	return false;
}

void doctor_device(struct doctor *d, const char *path, const char *root)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	bool good;

	d->report->section = "KVM";
	if (fd < 0) {
		device_fails(d->report, errno, path, root);
		return;
	}
	good = check_interfaces(d, path, fd);
	close(fd);
	if (!good)
		return;
	if (kvm_open(&d->kvm) < 0) {
		report_add(d->report, FINDING_BAD, "device", "%s does not answer rightly", path);
		report_mean(d->report, "the line on standard error says what it did");
	} else if (!try_vm(d)) {
		kvm_close(&d->kvm);
	} else {
		report_add(d->report, FINDING_OK, "device", "%s works, API %d", path, KVM_API_VERSION);
		report_mean(d->report, "guests can run");
	}
}

static void add_underneath(struct doctor *d)
{
	const struct program *p = d->program;

	report_add(d->report, p->host_mmu_nested ? FINDING_OK : FINDING_NOTE, "underneath", "%s", p->host_mmu);
	if (p->host_mmu_nested)
		report_mean(d->report, "%s", p->host_mmu_words);
	else
		report_mean(d->report, "%s. So --mmu=ept is not nested paging here: guests run the same, but a time or a "
			    "count taken here says nothing about EPT or NPT", p->host_mmu_words);
}

static void add_modes(struct doctor *d)
{
	char names[96] = "";

	for (const struct mmu_ops *const *m = d->program->mmus; *m; m++)
		snprintf(names + strlen(names), sizeof(names) - strlen(names), "%s--mmu=%s", *names ? ", " : "", (*m)->name);
	report_add(d->report, FINDING_OK, "MMU modes", "%s", names);
	report_mean(d->report, "the guest's own page tables, translated by KVM (ept, the default)");
}

static void add_cpu_models(struct doctor *d)
{
	static const struct {
		enum cpu_model model;
		const char *name, *meaning;
	} models[] = {
		{CPU_MODEL_BASE, "--cpu=base", "plain x86-64 with CMPXCHG16B and NX: the default, the same on every host"},
		{CPU_MODEL_V2, "--cpu=v2", "base and SSE3 to SSE4.2, POPCNT, SMEP"},
	};

	for (size_t i = 0; i < sizeof(models) / sizeof(*models); i++) {
		const char *missing = cpu_model_lacks(models[i].model, d->kvm.supported);
		bool needed = models[i].model == CPU_MODEL_BASE;

		if (missing)
			report_add(d->report, needed ? FINDING_BAD : FINDING_LACK, models[i].name, "no: KVM offers no %s", missing);
		else
			report_add(d->report, FINDING_OK, models[i].name, "runs");
		report_mean(d->report, "%s", models[i].meaning);
	}
}

/* `worth` is told in both cases: what one has by it, or has to do without. */
static const struct interface {
	int cap, bits; /* bits: of a capability that is a set, 0 = any */
	const char *name, *worth;
} interfaces[] = {
	{KVM_CAP_DISABLE_QUIRKS2, KVM_X86_QUIRK_FIX_HYPERCALL_INSN, "hypercall patching",
	 "can be switched off, so that KVM does not write into code of a guest that tries VMCALL"},
	{KVM_CAP_READONLY_MEM, 0, "read-only memory", "RAM that a guest cannot write; not used by --mmu=ept"},
	{KVM_CAP_SYNC_REGS, KVM_SYNC_X86_REGS, "shared registers",
	 "registers without a system call at every exit; not used by --mmu=ept"},
	{KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, 0, "dirty log", "which pages a guest wrote, read in pieces; not used yet"},
	{KVM_CAP_DIRTY_LOG_RING, 0, "dirty log ring", "the same as a queue; not used yet"},
};

static void add_interfaces(struct doctor *d)
{
	for (size_t i = 0; i < sizeof(interfaces) / sizeof(*interfaces); i++) {
		const struct interface *f = &interfaces[i];
		int got = kvm_capability(d->kvm.fd, f->cap);
		bool there = f->bits ? got & f->bits : got;

		report_add(d->report, there ? FINDING_OK : FINDING_LACK, f->name, there ? "there" : "not there");
		report_mean(d->report, "%s", f->worth);
	}
}

void doctor_kvm(struct doctor *d)
{
	add_underneath(d);
	add_modes(d);
	add_cpu_models(d);
	add_interfaces(d);
}
