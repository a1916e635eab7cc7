/*
 * A small kernel of 32 bits for PCs, in the formats that such kernels come in. It prints what it was told at its boot, then
 * does what the last words of its command line say; the words are in `ends` below.
 */
#include <stddef.h>
#include <stdint.h>

#include "guest/kernel/io.h"

#define UART 0x3f8

enum pc_boot { PC_MULTIBOOT, PC_PVH, PC_LINUX32, PC_LINUX64 };

_Noreturn void pc_main(enum pc_boot boot, uint32_t magic, const uint8_t *info);
_Noreturn void pc_long(void);

static void put(char c)
{
	outb(UART, (uint8_t)c);
}

static void print(const char *text)
{
	while (*text)
		put(*text++);
}

static void print_hex(uint32_t value, unsigned int digits)
{
	while (digits--)
		put("0123456789abcdef"[value >> 4 * digits & 15]);
}

static uint32_t get32(const uint8_t *at)
{
	return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

/* Physical memory begins at 0, where compilers expect no object. */
static const uint8_t *pointer(uint32_t gpa)
{
	__asm__("" : "+r"(gpa));
	return (const uint8_t *)(uintptr_t)gpa;
}

static const char *string(uint32_t gpa)
{
	return (const char *)(uintptr_t)gpa;
}

/* A number of 64 bits, high half first. */
static void print_wide(const uint8_t *at)
{
	print_hex(get32(at + 4), 8);
	print_hex(get32(at), 8);
}

static void print_memory(const uint8_t *gpa, const uint8_t *size, const uint8_t *type)
{
	print("memory ");
	print_wide(gpa);
	print(" + ");
	print_wide(size);
	print(" type ");
	print_hex(get32(type), 1);
	print("\n");
}

/* Fletcher's sums of the bytes, so that their order counts. */
static void print_file(const char *what, uint32_t start, uint32_t size, const char *text)
{
	uint32_t a = 0, b = 0;

	for (const uint8_t *p = pointer(start); p < pointer(start) + size; p++) {
		a = (a + *p) & 0xffff;
		b = (b + a) & 0xffff;
	}
	print(what);
	print(start & 0xfff ? " unaligned " : " ");
	print_hex(size, 8);
	print(" sum ");
	print_hex(b << 16 | a, 8);
	print(" '");
	print(text);
	print("'\n");
}

static const char *tell_multiboot(uint32_t magic, const uint8_t *info)
{
	uint32_t flags = get32(info), at = get32(info + 48), end = at + get32(info + 44);

	print("multiboot ");
	print_hex(magic, 8);
	print(" by ");
	print(flags >> 9 & 1 ? string(get32(info + 64)) : "?");
	print(" lower ");
	print_hex(get32(info + 4), 8);
	print(" upper ");
	print_hex(get32(info + 8), 8);
	print("\n");
	for (; flags >> 6 & 1 && at < end; at += get32(pointer(at)) + 4)
		print_memory(pointer(at + 4), pointer(at + 12), pointer(at + 20));
	for (uint32_t i = 0; flags >> 3 & 1 && i < get32(info + 20); i++) {
		const uint8_t *m = pointer(get32(info + 24) + 16 * i);

		print_file("module", get32(m), get32(m + 4) - get32(m), string(get32(m + 8)));
	}
	return flags >> 2 & 1 ? string(get32(info + 16)) : "";
}

static const char *tell_pvh(const uint8_t *info)
{
	print("pvh ");
	print_hex(get32(info), 8);
	print(" version ");
	print_hex(get32(info + 4), 1);
	print("\n");
	for (uint32_t i = 0; i < get32(info + 48); i++) {
		const uint8_t *m = pointer(get32(info + 40) + 24 * i);

		print_memory(m, m + 8, m + 16);
	}
	for (uint32_t i = 0; i < get32(info + 12); i++) {
		const uint8_t *m = pointer(get32(info + 16) + 32 * i);

		print_file("module", get32(m), get32(m + 8), string(get32(m + 16)));
	}
	return string(get32(info + 24));
}

static const char *tell_linux(enum pc_boot boot, const uint8_t *page)
{
	print(boot == PC_LINUX64 ? "linux 64-bit" : "linux 32-bit");
	print(" loader ");
	print_hex(page[0x210], 2);
	print(" header ");
	print_hex(get32(page + 0x202), 8);
	print("\n");
	for (uint32_t i = 0; i < page[0x1e8]; i++) {
		const uint8_t *m = page + 0x2d0 + 20 * i;

		print_memory(m, m + 8, m + 16);
	}
	if (get32(page + 0x21c))
		print_file("initrd", get32(page + 0x218), get32(page + 0x21c), "");
	return string(get32(page + 0x228));
}

static void end_keyboard(void)
{
	while (inb(0x64) & 2)
		;
	outb(0x64, 0xfe);
}

static void end_cf9(void)
{
	outb(0xcf9, 0x02);
	outb(0xcf9, 0x06);
}

static void end_port92(void)
{
	outb(0x92, inb(0x92) | 1);
}

static void end_off(void)
{
	outw(0x604, 0x2000);
}

static void end_off_bochs(void)
{
	outw(0xb004, 0x2000);
}

static void end_debug_exit(void)
{
	outl(0xf4, 0x15);
}

static void end_triple_fault(void)
{
	static const struct __attribute__((packed)) {
		uint16_t limit;
		uint32_t base;
	} none;

	__asm__ volatile("lidt %0\n\tud2" : : "m"(none));
}

static void end_halt(void)
{
	__asm__ volatile("cli\n\thlt");
}

/* Reads far beyond RAM, where a PC has nothing. */
static void end_nowhere(void)
{
	print("nowhere ");
	print_hex(*(const volatile uint32_t *)(uintptr_t)0xb0000000, 8);
	print("\n");
	end_off();
}

static const struct {
	const char *word;
	void (*end)(void);
} ends[] = {
	{"keyboard", end_keyboard}, {"cf9", end_cf9},		 {"port92", end_port92},
	{"off", end_off},	    {"off-bochs", end_off_bochs}, {"debug-exit", end_debug_exit},
	{"triple-fault", end_triple_fault}, {"halt", end_halt},	 {"nowhere", end_nowhere},
	{"long", pc_long},
};

static const char *last_word(const char *line)
{
	const char *word = line;

	for (; *line; line++)
		if (*line == ' ')
			word = line + 1;
	return word;
}

static int is(const char *a, const char *b)
{
	for (; *a && *a == *b; a++, b++)
		;
	return *a == *b;
}

void pc_main(enum pc_boot boot, uint32_t magic, const uint8_t *info)
{
	const char *line = boot == PC_MULTIBOOT ? tell_multiboot(magic, info) :
			   boot == PC_PVH	? tell_pvh(info) :
						  tell_linux(boot, info);

	print("bios data ");
	print_hex(get32(pointer(0x40e)) & 0xffff, 4);
	print(" ");
	print_hex(get32(pointer(0x413)) & 0xffff, 4);
	print("\ncommand line '");
	print(line);
	print("'\n");
	for (size_t i = 0; i < sizeof(ends) / sizeof(*ends); i++)
		if (is(last_word(line), ends[i].word))
			ends[i].end();
	print("still here\n");
	end_halt();
	for (;;)
		;
}
