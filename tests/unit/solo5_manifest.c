/* Solo5's notes, good and lying, against a naive reader of them. */
#include "vmm/solo5_manifest.h"

#include <errno.h>
#include <stdio.h>

#include "tests/unit/board.h"
#include "tests/unit/solo5_notes.h"
#include "tests/unit/solo5_oracle.h"
#include "vmm/image.h"

static void compare_devices(const struct solo5_manifest *m, const struct solo5_oracle *o)
{
	expect_eq(m->count, o->count);
	for (unsigned int i = 1; i < m->count; i++) {
		expect(!strcmp(m->wanted[i].name, o->device[i].name));
		expect_eq((uint64_t)m->wanted[i].type, o->device[i].type);
		expect_eq(solo5_manifest_find(m, o->device[i].name), i);
	}
}

/* Returns whether both find the notes good. */
static bool compare(const uint8_t *bytes, size_t size, uint64_t align)
{
	struct solo5_oracle o = solo5_oracle_read(bytes, size, align);
	struct solo5_manifest m = {0};
	struct image_reason why = {""};
	uint8_t *copy = malloc(size ? size : 1); /* so that a sanitizer sees what reads behind the end */
	int r;

	memcpy(copy, bytes, size);
	r = solo5_notes_read(&m, copy, size, align, &why);
	free(copy);
	expect_msg((r == 0) == o.good, "the reader says %d (%s), the oracle %d", r, why.text, o.good);
	expect(r == 0 || (r == -ENOEXEC && why.text[0]));
	if (r < 0)
		return false;
	expect_eq(m.has_abi, o.abi);
	expect_eq(m.has_manifest, o.manifest);
	if (o.abi) {
		expect_eq((uint64_t)m.target, o.target);
		expect_eq((uint64_t)m.version, o.version);
	}
	if (o.manifest)
		compare_devices(&m, &o);
	return true;
}

/* With notes of others between, which no reader of ours may mind. */
static struct solo5_notes make_notes(unsigned int count)
{
	struct solo5_notes n = {.size = 0};

	solo5_put_note(&n, "OpenBSD", 4, 1);
	solo5_put32(&n, 0);
	solo5_put_abi(&n, 1, 2);
	solo5_put_note(&n, "Solo5", 8, 0x12345678);
	solo5_put32(&n, 1);
	solo5_put32(&n, 2);
	solo5_put_manifest(&n, count);
	return n;
}

START_TEST(test_good)
{
	for (unsigned int count = 1; count <= 64; count++) {
		struct solo5_notes n = make_notes(count);
		struct solo5_manifest m = {0};
		struct image_reason why;

		expect(compare(n.bytes, n.size, 4));
		ck_assert_int_eq(solo5_notes_read(&m, n.bytes, n.size, 4, &why), 0);
		ck_assert_int_eq(solo5_manifest_check(&m, &why), 0);
		ck_assert_uint_eq(m.count, count);
		ck_assert_uint_eq(solo5_manifest_find(&m, ""), 0);
		ck_assert_uint_eq(solo5_manifest_find(&m, "d99"), 0);
	}
}
END_TEST

/* In segments of their own, as Solo5's linker script has it, of any alignment. */
START_TEST(test_segments)
{
	static const uint64_t aligns[] = {0, 1, 4, 8, 32, UINT64_MAX};

	for (size_t i = 0; i < sizeof(aligns) / sizeof(*aligns); i++) {
		struct solo5_notes abi = {.size = 0}, manifest = {.size = 0};
		struct solo5_manifest m = {0};
		struct image_reason why;

		solo5_put_abi(&abi, 1, 2);
		solo5_put_manifest(&manifest, 3);
		ck_assert_int_eq(solo5_notes_read(&m, manifest.bytes, manifest.size, aligns[i], &why), 0);
		ck_assert_int_eq(solo5_notes_read(&m, abi.bytes, abi.size, aligns[i], &why), 0);
		ck_assert_int_eq(solo5_manifest_check(&m, &why), 0);
		ck_assert_int_eq(solo5_notes_read(&m, abi.bytes, abi.size, aligns[i], &why), -ENOEXEC);
		ck_assert_int_eq(solo5_notes_read(&m, manifest.bytes, manifest.size, aligns[i], &why), -ENOEXEC);
	}
}
END_TEST

START_TEST(test_every_byte)
{
	struct solo5_notes n = make_notes(3);
	unsigned int good = 0, bad = 0;

	for (size_t at = 0; at < n.size; at++) {
		uint8_t was = n.bytes[at];

		for (unsigned int value = 0; value < 256; value++) {
			n.bytes[at] = (uint8_t)value;
			*(compare(n.bytes, n.size, 4) ? &good : &bad) += 1;
			compare(n.bytes, n.size, 8);
		}
		n.bytes[at] = was;
	}
	expect(good > 1000);
	expect(bad > 1000);
}
END_TEST

START_TEST(test_every_size)
{
	struct solo5_notes n = make_notes(64);

	for (size_t size = 0; size <= n.size; size++)
		compare(n.bytes, size, size % 2 ? 4 : 8);
}
END_TEST

/* Numbers at the limits, in every word. */
START_TEST(test_odd_numbers)
{
	static const uint32_t odd[] = {0, 1, 2, 3, 5, 6, 7, 8, 12, 64, 65, 104, 116, 0x7fffffff, 0x80000000, 0xfffffff0, 0xffffffff};
	struct solo5_notes n = make_notes(4);

	for (size_t at = 0; at + 4 <= n.size; at += 4) {
		uint8_t was[4];

		memcpy(was, n.bytes + at, 4);
		for (size_t i = 0; i < sizeof(odd) / sizeof(*odd); i++) {
			memcpy(n.bytes + at, &odd[i], 4);
			compare(n.bytes, n.size, 4);
			compare(n.bytes, n.size, 8);
		}
		memcpy(n.bytes + at, was, 4);
	}
}
END_TEST

START_TEST(test_random)
{
	struct random r = random_start("solo5_manifest");

	for (int i = 0; i < 20000; i++) {
		struct solo5_notes n = make_notes(1 + (unsigned int)random_below(&r, 6));

		for (uint64_t k = 1 + random_below(&r, 4); k; k--)
			n.bytes[random_below(&r, n.size)] = (uint8_t)(random_below(&r, 3) ? random_below(&r, 130) : random_next(&r));
		compare(n.bytes, n.size - random_below(&r, 3) * random_below(&r, 50), random_below(&r, 2) ? 4 : 8);
	}
}
END_TEST

START_TEST(test_names)
{
	char name[70];

	memset(name, 'a', sizeof(name));
	expect(!solo5_name_is_good("", 0));
	for (size_t length = 1; length <= 68; length++)
		expect_eq(solo5_name_is_good(name, length), length <= 67);
	for (int c = -128; c < 128; c++) {
		bool good = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');

		name[1] = (char)c;
		expect_msg(solo5_name_is_good(name, 3) == good, "%d", c);
	}
}
END_TEST

START_TEST(test_check)
{
	static const struct {
		struct solo5_manifest m;
		const char *part; /* NULL: good */
	} cases[] = {
		{{.has_abi = true, .has_manifest = true, .target = 1, .version = 2, .count = 1}, NULL},
		{{.has_abi = true, .target = 1, .version = 2}, "without a manifest"},
		{{.has_manifest = true, .target = 1, .version = 2, .count = 1}, "without an ABI note"},
		{{.has_abi = true, .has_manifest = true, .target = 2, .version = 2}, "for spt"},
		{{.has_abi = true, .has_manifest = true, .target = 6, .version = 2}, "for xen"},
		{{.has_abi = true, .has_manifest = true, .target = 7, .version = 2}, "target 7"},
		{{.has_abi = true, .has_manifest = true, .target = 0, .version = 2}, "target 0"},
		{{.has_abi = true, .has_manifest = true, .target = UINT32_MAX, .version = 2}, "unknown"},
		{{.has_abi = true, .has_manifest = true, .target = 1, .version = 1}, "version 1"},
		{{.has_abi = true, .has_manifest = true, .target = 1, .version = 3}, "version 3"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct image_reason why = {""};
		int r = solo5_manifest_check(&cases[i].m, &why);

		ck_assert_int_eq(r, cases[i].part ? -ENOEXEC : 0);
		ck_assert_msg(!cases[i].part || strstr(why.text, cases[i].part), "%zu: '%s'", i, why.text);
	}
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("notes");

	tcase_set_timeout(tcase, 0);
	tcase_add_test(tcase, test_good);
	tcase_add_test(tcase, test_segments);
	tcase_add_test(tcase, test_every_byte);
	tcase_add_test(tcase, test_every_size);
	tcase_add_test(tcase, test_odd_numbers);
	tcase_add_test(tcase, test_random);
	tcase_add_test(tcase, test_names);
	tcase_add_test(tcase, test_check);
	return run_case("solo5_manifest", tcase);
}
