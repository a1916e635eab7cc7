/*
 * An unmodified Linux kernel saved at its shell, and going on in another process with what it had: its files, its processes, its
 * clock. linux_guest.h says where that can be tested.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/vm/linux_guest.h"
#include "tests/vm/snapshot_place.h"
#include "tests/vm/suite.h"

static const char *directory;

static void tell(struct child *c, const char *command, const char *answer)
{
	linux_type(c, command);
	child_expect(c, answer);
	child_expect(c, LINUX_PROMPT);
}

static void end(struct child *c, const char *command)
{
	struct outcome o;

	linux_type(c, command);
	o = child_end(c);
	ck_assert_msg(o.status == 0, "%s: status %d, said '%s', complained '%s'", command, o.status, o.out.data, o.err.data);
	outcome_free(&o);
}

START_TEST(test_goes_on)
{
	static const char *const kinds[] = {"", "--ram=lazy", "--ram=lazy", "--ram=mapped"};
	struct snapshot_place p = make_snapshot_place();
	char words[600];
	struct child c;

	snprintf(words, sizeof(words), "--initrd %s/initrd %s/vmlinuz -- console=ttyS0 quiet", directory, directory);
	c = start_listening(&p, "run", words, SPAWN_PIPE);
	child_expect(&c, LINUX_PROMPT);
	tell(&c, "dd if=/dev/urandom of=/tmp/f bs=1M count=16 2>/dev/null; md5sum /tmp/f | cut -c 1-32 > /tmp/sum; echo ma''de", "made");
	tell(&c, "(for i in 1 2 3 4 5 6; do sleep 1; echo $i >> /tmp/ticks; done) & echo be''gun", "begun");
	save(&p, "s");
	tell(&c, "md5sum /tmp/f | cut -c 1-32 | cmp - /tmp/sum && echo sa''me", "same");
	end(&c, "poweroff -f");
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		c = start_restore(&p, kinds[i], "s");
		tell(&c, "md5sum /tmp/f | cut -c 1-32 | cmp - /tmp/sum && echo sa''me", "same");
		tell(&c, "wait; tail -n 1 /tmp/ticks", "6");
		end(&c, "poweroff -f");
	}
	leave_snapshot_place(&p);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {test_goes_on};

	directory = linux_guest();
	return directory ? RUN_TESTS("linux_snapshot", tests) : LINUX_SKIPPED;
}
