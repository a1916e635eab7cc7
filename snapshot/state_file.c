#include "snapshot/state_file.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "snapshot/reason.h"
#include "snapshot/snapshot.h"
#include "vmm/state.h"

#define MAGIC_SIZE 8u
#define FLAG_INCREMENTAL 1u
#define FLAG_COMPRESSED 2u
#define FLAGS_KNOWN (FLAG_INCREMENTAL | FLAG_COMPRESSED)
#define NAME_SIZE 8u
#define CHUNK_HEAD (NAME_SIZE + 8u) /* name, length of what follows without the checksum */
#define CHECKSUM_SIZE 8u

static const uint8_t magic[MAGIC_SIZE] = {0x89, 'P', 'N', 'S', 'N', 'A', 'P', '\n'};

struct header {
	uint8_t magic[MAGIC_SIZE];
	uint32_t version, flags;
	uint64_t size; /* of the file */
	struct snapshot_id id, parent;
	struct checksum128 parent_checksum;
	uint64_t checksum; /* of all before it */
};

#define HEADER_SIZE 80u

static void visit_header(struct header *h, struct state *s)
{
	state_bytes(s, h->magic, sizeof(h->magic));
	state_u32(s, &h->version);
	state_u32(s, &h->flags);
	state_u64(s, &h->size);
	state_bytes(s, h->id.byte, sizeof(h->id.byte));
	state_bytes(s, h->parent.byte, sizeof(h->parent.byte));
	state_bytes(s, h->parent_checksum.byte, sizeof(h->parent_checksum.byte));
	state_u64(s, &h->checksum);
}

static void visit_machine(struct snapshot *sn, struct state *s)
{
	manifest_visit(&sn->machine, s);
}

static void visit_cpu(struct snapshot *sn, struct state *s)
{
	cpu_state_visit(&sn->cpu, s);
}

/* What is in there can be read by a VM with these devices only. */
static void visit_devices(struct snapshot *sn, struct state *s)
{
	if (state_loading(s)) {
		sn->device_bytes = s->size;
		sn->devices = malloc(s->size + 1);
		state_check(s, sn->devices, "devices: out of memory");
	}
	if (!s->error)
		state_bytes(s, sn->devices, sn->device_bytes);
}

static void visit_pages(struct snapshot *sn, struct state *s)
{
	page_map_visit(&sn->pages, s, sn->machine.ram);
}

static void visit_blocks(struct snapshot *sn, struct state *s)
{
	block_map_visit(&sn->blocks, s, sn->pages.checksums);
}

static void visit_parent(struct snapshot *sn, struct state *s)
{
	state_begin(s, "parent", 1);
	visit_text(&sn->parent_path, s);
	state_end(s);
}

/* In the order in which they are written, and read: the size of RAM comes before what lies in it, and that before its blocks. */
static const struct chunk_kind {
	const char *name;
	uint32_t flag; /* only with it; 0: always */
	void (*visit)(struct snapshot *sn, struct state *s);
} kinds[] = {
	{"machine", 0, visit_machine},
	{"cpu", 0, visit_cpu},
	{"devices", 0, visit_devices},
	{"pages", 0, visit_pages},
	{"blocks", FLAG_COMPRESSED, visit_blocks},
	{"parent", FLAG_INCREMENTAL, visit_parent},
};

#define KINDS (sizeof(kinds) / sizeof(*kinds))

static uint32_t flags_of(const struct snapshot *sn)
{
	return (sn->incremental ? FLAG_INCREMENTAL : 0) | (sn->compressed ? FLAG_COMPRESSED : 0);
}

static bool belongs(const struct chunk_kind *kind, const struct snapshot *sn)
{
	return !kind->flag || (kind->flag & flags_of(sn));
}

static void put_number(struct state *s, size_t at, uint64_t value)
{
	for (unsigned int i = 0; i < 8; i++)
		s->bytes[at + i] = (uint8_t)(value >> (8 * i));
}

static void make_chunk(struct snapshot *sn, const struct chunk_kind *kind, struct state *s)
{
	size_t start = s->size;
	uint8_t name[NAME_SIZE] = {0};
	uint64_t later = 0, checksum;

	memcpy(name, kind->name, strlen(kind->name));
	state_bytes(s, name, sizeof(name));
	state_u64(s, &later);
	kind->visit(sn, s);
	if (s->error)
		return;
	put_number(s, start + NAME_SIZE, s->size - start - CHUNK_HEAD);
	checksum = checksum64(s->bytes + start, s->size - start);
	state_u64(s, &checksum);
}

static void make_header(const struct snapshot *sn, struct state *s)
{
	struct header h = {.version = SNAPSHOT_VERSION, .flags = flags_of(sn), .id = sn->id, .parent = sn->parent,
			   .parent_checksum = sn->parent_checksum};

	memcpy(h.magic, magic, sizeof(magic));
	visit_header(&h, s);
}

/* What is known only when the rest is there. */
static void finish(struct snapshot *sn, struct state *s)
{
	put_number(s, offsetof(struct header, size), s->size + sizeof(sn->checksum));
	put_number(s, HEADER_SIZE - CHECKSUM_SIZE, checksum64(s->bytes, HEADER_SIZE - CHECKSUM_SIZE));
	sn->checksum = checksum128(s->bytes, s->size);
	state_bytes(s, sn->checksum.byte, sizeof(sn->checksum.byte));
}

int state_file_make(struct snapshot *sn, uint8_t **bytes, size_t *size, struct reason *why)
{
	struct state s;

	state_save_init(&s);
	make_header(sn, &s);
	for (unsigned int i = 0; i < KINDS; i++)
		if (belongs(&kinds[i], sn))
			make_chunk(sn, &kinds[i], &s);
	if (!s.error)
		finish(sn, &s);
	if (s.error) {
		reason_give(why, ENOMEM, "state of the guest: %s", s.error);
		state_free(&s);
		return -ENOMEM;
	}
	*bytes = s.bytes;
	*size = s.size;
	return 0;
}

/* What a file is, before anything else is believed of it. */
static int check_header(const struct header *h, const uint8_t *bytes, size_t size, struct reason *why)
{
	if (memcmp(h->magic, magic, sizeof(magic)) != 0)
		return reason_give(why, EINVAL, "not a snapshot's state file");
	if (h->version != SNAPSHOT_VERSION && h->checksum == checksum64(bytes, HEADER_SIZE - CHECKSUM_SIZE))
		return reason_give(why, ENOTSUP, "a snapshot of version %" PRIu32 "; this program reads version %u", h->version,
				   SNAPSHOT_VERSION);
	if (h->checksum != checksum64(bytes, HEADER_SIZE - CHECKSUM_SIZE))
		return reason_give(why, EINVAL, "damaged: the header's checksum is wrong");
	if (h->flags & ~FLAGS_KNOWN)
		return reason_give(why, ENOTSUP, "a snapshot with features that this program does not know (flags 0x%" PRIx32 ")",
				   h->flags & ~FLAGS_KNOWN);
	if (h->size != size)
		return reason_give(why, EINVAL, "damaged: %zu bytes long instead of %" PRIu64, size, h->size);
	return 0;
}

static int check_whole(struct snapshot *sn, const uint8_t *bytes, size_t size, struct reason *why)
{
	size_t covered = size - sizeof(sn->checksum);

	memcpy(sn->checksum.byte, bytes + covered, sizeof(sn->checksum.byte));
	if (memcmp(checksum128(bytes, covered).byte, sn->checksum.byte, sizeof(sn->checksum.byte)) != 0)
		return reason_give(why, EINVAL, "damaged: the checksum over all is wrong");
	return 0;
}

struct chunk {
	const uint8_t *payload; /* NULL: not seen */
	size_t size;
};

/* Takes one chunk, which starts at bytes[*at]. */
static int take_chunk(struct chunk chunks[KINDS], const uint8_t *bytes, size_t end, size_t *at, struct reason *why)
{
	const uint8_t *head = bytes + *at;
	uint64_t length;
	unsigned int i = 0;

	if (end - *at < CHUNK_HEAD + CHECKSUM_SIZE)
		return reason_give(why, EINVAL, "damaged: the last chunk is cut off");
	memcpy(&length, head + NAME_SIZE, sizeof(length));
	if (length > end - *at - CHUNK_HEAD - CHECKSUM_SIZE)
		return reason_give(why, EINVAL, "damaged: a chunk is longer than the file");
	if (memcmp(&(uint64_t){checksum64(head, CHUNK_HEAD + length)}, head + CHUNK_HEAD + length, CHECKSUM_SIZE) != 0)
		return reason_give(why, EINVAL, "damaged: the checksum of chunk %.8s is wrong", (const char *)head);
	while (i < KINDS && strncmp(kinds[i].name, (const char *)head, NAME_SIZE) != 0)
		i++;
	if (i == KINDS || chunks[i].payload)
		return reason_give(why, EINVAL, "chunk %.8s is unknown, or there twice", (const char *)head);
	chunks[i] = (struct chunk){head + CHUNK_HEAD, length};
	*at += CHUNK_HEAD + length + CHECKSUM_SIZE;
	return 0;
}

static int load_chunk(struct snapshot *sn, const struct chunk_kind *kind, const struct chunk *c, struct reason *why)
{
	struct state s;

	if (!c->payload == belongs(kind, sn))
		return reason_give(why, EINVAL, "chunk %s is missing, or should not be there", kind->name);
	if (!c->payload)
		return 0;
	state_load_init(&s, c->payload, c->size);
	kind->visit(sn, &s);
	if (state_error(&s))
		return reason_give(why, EINVAL, "bad state: %s", state_error(&s));
	return 0;
}

static int parse_chunks(struct snapshot *sn, const uint8_t *bytes, size_t size, struct reason *why)
{
	struct chunk chunks[KINDS] = {0};
	size_t at = HEADER_SIZE, end = size - sizeof(sn->checksum);
	int r = 0;

	while (at < end && r == 0)
		r = take_chunk(chunks, bytes, end, &at, why);
	for (unsigned int i = 0; i < KINDS && r == 0; i++)
		r = load_chunk(sn, &kinds[i], &chunks[i], why);
	return r;
}

int state_file_parse(struct snapshot *sn, const uint8_t *bytes, size_t size, struct reason *why)
{
	struct header h = {0};
	struct state s;
	int r;

	*sn = (struct snapshot){0};
	if (size < HEADER_SIZE + sizeof(sn->checksum))
		return reason_give(why, EINVAL, "too short for a snapshot's state file");
	state_load_init(&s, bytes, HEADER_SIZE);
	visit_header(&h, &s);
	r = check_header(&h, bytes, size, why);
	if (r == 0)
		r = check_whole(sn, bytes, size, why);
	if (r < 0)
		return r;
	sn->id = h.id;
	sn->incremental = h.flags & FLAG_INCREMENTAL;
	sn->compressed = h.flags & FLAG_COMPRESSED;
	sn->parent = h.parent;
	sn->parent_checksum = h.parent_checksum;
	r = parse_chunks(sn, bytes, size, why);
	if (r < 0)
		snapshot_free(sn);
	return r;
}
