/* Clones: many guests of one saved guest, which share its memory and are nevertheless each their own. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ept/ept.h"
#include "guest/abi.h"
#include "shadow/shadow.h"
#include "snapshot/image_reader.h"
#include "snapshot/reason.h"
#include "snapshot/restore.h"
#include "snapshot/shared_ram.h"
#include "tests/vm/inside.h"
#include "tests/vm/modes.h"
#include "tests/vm/snapshot_place.h"
#include "tests/vm/suite.h"
#include "vmm/boot_parts.h"

static void save_guest(const struct snapshot_place *p, const char *words, unsigned int ms)
{
	struct child c = start_run(&p->control, words);

	child_linger(&c, ms);
	save(p, "s");
	quit(&p->control, &c, words);
}

static struct outcome clone_it(const struct snapshot_place *p, const char *words)
{
	char line[300];

	snprintf(line, sizeof(line), "clone %s %s/s", words, p->control.directory);
	return spawn_line(line, "");
}

/* All of them end as the guest would have, whichever mode it was in. */
START_TEST(test_many)
{
	static const char rest[] = ": clock: 60 ticks at 100 Hz, 3 spinning threads all got on\n";
	struct snapshot_place p = make_snapshot_place();

	save_guest(&p, "--mem 16M @clock -- 60", 100);
	for (size_t i = 0; i < MMU_MODES; i++) {
		char words[60], *at;
		struct outcome o;
		bool seen[10] = {false};

		snprintf(words, sizeof(words), "--count 10 --mmu %s", mmu_modes[i]);
		o = clone_it(&p, words);
		ck_assert_msg(o.status == 0 && !o.err.size, "status %d, '%s'", o.status, o.err.data);
		at = o.out.data;
		for (int n = 0; n < 10; n++) {
			ck_assert_msg(at[0] >= '0' && at[0] <= '9' && !seen[at[0] - '0'], "'%s'", o.out.data);
			seen[at[0] - '0'] = true;
			ck_assert_msg(!strncmp(at + 1, rest, strlen(rest)), "'%s'", at);
			at += 1 + strlen(rest);
		}
		ck_assert_str_eq(at, "");
		outcome_free(&o);
	}
	leave_snapshot_place(&p);
}
END_TEST

static void assert_refused(const struct snapshot_place *p, const char *words, const char *part)
{
	struct outcome o = clone_it(p, words);

	assert_complaint(&o, 125, part, NULL, words);
	outcome_free(&o);
}

START_TEST(test_refusals)
{
	struct snapshot_place p = make_snapshot_place();
	char words[200], *disk = snapshot_path(&p, "disk");
	FILE *f = fopen(disk, "w");
	struct stat st;

	ck_assert_int_eq(ftruncate(fileno(f), 1 << 20), 0);
	fclose(f);
	snprintf(words, sizeof(words), "--disk %s @shell", disk);
	save_guest(&p, words, 100);
	assert_refused(&p, "--count 2", "can only share a disk");
	assert_refused(&p, "--count 0", "--count");
	free(disk);
	disk = snapshot_path(&p, "s/memory");
	ck_assert_int_eq(stat(disk, &st), 0);
	ck_assert_int_eq(truncate(disk, st.st_size - 1), 0);
	assert_refused(&p, "--count 2", "memory");
	free(disk);
	leave_snapshot_place(&p);
}
END_TEST

#define CLONES 3

struct clones {
	struct kvm kvm;
	struct image_reader reader;
	struct restore restore;
	struct shared_ram shared;
	struct vm vm[CLONES];
};

static void make_clones(struct clones *c, const struct snapshot_place *p, const struct mmu_ops *mmu)
{
	static const struct solo5_options none;
	char *path = snapshot_path(p, "s");
	struct reason why = {0};

	inside_open(&c->kvm);
	ck_assert_msg(image_reader_open(&c->reader, path, &why) == 0, "%s", why.text);
	ck_assert_int_eq(restore_open(&c->restore, &c->reader, &none, false), 0);
	ck_assert_msg(shared_ram_create(&c->shared, &c->reader, &why) == 0, "%s", why.text);
	restore_share(&c->restore, &c->shared, true);
	for (unsigned int i = 0; i < CLONES; i++) {
		struct vm_config config = {.kvm = &c->kvm, .mmu = mmu, .number = i, .console.fd = -1};

		restore_configure(&c->restore, &config);
		ck_assert_int_eq(vm_create(&c->vm[i], &config), 0);
	}
	free(path);
}

static void drop_clones(struct clones *c)
{
	for (unsigned int i = 0; i < CLONES; i++)
		vm_destroy(&c->vm[i]);
	shared_ram_destroy(&c->shared);
	restore_close(&c->restore);
	image_reader_close(&c->reader);
	kvm_close(&c->kvm);
}

/* Everything is the same but the identity, and what one writes no other sees. */
START_TEST(test_identity)
{
	struct snapshot_place p = make_snapshot_place();
	struct abi_boot boot[CLONES];
	static struct clones c;
	uint8_t *first;

	save_guest(&p, "--mem 16M @echo", 200);
	for (size_t mode = 0; mode < MMU_MODES; mode++) {
		make_clones(&c, &p, mode ? &shadow_mmu : &ept_mmu);
		first = c.vm[0].mem.region[0].hva;
		for (unsigned int i = 0; i < CLONES; i++) {
			uint8_t *ram = c.vm[i].mem.region[0].hva;

			ck_assert_int_eq(mem_read(&c.vm[i].mem, BOOT_INFO_GPA, &boot[i], sizeof(boot[i])), 0);
			ck_assert_uint_eq(boot[i].vm_number, i);
			ck_assert(!memcmp(ram, first, BOOT_INFO_GPA));
			ck_assert(!memcmp(ram + BOOT_INFO_GPA + PAGE_SIZE, first + BOOT_INFO_GPA + PAGE_SIZE,
					  (16u << 20) - BOOT_INFO_GPA - PAGE_SIZE));
			ck_assert_uint_eq(clock_now(&c.vm[i].clock), clock_now(&c.vm[0].clock));
		}
		ck_assert(memcmp(boot[0].seed, boot[1].seed, sizeof(boot[0].seed)) != 0);
		ck_assert(memcmp(boot[1].seed, boot[2].seed, sizeof(boot[0].seed)) != 0);
		ck_assert_int_eq(mem_write(&c.vm[1].mem, 0x200000, "mine", 4), 0);
		ck_assert(memcmp(first + 0x200000, "mine", 4) != 0);
		ck_assert(memcmp(c.vm[2].mem.region[0].hva + 0x200000, "mine", 4) != 0);
		drop_clones(&c);
	}
	leave_snapshot_place(&p);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {test_many, test_refusals, test_identity};

	return RUN_TESTS("clones", tests);
}
