/*
 * Fuzz target: any bytes as a snapshot's state file, as they are and with their checksums put right. What is refused is so for a
 * reason of one line; what is taken holds to its limits, and says the same when it is written and read again.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "snapshot/ram_layout.h"
#include "snapshot/reason.h"
#include "snapshot/snapshot.h"
#include "snapshot/state_file.h"
#include "tests/fuzz/target.h"
#include "tests/unit/snapshot_mend.h"

static void require(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "fuzz snapshot: %s\n", what);
	abort();
}

static void check_pages(const struct snapshot *sn)
{
	uint64_t end = 0, data = 0;

	for (size_t i = 0; i < sn->pages.runs; i++) {
		const struct page_run *run = &sn->pages.run[i];

		require(run->pages && run->gpa >= end, "runs of pages out of order");
		require(ram_holds(sn->machine.ram, run->gpa, run->pages * PAGE_SIZE), "pages outside of RAM");
		require(run->zero || run->checksum == data, "pages have each other's checksums");
		data += run->zero ? 0 : run->pages;
		end = run->gpa + run->pages * PAGE_SIZE;
	}
	require(data == sn->pages.checksums, "not a checksum for each page");
}

static void check_blocks(const struct snapshot *sn)
{
	const struct block_map *m = &sn->blocks;
	uint64_t at = 0, plain = 0, all = sn->compressed ? sn->pages.checksums * PAGE_SIZE : 0;

	require(sn->compressed ? m->pages && m->pages <= BLOCK_PAGES_MAX : !m->block, "blocks of no size, or there for nothing");
	for (size_t i = 0; i < m->blocks; i++) {
		uint32_t size = block_map_plain(m, i, sn->pages.checksums);

		require(m->block[i].at == at && m->block[i].size && m->block[i].size <= size, "a block of a wrong size or place");
		at += m->block[i].size;
		plain += size;
	}
	require(at == m->bytes && plain == all, "blocks do not make the pages");
}

static void check_again(struct snapshot *sn)
{
	struct reason why = {0};
	struct snapshot again;
	uint8_t *first, *second;
	size_t size, size_again;

	require(state_file_make(sn, &first, &size, &why) == 0, "cannot be written");
	require(state_file_parse(&again, first, size, &why) == 0, "what it has written is refused");
	require(state_file_make(&again, &second, &size_again, &why) == 0, "cannot be written again");
	require(size == size_again && !memcmp(first, second, size), "written again it is another");
	snapshot_free(&again);
	free(first);
	free(second);
}

static void check(const uint8_t *bytes, size_t size)
{
	struct reason why = {0};
	struct snapshot sn;

	if (state_file_parse(&sn, bytes, size, &why) < 0) {
		require(*why.text && !sn.devices && !sn.pages.run && !sn.blocks.block, "refused without a reason, or not wholly");
		return;
	}
	check_pages(&sn);
	check_blocks(&sn);
	check_again(&sn);
	snapshot_free(&sn);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	uint8_t *mended = malloc(size + 1);

	require(mended, "no memory");
	check(bytes, size);
	memcpy(mended, bytes, size);
	mend(mended, size);
	check(mended, size);
	free(mended);
	return 0;
}
