#include "vmm/program.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "vmm/log.h"
#include "vmm/mmu.h"

const struct mmu_ops *program_find_mmu(const struct program *p, const char *name)
{
	for (const struct mmu_ops *const *m = p->mmus; *m; m++)
		if (!strcmp((*m)->name, name))
			return *m;
	return NULL;
}

const struct inspector *program_find_inspector(const struct program *p, const char *path)
{
	for (const struct inspector *const *i = p->inspectors; i && *i; i++)
		if ((*i)->knows(path))
			return *i;
	return NULL;
}

int program_image_status(int error)
{
	return error == -ENOENT || error == -ENOEXEC ? EXIT_NO_IMAGE : EXIT_BAD;
}

int program_flush_output(void)
{
	if (fflush(stdout))
		return log_errno(errno, "standard output");
	return ferror(stdout) ? log_errno(EIO, "standard output") : 0;
}
