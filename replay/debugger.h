/*
 * gdb at a guest: one that runs now (`penumbra run --gdb`), or one that is replayed (`penumbra replay --gdb`), which it can have go back.
 * The guest stands still until a gdb has come.
 */
#pragma once

#include "replay/gdb_server.h"
#include "replay/travel.h"
#include "vmm/debug.h"

struct replayer;

struct debugger {
	struct debug debug;
	struct replayer *replayer; /* NULL: the guest runs now */
	bool scavenged;		   /* who scavenges the guest wants to know which pages it uses */
	struct gdb_server *server;
	struct travel travel;
	struct gdb_stop end; /* of the guest; what gdb is told last */
};

extern const struct debugging_feature debugging_feature;

/* Listens at `where` (gdb_server.h). Returns 0 or a logged -errno. */
int debugger_open(struct debugger *d, const char *where, struct replayer *r);
void debugger_close(struct debugger *d);
