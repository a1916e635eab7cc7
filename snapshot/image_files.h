/*
 * The files in a snapshot's directory (docs/snapshot-format.md).
 */
#pragma once

enum image_file {
	FILE_STATE,  /* state_file.h */
	FILE_MEMORY, /* RAM: the offset is the gpa, what is zero is a hole; or compressed (block_map.h) */
	FILE_IMAGE,  /* the guest image; not with an increment */
	IMAGE_FILES
};

extern const char *const image_file_names[IMAGE_FILES];

/* A fourth one, beside them and no part of the snapshot (working_set.h); and its name while it is being written. */
#define WORKING_SET_FILE "working-set"
#define WORKING_SET_PARTIAL "working-set.partial"
