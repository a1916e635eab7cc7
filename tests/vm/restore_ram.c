/*
 * Guests whose RAM comes from the snapshot while they run, by page or mapped: they say what they would have said; what is damaged
 * ends them for that reason and nothing else; and they can be saved before they have it all.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/random.h"
#include "tests/vm/effort.h"
#include "tests/vm/modes.h"
#include "tests/vm/saved_guest.h"
#include "tests/vm/suite.h"

#define PAGE 4096u
static const char *const guests[] = {
	SAVED_MEMORY, "--mem 5G @procs -- 4", "@clock -- 80", "@compute -- sse 6", "@tablestep", "@accesses -- 10",
};

#define GUESTS (sizeof(guests) / sizeof(*guests))

/* Lazily without a working set and with one, and mapped. */
START_TEST(test_same)
{
	struct saved s = save_guest(guests[_i]);
	char *set = snapshot_path(&s.place, "s/working-set"), words[60];

	for (size_t i = 0; i < MMU_MODES; i++) {
		unlink(set);
		snprintf(words, sizeof(words), "--mmu %s --ram=lazy", mmu_modes[i]);
		assert_restored(&s, words);
		ck_assert_int_eq(access(set, F_OK), 0);
		assert_restored(&s, words);
		snprintf(words, sizeof(words), "--mmu %s --ram=mapped", mmu_modes[i]);
		assert_restored(&s, words);
		snprintf(words, sizeof(words), "--mmu %s --ram=lazy --hugepages=on", mmu_modes[i]);
		assert_restored(&s, words);
	}
	free(set);
	leave_saved(&s);
}
END_TEST

/* Changes a byte in pages that hold something: in this one of them, or in all. Returns how many there are. */
static unsigned int damage(const struct saved *s, unsigned int which)
{
	char *path = snapshot_path(&s->place, "s/memory");
	int fd = open(path, O_RDWR);
	unsigned int pages = 0;

	for (off_t at = 0; (at = lseek(fd, at, SEEK_DATA)) >= 0; at += PAGE) {
		uint8_t byte;

		ck_assert_int_eq(pread(fd, &byte, 1, at + 99), 1);
		byte ^= 0x10;
		if (pages == which || which == UINT32_MAX)
			ck_assert_int_eq(pwrite(fd, &byte, 1, at + 99), 1);
		pages++;
	}
	close(fd);
	free(path);
	return pages;
}

static void assert_lost(const struct saved *s, const struct outcome *o)
{
	ck_assert_msg(o->status == 125, "status %d, '%s'", o->status, o->err.data);
	ck_assert_msg(strstr(o->err.data, "s/memory: damaged: the checksum of the page at 0x"), "'%s'", o->err.data);
	ck_assert_msg(strstr(o->err.data, "host failed: guest RAM: page 0x") && strstr(o->err.data, " is lost: "), "'%s'", o->err.data);
	ck_assert_msg(!strncmp(s->rest, o->out.data, o->out.size), "'%s'", o->out.data);
}

/* The guest ends when it touches the page, having said nothing wrong; if it never does, it is as good as whole. */
START_TEST(test_damaged)
{
	struct random r = random_start("restore_ram");
	struct saved s = save_guest(SAVED_MEMORY);
	char words[60];
	struct outcome o;

	for (size_t i = 0; i < MMU_MODES; i++) {
		snprintf(words, sizeof(words), "--mmu %s --ram=lazy", mmu_modes[i]);
		damage(&s, UINT32_MAX);
		o = restore(&s.place, words, "s");
		assert_lost(&s, &o);
		outcome_free(&o);
		damage(&s, UINT32_MAX);
		assert_restored(&s, words);
	}
	for (unsigned int n = effort(12, 4); n; n--) {
		unsigned int which = (unsigned int)random_below(&r, damage(&s, UINT32_MAX - 1));

		damage(&s, which);
		if (n % 2)
			run_in(&s, "rm s/working-set");
		o = restore(&s.place, words, "s");
		if (o.status == 125)
			assert_lost(&s, &o);
		else
			ck_assert_msg(o.status == s.status && !strcmp(o.out.data, s.rest), "status %d, '%s'", o.status, o.out.data);
		outcome_free(&o);
		damage(&s, which);
	}
	leave_saved(&s);
}
END_TEST

/* State and guest image are checked whenever RAM is read. */
START_TEST(test_checked_before)
{
	static const char *const kinds[] = {"--ram=lazy", "--ram=mapped"};
	struct saved s = save_guest("@clock -- 60");

	for (size_t i = 0; i < 2; i++) {
		run_in(&s, "cp -r s t && printf x | dd of=s/image bs=1 seek=777 conv=notrunc 2>/dev/null");
		assert_not_restored(&s.place, kinds[i], "s", "s/image: damaged");
		run_in(&s, "rm -r s && cp -r t s && printf x | dd of=s/state bs=1 seek=777 conv=notrunc 2>/dev/null");
		assert_not_restored(&s.place, kinds[i], "s", "s/state");
		run_in(&s, "rm -r s && cp -r t s && truncate -s 1000 s/memory");
		assert_not_restored(&s.place, kinds[i], "s", "s/memory: damaged: its size");
		run_in(&s, "rm -r s && mv t s");
	}
	assert_not_restored(&s.place, "--ram=soon", "s", "--ram=soon: give now, lazy or mapped");
	leave_saved(&s);
}
END_TEST

/* Starts it as `words` say, has it saved as `to` at once, and kills it: it may have said something by then. */
static struct outcome save_again(const struct saved *s, const char *words, const char *from, const char *to)
{
	struct child c = start_restore(&s->place, words, from);
	struct outcome o;

	ask_ok(&s->place.control, "pause");
	save(&s->place, to);
	kill(c.pid, SIGKILL);
	o = child_end(&c);
	unlink(s->place.control.path);
	return o;
}

/* Saved before it has all of its RAM, and restored from that in the same way, five deep. */
START_TEST(test_saved_again)
{
	static const char *const kinds[] = {"lazy", "mapped", "lazy", "now", "lazy"};
	struct saved s = save_guest("--mem 24M @memory -- unique=500 seed=4 rounds=40 pause=10");
	size_t at = 0;

	for (unsigned int i = 0; i < 5; i++) {
		char words[60], from[10], to[10];
		struct outcome o;

		snprintf(words, sizeof(words), "--mmu %s --ram=%s", mmu_modes[i % 2], kinds[i]);
		snprintf(from, sizeof(from), i ? "s%u" : "s", i);
		snprintf(to, sizeof(to), "s%u", i + 1);
		o = save_again(&s, words, from, to);
		ck_assert_msg(!strncmp(s.rest + at, o.out.data, o.out.size), "%s: '%s'", words, o.out.data);
		at += o.out.size;
		outcome_free(&o);
	}
	for (unsigned int i = 0; i < 3; i++) {
		char words[60];
		struct outcome o;

		snprintf(words, sizeof(words), "--mmu %s --ram=%s", mmu_modes[i % 2], kinds[i]);
		o = restore(&s.place, words, "s5");
		assert_outcome(&o, s.status, s.rest + at, words);
		outcome_free(&o);
	}
	leave_saved(&s);
}
END_TEST

static bool has_increment(const struct saved *s)
{
	char *path = snapshot_path(&s->place, "c/00000004/state");
	bool there = access(path, F_OK) == 0;

	free(path);
	return there;
}

/* A lazy guest that is checkpointed, killed, and restored lazily from the chain. */
START_TEST(test_chain)
{
	struct saved s = save_guest("--mem 24M @memory -- unique=500 seed=4 rounds=60 pause=10");

	for (size_t i = 0; i < MMU_MODES; i++) {
		char words[150], *end;
		struct outcome o;
		struct child c;

		snprintf(words, sizeof(words), "--mmu %s --ram=lazy --checkpoint %s/c --checkpoint-every 20", mmu_modes[i],
			 s.place.control.directory);
		c = start_restore(&s.place, words, "s");
		while (!has_increment(&s) && !child_has_ended(&c))
			usleep(1000);
		kill(c.pid, SIGKILL);
		o = child_end(&c);
		outcome_free(&o);
		unlink(s.place.control.path);
		assert_not_restored(&s.place, "--ram=mapped", "c", "give --ram=lazy or --ram=now");
		for (unsigned int n = 0; n < 2; n++) {
			snprintf(words, sizeof(words), "--mmu %s --ram=lazy", mmu_modes[(i + n) % 2]);
			o = restore(&s.place, words, "c");
			end = strlen(s.rest) >= o.out.size ? s.rest + strlen(s.rest) - o.out.size : s.rest;
			assert_outcome(&o, s.status, end, words);
			outcome_free(&o);
		}
		run_in(&s, "rm -r c");
	}
	leave_saved(&s);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("restore_ram");

	tcase_add_loop_test(tcase, test_same, 0, GUESTS);
	tcase_add_test(tcase, test_damaged);
	tcase_add_test(tcase, test_checked_before);
	tcase_add_test(tcase, test_saved_again);
	tcase_add_test(tcase, test_chain);
	tcase_set_timeout(tcase, 0);
	return run_case("restore_ram", tcase);
}
