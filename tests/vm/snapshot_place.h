/*
 * A directory with a control socket and snapshots in it, and what the tests of snapshots do there. Whatever is not as it must be
 * fails the test.
 */
#pragma once

#include <stdbool.h>

#include "tests/vm/control_client.h"

struct snapshot_place {
	struct place control;
};

struct snapshot_place make_snapshot_place(void);
void leave_snapshot_place(const struct snapshot_place *p); /* with all that is in it */

/* "PLACE/NAME"; the caller frees it. */
char *snapshot_path(const struct snapshot_place *p, const char *name);

/* Of a directory of checkpoints: how many whole ones there are, and the number of the newest; 0 = none. */
unsigned int count_checkpoints(const char *directory);
unsigned int newest_checkpoint(const char *directory);

/* Sends a request to whom there is. Returns whether it was carried out. */
bool ask_quietly(const struct place *p, const char *request);

/* Saves into the directory of that name; options are "" or end in a blank. The second one has none, and must be able to. */
bool save_quietly(const struct snapshot_place *p, const char *options, const char *name);
void save(const struct snapshot_place *p, const char *name);

/* Starts a command with a guest, which listens at the place or, if it is a fast one, has ended already. */
struct child start_listening(const struct snapshot_place *p, const char *command, const char *words, enum spawn_stdin in);

/* A shell that has said its prompt, with options of `run`. */
struct child start_shell(const struct snapshot_place *p, const char *options);

/* The same for `restore`, with words before the directory. */
struct child start_restore(const struct snapshot_place *p, const char *words, const char *name);

/* `restore` to its end, with words before the directory, and with input. */
struct outcome restore(const struct snapshot_place *p, const char *words, const char *name);
struct outcome restore_with(const struct snapshot_place *p, const char *words, const char *name, const char *input);
void assert_not_restored(const struct snapshot_place *p, const char *words, const char *name, const char *part);

/*
 * A guest that was killed in one process and went on in another from a moment before: what each said is the beginning and the end
 * of what the guest says when it is left alone, and nothing is missing between.
 */
void assert_went_on(const struct outcome *whole, const struct outcome *killed, const struct outcome *rest, const char *what);
