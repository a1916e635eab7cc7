#include "vmm/solo5_block.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "vmm/log.h"

#define MAX_SECTOR 32768u

int solo5_block_parse_sector(const char *text, uint16_t *sector)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (*text < '0' || *text > '9' || *end || n < DISK_SECTOR || n > MAX_SECTOR || (n & (n - 1)))
		return -EINVAL;
	*sector = (uint16_t)n;
	return 0;
}

int solo5_block_open(struct solo5_block *b, const char *path, uint16_t sector)
{
	int r = disk_open(&b->disk, path, DISK_READ_WRITE);

	if (r < 0)
		return r;
	b->sector = sector ? sector : DISK_SECTOR;
	if (b->disk.bytes % b->sector == 0)
		return 0;
	disk_close(&b->disk);
	return log_bad(EINVAL, "%s: %" PRIu64 " bytes are not whole sectors of %u", path, b->disk.bytes, b->sector);
}

void solo5_block_close(struct solo5_block *b)
{
	disk_close(&b->disk);
}

bool solo5_block_has(const struct solo5_block *b, uint64_t offset, uint64_t size)
{
	uint64_t capacity = b->disk.bytes;

	return size && size <= capacity && offset <= capacity - size && (offset | size) % b->sector == 0;
}

int solo5_block_read(struct solo5_block *b, uint64_t offset, void *to, size_t size)
{
	struct iovec v = {to, size};

	return disk_read(&b->disk, &v, 1, offset);
}

int solo5_block_write(struct solo5_block *b, uint64_t offset, void *from, size_t size)
{
	struct iovec v = {from, size};

	return disk_write(&b->disk, &v, 1, offset);
}
