/*
 * Instructions of chance in code: each is found, wherever it stands and whatever stands before it, where it may be executed, and not where
 * it is a part of another instruction or data.
 */
#include "replay/chance.h"

#include <check.h>
#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "snapshot/reason.h"
#include "tests/unit/random.h"
#include "tests/vm/suite.h"
#include "vmm/image.h"

#define CODE 4096u

static int look(const uint8_t *code, size_t size, uint32_t flags, bool native, struct reason *why)
{
	struct image im = {.path = "image", .kind = IMAGE_PENUMBRA, .fd = memfd_create("image", MFD_CLOEXEC), .segment_count = 1};
	int r;

	im.segment[0] = (struct image_segment){.gpa = 0x100000, .gva = 0x100000, .size = size, .file_size = size, .flags = flags};
	ck_assert_int_eq(pwrite(im.fd, code, size, 0), (ssize_t)size);
	*why = (struct reason){.text = ""};
	r = chance_look(&im, native, why);
	close(im.fd);
	return r;
}

static const struct {
	const char *name;
	uint8_t bytes[8];
	size_t size;
	bool native_only;
} known[] = {
	{"rdtsc", {0x0f, 0x31}, 2, false},	      {"rdtscp", {0x0f, 0x01, 0xf9}, 3, false},
	{"rdrand", {0x48, 0x0f, 0xc7, 0xf0}, 4, false}, {"rdseed", {0x0f, 0xc7, 0xf8}, 3, false},
	{"rdpmc", {0x0f, 0x33}, 2, false},	      {"cpuid", {0x0f, 0xa2}, 2, true},
};

#define KNOWN (sizeof(known) / sizeof(*known))

START_TEST(each_is_found)
{
	struct random r = random_start("replay_chance");

	for (unsigned int i = 0; i < 600; i++) {
		size_t which = i % KNOWN, at = random_below(&r, CODE - 16);
		bool native = random_below(&r, 2);
		uint8_t code[CODE];
		struct reason why;
		char place[20];

		memset(code, 0x90, sizeof(code));
		memcpy(code + at, known[which].bytes, known[which].size);
		if (known[which].native_only && !native) {
			ck_assert_int_eq(look(code, sizeof(code), PF_R | PF_X, native, &why), 0);
			continue;
		}
		snprintf(place, sizeof(place), "at 0x%zx", 0x100000 + at);
		ck_assert_int_eq(look(code, sizeof(code), PF_R | PF_X, native, &why), -EPERM);
		ck_assert_msg(strstr(why.text, known[which].name) && strstr(why.text, place) && strstr(why.text, "--record-anyway"), "%s", why.text);
		ck_assert_int_eq(look(code, sizeof(code), PF_R, native, &why), 0);
	}
}
END_TEST

START_TEST(others_are_none)
{
	/* mov $0x310f310f,%eax; 0x06 is no instruction in 64-bit mode; cpuid */
	static const uint8_t inside[] = {0xb8, 0x0f, 0x31, 0x0f, 0x31, 0xc3}, behind[] = {0x06, 0x0f, 0x31}, cut[] = {0x90, 0x0f};
	struct reason why;

	ck_assert_int_eq(look(inside, sizeof(inside), PF_X, true, &why), 0);
	ck_assert_int_eq(look(behind, sizeof(behind), PF_X, true, &why), -EPERM);
	ck_assert_int_eq(look(cut, sizeof(cut), PF_X, true, &why), 0);
}
END_TEST

START_TEST(packed_kernels_are_not_looked_into)
{
	struct image im = {.path = "vmlinuz", .kind = IMAGE_LINUX, .fd = -1};
	struct reason why = {.text = ""};

	ck_assert_int_eq(chance_look(&im, false, &why), -EPERM);
	ck_assert_ptr_nonnull(strstr(why.text, "--record-anyway"));
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {each_is_found, others_are_none, packed_kernels_are_not_looked_into};

	return RUN_TESTS("replay_chance", tests);
}
