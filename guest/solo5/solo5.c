#include "guest/solo5/solo5.h"

#include <stdarg.h>

#include "guest/lib/format.h"
#include "guest/lib/string.h"

#define LINE_MAX 256

void solo5_write(const char *text, size_t size)
{
	volatile struct hvt_puts call = {.data = text, .len = size};

	hvt_call(HVT_PUTS, &call);
}

void solo5_printf(const char *fmt, ...)
{
	char line[LINE_MAX];
	va_list args;
	size_t size;

	va_start(args, fmt);
	size = format(line, sizeof(line), fmt, args);
	va_end(args);
	solo5_write(line, size);
}

void solo5_exit(int status)
{
	volatile struct hvt_halt call = {.exit_status = status};

	for (;;)
		hvt_call(HVT_HALT, &call);
}

uint64_t solo5_walltime(void)
{
	volatile struct hvt_walltime call = {0};

	hvt_call(HVT_WALLTIME, &call);
	return call.nsecs;
}

uint64_t solo5_poll(uint64_t timeout_ns)
{
	volatile struct hvt_poll call = {.timeout_nsecs = timeout_ns, .ready_set = ~0ull, .ret = -1};

	hvt_call(HVT_POLL, &call);
	return call.ready_set;
}

unsigned int solo5_find(const struct hvt_boot_info *info, const char *name, uint32_t type)
{
	for (unsigned int i = 1; i < info->mft->entries; i++) {
		const struct hvt_entry *e = &info->mft->e[i];

		if (!strcmp(e->name, name) && e->type == type && e->attached)
			return i;
	}
	solo5_printf("no device %s\n", name);
	solo5_exit(90);
}

void solo5_exception(uint64_t vector, uint64_t error, uint64_t rip, uint64_t cr2)
{
	solo5_printf("exception %lu, error %lu, at %lx, CR2 %lx\n", vector, error, rip, cr2);
	solo5_exit((int)vector);
}
