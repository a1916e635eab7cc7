/*
 * solo5-devices COMMAND: uses the devices of its manifest, a block device `storage` and a network device `service`.
 *
 *	info        prints what the boot info and the manifest say
 *	block       writes each sector, reads it back, tries what must be refused
 *	block-raw H OFFSET SIZE   reads so much into the heap and prints the result
 *	net N       sends N frames back to where they came from, waiting for each
 *	log N       says of N frames what is in them, and between these when nothing came; has each on the disk, and sends it back
 *	net-raw H SIZE    reads a frame with a buffer of that size, then writes one of it; prints the results
 *	poll MS     waits for a frame for so long
 *	polls N     waits N times for nothing, for half a millisecond each, and sees that it did
 */
#include "guest/lib/parse.h"
#include "guest/lib/string.h"
#include "guest/solo5/solo5.h"

#define MAX_WORDS 4
#define MAC_SIZE 6
#define SEED 0x9e3779b97f4a7c15ull
#define NS_PER_MS 1000000ull
#define FOREVER (~0ull)

SOLO5_MANIFEST(3, {.name = "storage", .type = HVT_BLOCK_BASIC}, {.name = "service", .type = HVT_NET_BASIC});

struct words {
	const struct hvt_boot_info *info;
	char *word[MAX_WORDS];
	int count;
	uint8_t *buffer; /* the heap */
};

static uint64_t number(const struct words *w, int i)
{
	uint64_t n;

	if (i >= w->count || !parse_number(w->word[i], &n))
		solo5_exit(91);
	return n;
}

static int block(unsigned int call, uint64_t handle, uint64_t offset, void *data, size_t size)
{
	volatile struct hvt_block b = {.handle = handle, .offset = offset, .data = data, .len = size, .ret = -1};

	hvt_call(call, &b);
	return b.ret;
}

static int net(unsigned int call, uint64_t handle, void *data, size_t *size)
{
	volatile struct hvt_net n = {.handle = handle, .data = data, .len = *size, .ret = -1};

	hvt_call(call, &n);
	*size = n.len;
	return n.ret;
}

static int tell_info(struct words *w)
{
	const struct hvt_boot_info *info = w->info;
	const struct hvt_entry *storage = &info->mft->e[solo5_find(info, "storage", HVT_BLOCK_BASIC)];
	const struct hvt_entry *service = &info->mft->e[solo5_find(info, "service", HVT_NET_BASIC)];
	const uint8_t *mac = service->u.net.mac;

	solo5_printf("memory %lu, cycles %s, heap %s\n", info->mem_size, info->cycle_freq ? "known" : "unknown",
		     info->kernel_end % 4096 ? "askew" : "aligned");
	solo5_printf("storage %lu %u\n", storage->u.block.capacity, storage->u.block.block_size);
	solo5_printf("service %02x:%02x:%02x:%02x:%02x:%02x %u\n", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5],
		     service->u.net.mtu);
	return 0;
}

static void fill(uint8_t *sector, size_t size, uint64_t number)
{
	uint64_t x = SEED * (number + 1);

	for (size_t i = 0; i < size; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		sector[i] = (uint8_t)x;
	}
}

static int use_block(struct words *w)
{
	unsigned int handle = solo5_find(w->info, "storage", HVT_BLOCK_BASIC);
	const struct hvt_block_basic *b = &w->info->mft->e[handle].u.block;
	uint8_t *again = w->buffer + b->block_size;

	for (uint64_t at = 0; at < b->capacity; at += b->block_size) {
		fill(w->buffer, b->block_size, at);
		if (block(HVT_BLOCK_WRITE, handle, at, w->buffer, b->block_size) != HVT_OK)
			return 1;
	}
	for (uint64_t at = 0; at < b->capacity; at += b->block_size) {
		fill(w->buffer, b->block_size, at);
		if (block(HVT_BLOCK_READ, handle, at, again, b->block_size) != HVT_OK)
			return 2;
		if (memcmp(w->buffer, again, b->block_size))
			return 3;
	}
	solo5_printf("block: %lu bytes written and read\n", b->capacity);
	return 0;
}

static int try_block(struct words *w)
{
	int read = block(HVT_BLOCK_READ, number(w, 1), number(w, 2), w->buffer, number(w, 3));
	int written = block(HVT_BLOCK_WRITE, number(w, 1), number(w, 2), w->buffer, number(w, 3));

	solo5_printf("block: read %d, write %d\n", read, written);
	return 0;
}

static void turn_around(uint8_t *frame)
{
	for (unsigned int i = 0; i < MAC_SIZE; i++) {
		uint8_t byte = frame[i];

		frame[i] = frame[i + MAC_SIZE];
		frame[i + MAC_SIZE] = byte;
	}
}

static int use_net(struct words *w)
{
	unsigned int handle = solo5_find(w->info, "service", HVT_NET_BASIC);
	size_t most = w->info->mft->e[handle].u.net.mtu + 14u;

	solo5_printf("net: ready\n");
	for (uint64_t left = number(w, 1); left; left--) {
		size_t size = most;

		if (solo5_poll(FOREVER) != 1ull << handle)
			return 1;
		if (net(HVT_NET_READ, handle, w->buffer, &size) != HVT_OK)
			return 2;
		turn_around(w->buffer);
		if (net(HVT_NET_WRITE, handle, w->buffer, &size) != HVT_OK)
			return 3;
	}
	return 0;
}

static uint64_t sum_of(const uint8_t *bytes, size_t size)
{
	uint64_t sum = SEED;

	while (size--)
		sum = (sum ^ *bytes++) * 0x100000001b3ull;
	return sum;
}

/* The frame goes to the disk, and is read from there into the place behind it. */
static int by_disk(struct words *w, unsigned int storage, uint64_t number, size_t most)
{
	const struct hvt_block_basic *b = &w->info->mft->e[storage].u.block;
	uint64_t size = (most + b->block_size - 1) / b->block_size * b->block_size, at = number % (b->capacity / size) * size;

	if (block(HVT_BLOCK_WRITE, storage, at, w->buffer, size) != HVT_OK)
		return 4;
	return block(HVT_BLOCK_READ, storage, at, w->buffer + size, size) == HVT_OK && !memcmp(w->buffer, w->buffer + size, size) ? 0 : 5;
}

static int log_frame(struct words *w, unsigned int storage, unsigned int service, uint64_t number)
{
	const size_t most = w->info->mft->e[service].u.net.mtu + 14u;
	size_t size = most;
	int r;

	if (net(HVT_NET_READ, service, w->buffer, &size) != HVT_OK)
		return 2;
	solo5_printf("frame %lu at %lu: %lu bytes, %016lx\n", number, solo5_walltime(), size, sum_of(w->buffer, size));
	r = by_disk(w, storage, number, most);
	turn_around(w->buffer);
	return r ? r : net(HVT_NET_WRITE, service, w->buffer, &size) == HVT_OK ? 0 : 3;
}

static int use_log(struct words *w)
{
	unsigned int storage = solo5_find(w->info, "storage", HVT_BLOCK_BASIC), service = solo5_find(w->info, "service", HVT_NET_BASIC);
	uint64_t frames = number(w, 1), n = 0;
	int r = 0;

	solo5_printf("log: ready\n");
	while (n < frames && !r) {
		uint64_t ready = solo5_poll(5 * NS_PER_MS);

		if (ready == 1ull << service)
			r = log_frame(w, storage, service, n++);
		else if (ready)
			r = 1;
		else
			solo5_printf("nothing until %lu\n", solo5_walltime());
	}
	return r;
}

static int try_net(struct words *w)
{
	size_t size = number(w, 2);
	int read = net(HVT_NET_READ, number(w, 1), w->buffer, &size), written;

	size = number(w, 2);
	written = net(HVT_NET_WRITE, number(w, 1), w->buffer, &size);
	solo5_printf("net: read %d, write %d\n", read, written);
	return 0;
}

static int wait(struct words *w)
{
	uint64_t start = solo5_walltime(), ms = number(w, 1), ready = solo5_poll(ms * NS_PER_MS);
	uint64_t took = (solo5_walltime() - start) / NS_PER_MS;

	solo5_printf("poll: ready %lx, %s\n", ready, ready || took >= ms ? "in time" : "too early");
	return 0;
}

static int wait_often(struct words *w)
{
	const uint64_t ns = NS_PER_MS / 2;

	for (uint64_t left = number(w, 1); left; left--) {
		uint64_t start = solo5_walltime();

		if (solo5_poll(ns) || solo5_walltime() - start < ns)
			return 4;
	}
	solo5_printf("polls: all in time\n");
	return 0;
}

static const struct {
	const char *name;
	int (*run)(struct words *w);
} commands[] = {
	{"info", tell_info}, {"block", use_block}, {"block-raw", try_block},
	{"net", use_net},    {"net-raw", try_net}, {"poll", wait},
	{"polls", wait_often}, {"log", use_log},
};

int solo5_main(const struct hvt_boot_info *info)
{
	static char line[256];
	struct words w = {.info = info, .buffer = (uint8_t *)info->kernel_end};

	if (strlen(info->cmdline) >= sizeof(line))
		return 93;
	memcpy(line, info->cmdline, strlen(info->cmdline) + 1);
	w.count = parse_words(line, w.word, MAX_WORDS);
	for (unsigned int i = 0; w.count && i < sizeof(commands) / sizeof(*commands); i++)
		if (!strcmp(commands[i].name, w.word[0]))
			return commands[i].run(&w);
	return 94;
}
