#include "vmm/virtio_block.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/log.h"
#include "vmm/mem.h"
#include "vmm/state.h"
#include "vmm/virtqueue_io.h"

#define FEATURE_SIZE_MAX (1ull << 1)
#define FEATURE_SEG_MAX (1ull << 2)
#define FEATURE_RO (1ull << 5)
#define FEATURE_FLUSH (1ull << 9)

#define REQUEST_READ 0u
#define REQUEST_WRITE 1u
#define REQUEST_FLUSH 4u
#define REQUEST_ID 8u

#define ID_BYTES 20u

enum { STATUS_OK, STATUS_IOERR, STATUS_UNSUPPORTED };

struct header {
	uint32_t type;
	uint32_t reserved;
	uint64_t sector;
};

/*
 * One request, from the moment its chain is taken until that is given back. What waits for the disk is a job of the workers;
 * everything else happens on the vCPU's thread.
 */
struct request {
	struct disk_job job;
	struct virtio_block *b;
	struct request *next; /* of b->spare */
	const struct request_kind *kind;
	const struct virtqueue_chain *chain; /* the caller's, or `kept` */
	uint64_t bytes;	   /* of data: they follow the header or are to be filled */
	uint64_t *counted; /* the statistic that they add to once all is well */
	struct virtqueue_io io;
	struct iovec *vector; /* what of io is not done yet: so many, to or from byte `at` of the disk */
	unsigned int vectors;
	uint64_t at;
	bool write_through; /* the driver knows of no cache: what is acknowledged must be on the disk (5.2.6.2) */
	int error;
	struct header header;
	struct virtqueue_chain kept;
};

struct request_kind {
	uint32_t type;
	bool writes_guest; /* the data are the device's to write */

	/* Begins it, and does what can be done at once: returns 0 = all, -EAGAIN = the rest has to wait, or -errno. */
	int (*begin)(struct request *r);

	/* The rest, on any thread: 0 or -errno. */
	int (*rest)(struct request *r);
};

/* Whether the data are whole sectors, all of them on the disk, and not more than was said. */
static bool fits(const struct request *r)
{
	uint64_t sectors = r->bytes / DISK_SECTOR, capacity = r->b->disk->sectors;

	return r->bytes % DISK_SECTOR == 0 && r->bytes <= (uint64_t)VIRTIO_BLOCK_SEGMENTS * VIRTIO_BLOCK_SEGMENT_BYTES &&
	       sectors <= capacity && r->header.sector <= capacity - sectors;
}

static int pin(struct request *r, enum mem_use use, uint64_t skip)
{
	int error = virtqueue_io_begin(&r->io, r->b->v.mem, r->chain, use, skip, r->bytes);

	r->vector = r->io.vector;
	r->vectors = r->io.count;
	return error;
}

static int begin_read(struct request *r)
{
	struct virtio_block *b = r->b;
	int error;

	b->stats.reads++;
	if (!fits(r))
		return -EINVAL;
	r->counted = &b->stats.read_bytes;
	if (b->disk->absent)
		return 0; /* what was read is shown to us */
	if (b->disk->use == DISK_REMAP && !b->show && remap_read(&b->remap, r->chain, r->bytes, r->at)) {
		b->stats.remapped_bytes += r->bytes;
		return 0;
	}
	error = pin(r, MEM_WRITE, 0);
	return error ? error : disk_read_cached(b->disk, &r->vector, &r->vectors, &r->at);
}

static int rest_of_read(struct request *r)
{
	return disk_read(r->b->disk, r->vector, r->vectors, r->at);
}

/* A guest that is brought to where it was writes nothing again: what was written later may be there. */
static bool was_done(const struct virtio_block *b)
{
	return b->show && b->show->was_done(b->show_arg);
}

static int begin_write(struct request *r)
{
	struct virtio_block *b = r->b;
	int error;

	b->stats.writes++;
	if (b->disk->use != DISK_READ_WRITE)
		return -EROFS;
	if (!fits(r))
		return -EINVAL;
	r->counted = &b->stats.written_bytes;
	if (b->disk->absent || was_done(b))
		return 0;
	r->write_through = !virtio_device_has(&b->v, FEATURE_FLUSH);
	error = pin(r, MEM_READ, sizeof(r->header));
	return error ? error : -EAGAIN;
}

static int rest_of_write(struct request *r)
{
	struct disk *disk = r->b->disk;
	int error = disk_write(disk, r->vector, r->vectors, r->at);

	return error || !r->write_through ? error : disk_flush(disk);
}

static int begin_flush(struct request *r)
{
	struct virtio_block *b = r->b;

	b->stats.flushes++;
	return b->disk->use == DISK_READ_WRITE && !b->disk->absent && !was_done(b) ? -EAGAIN : 0;
}

static int rest_of_flush(struct request *r)
{
	return disk_flush(r->b->disk);
}

/* A name that tells a guest's disks apart: where it is on the bus, and not what it is called on the host. */
static int begin_id(struct request *r)
{
	char id[ID_BYTES + 1] = "";

	if (r->bytes < ID_BYTES)
		return -EINVAL;
	snprintf(id, sizeof(id), "penumbra-disk%u", r->b->number);
	virtqueue_write(r->b->v.mem, r->chain, 0, id, ID_BYTES);
	return 0;
}

static const struct request_kind kinds[] = {
	{REQUEST_READ, true, begin_read, rest_of_read},
	{REQUEST_WRITE, false, begin_write, rest_of_write},
	{REQUEST_FLUSH, false, begin_flush, rest_of_flush},
	{REQUEST_ID, true, begin_id, NULL},
};

static const struct request_kind *kind_of(uint32_t type)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		if (kinds[i].type == type)
			return &kinds[i];
	return NULL;
}

static void run_job(struct disk_job *j)
{
	struct request *r = (struct request *)j;

	r->error = r->kind->rest(r);
}

/* Not cleared: the I/O vectors alone are some kilobytes. */
static struct request *new_request(struct virtio_block *b, const struct virtqueue_chain *c)
{
	struct request *r = b->spare;

	if (r)
		b->spare = r->next;
	else
		r = malloc(sizeof(*r));
	if (!r)
		return NULL;
	r->b = b;
	r->job.run = run_job;
	r->io.count = 0;
	r->counted = NULL;
	r->chain = c;
	return r;
}

static int64_t give_status(struct virtio_block *b, const struct virtqueue_chain *c, uint8_t status)
{
	const struct virtqueue_buffer *last = &c->buffer[c->count - 1];

	b->stats.errors += status != STATUS_OK;
	mem_write(b->v.mem, last->gpa + last->size - 1, &status, sizeof(status));
	return c->writable_bytes > UINT32_MAX ? UINT32_MAX : (int64_t)c->writable_bytes;
}

/* The data of a read, where they are in RAM. */
static void show_data(const struct virtio_block *b, const struct request *r)
{
	const struct virtqueue_chain *c = r->chain;
	uint64_t left = r->bytes;

	for (unsigned int i = c->readable; i < c->count && left; i++) {
		uint64_t size = c->buffer[i].size < left ? c->buffer[i].size : left;

		b->show->outside(b->show_arg, mem_at(b->v.mem, c->buffer[i].gpa, size, MEM_WRITE), size);
		left -= size;
	}
}

static void show(const struct virtio_block *b, struct request *r)
{
	uint8_t failed = r->error != 0;

	b->show->outside(b->show_arg, &failed, sizeof(failed));
	if (failed != (r->error != 0))
		r->error = failed ? -EIO : 0;
	if (!failed && r->kind->type == REQUEST_READ)
		show_data(b, r);
}

/* Ends it; returns how many bytes of the chain were written. The request is spare then. */
static int64_t end_request(struct request *r)
{
	struct virtio_block *b = r->b;

	virtqueue_io_end(&r->io);
	if (b->show)
		show(b, r);
	if (!r->error && r->counted)
		*r->counted += r->bytes;
	r->next = b->spare;
	b->spare = r;
	return give_status(b, r->chain, r->error ? STATUS_IOERR : STATUS_OK);
}

/* A disk that is in memory is not waited for: another thread would only take longer. */
static int64_t serve_request(struct request *r)
{
	struct virtio_block *b = r->b;
	int error;

	r->bytes = r->kind->writes_guest ? r->chain->writable_bytes - 1 : r->chain->readable_bytes - sizeof(r->header);
	r->at = r->header.sector * DISK_SECTOR;
	r->error = r->kind->begin(r);
	if (r->error != -EAGAIN)
		return end_request(r);
	if (b->disk->in_memory || b->show) {
		r->error = r->kind->rest(r);
		return end_request(r);
	}
	virtqueue_copy_chain(&r->kept, r->chain);
	r->chain = &r->kept;
	error = disk_workers_submit(&b->workers, &r->job);
	if (!error)
		return VIRTIO_KEPT; /* and not ours any more */
	r->error = error;
	return end_request(r);
}

/*
 * The status is the last byte that can be written; the header is the first 16 that can be read, in however many buffers. A
 * chain that lacks one of them is given back as it is: there is no way to say what is wrong with it.
 */
static int64_t block_serve(struct virtio_device *v, unsigned int queue, const struct virtqueue_chain *c)
{
	struct virtio_block *b = (struct virtio_block *)v;
	const struct request_kind *kind;
	struct header header;
	struct request *r;

	if (!c->writable_bytes || virtqueue_read(v->mem, c, 0, &header, sizeof(header)) < sizeof(header)) {
		b->stats.errors++;
		return 0;
	}
	kind = kind_of(header.type);
	if (!kind)
		return give_status(b, c, STATUS_UNSUPPORTED);
	r = new_request(b, c);
	if (!r) {
		log_errno(ENOMEM, "%s: a request (the guest is told)", b->disk->path);
		return give_status(b, c, STATUS_IOERR);
	}
	r->header = header;
	r->kind = kind;
	return serve_request(r);
}

void virtio_block_show(struct virtio_block *b, const struct virtio_block_show *to, void *arg)
{
	b->show = to;
	b->show_arg = arg;
}

void virtio_block_take(struct virtio_block *b)
{
	struct disk_job *j = disk_workers_take(&b->workers), *next;

	if (!j)
		return;
	for (; j; j = next) {
		struct request *r = (struct request *)j;

		next = j->next;
		virtqueue_push(&b->v.queue[0], r->chain, (uint32_t)end_request(r));
	}
	virtio_device_tell(&b->v, 0);
}

static void block_settle(struct virtio_device *v)
{
	virtio_block_settle((struct virtio_block *)v);
}

void virtio_block_settle(struct virtio_block *b)
{
	disk_workers_wait(&b->workers);
	virtio_block_take(b);
}

/* A saved guest goes on only with a disk that looks to its driver as before. */
static void block_visit(struct virtio_device *v, struct state *s)
{
	struct virtio_block *b = (struct virtio_block *)v;
	uint64_t sectors = b->disk->sectors;
	bool read_only = b->disk->use != DISK_READ_WRITE, was = read_only;

	state_u64(s, &sectors);
	if (state_loading(s) && b->disk->absent)
		b->config.capacity = b->disk->sectors = sectors;
	state_bool(s, &was);
	state_check(s, sectors == b->disk->sectors, "block: the disk has another size");
	state_check(s, was == read_only, "block: the disk is read-only, or was");
}

static const struct virtio_ops block_ops = {
	.name = "virtio-block", .id = VIRTIO_ID_BLOCK, .queues = 1, .served = 1, .serve = block_serve, .settle = block_settle,
	.visit = block_visit,
};

void virtio_block_init(struct virtio_block *b, struct bus *bus, const struct virtio_place *place, struct mem *m,
		       struct disk *disk, unsigned int number, void (*wake)(void *arg), void *arg)
{
	uint64_t features = FEATURE_SIZE_MAX | FEATURE_SEG_MAX | FEATURE_FLUSH;

	*b = (struct virtio_block){.disk = disk, .number = number};
	b->config = (struct virtio_block_config){
		.capacity = disk->sectors, .size_max = VIRTIO_BLOCK_SEGMENT_BYTES, .seg_max = VIRTIO_BLOCK_SEGMENTS,
	};
	remap_init(&b->remap, m, disk);
	disk_workers_init(&b->workers, wake, arg);
	virtio_device_init(&b->v, bus, place, m, &block_ops,
			 features | (disk->use == DISK_READ_WRITE ? 0 : FEATURE_RO));
	b->v.config = &b->config;
	b->v.config_size = sizeof(b->config);
}

void virtio_block_destroy(struct virtio_block *b)
{
	struct request *r;

	virtio_block_settle(b);
	disk_workers_destroy(&b->workers);
	while ((r = b->spare)) {
		b->spare = r->next;
		free(r);
	}
	remap_destroy(&b->remap);
}
