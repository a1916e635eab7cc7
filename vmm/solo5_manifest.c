#include "vmm/solo5_manifest.h"

#include <errno.h>
#include <string.h>

#include "vmm/image.h"

#define REFUSE(why, ...) image_refuse(why, ENOEXEC, __VA_ARGS__)

struct note {
	uint32_t name_size, descriptor_size, type;
};

_Static_assert(sizeof(struct note) + ((sizeof(SOLO5_NOTE_NAME) + 3) & ~3ul) == SOLO5_NOTE_HEADER, "header and name");

bool solo5_name_is_good(const char *name, size_t length)
{
	if (length < 1 || length > SOLO5_NAME_MAX)
		return false;
	for (size_t i = 0; i < length; i++) {
		bool letter = (name[i] | 0x20) >= 'a' && (name[i] | 0x20) <= 'z';

		if (!letter && (name[i] < '0' || name[i] > '9'))
			return false;
	}
	return true;
}

const char *solo5_type_name(enum solo5_type type)
{
	return type == SOLO5_BLOCK ? "block" : "net";
}

unsigned int solo5_manifest_find(const struct solo5_manifest *m, const char *name)
{
	for (unsigned int i = 1; i < m->count; i++)
		if (!strcmp(m->wanted[i].name, name))
			return i;
	return 0;
}

static int read_abi(struct solo5_manifest *m, const uint8_t *descriptor, size_t size, struct image_reason *why)
{
	struct solo5_abi abi;

	if (m->has_abi)
		return REFUSE(why, "more than one Solo5 ABI note");
	if (size != sizeof(abi))
		return REFUSE(why, "a damaged Solo5 ABI note of %zu bytes", size);
	memcpy(&abi, descriptor, sizeof(abi));
	m->has_abi = true;
	m->target = abi.target;
	m->version = abi.version;
	return 0;
}

static int read_entry(struct solo5_manifest *m, unsigned int i, const struct solo5_entry *e, struct image_reason *why)
{
	struct solo5_device_wanted *wanted = &m->wanted[i];
	size_t length = strnlen(e->name, sizeof(e->name));

	if (e->attached)
		return REFUSE(why, "Solo5 manifest entry %u says that it is in use already", i);
	if (i == 0)
		return e->type == SOLO5_FIRST && !length ? 0 : REFUSE(why, "a Solo5 manifest without its first, empty entry");
	if (!solo5_name_is_good(e->name, length))
		return REFUSE(why, "Solo5 manifest entry %u has a bad name: 1 to %u letters and digits are allowed", i,
			      SOLO5_NAME_MAX);
	if (e->type != SOLO5_BLOCK && e->type != SOLO5_NET)
		return REFUSE(why, "the Solo5 manifest wants a device `%s` of unknown type %u", e->name, e->type);
	if (solo5_manifest_find(m, e->name))
		return REFUSE(why, "the Solo5 manifest names a device `%s` twice", e->name);
	memcpy(wanted->name, e->name, sizeof(wanted->name));
	wanted->type = (enum solo5_type)e->type;
	return 0;
}

static int read_entries(struct solo5_manifest *m, const uint8_t *bytes, unsigned int count, struct image_reason *why)
{
	for (unsigned int i = 0; i < count; i++) {
		struct solo5_entry e;
		int r;

		memcpy(&e, bytes + i * sizeof(e), sizeof(e));
		m->count = i; /* names before this one */
		r = read_entry(m, i, &e, why);
		if (r < 0)
			return r;
	}
	m->count = count;
	return 0;
}

static int read_manifest(struct solo5_manifest *m, const uint8_t *descriptor, size_t size, struct image_reason *why)
{
	const size_t padding = SOLO5_MANIFEST_AT - SOLO5_NOTE_HEADER;
	struct solo5_manifest_header header;

	if (m->has_manifest)
		return REFUSE(why, "more than one Solo5 manifest");
	if (size < padding + sizeof(header))
		return REFUSE(why, "a damaged Solo5 manifest of %zu bytes", size);
	memcpy(&header, descriptor + padding, sizeof(header));
	size -= padding + sizeof(header);
	if (header.version != SOLO5_MANIFEST_VERSION)
		return REFUSE(why, "a Solo5 manifest of version %u, not %u", header.version, SOLO5_MANIFEST_VERSION);
	if (header.entries < 1 || header.entries > SOLO5_MAX_ENTRIES)
		return REFUSE(why, "a Solo5 manifest of %u entries; 1 to %u are allowed", header.entries, SOLO5_MAX_ENTRIES);
	if (size != header.entries * sizeof(struct solo5_entry))
		return REFUSE(why, "a Solo5 manifest of %u entries in %zu bytes instead of %zu", header.entries, size,
			      header.entries * sizeof(struct solo5_entry));
	m->has_manifest = true;
	return read_entries(m, descriptor + padding + sizeof(header), header.entries, why);
}

static uint64_t align_up(uint64_t n, uint64_t align)
{
	return (n + align - 1) & ~(align - 1);
}

static int read_note(struct solo5_manifest *m, const struct note *note, const uint8_t *name, const uint8_t *descriptor,
		     struct image_reason *why)
{
	if (note->name_size != sizeof(SOLO5_NOTE_NAME) || memcmp(name, SOLO5_NOTE_NAME, sizeof(SOLO5_NOTE_NAME)))
		return 0;
	if (note->type == SOLO5_NOTE_ABI)
		return read_abi(m, descriptor, note->descriptor_size, why);
	if (note->type == SOLO5_NOTE_MANIFEST)
		return read_manifest(m, descriptor, note->descriptor_size, why);
	return 0;
}

int solo5_notes_read(struct solo5_manifest *m, const void *bytes, size_t size, uint64_t align, struct image_reason *why)
{
	const uint8_t *start = bytes;
	uint64_t at = 0;
	int r = 0;

	while (r == 0 && at < size && size - at >= sizeof(struct note)) {
		struct note note;
		uint64_t descriptor, end;

		memcpy(&note, start + at, sizeof(note));
		/* Sums of 32-bit numbers and a size far below 2^63: nothing wraps. */
		descriptor = at + sizeof(note) + align_up(note.name_size, 4);
		end = descriptor + note.descriptor_size;
		if (end > size) {
			/* Only a note of ours has to be whole: where another's ends is its reader's business. */
			bool ours = size - at >= SOLO5_NOTE_HEADER && note.name_size == sizeof(SOLO5_NOTE_NAME) &&
				    !memcmp(start + at + sizeof(note), SOLO5_NOTE_NAME, sizeof(SOLO5_NOTE_NAME));

			return ours ? REFUSE(why, "a Solo5 note reaches beyond its segment") : 0;
		}
		r = read_note(m, &note, start + at + sizeof(note), start + descriptor, why);
		at = align_up(end, align == 8 ? 8 : 4);
	}
	return r;
}

static const char *target_name(uint32_t target)
{
	static const char *const names[] = {"", "hvt", "spt", "virtio", "muen", "genode", "xen"};

	return target && target < sizeof(names) / sizeof(*names) ? names[target] : "an unknown target";
}

int solo5_manifest_check(const struct solo5_manifest *m, struct image_reason *why)
{
	if (!m->has_abi)
		return REFUSE(why, "a Solo5 unikernel without an ABI note: built by a Solo5 before 0.6");
	if (m->target != SOLO5_ABI_HVT)
		return REFUSE(why, "a Solo5 unikernel for %s (target %u); only those for hvt run here", target_name(m->target),
			      m->target);
	if (m->version != SOLO5_ABI_VERSION)
		return REFUSE(why, "a Solo5 unikernel for version %u of the hvt interface; this Penumbra speaks version %u",
			      m->version, SOLO5_ABI_VERSION);
	if (!m->has_manifest)
		return REFUSE(why, "a Solo5 unikernel without a manifest");
	return 0;
}
