/*
 * An unmodified Linux kernel gives back what it has freed: by its balloon driver, which reports it behind everything else. With and
 * without a scavenger, by the host's own account. Needs what linux_guest.h says.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/vm/linux_guest.h"
#include "tests/vm/scavenged.h"
#include "tests/vm/suite.h"

#define FILE_KIB (48 << 10)
#define PAGE_KIB 4
#define SETTLE_MS 10000
#define SLACK_KIB 512

static const char *directory;

static void tell(struct child *c, const char *command, const char *answer)
{
	linux_type(c, command);
	child_expect(c, answer);
	child_expect(c, LINUX_PROMPT);
}

static json_int_t reported_kib(const struct place *p)
{
	json_t *guests = ask_stats(p);
	const json_t *balloon = json_object_get(json_array_get(guests, 0), "balloon");
	json_int_t kib = balloon ? number_of(balloon, "reported") * PAGE_KIB : 0;

	json_decref(guests);
	return kib;
}

/* What the kernel has freed before is reported in the course of some of its rounds, one in 2 s. */
static long settled_kib(struct child *c)
{
	long before, now = child_resident_kib(c);

	do {
		before = now;
		child_linger(c, SETTLE_MS);
		now = child_resident_kib(c);
	} while (now < before - SLACK_KIB);
	return now;
}

/* A file in memory comes and goes; what is free in blocks of 2 MiB is reported. The limit is the child's own. */
static void use_and_free(struct place *p, struct child *c, const char *what)
{
	long before = settled_kib(c), used, after;
	json_int_t reported;

	tell(c, "dd if=/dev/zero bs=1M count=48 2>/dev/null | tr '\\0' x >/tmp/f; wc -c </tmp/f", "50331648");
	used = child_resident_kib(c);
	ck_assert_msg(used > before + FILE_KIB / 2, "%s: %ld KiB before, %ld used", what, before, used);
	reported = reported_kib(p);
	tell(c, "rm /tmp/f; echo gone", "gone");
	while ((after = child_resident_kib(c)) > used - FILE_KIB / 2 || reported_kib(p) < reported + FILE_KIB / 2)
		child_linger(c, 500);
	printf("linux: %s: %ld KiB, %ld with a file of %d KiB, %ld without it; %lld KiB reported by then\n", what, before, used, FILE_KIB,
	       after, (long long)reported_kib(p));
	fflush(stdout);
}

START_TEST(test_gives_back)
{
	static const char *const options[] = {"", "--scavenge=idle=3600000 "};
	struct place p = make_place();
	char line[600];
	struct outcome o;
	struct child c;

	snprintf(line, sizeof(line), "run --control %s %s--initrd %s/initrd %s/vmlinuz -- console=ttyS0 quiet", p.path, options[_i],
		 directory, directory);
	c = child_start(&(struct spawn){.line = line, .limit_s = 600});
	child_expect(&c, LINUX_PROMPT);
	tell(&c, "load-modules; ls /sys/bus/virtio/drivers/virtio_balloon", "virtio");
	use_and_free(&p, &c, _i ? "with a scavenger" : "alone");
	use_and_free(&p, &c, _i ? "with a scavenger, again" : "alone, again");
	if (_i)
		ck_assert_int_ge(scavenged(&p, "reported") * PAGE_KIB, FILE_KIB);
	linux_type(&c, "poweroff -f");
	o = child_end(&c);
	ck_assert_msg(o.status == 0, "status %d, said '%s', complained '%s'", o.status, o.out.data, o.err.data);
	outcome_free(&o);
	leave_place(&p);
}
END_TEST

int main(void)
{
	directory = linux_guest();
	if (!directory)
		return LINUX_SKIPPED;
	return run_loop_test("linux_memory", test_gives_back, 2);
}
