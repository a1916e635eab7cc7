#include "guest/kernel/machine.h"

#include <stdarg.h>

#include "guest/kernel/console.h"
#include "guest/kernel/io.h"
#include "guest/lib/format.h"

/* What makes this file an image of Penumbra: abi.h describes the note. */
static const struct {
	uint32_t name_size;
	uint32_t size;
	uint32_t type;
	char name[12];
	uint32_t version;
} abi_note __attribute__((section(".note.penumbra"), used, aligned(4))) = {
	.name_size = sizeof(ABI_NOTE_NAME),
	.size = sizeof(uint32_t),
	.type = ABI_NOTE_VERSION,
	.name = ABI_NOTE_NAME,
	.version = ABI_VERSION,
};

static const struct abi_boot *boot_info;

noreturn void kernel_main(const struct abi_boot *boot);

noreturn void kernel_main(const struct abi_boot *boot)
{
	boot_info = boot;
	console_init();
	if (boot->magic != ABI_BOOT_MAGIC)
		panic("no boot structure at %p", (const void *)boot);
	machine_exit(image_main((const char *)(uintptr_t)boot->cmdline));
}

const struct abi_boot *machine_boot(void)
{
	return boot_info;
}

uint64_t machine_clock(void)
{
	uint64_t low = inl(ABI_PORT_CLOCK);

	return (uint64_t)inl(ABI_PORT_CLOCK_HI) << 32 | low;
}

noreturn void machine_exit(int code)
{
	cpu_cli();
	for (;;)
		outl(ABI_PORT_EXIT, (uint32_t)code);
}

noreturn void panic(const char *fmt, ...)
{
	char reason[200];
	va_list args;

	va_start(args, fmt);
	format(reason, sizeof(reason), fmt, args);
	va_end(args);
	kprintf("panic: %s\n", reason);
	machine_exit(EXIT_PANIC);
}

noreturn void machine_usage(const char *usage)
{
	kprintf("usage: %s\n", usage);
	machine_exit(EXIT_USAGE);
}
