/*
 * accesses [ROUNDS]: ports and device memory in all shapes, verified: nothing may be lost, repeated, torn or reordered,
 * however often the VMM is interrupted. What was written is kept in a copy here (`mirror`), and what is read must agree
 * with it; the counter port shows whether a read was done once.
 */
#include "guest/abi.h"
#include "guest/kernel/console.h"
#include "guest/kernel/io.h"
#include "guest/kernel/machine.h"
#include "guest/kernel/pages.h"
#include "guest/kernel/paging.h"
#include "guest/lib/parse.h"
#include "guest/lib/random.h"
#include "guest/lib/string.h"

#define DEFAULT_ROUNDS 20
#define EXIT_WRONG 1
#define REP_MAX 8u
#define GUARD 0xa5

struct run {
	uint64_t random;
	uint64_t sum;
	uint64_t round;
	uint8_t mirror[ABI_SCRATCH_BYTES];
	uint32_t port; /* mirror of the scratch port */
};

static volatile uint8_t *window(uint64_t offset)
{
	return (volatile uint8_t *)ABI_MMIO_SCRATCH + offset;
}

static uint64_t pick(struct run *run, uint64_t below)
{
	return random_next(&run->random) % below;
}

/* A value that was read, and what it must be. */
static void check(struct run *run, const char *what, uint64_t got, uint64_t wanted)
{
	run->sum = (run->sum ^ got) * 0x100000001b3ull;
	if (got == wanted)
		return;
	kprintf("accesses: round %lu: %s: %lx, not %lx\n", run->round, what, got, wanted);
	machine_exit(EXIT_WRONG);
}

static uint64_t mirror_read(const struct run *run, uint64_t offset, unsigned int size)
{
	uint64_t value = 0;

	for (unsigned int i = 0; i < size; i++)
		value |= (uint64_t)run->mirror[(offset + i) % ABI_SCRATCH_BYTES] << 8 * i;
	return value;
}

static void mirror_write(struct run *run, uint64_t offset, unsigned int size, uint64_t value)
{
	for (unsigned int i = 0; i < size; i++)
		run->mirror[(offset + i) % ABI_SCRATCH_BYTES] = (uint8_t)(value >> 8 * i);
}

static uint64_t window_read(uint64_t offset, unsigned int size)
{
	volatile uint8_t *at = window(offset);

	switch (size) {
	case 1:
		return *at;
	case 2:
		return *(volatile uint16_t *)at;
	case 4:
		return *(volatile uint32_t *)at;
	default:
		return *(volatile uint64_t *)at;
	}
}

static void window_write(uint64_t offset, unsigned int size, uint64_t value)
{
	volatile uint8_t *at = window(offset);

	switch (size) {
	case 1:
		*at = (uint8_t)value;
		break;
	case 2:
		*(volatile uint16_t *)at = (uint16_t)value;
		break;
	case 4:
		*(volatile uint32_t *)at = (uint32_t)value;
		break;
	default:
		*(volatile uint64_t *)at = value;
		break;
	}
}

/* An offset such that `size` bytes stay in the window; every other one crosses from its first page to its second. */
static uint64_t pick_offset(struct run *run, unsigned int size)
{
	if (size > 1 && pick(run, 2) == 0)
		return PAGE_SIZE - 1 - pick(run, size - 1);
	return pick(run, ABI_MMIO_SCRATCH_SIZE - size);
}

static void moves(struct run *run)
{
	for (unsigned int size = 1; size <= 8; size *= 2) {
		uint64_t offset = pick_offset(run, size);
		uint64_t value = random_next(&run->random);

		window_write(offset, size, value);
		mirror_write(run, offset, size, value);
		offset = pick_offset(run, size);
		check(run, "read of the window", window_read(offset, size), mirror_read(run, offset, size));
	}
}

#define MODIFY(run, size, instruction, expression)                                                                     \
	do {                                                                                                           \
		uint64_t offset = pick_offset(run, size);                                                              \
		uint64_t old = mirror_read(run, offset, size);                                                         \
		__asm__ volatile(instruction " (%0)" : : "r"(window(offset)) : "memory", "cc");                        \
		mirror_write(run, offset, size, (expression));                                                         \
		check(run, instruction, window_read(offset, size), mirror_read(run, offset, size));                    \
	} while (0)

static void modifications(struct run *run)
{
	MODIFY(run, 1, "incb", old + 1);
	MODIFY(run, 2, "negw", -old);
	MODIFY(run, 4, "addl $1,", old + 1);
	MODIFY(run, 4, "notl", ~old);
	MODIFY(run, 8, "xorq $0x55,", old ^ 0x55);
	MODIFY(run, 8, "subq $3,", old - 3);
}

/* Device memory as the stack operand, compared, widened. */
static void operands(struct run *run)
{
	uint64_t offset = pick_offset(run, 8);
	uint64_t wanted = mirror_read(run, offset, 8);
	uint64_t got;

	__asm__ volatile("pushq (%1)\n popq %0" : "=r"(got) : "r"(window(offset)) : "memory");
	check(run, "push", got, wanted);
	__asm__ volatile("movzwq (%1), %0" : "=r"(got) : "r"(window(offset)) : "memory");
	check(run, "movzx", got, wanted & 0xffff);
	__asm__ volatile("movsbq (%1), %0" : "=r"(got) : "r"(window(offset)) : "memory");
	check(run, "movsx", got, (uint64_t)(int64_t)(int8_t)wanted);
	__asm__ volatile("xorl %%eax, %%eax\n cmpq %2, (%1)\n sete %%al" : "=&a"(got) : "r"(window(offset)), "r"(wanted)
			 : "memory", "cc");
	check(run, "cmp", got, 1);
}

/* REP MOVS from memory to the window and back; the buffers cross a page. */
static void copies(struct run *run, uint8_t *crossing)
{
	uint64_t count = 1 + pick(run, ABI_SCRATCH_BYTES);
	uint64_t offset = pick_offset(run, ABI_SCRATCH_BYTES);
	uint8_t *buffer = crossing - pick(run, count + 1);
	void *to = (void *)(uintptr_t)window(offset);
	const void *from = buffer;
	uint64_t left = count;

	for (uint64_t i = 0; i < count; i++) {
		buffer[i] = (uint8_t)random_next(&run->random);
		mirror_write(run, offset + i, 1, buffer[i]);
	}
	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(left) : : "memory");
	check(run, "bytes left by rep movsb to the window", left, 0);
	memset(buffer, GUARD, count);
	offset = pick_offset(run, ABI_SCRATCH_BYTES);
	from = (const void *)(uintptr_t)window(offset);
	to = buffer;
	left = count;
	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(left) : : "memory");
	check(run, "bytes left by rep movsb from the window", left, 0);
	for (uint64_t i = 0; i < count; i++)
		check(run, "rep movsb", buffer[i], mirror_read(run, offset + i, 1));
}

static void scratch_port(struct run *run)
{
	uint32_t value = (uint32_t)random_next(&run->random);

	outl(ABI_PORT_SCRATCH, value);
	check(run, "inl", inl(ABI_PORT_SCRATCH), value);
	outw(ABI_PORT_SCRATCH, (uint16_t)~value);
	check(run, "inw", inw(ABI_PORT_SCRATCH), (uint16_t)~value);
	outb(ABI_PORT_SCRATCH, (uint8_t)(value >> 8));
	check(run, "inb", inb(ABI_PORT_SCRATCH), (uint8_t)(value >> 8));
}

/* Each read of the counter counts, whatever its size. */
static void counter_port(struct run *run)
{
	uint32_t value = (uint32_t)random_next(&run->random);

	outl(ABI_PORT_COUNTER, value);
	check(run, "inb of the counter", inb(ABI_PORT_COUNTER), (uint8_t)value);
	check(run, "inw of the counter", inw(ABI_PORT_COUNTER), (uint16_t)(value + 1));
	check(run, "inl of the counter", inl(ABI_PORT_COUNTER), (uint32_t)(value + 2));
}

static void rep_in(unsigned int size, void *to, uint64_t count)
{
	switch (size) {
	case 1:
		__asm__ volatile("rep insb" : "+D"(to), "+c"(count) : "d"(ABI_PORT_COUNTER) : "memory");
		break;
	case 2:
		__asm__ volatile("rep insw" : "+D"(to), "+c"(count) : "d"(ABI_PORT_COUNTER) : "memory");
		break;
	default:
		__asm__ volatile("rep insl" : "+D"(to), "+c"(count) : "d"(ABI_PORT_COUNTER) : "memory");
		break;
	}
}

static void rep_out(unsigned int size, const void *from, uint64_t count)
{
	switch (size) {
	case 1:
		__asm__ volatile("rep outsb" : "+S"(from), "+c"(count) : "d"(ABI_PORT_COUNTER) : "memory");
		break;
	case 2:
		__asm__ volatile("rep outsw" : "+S"(from), "+c"(count) : "d"(ABI_PORT_COUNTER) : "memory");
		break;
	default:
		__asm__ volatile("rep outsl" : "+S"(from), "+c"(count) : "d"(ABI_PORT_COUNTER) : "memory");
		break;
	}
}

static uint64_t load(const uint8_t *from, unsigned int size)
{
	uint64_t value = 0;

	memcpy(&value, from, size);
	return value;
}

/* REP INS of the counter into a buffer across a page: consecutive values, and nothing beside the buffer touched. */
static void rep_ins(struct run *run, uint8_t *crossing)
{
	for (unsigned int size = 1; size <= 4; size *= 2) {
		uint64_t count = 1 + pick(run, REP_MAX);
		uint32_t value = (uint32_t)random_next(&run->random);
		uint8_t *buffer = crossing - pick(run, count * size + 1);
		uint64_t mask = (1ull << 8 * size) - 1;

		memset(buffer - 1, GUARD, count * size + 2);
		outl(ABI_PORT_COUNTER, value);
		rep_in(size, buffer, count);
		for (uint64_t i = 0; i < count; i++)
			check(run, "rep ins", load(buffer + i * size, size), (uint32_t)(value + i) & mask);
		check(run, "counter after rep ins", inl(ABI_PORT_COUNTER), (uint32_t)(value + count));
		check(run, "byte before rep ins", buffer[-1], GUARD);
		check(run, "byte after rep ins", buffer[count * size], GUARD);
	}
}

/* REP OUTS to the counter: the last value stays. */
static void rep_outs(struct run *run, uint8_t *crossing)
{
	for (unsigned int size = 1; size <= 4; size *= 2) {
		uint64_t count = 1 + pick(run, REP_MAX);
		uint8_t *buffer = crossing - pick(run, count * size + 1);

		for (uint64_t i = 0; i < count * size; i++)
			buffer[i] = (uint8_t)random_next(&run->random);
		rep_out(size, buffer, count);
		check(run, "rep outs", inl(ABI_PORT_COUNTER), load(buffer + (count - 1) * size, size));
	}
}

static void whole_window(struct run *run)
{
	uint64_t page = pick(run, 2) * PAGE_SIZE;

	for (uint64_t offset = 0; offset < ABI_SCRATCH_BYTES; offset += 8)
		check(run, "window", window_read(page + offset, 8), mirror_read(run, offset, 8));
}

/* Two pages in a row; the address between them. */
static uint8_t *allocate_crossing(void)
{
	uint64_t first = page_alloc();
	uint64_t second = page_alloc();

	if (second != first + PAGE_SIZE)
		panic("the first two pages are not neighbours");
	return page_pointer(second);
}

int image_main(const char *args)
{
	struct run run = { .random = 1 };
	uint64_t rounds = DEFAULT_ROUNDS;
	uint8_t *crossing;

	if (args[0] != '\0' && !parse_number(args, &rounds))
		machine_usage("accesses [ROUNDS]");
	pages_init();
	paging_map(ABI_MMIO_SCRATCH, PTE_KERNEL_DEVICE);
	crossing = allocate_crossing();
	for (uint64_t offset = 0; offset < ABI_SCRATCH_BYTES; offset += 8)
		window_write(offset, 8, 0);
	for (run.round = 1; run.round <= rounds; run.round++) {
		moves(&run);
		modifications(&run);
		operands(&run);
		copies(&run, crossing);
		scratch_port(&run);
		counter_port(&run);
		rep_ins(&run, crossing);
		rep_outs(&run, crossing);
		whole_window(&run);
	}
	kprintf("accesses: %lu rounds, checksum %016lx\n", rounds, run.sum);
	return 0;
}
