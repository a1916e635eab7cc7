/*
 * leak WAY [AT [READS]]: a guest that learns the host's time by no access, so that a recording of it cannot be replayed. It reads a port
 * READS times (default: 40000); behind read AT (default: the middle one) it reads the processor's time stamp, and
 *   ram       puts it into a page of RAM, in which nothing else is;
 *   register  keeps it in a register;
 *   access    writes it to a port that nothing listens to;
 *   none      does nothing with it.
 * At the end it tells where in RAM that page is.
 */
#include "guest/images/image.h"
#include "guest/kernel/console.h"
#include "guest/kernel/io.h"
#include "guest/kernel/machine.h"
#include "guest/lib/parse.h"
#include "guest/lib/string.h"

#define USAGE "leak ram|register|access|none [AT [READS]]"
#define UNUSED_PORT 0x5f8
#define OFFSET 0x128 /* in the page */

const struct program programs[] = { PROGRAMS_END };

static uint8_t page[4096] __attribute__((aligned(4096)));

/* Nothing of it stays anywhere else. */
static void put_time_stamp(uint8_t *to)
{
	__asm__ volatile("rdtsc\n\t"
			 "mov %%eax, (%0)\n\t"
			 "mov %%edx, 4(%0)\n\t"
			 "xor %%eax, %%eax\n\t"
			 "xor %%edx, %%edx"
			 : : "r"(to) : "rax", "rdx", "memory", "cc");
}

static void read_port(uint64_t count, uint64_t r15)
{
	__asm__ volatile("xor %%eax, %%eax\n\t"
			 "mov %1, %%r15\n"
			 "1:\n\t"
			 "test %0, %0\n\t"
			 "jz 2f\n\t"
			 "inb %%dx, %%al\n\t"
			 "dec %0\n\t"
			 "jmp 1b\n"
			 "2:"
			 : "+r"(count) : "r"(r15), "d"(UNUSED_PORT) : "rax", "r15", "memory", "cc");
}

/* Returns what is to be kept in a register. */
static uint64_t leak(const char *way)
{
	uint64_t stamp;

	put_time_stamp(page + OFFSET);
	if (strcmp(way, "ram") == 0)
		return 0;
	stamp = strcmp(way, "none") == 0 ? 0 : *(volatile uint64_t *)(page + OFFSET);
	memset(page, 0, sizeof(page));
	if (strcmp(way, "access") == 0)
		outl(UNUSED_PORT, (uint32_t)stamp);
	return strcmp(way, "register") == 0 ? stamp : 0;
}

int image_main(const char *args)
{
	char line[64], *words[3];
	uint64_t reads = 40000, at;
	int count;

	if (strlen(args) >= sizeof(line))
		machine_usage(USAGE);
	memcpy(line, args, strlen(args) + 1);
	count = parse_words(line, words, 3);
	if (count < 1 || (count > 2 && !parse_number(words[2], &reads)))
		machine_usage(USAGE);
	at = reads / 2;
	if (count > 1 && (!parse_number(words[1], &at) || at > reads))
		machine_usage(USAGE);
	read_port(at, 0);
	read_port(reads - at, leak(words[0]));
	kprintf("page at gpa 0x%lx, offset 0x%x\n", (unsigned long)page, OFFSET);
	return 0;
}
