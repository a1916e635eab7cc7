/*
 * solo5-hostile COMMAND...: does one thing that a unikernel must not do, or just barely may.
 *
 *	load|store|run ADDRESS     one byte there; run calls it
 *	call NUMBER ARGUMENT       a raw hypercall
 *	puts ADDRESS SIZE          puts, from there
 *	wall|poll ADDRESS          a hypercall whose structure is there
 *	halt COOKIE STATUS
 *	in|out8|hlt                what is no hypercall
 *
 * An ADDRESS is a number, or a name of the table below. What gets through says so and ends with 0.
 */
#include "guest/lib/parse.h"
#include "guest/lib/string.h"
#include "guest/solo5/solo5.h"

#define MAX_WORDS 4
#define RET 0xc3

SOLO5_MANIFEST(1);

extern char _start[];

static const char constant[] = "a constant";
static uint8_t data[64] __attribute__((aligned(64))) = {RET};

struct words {
	const struct hvt_boot_info *info;
	char *word[MAX_WORDS];
	int count;
};

static uint64_t address_of(const struct words *w, int i)
{
	const struct {
		const char *name;
		uint64_t address;
	} names[] = {
		{"text", (uintptr_t)_start},
		{"constants", (uintptr_t)constant},
		{"data", (uintptr_t)data},
		{"info", (uintptr_t)w->info},
		{"cmdline", (uintptr_t)w->info->cmdline},
		{"heap", w->info->kernel_end},
		{"heap-end", w->info->mem_size - 1},
		{"beyond", w->info->mem_size},
	};
	uint64_t number;

	if (i >= w->count)
		solo5_exit(91);
	for (unsigned int n = 0; n < sizeof(names) / sizeof(*names); n++)
		if (!strcmp(names[n].name, w->word[i]))
			return names[n].address;
	if (!parse_number(w->word[i], &number))
		solo5_exit(92);
	return number;
}

static void load(const struct words *w)
{
	(void)*(volatile uint8_t *)address_of(w, 1);
}

static void store(const struct words *w)
{
	*(volatile uint8_t *)address_of(w, 1) = 0;
}

static void run(const struct words *w)
{
	((void (*)(void))address_of(w, 1))();
}

static void call(const struct words *w)
{
	hvt_call_raw((unsigned int)address_of(w, 1), (uint32_t)address_of(w, 2));
}

static void puts_from(const struct words *w)
{
	solo5_write((const char *)address_of(w, 1), address_of(w, 2));
}

static void wall(const struct words *w)
{
	hvt_call_raw(HVT_WALLTIME, (uint32_t)address_of(w, 1));
}

static void poll(const struct words *w)
{
	hvt_call_raw(HVT_POLL, (uint32_t)address_of(w, 1));
}

static void halt(const struct words *w)
{
	volatile struct hvt_halt h = {.cookie = (void *)address_of(w, 1), .exit_status = (int)address_of(w, 2)};

	hvt_call(HVT_HALT, &h);
}

static void in(const struct words *w)
{
	uint32_t value;

	__asm__ volatile("inl %w1, %0" : "=a"(value) : "d"(HVT_PORT + HVT_PUTS));
}

static void out8(const struct words *w)
{
	__asm__ volatile("outb %b0, %w1" : : "a"(0), "d"(HVT_PORT + HVT_PUTS));
}

static void hlt(const struct words *w)
{
	__asm__ volatile("hlt");
}

static const struct {
	const char *name;
	void (*run)(const struct words *w);
} commands[] = {
	{"load", load}, {"store", store}, {"run", run},	  {"call", call}, {"puts", puts_from}, {"wall", wall},
	{"poll", poll}, {"halt", halt},	  {"in", in},	  {"out8", out8}, {"hlt", hlt},
};

int solo5_main(const struct hvt_boot_info *info)
{
	static char line[256];
	struct words w = {.info = info};

	if (strlen(info->cmdline) >= sizeof(line))
		return 93;
	memcpy(line, info->cmdline, strlen(info->cmdline) + 1);
	w.count = parse_words(line, w.word, MAX_WORDS);
	for (unsigned int i = 0; w.count && i < sizeof(commands) / sizeof(*commands); i++) {
		if (strcmp(commands[i].name, w.word[0]))
			continue;
		commands[i].run(&w);
		solo5_printf("got through\n");
		return 0;
	}
	return 94;
}
