#include "vmm/kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "vmm/log.h"

static int call(int fd, unsigned long request, const char *name, uintptr_t arg)
{
	int r = ioctl(fd, request, arg);

	return r < 0 ? log_errno(errno, "%s", name) : r;
}

#define CALL(fd, request, arg) call(fd, request, #request, (uintptr_t)(arg))

#define WRAP(function, request, type)                                                                                  \
	int function(int fd, type *arg)                                                                                \
	{                                                                                                              \
		return call(fd, request, #request, (uintptr_t)arg);                                                    \
	}

WRAP(kvm_enable_cap, KVM_ENABLE_CAP, struct kvm_enable_cap)
WRAP(kvm_set_slot, KVM_SET_USER_MEMORY_REGION, struct kvm_userspace_memory_region)
WRAP(kvm_get_dirty_log, KVM_GET_DIRTY_LOG, struct kvm_dirty_log)
WRAP(kvm_get_regs, KVM_GET_REGS, struct kvm_regs)
WRAP(kvm_set_regs, KVM_SET_REGS, struct kvm_regs)
WRAP(kvm_get_sregs, KVM_GET_SREGS, struct kvm_sregs)
WRAP(kvm_set_sregs, KVM_SET_SREGS, struct kvm_sregs)
WRAP(kvm_get_xsave, KVM_GET_XSAVE, struct kvm_xsave)
WRAP(kvm_set_xsave, KVM_SET_XSAVE, struct kvm_xsave)
WRAP(kvm_get_debugregs, KVM_GET_DEBUGREGS, struct kvm_debugregs)
WRAP(kvm_set_debugregs, KVM_SET_DEBUGREGS, struct kvm_debugregs)
WRAP(kvm_get_events, KVM_GET_VCPU_EVENTS, struct kvm_vcpu_events)
WRAP(kvm_set_events, KVM_SET_VCPU_EVENTS, struct kvm_vcpu_events)
WRAP(kvm_set_cpuid, KVM_SET_CPUID2, struct kvm_cpuid2)
WRAP(kvm_translate, KVM_TRANSLATE, struct kvm_translation)

/* KVM answers with the number of MSRs it did before the first one it refused. */
static int all_done(int done, const struct kvm_msrs *msrs, const char *what)
{
	if (done < 0)
		return done;
	if ((unsigned int)done == msrs->nmsrs)
		return 0;
	return log_bad(EINVAL, "%s: the host has no MSR %#x", what, msrs->entries[done].index);
}

int kvm_get_msrs(int fd, struct kvm_msrs *msrs)
{
	return all_done(CALL(fd, KVM_GET_MSRS, msrs), msrs, "KVM_GET_MSRS");
}

int kvm_set_msrs(int fd, struct kvm_msrs *msrs)
{
	return all_done(CALL(fd, KVM_SET_MSRS, msrs), msrs, "KVM_SET_MSRS");
}

int kvm_get_tsc_khz(int fd)
{
	int r = ioctl(fd, KVM_GET_TSC_KHZ, 0);

	if (r < 0 && errno == EIO)
		return 0;
	return r < 0 ? log_errno(errno, "KVM_GET_TSC_KHZ") : r;
}

int kvm_interrupt(int fd, unsigned int vector)
{
	struct kvm_interrupt irq = {.irq = vector};

	return CALL(fd, KVM_INTERRUPT, &irq);
}

int kvm_run(int fd)
{
	if (ioctl(fd, KVM_RUN, 0) == 0)
		return 0;
	return errno == EINTR || errno == EAGAIN ? -EINTR : log_errno(errno, "KVM_RUN");
}

int kvm_capability(int fd, int cap)
{
	int r = ioctl(fd, KVM_CHECK_EXTENSION, (unsigned long)cap);

	return r < 0 ? 0 : r;
}

int kvm_create_vm(const struct kvm *k)
{
	int fd;

	/* A signal that comes while the kernel takes all locks of the process (mm_take_all_locks) ends the call. */
	do
		fd = ioctl(k->fd, KVM_CREATE_VM, 0);
	while (fd < 0 && errno == EINTR);
	return fd < 0 ? log_errno(errno, "KVM_CREATE_VM") : fd;
}

int kvm_create_vcpu(int vm_fd, unsigned long id)
{
	return CALL(vm_fd, KVM_CREATE_VCPU, id);
}

static int open_device(void)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		return fd;
	if (errno == ENOENT || errno == ENODEV || errno == ENXIO)
		return log_errno(errno, "/dev/kvm: this machine offers no KVM (see `penumbra doctor`)");
	if (errno == EACCES || errno == EPERM)
		return log_errno(errno, "/dev/kvm: join the group that owns it (see `penumbra doctor`)");
	return log_errno(errno, "/dev/kvm");
}

const char *kvm_lacks(int fd)
{
	static const struct {
		int cap;
		const char *name;
	} needed[] = {
		{KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY"}, {KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID"},
		{KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT"}, {KVM_CAP_VCPU_EVENTS, "KVM_CAP_VCPU_EVENTS"},
		{KVM_CAP_DEBUGREGS, "KVM_CAP_DEBUGREGS"}, {KVM_CAP_XSAVE, "KVM_CAP_XSAVE"},
	};

	for (size_t i = 0; i < sizeof(needed) / sizeof(*needed); i++)
		if (!kvm_capability(fd, needed[i].cap))
			return needed[i].name;
	return NULL;
}

static int check_interfaces(const struct kvm *k)
{
	int version = ioctl(k->fd, KVM_GET_API_VERSION, 0);
	const char *missing;

	if (version < 0)
		return log_errno(errno, "/dev/kvm: this is not KVM: KVM_GET_API_VERSION");
	if (version != KVM_API_VERSION)
		return log_bad(ENOTSUP, "/dev/kvm: speaks API %d, not %d", version, KVM_API_VERSION);
	missing = kvm_lacks(k->fd);
	return missing ? log_bad(ENOTSUP, "/dev/kvm: this kernel has no %s", missing) : 0;
}

static int ask_cpuid(struct kvm *k)
{
	k->supported = calloc(1, sizeof(*k->supported) + KVM_MAX_CPUID * sizeof(struct kvm_cpuid_entry2));
	if (!k->supported)
		return log_errno(ENOMEM, "CPUID table");
	k->supported->nent = KVM_MAX_CPUID;
	return CALL(k->fd, KVM_GET_SUPPORTED_CPUID, k->supported);
}

int kvm_open(struct kvm *k)
{
	int r;

	*k = (struct kvm){.fd = open_device()};
	if (k->fd < 0)
		return k->fd;
	r = check_interfaces(k);
	if (r < 0)
		goto close;
	r = CALL(k->fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (r < 0)
		goto close;
	k->run_size = (size_t)r;
	r = ask_cpuid(k);
	if (r < 0)
		goto close;
	return 0;
close:
	kvm_close(k);
	return r;
}

void kvm_close(struct kvm *k)
{
	free(k->supported);
	if (k->fd >= 0)
		close(k->fd);
	*k = (struct kvm){.fd = -1};
}
