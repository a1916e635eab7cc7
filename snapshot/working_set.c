#include "snapshot/working_set.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "snapshot/checksum.h"
#include "snapshot/image_files.h"
#include "snapshot/ram_layout.h"
#include "snapshot/reason.h"
#include "snapshot/write_all.h"
#include "vmm/state.h"

#define BITS 64u
#define FILE_MAX (64u << 20)

static const uint8_t magic[8] = {0x89, 'P', 'N', 'W', 'S', 'E', 'T', '\n'};

static uint64_t words(const struct working_set *w)
{
	return ram_end(w->ram) / PAGE_SIZE / BITS + 1;
}

int working_set_init(struct working_set *w, uint64_t ram)
{
	*w = (struct working_set){.ram = ram};
	w->bits = calloc(words(w), sizeof(*w->bits));
	return w->bits ? 0 : -ENOMEM;
}

void working_set_free(struct working_set *w)
{
	free(w->bits);
	*w = (struct working_set){0};
}

static bool has(const struct working_set *w, uint64_t page)
{
	return w->bits[page / BITS] >> page % BITS & 1;
}

void working_set_add(struct working_set *w, uint64_t gpa, uint64_t pages)
{
	for (uint64_t page = gpa / PAGE_SIZE; pages; page++, pages--) {
		w->pages += !has(w, page);
		w->bits[page / BITS] |= 1ull << page % BITS;
	}
}

bool working_set_next(const struct working_set *w, uint64_t gpa, uint64_t *first, uint64_t *pages)
{
	uint64_t page = gpa / PAGE_SIZE, end = ram_end(w->ram) / PAGE_SIZE, from;

	while (page < end && !has(w, page))
		page += w->bits[page / BITS] >> page % BITS ? 1 : BITS - page % BITS;
	for (from = page; page < end && has(w, page);)
		page++;
	*first = from * PAGE_SIZE;
	*pages = page - from;
	return page > from;
}

static uint64_t count_runs(const struct working_set *w)
{
	uint64_t first = 0, pages = 0, runs = 0;

	while (working_set_next(w, first + pages * PAGE_SIZE, &first, &pages))
		runs++;
	return runs;
}

/* Runs are in ascending order and do not overlap: so no file can name a page twice. */
static void load_run(struct working_set *w, struct state *s, uint64_t *end)
{
	uint64_t gpa = 0, pages = 0;

	state_u64(s, &gpa);
	state_u64(s, &pages);
	state_check(s, gpa % PAGE_SIZE == 0 && gpa >= *end && pages && pages <= w->ram / PAGE_SIZE &&
		    ram_holds(w->ram, gpa, pages * PAGE_SIZE), "a run is not in RAM, or not in order");
	if (s->error)
		return;
	working_set_add(w, gpa, pages);
	*end = gpa + pages * PAGE_SIZE;
}

static void save_runs(const struct working_set *w, struct state *s)
{
	uint64_t first = 0, pages = 0;

	while (working_set_next(w, first + pages * PAGE_SIZE, &first, &pages)) {
		state_u64(s, &first);
		state_u64(s, &pages);
	}
}

static void visit(struct working_set *w, struct state *s, const struct snapshot_id *id)
{
	struct snapshot_id of = *id;
	uint64_t runs = state_loading(s) ? 0 : count_runs(w), end = 0;
	uint8_t start[sizeof(magic)];

	memcpy(start, magic, sizeof(magic));
	state_bytes(s, start, sizeof(start));
	state_check(s, !memcmp(start, magic, sizeof(magic)), "no working set");
	state_begin(s, "working", 1);
	state_bytes(s, of.byte, sizeof(of.byte));
	state_check(s, !memcmp(&of, id, sizeof(of)), "of another snapshot");
	state_u64(s, &runs);
	if (!state_loading(s))
		save_runs(w, s);
	for (; state_loading(s) && runs && !s->error; runs--)
		load_run(w, s, &end);
	state_end(s);
}

/* NULL, or what is wrong with these bytes. */
static const char *parse(struct working_set *w, const uint8_t *bytes, size_t size, const struct snapshot_id *id)
{
	struct state s;
	uint64_t sum;

	if (size < sizeof(sum))
		return "cut off";
	size -= sizeof(sum);
	memcpy(&sum, bytes + size, sizeof(sum));
	if (sum != checksum64(bytes, size))
		return "its checksum is wrong";
	state_load_init(&s, bytes, size);
	visit(w, &s, id);
	return state_error(&s);
}

static void empty(struct working_set *w)
{
	memset(w->bits, 0, words(w) * sizeof(*w->bits));
	w->pages = 0;
}

static int give(const char *path, int err, struct reason *why)
{
	return reason_errno(why, err, "%s/" WORKING_SET_FILE, path);
}

static int read_file(struct working_set *w, int fd, const char *path, const struct snapshot_id *id, struct reason *why)
{
	const char *wrong;
	struct stat st;
	uint8_t *bytes;
	ssize_t n;

	if (fstat(fd, &st))
		return give(path, errno, why);
	if (!S_ISREG(st.st_mode) || st.st_size > FILE_MAX)
		return reason_give(why, EINVAL, "%s/" WORKING_SET_FILE ": not a working set", path);
	bytes = malloc((size_t)st.st_size + 1);
	n = bytes ? pread(fd, bytes, (size_t)st.st_size, 0) : -1;
	if (n < 0) {
		free(bytes);
		return give(path, errno, why);
	}
	wrong = parse(w, bytes, (size_t)n, id);
	free(bytes);
	return wrong ? reason_give(why, EINVAL, "%s/" WORKING_SET_FILE ": %s", path, wrong) : 0;
}

int working_set_read(struct working_set *w, int directory, const char *path, const struct snapshot_id *id, struct reason *why)
{
	int fd = openat(directory, WORKING_SET_FILE, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY), err;

	if (fd < 0)
		return errno == ENOENT ? -ENOENT : give(path, errno, why);
	err = read_file(w, fd, path, id, why);
	close(fd);
	if (err < 0)
		empty(w);
	return err;
}

/*
 * The name is always the same, so that nothing piles up when writers are killed, and who writes has it locked. -EBUSY: somebody
 * else does; or did, and it has its final name by now.
 */
static int open_partial(int directory)
{
	int fd = openat(directory, WORKING_SET_PARTIAL, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0600);
	struct stat mine, named;
	int err = 0;

	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | LOCK_NB))
		err = errno == EWOULDBLOCK ? -EBUSY : -errno;
	else if (fstat(fd, &mine) || fstatat(directory, WORKING_SET_PARTIAL, &named, AT_SYMLINK_NOFOLLOW))
		err = errno == ENOENT ? -EBUSY : -errno;
	else if (mine.st_ino != named.st_ino)
		err = -EBUSY;
	else if (ftruncate(fd, 0))
		err = -errno;
	if (err < 0)
		close(fd);
	return err < 0 ? err : fd;
}

/* Not synced: what a crash leaves of it has a wrong checksum. */
static int replace(int directory, const struct state *s)
{
	uint64_t sum = checksum64(s->bytes, s->size);
	int fd = open_partial(directory), err;

	if (fd < 0)
		return fd;
	err = write_all(fd, s->bytes, s->size, 0);
	if (err == 0)
		err = write_all(fd, &sum, sizeof(sum), s->size);
	if (err == 0 && renameat(directory, WORKING_SET_PARTIAL, directory, WORKING_SET_FILE))
		err = -errno;
	if (err < 0)
		unlinkat(directory, WORKING_SET_PARTIAL, 0);
	close(fd);
	return err;
}

int working_set_write(struct working_set *w, int directory, const char *path, const struct snapshot_id *id, struct reason *why)
{
	struct state s;
	int err;

	state_save_init(&s);
	visit(w, &s, id);
	err = state_error(&s) ? -ENOMEM : replace(directory, &s);
	state_free(&s);
	return err < 0 && err != -EBUSY ? give(path, -err, why) : 0;
}
