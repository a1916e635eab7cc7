/*
 * The doctor's report (table and JSON say what was found, whatever its length) and the checks that read files, against
 * hosts made up in a directory. What needs KVM is tested in tests/vm.
 */
#include "vmm/doctor.h"

#include <check.h>
#include <ctype.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/expect.h"
#include "tests/unit/fake_root.h"
#include "tests/unit/random.h"
#include "tests/vm/suite.h"

static const struct finding *find(const struct report *r, const char *name)
{
	for (unsigned int i = 0; i < r->count; i++)
		if (!strcmp(r->list[i].name, name))
			return &r->list[i];
	return NULL;
}

static void assert_finding(const struct report *r, const char *name, enum finding_state state, const char *what,
			   const char *meaning)
{
	const struct finding *f = find(r, name);

	ck_assert_msg(f, "%s: nothing found", name);
	ck_assert_msg(f->state == state, "%s: state %d", name, f->state);
	ck_assert_msg(strstr(f->what, what), "%s: '%s'", name, f->what);
	ck_assert_msg(strstr(f->meaning, meaning), "%s: '%s'", name, f->meaning);
}

static void random_text(struct random *random, char *text, size_t max)
{
	size_t n = random_below(random, max);

	for (size_t i = 0; i < n; i++)
		text[i] = random_below(random, 5) ? (char)('a' + random_below(random, 26)) : ' ';
	text[0] = 'x'; /* findings do not begin with a space */
	text[n] = '\0';
}

/* The characters that are not spaces, which breaking lines may neither lose, add nor reorder. */
static void letters(const char *text, char *to)
{
	for (; *text; text++)
		if (*text != ' ')
			*to++ = *text;
	*to = '\0';
}

START_TEST(pieces_lose_nothing_and_fit)
{
	struct random random = random_start("pieces_lose_nothing_and_fit");
	char text[400], joined[400], want[400], got[400];

	for (int round = 0; round < 20000; round++) {
		size_t width = 1 + random_below(&random, 60), used = 0;
		const char *p = text;

		random_text(&random, text, sizeof(text));
		while (*p) {
			const char *next;
			size_t n = report_piece(p, width, &next);

			expect(n <= width);
			expect(next > p);
			/* A word is broken only where it is longer than the column. */
			if (n && *next && p[n] != ' ')
				expect(!memchr(p, ' ', n));
			memcpy(joined + used, p, n);
			used += n;
			p = next;
		}
		joined[used] = '\0';
		letters(text, want);
		letters(joined, got);
		expect(!strcmp(got, want));
	}
}
END_TEST

static void fill(struct random *random, struct report *r)
{
	static const char *const sections[] = {"One", "Two", "Three"};
	char text[384];

	*r = (struct report){0};
	for (unsigned int i = 0; i < REPORT_MAX; i++) {
		r->section = sections[i * 3 / REPORT_MAX];
		random_text(random, text, sizeof(r->list[i].name));
		report_add(r, (enum finding_state)random_below(random, FINDING_BAD), text, "x");
		random_text(random, r->list[i].what, sizeof(r->list[i].what));
		random_text(random, text, sizeof(r->list[i].meaning));
		report_mean(r, "%s", text);
	}
}

START_TEST(table_keeps_its_columns)
{
	struct random random = random_start("table_keeps_its_columns");
	struct report r;

	for (int round = 0; round < 200; round++) {
		int width = (int)random_below(&random, 200);
		char *text = NULL, *line, *rest;
		size_t size;
		FILE *out = open_memstream(&text, &size);

		fill(&random, &r);
		ck_assert_int_eq(report_print(&r, out, width), 0);
		fclose(out);
		for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
			expect(strlen(line) <= (size_t)(width > 76 ? width : 76));
			if (isupper((unsigned char)*line))
				continue; /* a section's title */
			expect(strlen(line) >= 56);
			expect_eq(line[6], ' ');
			expect_eq(line[26], ' ');
			expect_eq(line[55], ' ');
		}
		free(text);
	}
}
END_TEST

START_TEST(json_says_the_same)
{
	static const char *const states[] = {"ok", "note", "lack", "bad"};
	struct random random = random_start("json_says_the_same");
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	struct report r;
	json_t *root, *list;

	fill(&random, &r);
	strcpy(r.list[0].what, "quote \" backslash \\ tab \t");
	r.list[1].state = FINDING_BAD;
	ck_assert_int_eq(report_print_json(&r, out), 0);
	fclose(out);
	root = json_loads(text, 0, NULL);
	ck_assert_ptr_nonnull(root);
	ck_assert(json_is_false(json_object_get(root, "guests_run")));
	list = json_object_get(root, "findings");
	ck_assert_uint_eq(json_array_size(list), r.count);
	for (unsigned int i = 0; i < r.count; i++) {
		json_t *f = json_array_get(list, i);

		ck_assert_str_eq(json_string_value(json_object_get(f, "section")), r.list[i].section);
		ck_assert_str_eq(json_string_value(json_object_get(f, "name")), r.list[i].name);
		ck_assert_str_eq(json_string_value(json_object_get(f, "state")), states[r.list[i].state]);
		ck_assert_str_eq(json_string_value(json_object_get(f, "finding")), r.list[i].what);
		ck_assert_str_eq(json_string_value(json_object_get(f, "meaning")), r.list[i].meaning);
	}
	json_decref(root);
	free(text);
}
END_TEST

START_TEST(a_full_disk_is_an_error)
{
	FILE *out = fopen("/dev/full", "w");
	struct report r = {.section = "One"};

	report_add(&r, FINDING_OK, "a", "b");
	ck_assert_int_eq(report_print(&r, out, 80), -1);
	clearerr(out);
	ck_assert_int_eq(report_print_json(&r, out), -1);
	fclose(out);
}
END_TEST

START_TEST(one_bad_finding_is_enough)
{
	struct report r = {.section = "One"};

	ck_assert(report_good(&r));
	report_add(&r, FINDING_LACK, "a", "b");
	report_add(&r, FINDING_NOTE, "a", "b");
	ck_assert(report_good(&r));
	report_add(&r, FINDING_BAD, "a", "b");
	report_add(&r, FINDING_OK, "a", "b");
	ck_assert(!report_good(&r));
}
END_TEST

static void look_at_device(const char *path, const char *root, struct report *r)
{
	struct doctor d = {.report = r, .kvm.fd = -1};

	*r = (struct report){0};
	doctor_device(&d, path, root);
	ck_assert_int_eq(d.kvm.fd, -1);
	ck_assert(!report_good(r));
	ck_assert_uint_eq(r->count, 1);
}

START_TEST(a_missing_device_has_a_remedy)
{
	static const struct {
		const char *flags, *remedy;
	} cases[] = {
		{"flags\t\t: fpu vmx sse\n", "modprobe kvm_intel"},
		{"processor : 0\nflags\t\t: fpu svm hypervisor\n", "modprobe kvm_amd"},
		{"flags\t\t: fpu hypervisor vmx_not svml\n", "nested virtualisation"},
		{"flags\t\t: fpu sse\n", "neither VMX nor SVM"},
		{"", "neither VMX nor SVM"},
	};
	struct report r;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct fake f;

		fake_begin(&f);
		fake_file(&f, "/proc/cpuinfo", cases[i].flags);
		look_at_device("doctor-test-none/kvm", f.root, &r);
		assert_finding(&r, "device", FINDING_BAD, "No such file", cases[i].remedy);
		assert_finding(&r, "device", FINDING_BAD, "No such file", "tests/lab/lab");
		fake_end(&f);
	}
}
END_TEST

START_TEST(what_is_not_kvm_is_said_to_be_so)
{
	struct fake f;
	struct report r;
	char path[128];

	fake_begin(&f);
	fake_file(&f, "/dev/kvm", "");
	snprintf(path, sizeof(path), "%s/dev/kvm", f.root);
	look_at_device(path, f.root, &r);
	assert_finding(&r, "device", FINDING_BAD, "is not KVM", "remove it");
	look_at_device("/dev/null", f.root, &r);
	assert_finding(&r, "device", FINDING_BAD, "is not KVM", "remove it");
	look_at_device(f.root, f.root, &r);
	assert_finding(&r, "device", FINDING_BAD, "directory", "wrong");
	fake_end(&f);
}
END_TEST

START_TEST(no_permission_names_the_group)
{
	struct fake f;
	struct report r;
	char path[128];

	if (geteuid() != 0)
		return; /* only root can make a file that it may then not open, by becoming somebody else */
	fake_begin(&f);
	fake_file(&f, "/dev/kvm", "");
	snprintf(path, sizeof(path), "%s/dev/kvm", f.root);
	ck_assert_int_eq(chmod(f.root, 0755), 0);
	ck_assert_int_eq(chown(path, 0, 1), 0);
	ck_assert_int_eq(chmod(path, 0660), 0);
	ck_assert_int_eq(seteuid(65534), 0);
	look_at_device(path, f.root, &r);
	ck_assert_int_eq(seteuid(0), 0);
	assert_finding(&r, "device", FINDING_BAD, "Permission denied", "usermod -aG daemon");
	ck_assert_int_eq(chmod(path, 0600), 0);
	ck_assert_int_eq(seteuid(65534), 0);
	look_at_device(path, f.root, &r);
	ck_assert_int_eq(seteuid(0), 0);
	assert_finding(&r, "device", FINDING_BAD, "Permission denied", "chgrp");
	fake_end(&f);
}
END_TEST

#define THP "/sys/kernel/mm/transparent_hugepage/enabled"
#define CLOCK "/sys/devices/system/clocksource/clocksource0/current_clocksource"

static void look_at_host(const struct fake *f, struct report *r)
{
	struct doctor d = {.report = r, .kvm.fd = -1};

	*r = (struct report){0};
	doctor_host(&d, f->root);
	ck_assert(report_good(r));
	for (unsigned int i = 0; i < r->count; i++)
		ck_assert_msg(*r->list[i].what && *r->list[i].meaning, "%s says nothing", r->list[i].name);
}

START_TEST(a_good_host)
{
	struct report r;
	struct fake f;

	fake_begin(&f);
	fake_file(&f, "/proc/meminfo", "MemTotal: 9 kB\nMemAvailable:  8388608 kB\n");
	fake_file(&f, "/proc/sys/vm/overcommit_memory", "1\n");
	fake_file(&f, "/proc/sys/vm/max_map_count", "65530\n");
	fake_file(&f, THP, "always [madvise] never\n");
	fake_file(&f, CLOCK, "tsc\n");
	fake_file(&f, "/proc/sys/vm/unprivileged_userfaultfd", "1\n");
	look_at_host(&f, &r);
	assert_finding(&r, "free memory", FINDING_OK, "8192 MiB", "128 of 64 MiB");
	assert_finding(&r, "overcommit", FINDING_OK, "= 1", "promised");
	assert_finding(&r, "memory maps", FINDING_OK, "65530", "enough");
	assert_finding(&r, "2 MiB pages", FINDING_OK, "madvise", "quicker");
	assert_finding(&r, "clock", FINDING_OK, "tsc", "without");
	assert_finding(&r, "userfaultfd", FINDING_OK, "for everybody", "can be brought in");
	assert_finding(&r, "processors", FINDING_OK, "", "run at the same time");
	fake_end(&f);
}
END_TEST

START_TEST(a_poor_host)
{
	struct report r;
	struct fake f;

	fake_begin(&f);
	fake_file(&f, "/proc/meminfo", "MemAvailable:  65535 kB\n");
	fake_file(&f, "/proc/sys/vm/overcommit_memory", "2\n");
	fake_file(&f, "/proc/sys/vm/max_map_count", "200\n");
	fake_file(&f, THP, "always madvise [never]\n");
	fake_file(&f, CLOCK, "acpi_pm\n");
	look_at_host(&f, &r);
	assert_finding(&r, "free memory", FINDING_LACK, "63 MiB", "--mem");
	assert_finding(&r, "overcommit", FINDING_NOTE, "= 2", "sysctl");
	assert_finding(&r, "memory maps", FINDING_LACK, "200", "about 40 guests");
	assert_finding(&r, "2 MiB pages", FINDING_LACK, "never", "madvise");
	assert_finding(&r, "clock", FINDING_NOTE, "acpi_pm", "system call");
	assert_finding(&r, "userfaultfd", FINDING_LACK, "none", "CONFIG_USERFAULTFD");
	fake_end(&f);
}
END_TEST

START_TEST(userfaultfd_is_not_for_everybody)
{
	struct report r;
	struct fake f;

	fake_begin(&f);
	fake_file(&f, "/proc/sys/vm/unprivileged_userfaultfd", "0\n");
	ck_assert_int_eq(chmod(f.root, 0755), 0);
	if (geteuid() == 0) {
		look_at_host(&f, &r);
		assert_finding(&r, "userfaultfd", FINDING_OK, "for this user", "can be brought in");
		ck_assert_int_eq(seteuid(65534), 0);
	}
	look_at_host(&f, &r);
	ck_assert_int_eq(seteuid(getuid()), 0);
	assert_finding(&r, "userfaultfd", FINDING_LACK, "not for this user", "sudo sysctl vm.unprivileged_userfaultfd=1");
	fake_end(&f);
}
END_TEST

START_TEST(files_that_say_nothing_do_no_harm)
{
	static const char *const paths[] = {"/proc/meminfo", "/proc/sys/vm/overcommit_memory", THP, CLOCK,
					    "/proc/sys/vm/max_map_count", "/proc/cpuinfo"};
	static const char *const texts[] = {"", "\n", "]x[", "[", "MemAvailable:\n", "99999999999999999999999999\n",
					    "MemAvailable: -1 kB", "flags"};
	struct report r;
	struct fake f;

	fake_begin(&f);
	look_at_host(&f, &r);
	assert_finding(&r, "free memory", FINDING_NOTE, "unknown", "meminfo");
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		for (size_t k = 0; k < sizeof(paths) / sizeof(*paths); k++)
			fake_file(&f, paths[k], texts[i]);
		look_at_host(&f, &r);
		look_at_device("doctor-test-none/kvm", f.root, &r);
	}
	fake_end(&f);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		pieces_lose_nothing_and_fit, table_keeps_its_columns, json_says_the_same, a_full_disk_is_an_error,
		one_bad_finding_is_enough, a_missing_device_has_a_remedy, what_is_not_kvm_is_said_to_be_so,
		no_permission_names_the_group, a_good_host, a_poor_host, userfaultfd_is_not_for_everybody,
		files_that_say_nothing_do_no_harm,
	};

	return RUN_TESTS("doctor", tests);
}
