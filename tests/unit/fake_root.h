/*
 * A made-up root directory, for code that reads files of the host.
 */
#pragma once

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct fake {
	char root[64];
};

static inline void fake_begin(struct fake *f)
{
	strcpy(f->root, P_tmpdir "/penumbra-root-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(f->root));
}

static inline void fake_file(struct fake *f, const char *path, const char *text)
{
	char full[256];
	FILE *out;

	snprintf(full, sizeof(full), "%s%s", f->root, path);
	for (char *slash = strchr(full + strlen(f->root) + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		mkdir(full, 0777);
		*slash = '/';
	}
	out = fopen(full, "w");
	ck_assert_ptr_nonnull(out);
	fputs(text, out);
	fclose(out);
}

static inline void fake_end(struct fake *f)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -r %s", f->root);
	ck_assert_int_eq(system(command), 0);
}
