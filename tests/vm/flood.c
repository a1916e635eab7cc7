#include "tests/vm/flood.h"

#include <check.h>
#include <fcntl.h>
#include <sys/ioctl.h>

#include "tests/vm/asleep.h"

#define PIPE_MIN 4096

void flood_small_pipe(const struct child *c)
{
	fcntl(c->out, F_SETPIPE_SZ, PIPE_MIN);
}

void flood_await_full(const struct child *c)
{
	int size = 0;

	while (size == 0) {
		await_asleep(c);
		ck_assert_int_eq(ioctl(c->out, FIONREAD, &size), 0);
		ck_assert_msg(monotonic_ns() < c->deadline_ns, "the guest prints nothing");
	}
}

void flood_assert(const struct bytes *out, size_t size)
{
	static const char line[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-\n";

	ck_assert_uint_eq(out->size, size);
	for (size_t i = 0; i < size; i++)
		ck_assert_msg(out->data[i] == line[i % 64], "byte %zu is %d", i, out->data[i]);
}
