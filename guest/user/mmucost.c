#include "guest/user/mmucost.h"

#include <stddef.h>

#include "guest/lib/parse.h"
#include "guest/lib/string.h"
#include "guest/user/programs.h"
#include "guest/user/user.h"

#define USAGE "mmucost OPERATION N [PAGES]"

uint64_t ask(uint64_t what, const void *gva, uint64_t pages)
{
	__asm__ volatile("int3" : "+a"(what) : "D"(gva), "S"(pages) : "memory");
	return what;
}

void begin_mark(void)
{
	ask(MMUCOST_WARM, NULL, 0);
	ask(MMUCOST_BEGIN, NULL, 0);
}

void end_mark(void)
{
	ask(MMUCOST_END, NULL, 0);
}

static const struct user_operation *find(const char *name)
{
	const struct user_operation *const groups[] = {
		cpu_operations, memory_operations, reach_operations, process_operations,
	};

	for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
		for (const struct user_operation *operation = groups[i]; operation->name != NULL; operation++) {
			if (strcmp(name, operation->name) == 0)
				return operation;
		}
	}
	usage(USAGE);
}

/* mmucost OPERATION N [PAGES]: the operations of ring 3; see images/mmucost.c. */
int mmucost_main(int argc, char **argv)
{
	const struct user_operation *operation;
	uint64_t count;
	uint64_t pages = 0;

	if (argc < 3 || argc > 4 || !parse_number(argv[2], &count))
		usage(USAGE);
	operation = find(argv[1]);
	if (operation->takes_pages != (argc == 4) || (argc == 4 && (!parse_number(argv[3], &pages) || pages == 0)))
		usage(operation->takes_pages ? "mmucost OPERATION N PAGES" : "mmucost OPERATION N");
	if (operation->run(count, pages))
		return 0;
	print("%s: wrong\n", operation->name);
	return 1;
}
