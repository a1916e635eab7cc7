/*
 * Fuzz target: any bytes as what a driver does to a disk, an entropy device, a console and a balloon: registers of either transport, and
 * stores to the RAM where the rings are. Whatever it is, requests come to an end, nothing stays pinned, no byte beyond the disk
 * is written, what is reported are whole pages of RAM, and the state that is left can be saved and loaded.
 *
 * Input: steps of 8 bytes: what (1), size (1), where (2), value (4).
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/fuzz/target.h"
#include "vmm/mem.h"
#include "vmm/state.h"
#include "vmm/virtio_balloon.h"
#include "vmm/virtio_block.h"
#include "vmm/virtio_console.h"
#include "vmm/virtio_entropy.h"
#include "vmm/virtio_mmio.h"
#include "vmm/virtio_pci.h"

#define DISK_BYTES 32768u
#define RINGS 0x10000u
#define RINGS_BYTES 0x8000u
#define BASE 0xd1000000u
#define DEVICES 4u
#define MAX_STEPS 4096u

enum { START, REGISTER, STORE, REGISTER_READ, RECEIVE, KINDS };

struct step {
	uint8_t what, size;
	uint16_t where;
	uint32_t value;
};

struct machine {
	struct bus bus;
	struct pci pci;
	struct pci_function function;
	struct virtio_block block;
	struct virtio_entropy entropy;
	struct virtio_console console;
	struct virtio_balloon balloon;
	uint64_t sent;
};

static struct {
	struct mem mem;
	struct disk disk;
	int file;
} world;

static void require(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "fuzz virtio: %s\n", what);
	abort();
}

static void set_line(void *controller, unsigned int n, bool level)
{
}

static int fill(void *arg, void *bytes, size_t size)
{
	memset(bytes, 1, size);
	return 0;
}

static void wake(void *arg)
{
}

static void put(void *arg, uint8_t byte)
{
	((struct machine *)arg)->sent++;
}

/* As it is done to RAM, but for the host's part: the rings may be among it. */
static uint64_t discard(void *arg, uint64_t gpa, uint64_t size)
{
	void *pages = gpa % PAGE_SIZE || size % PAGE_SIZE ? NULL : mem_at(&world.mem, gpa, size, MEM_WRITE);

	require(pages, "what is reported are no pages");
	memset(pages, 0, size);
	return size / PAGE_SIZE;
}

static void make_world(void)
{
	char path[40];

	world.file = memfd_create("disk", MFD_CLOEXEC);
	require(world.file >= 0 && ftruncate(world.file, DISK_BYTES) == 0, "no file");
	snprintf(path, sizeof(path), "/proc/self/fd/%d", world.file);
	require(disk_open(&world.disk, path, DISK_READ_WRITE) == 0, "no disk");
	require(mem_create(&world.mem, MEM_MIN_BYTES, MEM_HUGE_NEVER) == 0, "no RAM");
}

/* The disk by the one transport, the others by the other. */
static void make_machine(struct machine *m, bool pci)
{
	struct virtio_place place = {.transport = pci ? &virtio_pci : &virtio_mmio, .gpa = BASE, .irq = {.set = set_line}};

	memset(m, 0, sizeof(*m));
	bus_init(&m->bus);
	pci_init(&m->pci, &m->bus);
	virtio_block_init(&m->block, &m->bus, &place, &world.mem, &world.disk, 0, wake, m);
	virtio_pci_add(&m->pci, 1, &m->function, &m->block.v, BASE, 5);
	place.transport = pci ? &virtio_mmio : &virtio_pci;
	place.gpa += VIRTIO_WINDOW;
	virtio_entropy_init(&m->entropy, &m->bus, &place, &world.mem, fill, NULL);
	place.gpa += VIRTIO_WINDOW;
	virtio_console_init(&m->console, &m->bus, &place, &world.mem, put, m);
	place.gpa += VIRTIO_WINDOW;
	virtio_balloon_init(&m->balloon, &m->bus, &place, &world.mem, discard, NULL);
}

/* What a good driver does first, so that not every input has to find it. */
static void start(struct virtio_device *v, uint32_t value)
{
	virtio_device_set_status(v, 0);
	v->driver_features_select = 0;
	virtio_device_accept(v, value & 0x30000220);
	v->driver_features_select = 1;
	virtio_device_accept(v, 1);
	virtio_device_set_status(v, 11);
	for (v->queue_select = 0; v->queue_select < v->ops->queues; v->queue_select++) {
		uint32_t at = RINGS + 0x1000 * v->queue_select;

		virtio_device_set_queue_size(v, 8);
		virtio_device_set_queue_address(v, VIRTIO_DESCRIPTORS, 0, at);
		virtio_device_set_queue_address(v, VIRTIO_DRIVER_RING, 0, at + 0x100);
		virtio_device_set_queue_address(v, VIRTIO_DEVICE_RING, 0, at + 0x200);
		virtio_device_set_queue_ready(v, true);
	}
	virtio_device_set_status(v, 15);
}

static void touch_register(struct machine *m, const struct step *s, bool read)
{
	struct access a = {.kind = read ? ACCESS_MMIO_READ : ACCESS_MMIO_WRITE, .size = 1 + s->size % 8,
			   .addr = BASE + s->where % (DEVICES * VIRTIO_WINDOW), .value = s->value};

	bus_access(&m->bus, &a);
}

static void take(struct machine *m, const struct step *s)
{
	struct virtio_device *devices[DEVICES] = {&m->block.v, &m->entropy.v, &m->console.v, &m->balloon.v};
	size_t room;

	switch (s->what % KINDS) {
	case START:
		start(devices[s->size % DEVICES], s->value);
		break;
	case STORE:
		mem_write(&world.mem, RINGS + s->where % RINGS_BYTES, &s->value, 1u << s->size % 3);
		break;
	case RECEIVE:
		room = virtio_console_room(&m->console);
		if (room)
			virtio_console_receive(&m->console, "input", room < 5 ? room : 5);
		break;
	default:
		touch_register(m, s, s->what % KINDS == REGISTER_READ);
	}
}

static void check_state(struct machine *m, bool pci)
{
	static struct machine copy;
	struct state save, load, again;

	state_save_init(&save);
	bus_visit(&m->bus, &save);
	require(!state_error(&save), "the state cannot be saved");
	make_machine(&copy, pci);
	state_load_init(&load, save.bytes, save.size);
	bus_visit(&copy.bus, &load);
	require(!state_error(&load), "the saved state is refused");
	state_save_init(&again);
	bus_visit(&copy.bus, &again);
	require(again.size == save.size && !memcmp(again.bytes, save.bytes, save.size), "loaded it is another");
	virtio_block_destroy(&copy.block);
	state_free(&save);
	state_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static struct machine m;
	bool pci = size && bytes[0] & 0x80;
	struct step s;

	if (!world.mem.size)
		make_world();
	world.disk.in_memory = !(size && bytes[0] & 0x40); /* or else its workers have it */
	memset(mem_at(&world.mem, RINGS, RINGS_BYTES, MEM_WRITE), 0, RINGS_BYTES);
	make_machine(&m, pci);
	for (size_t i = 0; i < MAX_STEPS && size - i * sizeof(s) >= sizeof(s); i++) {
		memcpy(&s, bytes + i * sizeof(s), sizeof(s));
		take(&m, &s);
		virtio_block_take(&m.block);
		require(!world.disk.in_memory || !world.mem.pins, "a page stays pinned");
	}
	virtio_block_settle(&m.block);
	require(!world.mem.pins, "a page stays pinned");
	check_state(&m, pci);
	virtio_block_destroy(&m.block);
	require(lseek(world.file, 0, SEEK_END) == DISK_BYTES, "the disk has grown");
	return 0;
}
