/*
 * The scan of an image: every instruction that has a rule, in every form, in kernel and user code, on every kind of host;
 * what is code and what is data; and what is said of an image that is refused.
 */
#include "shadow/scan.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/elf_writer.h"
#include "tests/unit/expect.h"
#include "tests/unit/memory_file.h"
#include "tests/unit/random.h"
#include "tests/vm/suite.h"
#include "vmm/image.h"

#define KERNEL 0xffffffff80000000ull /* where writer_good() has its code */
#define KERNEL_GPA 0x100000ull
#define KERNEL_OFFSET 0x2000u
#define KERNEL_SIZE 0x123u
#define OTHER 0x8000000000ull /* a second segment with code */
#define OTHER_GPA 0x200000ull
#define OTHER_OFFSET 0x2400u
#define OTHER_SIZE 0x100u
#define NOP 0x90

enum { NONE, OBJECT, FUNCTION }; /* symbol types, as the file has them */

/* What is expected, for the four kinds of host. */
enum expected { FINE, PATCH, NEVER, NOT_NATIVE, NOT_WITHOUT_UMIP };

static const struct sample {
	const char *bytes;
	uint8_t length;
	enum expected kernel, user;
	const char *text; /* as a refusal names it; NULL: never refused */
} samples[] = {
	{"\x9c", 1, PATCH, FINE, "pushfq"},
	{"\x66\x9c", 2, PATCH, FINE, "pushf"},
	{"\x48\x9c", 2, PATCH, FINE, "pushfq"},
	{"\x9d", 1, PATCH, FINE, "popfq"},
	{"\x66\x9d", 2, PATCH, FINE, "popf"},
	{"\x8c\xc8", 2, NEVER, NEVER, "mov %cs, %eax"},
	{"\x8c\xd3", 2, NEVER, NEVER, "mov %ss, %ebx"},
	{"\x66\x8c\xd8", 3, NEVER, NEVER, "mov %ds, %ax"},
	{"\x48\x8c\xe1", 3, NEVER, NEVER, "mov %fs, %rcx"},
	{"\x8c\x28", 2, NEVER, NEVER, "mov %gs, (%rax)"},
	{"\x8c\x00", 2, NEVER, NEVER, "mov %es, (%rax)"},
	{"\x0f\xa0", 2, NEVER, NEVER, "push %fs"},
	{"\x0f\xa8", 2, NEVER, NEVER, "push %gs"},
	{"\x0f\x02\xc3", 3, NEVER, NEVER, "lar"},
	{"\x0f\x03\xc3", 3, NEVER, NEVER, "lsl"},
	{"\x0f\x00\xe0", 3, NEVER, NEVER, "verr"},
	{"\x0f\x00\xe8", 3, NEVER, NEVER, "verw"},
	{"\x0f\x01\x00", 3, NOT_WITHOUT_UMIP, NOT_WITHOUT_UMIP, "sgdt"},
	{"\x0f\x01\x08", 3, NOT_WITHOUT_UMIP, NOT_WITHOUT_UMIP, "sidt"},
	{"\x0f\x00\xc0", 3, NOT_WITHOUT_UMIP, NOT_WITHOUT_UMIP, "sldt"},
	{"\x0f\x00\xc8", 3, NOT_WITHOUT_UMIP, NOT_WITHOUT_UMIP, "str"},
	{"\x0f\x01\xe0", 3, NOT_WITHOUT_UMIP, NOT_WITHOUT_UMIP, "smsw"},
	{"\x0f\xa2", 2, NOT_NATIVE, FINE, "cpuid"},
	{"\x0f\x01\xd0", 3, NOT_NATIVE, FINE, "xgetbv"},
	{"\x0f\x01\xee", 3, NOT_NATIVE, FINE, "rdpkru"},
	{"\x0f\x01\xef", 3, NOT_NATIVE, FINE, "wrpkru"},
	{"\xf3\x48\x0f\xae\xc0", 5, NOT_NATIVE, FINE, "rdfsbase"},
	{"\xf3\x48\x0f\xae\xc8", 5, NOT_NATIVE, FINE, "rdgsbase"},
	{"\xf3\x48\x0f\xae\xd0", 5, NOT_NATIVE, NOT_NATIVE, "wrfsbase"},
	{"\xf3\x48\x0f\xae\xd8", 5, NOT_NATIVE, NOT_NATIVE, "wrgsbase"},
	{"\x0f\x01\xc1", 3, NEVER, FINE, "vmcall"},
	{"\x0f\x01\xd9", 3, NEVER, FINE, "vmmcall"},
	{"\xff\x18", 2, NEVER, NEVER, "lcall"},
	{"\xff\x28", 2, NEVER, NEVER, "ljmp"},
	{"\x0f\xb2\x00", 3, NEVER, NEVER, "lss"},
	{"\x0f\xb4\x00", 3, NEVER, NEVER, "lfs"},
	{"\x0f\xb5\x00", 3, NEVER, NEVER, "lgs"},
	{"\x0f\x35", 2, NEVER, FINE, "sysexit"},
	/* Their like, which trap, or tell the same in every ring. */
	{"\x50", 1, FINE, FINE, NULL},			     /* push %rax */
	{"\xff\x30", 2, FINE, FINE, NULL},		     /* push (%rax) */
	{"\x6a\x9c", 2, FINE, FINE, NULL},		     /* push $-100 */
	{"\x0f\xa1", 2, FINE, FINE, NULL},		     /* pop %fs */
	{"\x8e\xd8", 2, FINE, FINE, NULL},		     /* mov %eax, %ds */
	{"\x89\xc8", 2, FINE, FINE, NULL},		     /* mov %ecx, %eax */
	{"\xb8\x9c\x9d\x8c\xc8", 5, FINE, FINE, NULL},	     /* mov $0xc88c9d9c, %eax */
	{"\x0f\x20\xd8", 3, FINE, FINE, NULL},		     /* mov %cr3, %rax */
	{"\x0f\x21\xf8", 3, FINE, FINE, NULL},		     /* mov %dr7, %rax */
	{"\xfa", 1, FINE, FINE, NULL},			     /* cli */
	{"\xfb", 1, FINE, FINE, NULL},			     /* sti */
	{"\xf4", 1, FINE, FINE, NULL},			     /* hlt */
	{"\x9e", 1, FINE, FINE, NULL},			     /* sahf */
	{"\x9f", 1, FINE, FINE, NULL},			     /* lahf */
	{"\x48\xcf", 2, FINE, FINE, NULL},		     /* iretq */
	{"\xcf", 1, FINE, FINE, NULL},			     /* iret */
	{"\x48\xcb", 2, FINE, FINE, NULL},		     /* lretq */
	{"\xcb", 1, FINE, FINE, NULL},			     /* lret */
	{"\xc3", 1, FINE, FINE, NULL},			     /* ret */
	{"\xe8\x9c\x9d\x0f\xa2", 5, FINE, FINE, NULL},	     /* call near */
	{"\xff\xe0", 2, FINE, FINE, NULL},		     /* jmp *%rax */
	{"\xcd\x04", 2, FINE, FINE, NULL},		     /* int $4 */
	{"\xcc", 1, FINE, FINE, NULL},			     /* int3 */
	{"\x0f\x05", 2, FINE, FINE, NULL},		     /* syscall */
	{"\x48\x0f\x07", 3, FINE, FINE, NULL},		     /* sysretq */
	{"\x0f\x01\xf8", 3, FINE, FINE, NULL},		     /* swapgs */
	{"\x0f\x01\x10", 3, FINE, FINE, NULL},		     /* lgdt */
	{"\x0f\x01\x18", 3, FINE, FINE, NULL},		     /* lidt */
	{"\x0f\x00\xd8", 3, FINE, FINE, NULL},		     /* ltr %eax */
	{"\x0f\x00\xd0", 3, FINE, FINE, NULL},		     /* lldt %eax */
	{"\x0f\x01\xf0", 3, FINE, FINE, NULL},		     /* lmsw %eax */
	{"\x0f\x06", 2, FINE, FINE, NULL},		     /* clts */
	{"\x0f\x32", 2, FINE, FINE, NULL},		     /* rdmsr */
	{"\x0f\x31", 2, FINE, FINE, NULL},		     /* rdtsc */
	{"\x0f\xc7\xf0", 3, FINE, FINE, NULL},		     /* rdrand %eax */
	{"\xee", 1, FINE, FINE, NULL},			     /* out %al, %dx */
	{"\x0f\x01\x38", 3, FINE, FINE, NULL},		     /* invlpg (%rax) */
	{"\x48\x0f\xb2", 0, FINE, FINE, NULL},		     /* nothing */
};

#define SAMPLES (sizeof(samples) / sizeof(*samples))

static const struct scan_host hosts[] = {{false, false}, {false, true}, {true, false}, {true, true}};

static enum scan_rule_verdict verdict_of(enum expected e, const struct scan_host *host)
{
	bool no = e == NEVER || (e == NOT_NATIVE && host->native) || (e == NOT_WITHOUT_UMIP && !host->umip);

	return e == PATCH ? RULE_PATCH : no ? RULE_REFUSE : RULE_ALLOW;
}

struct opened {
	struct memory_file file;
	struct image image;
	struct scan scan;
};

static uint8_t bytes[WRITER_FILE_SIZE];
static struct writer_symbols symbols;

/* An image of two segments with code, all NOPs, and no symbols yet. */
static void begin(void)
{
	struct writer_elf e = writer_good();

	e.segment[3] = (struct writer_segment){WRITER_LOAD, WRITER_R | WRITER_X, OTHER_OFFSET, OTHER, OTHER_GPA, OTHER_SIZE,
					       OTHER_SIZE, 4096};
	e.segment[1] = (struct writer_segment){WRITER_LOAD, WRITER_R | WRITER_W, OTHER_OFFSET + OTHER_SIZE, KERNEL + 0x1000,
					       KERNEL_GPA + 0x1000, 0x100, 0x3000, 4096};
	e.phnum = 4;
	writer_sections(&e);
	writer_write(&e, bytes);
	memset(bytes + KERNEL_OFFSET, NOP, KERNEL_SIZE);
	memset(bytes + OTHER_OFFSET, NOP, OTHER_SIZE);
	/* What is not executable is not looked at. */
	memset(bytes + OTHER_OFFSET + OTHER_SIZE, 0x9c, 0x100);
	symbols = (struct writer_symbols){.symbol = {{0}}, .count = 1, .names_size = 1};
}

static void add_symbol(const char *name, uint8_t type, uint64_t gva, uint64_t size)
{
	ck_assert_uint_lt(symbols.count, WRITER_MAX_SYMBOLS);
	symbols.symbol[symbols.count++] = (struct writer_symbol){(uint32_t)symbols.names_size, type, 1, gva, size};
	strcpy(symbols.names + symbols.names_size, name);
	symbols.names_size += strlen(name) + 1;
}

static void put(uint32_t offset, const char *code, size_t length)
{
	memcpy(bytes + offset, code, length);
}

static void finish(struct opened *o)
{
	struct image_reason why = {""};

	if (symbols.count > 1)
		writer_put_symbols(&symbols, bytes);
	else
		memset(bytes + 40, 0, 8), memset(bytes + 60, 0, 2);
	o->file = file_of(bytes, sizeof(bytes));
	ck_assert_int_eq(image_open(&o->image, o->file.path), 0);
	ck_assert_int_eq(scan_image(&o->scan, &o->image, &why), 0);
}

static void end(struct opened *o)
{
	scan_free(&o->scan);
	image_close(&o->image);
	close(o->file.fd);
}

/* Scans with one sample in kernel and user code, both known to be code. */
static void open_sample(struct opened *o, const struct sample *s, bool user)
{
	begin();
	add_symbol("kernel_code", FUNCTION, KERNEL, KERNEL_SIZE);
	add_symbol("user_code", FUNCTION, OTHER, OTHER_SIZE);
	put((user ? OTHER_OFFSET : KERNEL_OFFSET) + 0x20, s->bytes, s->length);
	finish(o);
}

static void check_sample(const struct sample *s, bool user)
{
	enum expected e = user ? s->user : s->kernel;
	struct opened o;

	open_sample(&o, s, user);
	for (unsigned int h = 0; h < 4; h++) {
		enum scan_rule_verdict expected = verdict_of(e, &hosts[h]), got = RULE_ALLOW;
		struct image_reason why = {""};
		int r = scan_verdict(&o.scan, &hosts[h], &why);

		for (size_t i = 0; i < o.scan.count; i++) {
			expect_eq(o.scan.site[i].gva, (user ? OTHER : KERNEL) + 0x20);
			expect_eq(o.scan.site[i].gpa, (user ? OTHER_GPA : KERNEL_GPA) + 0x20);
			expect_eq(o.scan.site[i].length, s->length);
			expect_eq(o.scan.site[i].user, user);
			got = scan_decide(&o.scan.site[i], &hosts[h]);
		}
		expect_msg(got == expected && o.scan.count <= 1, "%s, user %d, host %u: %d and not %d",
			   s->text ? s->text : "a harmless one", user, h, got, expected);
		expect_eq(r, expected == RULE_REFUSE ? -ENOTSUP : 0);
		expect_eq(*why.text != 0, expected == RULE_REFUSE);
		expect_msg(!*why.text || strstr(why.text, s->text), "%s: %s", s->text, why.text);
	}
	expect_eq(scan_asks_host(&o.scan), e == NOT_NATIVE || e == NOT_WITHOUT_UMIP);
	end(&o);
}

START_TEST(every_instruction)
{
	for (size_t i = 0; i < SAMPLES; i++) {
		check_sample(&samples[i], false);
		check_sample(&samples[i], true);
	}
}
END_TEST

/* A stream of samples: each is found where it is, nothing else is. */
START_TEST(random_streams)
{
	struct random r = random_start(__func__);

	for (unsigned int round = 0; round < 300; round++) {
		uint32_t at[KERNEL_SIZE], offset = 0, count = 0;
		struct opened o;

		begin();
		add_symbol("kernel_code", FUNCTION, KERNEL, KERNEL_SIZE);
		for (;;) {
			const struct sample *s = &samples[random_next(&r) % (SAMPLES - 1)];

			if (offset + s->length > KERNEL_SIZE)
				break;
			put(KERNEL_OFFSET + offset, s->bytes, s->length);
			if (s->kernel != FINE)
				at[count++] = offset;
			offset += s->length;
		}
		finish(&o);
		expect_eq(o.scan.count, count);
		for (uint32_t i = 0; i < count; i++) {
			const struct scan_site *site = &o.scan.site[i];
			uint32_t last = at[i] + site->length - 1u;

			expect_eq(site->gva, KERNEL + at[i]);
			expect(site->sure && !site->user);
			/* All there is within reach, and the instruction's last byte where it is said to be. */
			expect_eq(site->before, last < SCAN_REACH ? last : SCAN_REACH);
			expect_eq(site->size - site->before, KERNEL_SIZE - last < SCAN_REACH + 1 ? KERNEL_SIZE - last : SCAN_REACH + 1);
			expect(!memcmp(site->bytes, bytes + KERNEL_OFFSET + last - site->before, site->size));
		}
		end(&o);
	}
}
END_TEST

/* Nothing that a file says makes the scan fail, or find what is not there. */
START_TEST(random_bytes)
{
	struct random r = random_start(__func__);

	for (unsigned int round = 0; round < 300; round++) {
		struct opened o;

		begin();
		for (unsigned int i = 0; i < KERNEL_SIZE; i++)
			bytes[KERNEL_OFFSET + i] = (uint8_t)random_next(&r);
		for (unsigned int i = random_next(&r) % 20; i; i--)
			add_symbol("f", random_next(&r) % 3, KERNEL + random_next(&r) % KERNEL_SIZE,
				   random_next(&r) % 4 ? random_next(&r) % (2 * KERNEL_SIZE) : UINT64_MAX - random_next(&r) % 9);
		finish(&o);
		for (size_t i = 0; i < o.scan.count; i++) {
			const struct scan_site *site = &o.scan.site[i];

			expect(site->gva >= KERNEL && site->gva + site->length <= KERNEL + KERNEL_SIZE);
			expect(i == 0 || site->gva > site[-1].gva);
			expect(symbols.count > 1 || !site->sure);
			expect(site->size <= sizeof(site->bytes) && site->before < site->size);
		}
		end(&o);
	}
}
END_TEST

static void expect_sites(const struct opened *o, size_t count, const uint32_t *offsets)
{
	expect_eq(o->scan.count, count);
	for (size_t i = 0; i < count; i++)
		expect_eq(o->scan.site[i].gva, KERNEL + offsets[i]);
}

/* Bytes between functions, and objects, are data; what begins with a label is code up to the next symbol. */
START_TEST(data_in_text)
{
	static const uint32_t found[] = {0x0f, 0x40, 0x4e, 0x60, 0x6f};
	struct opened o;

	begin();
	add_symbol("function", FUNCTION, KERNEL, 0x10);
	add_symbol("outer", FUNCTION, KERNEL + 0x40, 0x10);
	add_symbol("inside", NONE, KERNEL + 0x48, 0);
	add_symbol("table", OBJECT, KERNEL + 0x4f, 4);
	add_symbol("label", NONE, KERNEL + 0x60, 0);
	add_symbol("bytes", OBJECT, KERNEL + 0x70, 0x10);
	put(KERNEL_OFFSET + 0x0f, "\x9c\x9c\x9c\x8c\xc8", 5); /* the function's last byte, and data behind it */
	put(KERNEL_OFFSET + 0x40, "\x9c", 1);
	put(KERNEL_OFFSET + 0x4e, "\x9d\x9d\x9d", 3);
	put(KERNEL_OFFSET + 0x58, "\x9c", 1);
	put(KERNEL_OFFSET + 0x60, "\x9c", 1);
	put(KERNEL_OFFSET + 0x6f, "\x9c\x9c\x9c", 3);
	put(KERNEL_OFFSET + 0x90, "\x9c", 1);
	finish(&o);
	expect_sites(&o, 5, found);
	end(&o);
}
END_TEST

/* A label that is not where an instruction begins starts anew there. */
START_TEST(overlapping_code)
{
	static const uint32_t found[] = {0x11};
	struct opened o;

	begin();
	add_symbol("function", FUNCTION, KERNEL, 0x20);
	add_symbol("hidden", NONE, KERNEL + 0x11, 0);
	put(KERNEL_OFFSET + 0x10, "\xb8\x9c\x90\x90\x90", 5);
	finish(&o);
	expect_sites(&o, 1, found);
	end(&o);
}
END_TEST

/* Without symbols all is swept, from byte to byte where it must be; but what may be data is not patched. */
START_TEST(no_symbols)
{
	static const uint32_t found[] = {0x11, 0x80};
	struct image_reason why;
	struct opened o;

	begin();
	put(KERNEL_OFFSET + 0x10, "\x06\x9c", 2); /* 06 is none in 64-bit mode */
	put(KERNEL_OFFSET + 0x80, "\x9d", 1);
	finish(&o);
	expect_sites(&o, 2, found);
	ck_assert_int_eq(scan_decide(&o.scan.site[0], &hosts[0]), RULE_REFUSE);
	ck_assert_int_eq(scan_verdict(&o.scan, &hosts[0], &why), -ENOTSUP);
	ck_assert_str_eq(why.text, "`pushfq` at 0xffffffff80000011 pushes an IF that is not the guest's: it cannot be patched, "
				   "for no symbol says that this is code (and 1 more)");
	end(&o);
}
END_TEST

START_TEST(undecodable_function)
{
	static const uint32_t found[] = {0x08, 0x11, 0x30};
	struct opened o;

	begin();
	add_symbol("function", FUNCTION, KERNEL, 0x20);
	add_symbol("next", FUNCTION, KERNEL + 0x20, 0x20);
	put(KERNEL_OFFSET + 0x08, "\x9c", 1);
	put(KERNEL_OFFSET + 0x10, "\x06\x9c", 2);
	put(KERNEL_OFFSET + 0x30, "\x9c", 1);
	finish(&o);
	expect_sites(&o, 3, found);
	ck_assert_int_eq(scan_decide(&o.scan.site[0], &hosts[0]), RULE_PATCH);
	ck_assert_int_eq(scan_decide(&o.scan.site[1], &hosts[0]), RULE_REFUSE);
	ck_assert_int_eq(scan_decide(&o.scan.site[2], &hosts[0]), RULE_PATCH);
	end(&o);
}
END_TEST

/* User code: nothing in its segment but symbols with the prefix, and not the entry point. */
START_TEST(user_code)
{
	static const struct {
		const char *kernel, *other;
		uint8_t other_type;
		bool user;
	} cases[] = {
		{"main", "user_more", FUNCTION, true}, {"main", "user_more", NONE, true},
		{"main", "table", OBJECT, true},       {"main", "more", FUNCTION, false},
		{"main", "more", NONE, false},	       {"user_main", "user_more", FUNCTION, true},
		{"main", "use", FUNCTION, false},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct opened o;

		begin();
		add_symbol(cases[i].kernel, FUNCTION, KERNEL, KERNEL_SIZE);
		add_symbol("user_code", FUNCTION, OTHER, 0x40);
		add_symbol(cases[i].other, cases[i].other_type, OTHER + 0x40, 0x40);
		put(KERNEL_OFFSET, "\x0f\x02\xc3", 3);
		put(OTHER_OFFSET, "\x0f\x02\xc3", 3);
		finish(&o);
		ck_assert_uint_eq(o.scan.count, 2);
		ck_assert(!o.scan.site[0].user); /* the entry point's segment, whatever it is called */
		ck_assert_msg(o.scan.site[1].user == cases[i].user, "case %zu", i);
		end(&o);
	}
}
END_TEST

START_TEST(says_what)
{
	struct image_reason why;
	struct opened o;

	begin();
	add_symbol("first", FUNCTION, KERNEL, 0x20);
	add_symbol("a\033[2J\nb", FUNCTION, KERNEL + 0x20, 0x20);
	put(KERNEL_OFFSET + 0x10, "\x9c", 1);
	put(KERNEL_OFFSET + 0x18, "\x0f\xa2", 2);
	put(KERNEL_OFFSET + 0x22, "\x8c\xc8", 2);
	finish(&o);
	ck_assert_int_eq(scan_verdict(&o.scan, &hosts[1], &why), -ENOTSUP);
	ck_assert_str_eq(why.text, "`mov %cs, %eax` at 0xffffffff80000022 (a?[2J?b+0x2) reads the monitor's selector, not the "
				   "guest's: keep what it should tell in memory");
	ck_assert_int_eq(scan_verdict(&o.scan, &hosts[3], &why), -ENOTSUP);
	ck_assert_str_eq(why.text, "`cpuid` at 0xffffffff80000018 (first+0x18) asks the host's real CPU, not the CPU model: take "
				   "CPU facts from abi_boot.cpu (and 1 more)");
	ck_assert_int_eq(scan_verdict(&o.scan, NULL, &why), -ENOTSUP);
	ck_assert_ptr_nonnull(strstr(why.text, "depends on the host (and 1 more)"));
	end(&o);
}
END_TEST

/* The file may change under us. */
START_TEST(file_shrinks)
{
	struct image_reason why = {""};
	struct opened o;
	struct scan s;

	begin();
	add_symbol("first", FUNCTION, KERNEL, 0x20);
	finish(&o);
	ck_assert_int_eq(ftruncate(o.file.fd, KERNEL_OFFSET + 5), 0);
	ck_assert_int_eq(scan_image(&s, &o.image, &why), -ENOEXEC);
	ck_assert_str_eq(why.text, "");
	ck_assert_ptr_null(s.site);
	end(&o);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		every_instruction, random_streams, random_bytes, data_in_text, overlapping_code, no_symbols,
		undecodable_function, user_code, says_what, file_shrinks,
	};

	return RUN_TESTS("shadow_scan", tests);
}
