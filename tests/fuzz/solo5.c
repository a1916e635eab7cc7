/*
 * Fuzz target: any bytes as the notes of a Solo5 unikernel, of which the reader must say what a naive one says. The first byte is
 * the alignment, the second how many bytes of the rest are a first segment of notes, in units of 4.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/target.h"
#include "tests/unit/solo5_oracle.h"
#include "vmm/image.h"
#include "vmm/solo5_manifest.h"

static void require(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "fuzz solo5: %s\n", what);
	abort();
}

static void compare(const struct solo5_manifest *m, const struct solo5_oracle *o)
{
	require(m->has_abi == o->abi && m->has_manifest == o->manifest, "other notes than the oracle");
	require(!o->abi || (m->target == o->target && m->version == o->version), "another ABI than the oracle");
	if (!o->manifest)
		return;
	require(m->count == o->count, "another number of devices than the oracle");
	for (unsigned int i = 1; i < m->count; i++)
		require(!strcmp(m->wanted[i].name, o->device[i].name) && (uint64_t)m->wanted[i].type == o->device[i].type,
			"another device than the oracle");
}

static void read_one(const uint8_t *bytes, size_t size, uint64_t align)
{
	struct solo5_oracle o = solo5_oracle_read(bytes, size, align);
	struct solo5_manifest m = {0};
	struct image_reason why = {""};
	int r = solo5_notes_read(&m, bytes, size, align, &why);

	require((r == 0) == o.good, "another verdict than the oracle");
	require(r == 0 || why.text[0], "refuses without a reason");
	if (r == 0)
		compare(&m, &o);
}

/* Both segments into one manifest, as a file with two of them. */
static void read_both(const uint8_t *bytes, size_t first, size_t size, uint64_t align)
{
	struct solo5_manifest m = {0};
	struct image_reason why = {""};
	int r = solo5_notes_read(&m, bytes, first, align, &why);

	if (r == 0)
		r = solo5_notes_read(&m, bytes + first, size - first, align, &why);
	if (r == 0 && solo5_manifest_check(&m, &why) == 0)
		require(m.has_abi && m.has_manifest && m.count >= 1 && m.count <= SOLO5_MAX_ENTRIES, "a manifest out of bounds");
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	size_t first;

	if (size < 2)
		return 0;
	first = (size_t)bytes[1] * 4;
	if (first > size - 2)
		first = size - 2;
	read_one(bytes + 2, size - 2, bytes[0]);
	read_both(bytes + 2, first, size - 2, bytes[0]);
	return 0;
}
