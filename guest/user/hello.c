#include "guest/user/programs.h"
#include "guest/user/user.h"

/* hello [WORD...]: hello from ring 3, for the shell. */
int hello_main(int argc, char **argv)
{
	print("hello, world");
	for (int i = 1; i < argc; i++)
		print(" %s", argv[i]);
	print("\n");
	return 0;
}
