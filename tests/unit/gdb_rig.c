#include "tests/unit/gdb_rig.h"

#include <check.h>
#include <stdio.h>
#include <unistd.h>

#include "tests/unit/capture.h"

void rig_init(struct gdb_rig *r, uint64_t end)
{
	fake_init(&r->fake, end);
}

void rig_start(struct gdb_rig *r)
{
	struct capture c;
	char where[60];

	snprintf(where, sizeof(where), "unix:/tmp/penumbra-gdb.%d", (int)getpid());
	capture_begin(&c);
	fake_start(&r->fake, where);
	assert_one_line(capture_end(&c), "gdb: listening; in gdb: target remote /tmp/penumbra-gdb.");
	client_open(&r->client, gdb_server_address(r->fake.server));
}

void rig_begin(struct gdb_rig *r, uint64_t end)
{
	rig_init(r, end);
	rig_start(r);
}

void rig_end(struct gdb_rig *r)
{
	client_send(&r->client, "k", 1);
	fake_end(&r->fake, NULL);
	client_close(&r->client);
	ck_assert_int_eq(r->fake.last, GDB_KILL);
}

void rig_reconnect(struct gdb_rig *r)
{
	client_close(&r->client);
	client_open(&r->client, gdb_server_address(r->fake.server));
}
