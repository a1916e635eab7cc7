/* disk: what its parts share: a started disk, and requests to it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "guest/kernel/virtio.h"

#define DISK_SECTOR 512u
#define DISK_DATA_BYTES (1u << 20) /* at disk.data */
#define DISK_MAX_REQUEST 0x20000u  /* bytes in one descriptor: what every disk here takes */

#define DISK_READ 0u
#define DISK_WRITE 1u
#define DISK_FLUSH 4u

#define DISK_OK 0u
#define DISK_ERROR 1u
#define DISK_UNSUPPORTED 2u
#define DISK_NO_ANSWER 0xffu

#define DISK_F_RO (1ull << 5)
#define DISK_F_FLUSH (1ull << 9)

#define DISK_DEPTH (VIRTIO_SIZE / 3) /* requests at once: each takes three descriptors */

struct disk_header {
	uint32_t type, reserved;
	uint64_t sector;
};

struct disk {
	struct virtio v;
	uint64_t features, sectors;
	struct disk_header *header; /* one for each request at once, as the next */
	volatile uint8_t *status;
	uint8_t *data;
};

/* Finds the nth disk and starts it; the guest ends if there is none. */
void disk_open(struct disk *d, unsigned int nth);
/* Puts request n (below DISK_DEPTH) into the ring: `size` bytes at d->data + at. */
void disk_put(struct disk *d, unsigned int n, uint32_t type, uint64_t sector, uint64_t at, uint64_t size);
/* One request of any size up to DISK_DATA_BYTES, from the beginning of d->data; its status. */
uint8_t disk_do(struct disk *d, uint32_t type, uint64_t sector, uint64_t size);

/* Says how many of the hostile cases did harm; 0 is the exit code of a VMM that takes them all. */
int disk_hostile(struct disk *d);
/* COUNT reads of SIZE bytes, DEPTH at once, at random places or one after the other; how long they took. */
int disk_measure(struct disk *d, const char *args);
/* Entries that nobody can foresee, on the disk and the console, until it is told to end. */
int disk_ledger(struct disk *d, const char *args);
