#include "vmm/overwrite.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

#include "vmm/log.h"
#include "vmm/run_options.h"

/* A pipe or terminal loses nothing. */
static bool is_one_file(const char *a, const char *b)
{
	struct stat x, y;

	return a && b && !stat(a, &x) && !stat(b, &y) && x.st_dev == y.st_dev && x.st_ino == y.st_ino &&
	       (S_ISREG(x.st_mode) || S_ISBLK(x.st_mode));
}

static int check(const char *output, const char *what, const char *other, const char *used_as)
{
	if (!is_one_file(output, other))
		return 0;
	return log_bad(EINVAL, "%s: %s would overwrite it: it is the %s", output, what, used_as);
}

static int check_output(const struct run_options *o, const char *output, const char *what)
{
	int r = check(output, what, o->image, "image");

	if (r == 0)
		r = check(output, what, o->initrd, "initrd");
	for (unsigned int i = 0; r == 0 && i < o->module_count; i++)
		r = check(output, what, o->module[i].path, "file of a --module");
	for (unsigned int i = 0; r == 0 && i < o->disk_count; i++)
		r = check(output, what, o->disk[i].path, "file of a --disk");
	for (unsigned int i = 0; r == 0 && i < o->solo5.count; i++)
		if (o->solo5.option[i].kind == SOLO5_GIVE_BLOCK)
			r = check(output, what, o->solo5.option[i].value, "file of a --block");
	return r;
}

int overwrite_check(const struct run_options *o)
{
	int r = check_output(o, o->stats, "--stats");

	if (r == 0)
		r = check_output(o, o->console_file, "--console");
	if (r == 0)
		r = check(o->stats, "--stats", o->console_file, "file of --console");
	return r;
}
