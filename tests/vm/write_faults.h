/*
 * A copy of the program whose writing of snapshots fails: the calls with which it makes directories and files, writes, syncs,
 * renames and removes are wrapped by the linker (-Wl,--wrap) and counted from the first directory for a snapshot on.
 * meson.build names the same functions. WRITE_FAULTS in the environment says what becomes of them; and whatever it says, every
 * second write takes only half of what it is given.
 */
#pragma once

#define WRITE_FAULTS "PENUMBRA_WRITE_FAULTS"

/* As text: the four numbers, separated by spaces. */
struct write_faults {
	unsigned int first, count; /* the calls `first` to `first + count - 1` fail, but not those that remove; first 0: none */
	int error;		   /* errno of theirs */
	unsigned int kill;	   /* instead of this call the program is killed; 0: none */
};
