/*
 * Fuzz target: any bytes as a sequence of hypercalls, each with a structure of any contents at any address. What the unikernel must not
 * write stays as it is, its disk does not grow, and nothing is told at the access seam that was not brought.
 *
 * A record: a byte for the port, a byte that chooses the structure's page, two for its place in there, five words of 8 bytes.
 */
#include <stdio.h>
#include <sys/stat.h>

#include "tests/fuzz/target.h"
#include "tests/unit/solo5_rig.h"

#define RECORD 44u
#define WORDS 5u
#define MAX_RECORDS 64u
#define PATTERN 0x5a
#define GUARDED (RIG_DATA) /* below it some is read-only */

static void require(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "fuzz solo5_calls: %s\n", what);
	abort();
}

static uint64_t page_of(uint8_t choice)
{
	static const uint64_t pages[] = {RIG_HEAP, RIG_DATA, RIG_TEXT, RIG_CONSTANTS, 0x10000, 0, RIG_RAM - 0x1000, 0xfffff000};

	return pages[choice % (sizeof(pages) / sizeof(*pages))];
}

static void call(struct solo5_rig *r, const uint8_t *record)
{
	struct access a = {.kind = ACCESS_PORT_WRITE, .size = 4, .addr = SOLO5_PORT + record[0] % 16};
	uint64_t at = page_of(record[1]) + (record[2] | (uint64_t)record[3] << 8) % 0x1000;

	/* As a guest's store: only where it may. */
	if (at + WORDS * 8 <= RIG_RAM && at >= RIG_DATA)
		mem_write(&r->vm.mem, at, record + 4, WORDS * 8);
	a.value = at;
	r->told_size = 0;
	access_complete(&r->vm.vcpu.port, &a);
	if (!r->vm.solo5.polling)
		return;
	/* It may wait for ever. */
	require(send(r->wire, record, SOLO5_NET_HEADER, 0) == SOLO5_NET_HEADER, "no frame for a poll");
	solo5_wait(&r->vm.solo5);
	require(!r->vm.solo5.polling, "a poll does not see a frame");
}

static void check(struct solo5_rig *r)
{
	const uint8_t *ram = mem_at(&r->vm.mem, 0, GUARDED, MEM_READ);
	struct stat st;

	for (uint64_t gpa = 0; gpa < GUARDED; gpa += PAGE_SIZE) {
		static const uint8_t good[4096] = {[0 ... 4095] = PATTERN};

		require(solo5_rig_is_writable(gpa) || !memcmp(ram + gpa, good, sizeof(good)), "a page that is not to be written");
	}
	require(fstat(r->disk, &st) == 0 && st.st_size == RIG_DISK, "the disk has another size");
	require(r->vm.end.kind == VM_RUNNING || r->vm.end.kind == VM_EXITED || r->vm.end.kind == VM_KILLED, "the host's fault");
}

/* One for all inputs, as new for each where it matters: the pages that hold structures, and what the wire holds. */
static struct solo5_rig *renew(struct solo5_rig *r)
{
	uint8_t frame[2048];

	if (!r) {
		r = solo5_rig_make();
		memset(mem_at(&r->vm.mem, 0, GUARDED, MEM_WRITE), PATTERN, GUARDED);
	}
	bus_reset(&r->vm.bus);
	r->vm.end = (struct vm_end){.kind = VM_RUNNING};
	memset(mem_at(&r->vm.mem, RIG_DATA, 2 * PAGE_SIZE, MEM_WRITE), 0, 2 * PAGE_SIZE);
	memset(mem_at(&r->vm.mem, RIG_HEAP, 2 * PAGE_SIZE, MEM_WRITE), 0, 2 * PAGE_SIZE);
	memset(mem_at(&r->vm.mem, RIG_RAM - PAGE_SIZE, PAGE_SIZE, MEM_WRITE), 0, PAGE_SIZE);
	while (recv(r->wire, frame, sizeof(frame), 0) > 0)
		;
	while (read(r->vm.solo5.units.unit[RIG_NET].net.fd, frame, sizeof(frame)) > 0)
		;
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static struct solo5_rig *r;

	r = renew(r);
	for (unsigned int i = 0; i < MAX_RECORDS && size >= RECORD && !vm_ended(&r->vm); i++) {
		call(r, bytes);
		bytes += RECORD;
		size -= RECORD;
	}
	check(r);
	return 0;
}
