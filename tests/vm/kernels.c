/*
 * Kernels of a PC in every format that is known, by the small kernel of guest/pc: what it is told at its boot, against what the
 * formats' specifications and the command line say; each way in which it ends; and what is refused before it starts.
 */
#include <check.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "tests/vm/modes.h"
#include "tests/vm/spawn.h"
#include "tests/vm/suite.h"
#include "vmm/kvm.h"

enum { MULTIBOOT, PVH, LINUX };

static const struct kernel {
	const char *name;
	int protocol;
	const char *first; /* line it prints; the rest depends on RAM */
} kernels[] = {
	{"pc-multiboot", MULTIBOOT, "multiboot 2badb002 by Penumbra"},
	{"pc-multiboot-flat", MULTIBOOT, "multiboot 2badb002 by Penumbra"},
	{"pc-pvh", PVH, "pvh 336ec578 version 1"},
	{"pc-linux", LINUX, "linux 64-bit loader ff header 53726448"},
	{"pc-linux32", LINUX, "linux 32-bit loader ff header 53726448"},
};

#define KERNELS ((int)(sizeof(kernels) / sizeof(*kernels)))

struct text {
	char at[4096];
	size_t used;
};

static void __attribute__((format(printf, 2, 3))) add(struct text *t, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	t->used += (size_t)vsnprintf(t->at + t->used, sizeof(t->at) - t->used, fmt, args);
	va_end(args);
	ck_assert_uint_lt(t->used, sizeof(t->at));
}

static void expect_memory(struct text *t, uint64_t start, uint64_t end, int type)
{
	if (end > start)
		add(t, "memory %016llx + %016llx type %d\n", (unsigned long long)start, (unsigned long long)(end - start), type);
}

/* What a PC of so many bytes of RAM looks like: holes at 640 KiB and at 3 GiB. */
static void expect_head(struct text *t, const struct kernel *k, uint64_t ram)
{
	const uint64_t gib = 1ull << 30;
	uint64_t low = ram < 3 * gib ? ram : 3 * gib;

	add(t, "%s", k->first);
	if (k->protocol == MULTIBOOT)
		add(t, " lower %08x upper %08llx", 636u, (unsigned long long)(low / 1024 - 1024));
	add(t, "\n");
	expect_memory(t, 0, 636 * 1024, 1);
	expect_memory(t, 636 * 1024, 1024 * 1024, 2);
	expect_memory(t, 1024 * 1024, low, 1);
	expect_memory(t, 4 * gib, ram > low ? 4 * gib + (ram - low) : 0, 1);
}

/* Linux is told the rate of its counter, as KVM has it, before its own words. */
static const char *rate_word(const struct kernel *k)
{
	static char word[40];
	struct kvm kvm;
	int vm, vcpu;

	if (k->protocol != LINUX)
		return "";
	ck_assert_int_eq(kvm_open(&kvm), 0);
	vm = kvm_create_vm(&kvm);
	ck_assert_int_ge(vm, 0);
	vcpu = kvm_create_vcpu(vm, 0);
	ck_assert_int_ge(vcpu, 0);
	snprintf(word, sizeof(word), "tsc_early_khz=%d ", ioctl(vcpu, KVM_GET_TSC_KHZ, 0));
	close(vcpu);
	close(vm);
	kvm_close(&kvm);
	return word;
}

static void expect_cmdline(struct text *t, const struct kernel *k, const char *words)
{
	add(t, "bios data 9f00 027c\ncommand line '%s%s'\n", rate_word(k), words);
}

static char directory[] = "/tmp/kernels.XXXXXX";

static void make_file(const char *name, size_t size, char path[80])
{
	uint8_t *bytes = malloc(size + 1);
	FILE *f;

	ck_assert_ptr_nonnull(bytes);
	for (size_t i = 0; i < size; i++)
		bytes[i] = (uint8_t)(i * i + size + 7);
	snprintf(path, 80, "%s/%s", directory, name);
	f = fopen(path, "we");
	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(bytes, 1, size, f), size);
	ck_assert_int_eq(fclose(f), 0);
	free(bytes);
}

static void expect_file(struct text *t, const char *what, size_t size, const char *string)
{
	unsigned int a = 0, b = 0;

	for (size_t i = 0; i < size; i++) {
		a = (a + ((i * i + size + 7) & 0xff)) % 65536;
		b = (b + a) % 65536;
	}
	add(t, "%s %08zx sum %08x '%s'\n", what, size, b << 16 | a, string);
}

static void expect_run(const char *line, int status, const struct text *expected)
{
	struct outcome o = spawn_line(line, "");

	assert_outcome(&o, status, expected->at, line);
	ck_assert_msg(o.err.size == 0, "%s: complained '%s'", line, o.err.data);
	outcome_free(&o);
}

START_TEST(test_ram)
{
	static const struct { const char *option; uint64_t mib; } sizes[] = {
		{"", 256}, {"--mem 2M ", 2}, {"--mem 3G ", 3072}, {"--mem 5G ", 5120},
	};
	const struct kernel *k = &kernels[_i];

	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		struct text expected = {.used = 0};
		char line[160];

		expect_head(&expected, k, sizes[i].mib << 20);
		expect_cmdline(&expected, k, "one two=2 off");
		snprintf(line, sizeof(line), "run %s--append one @%s -- two=2 off", sizes[i].option, k->name);
		expect_run(line, 0, &expected);
	}
}
END_TEST

START_TEST(test_files)
{
	const struct kernel *k = &kernels[_i];
	struct text expected = {.used = 0};
	char first[80], second[80], line[400];

	make_file("first", 12345, first);
	make_file("second", 4096, second);
	expect_head(&expected, k, 256 << 20);
	expect_file(&expected, k->protocol == LINUX ? "initrd" : "module", 12345, "");
	if (k->protocol != LINUX) {
		expect_file(&expected, "module", 4096, "");
		expect_file(&expected, "module", 12345, "root=hd0,1");
	}
	expect_cmdline(&expected, k, "off");
	snprintf(line, sizeof(line), "run --initrd %s%s%s%s%s%s @%s -- off", first, k->protocol == LINUX ? "" : " --module ",
		 k->protocol == LINUX ? "" : second, k->protocol == LINUX ? "" : " --module ",
		 k->protocol == LINUX ? "" : first, k->protocol == LINUX ? "" : ",root=hd0,1", k->name);
	expect_run(line, 0, &expected);
	unlink(first);
	unlink(second);
}
END_TEST

START_TEST(test_ends)
{
	static const struct { const char *word; int status; const char *more; } ends[] = {
		{"keyboard", 0, ""}, {"cf9", 0, ""}, {"port92", 0, ""}, {"off", 0, ""}, {"off-bochs", 0, ""},
		{"debug-exit", 0x15 * 2 + 1, ""}, {"halt", 0, ""}, {"nowhere", 0, "nowhere ffffffff\n"}, {"other", 0, "still here\n"},
	};
	const struct kernel *k = &kernels[_i];

	/* All by the first kernel; the others share the code that ends them. */
	for (size_t i = (size_t)_i; i < sizeof(ends) / sizeof(*ends); i += _i ? KERNELS - 1 : 1) {
		struct text expected = {.used = 0};
		char line[80];

		expect_head(&expected, k, 256 << 20);
		expect_cmdline(&expected, k, ends[i].word);
		add(&expected, "%s", ends[i].more);
		snprintf(line, sizeof(line), "run @%s -- %s", k->name, ends[i].word);
		expect_run(line, ends[i].status, &expected);
	}
}
END_TEST

START_TEST(test_triple_fault)
{
	char line[80];
	struct outcome o;

	snprintf(line, sizeof(line), "run @%s -- triple-fault", kernels[_i].name);
	o = spawn_line(line, "");
	assert_complaint(&o, 126, kernels[_i].name, "triple fault", line);
	outcome_free(&o);
}
END_TEST

/* A kernel that has come to 64-bit mode goes on in shadow mode and back; input tells that it lives. */
START_TEST(test_change_of_mode)
{
	char line[160], path[80];
	struct child c;
	struct outcome o;

	if (kernels[_i].protocol == LINUX)
		return;
	snprintf(path, sizeof(path), "%s/%d", directory, _i);
	snprintf(line, sizeof(line), "run --control %s @%s -- long", path, kernels[_i].name);
	c = child_start(&(struct spawn){.line = line});
	child_expect(&c, "64-bit\n");
	child_send(&c, "x", 1);
	child_expect(&c, "x");
	for (int i = 0; i < 4; i++) {
		snprintf(line, sizeof(line), "ctl %s mmu %s", path, mmu_modes[(i + 1) % 2]);
		o = spawn_line(line, "");
		ck_assert_msg(o.status == 0, "%s: %d '%s'", line, o.status, o.err.data);
		outcome_free(&o);
		child_send(&c, "yz", 2);
		child_expect(&c, "yz");
	}
	child_send(&c, "q", 1);
	o = child_end(&c);
	ck_assert_int_eq(o.status, 0x20 * 2 + 1);
	outcome_free(&o);
}
END_TEST

START_TEST(test_no_start_in_shadow)
{
	const struct kernel *k = &kernels[_i];
	struct outcome o;
	char line[80];

	snprintf(line, sizeof(line), "run --mmu shadow @%s -- off", k->name);
	o = spawn_line(line, "");
	assert_complaint(&o, 125, "shadow", k->protocol == LINUX ? "packed" : "64-bit mode; when", line);
	ck_assert_ptr_nonnull(strstr(o.err.data, k->name));
	outcome_free(&o);
	snprintf(line, sizeof(line), "inspect @%s", k->name);
	o = spawn_line(line, "");
	ck_assert_int_eq(o.status, 0);
	ck_assert_msg(strstr(o.out.data, k->protocol == LINUX ? "shadow    no: a bzImage's code is packed" :
							       "shadow    no: it starts in 32-bit mode"),
		      "%s: '%s'", line, o.out.data);
	outcome_free(&o);
}
END_TEST

static void expect_refusal(const char *line, int status, const char *why)
{
	struct outcome o = spawn_line(line, "");

	assert_complaint(&o, status, why, NULL, line);
	ck_assert_msg(o.out.size == 0, "%s: said '%s'", line, o.out.data);
	outcome_free(&o);
}

START_TEST(test_refused)
{
	const struct kernel *k = &kernels[_i];
	bool is_linux = k->protocol == LINUX;
	char line[40000], file[80], words[33000];

	make_file("large", 3 << 20, file);
	snprintf(line, sizeof(line), "run --mem 3M --initrd %s @%s -- off", file, k->name);
	expect_refusal(line, 125, "does not fit");
	snprintf(line, sizeof(line), "run --mem 1M @%s -- off", k->name);
	expect_refusal(line, 125, "--mem 2M");
	snprintf(line, sizeof(line), "run --initrd %s.gone @%s -- off", file, k->name);
	expect_refusal(line, 125, "No such file");
	snprintf(line, sizeof(line), "run --module %s @%s -- off", directory, k->name);
	expect_refusal(line, 125, is_linux ? "takes no modules" : "regular file");
	snprintf(line, sizeof(line), "run --module ,x @%s -- off", k->name);
	expect_refusal(line, 125, "--module=,x");
	memset(words, 'w', sizeof(words));
	words[is_linux ? 256 - strlen(rate_word(k)) : 32768] = '\0';
	snprintf(line, sizeof(line), "run @%s -- %s", k->name, words);
	expect_refusal(line, 125, "command line");
	unlink(file);
}
END_TEST

START_TEST(test_most_modules)
{
	char line[4000], file[80];
	struct text expected = {.used = 0};
	int used;

	if (kernels[_i].protocol == LINUX)
		return;
	make_file("many", 100, file);
	used = snprintf(line, sizeof(line), "run");
	expect_head(&expected, &kernels[_i], 256 << 20);
	for (int i = 0; i < 16; i++) {
		used += snprintf(line + used, sizeof(line) - (size_t)used, " --module=%s,%d", file, i);
		expect_file(&expected, "module", 100, (const char *[]){"0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11",
								       "12", "13", "14", "15"}[i]);
	}
	expect_cmdline(&expected, &kernels[_i], "off");
	snprintf(line + used, sizeof(line) - (size_t)used, " @%s -- off", kernels[_i].name);
	expect_run(line, 0, &expected);
	snprintf(line + used, sizeof(line) - (size_t)used, " --module=%s @%s -- off", file, kernels[_i].name);
	expect_refusal(line, 125, "at most 16");
	unlink(file);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("kernels");
	int status;

	if (!mkdtemp(directory))
		return EXIT_FAILURE;
	tcase_add_loop_test(tcase, test_ram, 0, KERNELS);
	tcase_add_loop_test(tcase, test_files, 0, KERNELS);
	tcase_add_loop_test(tcase, test_ends, 0, KERNELS);
	tcase_add_loop_test(tcase, test_triple_fault, 0, KERNELS);
	tcase_add_loop_test(tcase, test_change_of_mode, 0, KERNELS);
	tcase_add_loop_test(tcase, test_no_start_in_shadow, 0, KERNELS);
	tcase_add_loop_test(tcase, test_refused, 0, KERNELS);
	tcase_add_loop_test(tcase, test_most_modules, 0, KERNELS);
	tcase_set_timeout(tcase, 0);
	status = run_case("kernels", tcase);
	rmdir(directory);
	return status;
}
