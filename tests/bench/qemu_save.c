#include "tests/bench/qemu_save.h"

#include <err.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/bench/bench.h"
#include "tests/bench/child.h"
#include "tests/unit/random.h"

#define QEMU "/usr/bin/qemu-system-x86_64"
#define LOW_MIB 8u   /* left to its firmware */
#define SPARE_MIB 16u
#define SAID 65536

bool qemu_save_can(void)
{
	return access(QEMU, X_OK) == 0;
}

const char *qemu_save_what(void)
{
	return access("/dev/kvm", R_OK | W_OK) ? "the same (beside: QEMU's migration to a file, TCG)"
					       : "the same (beside: QEMU's migration to a file, KVM)";
}

/* What fills its RAM: pages that are all different. */
static void make_filling(const char *path, unsigned int mib)
{
	FILE *f = fopen(path, "we");
	static uint64_t words[(1u << 20) / sizeof(uint64_t)];
	struct random r = {1};

	for (unsigned int i = 0; f && i < mib; i++) {
		for (size_t n = 0; n < sizeof(words) / sizeof(*words); n++)
			words[n] = random_next(&r);
		if (fwrite(words, sizeof(words), 1, f) != 1)
			err(1, "%s", path);
	}
	if (!f || fclose(f))
		err(1, "%s", path);
}

static struct child start(unsigned int mib, const char *filling, const char *commands)
{
	char device[200], memory[20];
	const char *const argv[] = {QEMU, "-accel", access("/dev/kvm", R_OK | W_OK) ? "tcg" : "kvm", "-M", "q35", "-m", memory,
				    "-nodefaults", "-display", "none", "-monitor", "stdio", "-device", device, NULL};

	snprintf(memory, sizeof(memory), "%u", mib);
	snprintf(device, sizeof(device), "loader,file=%s,addr=%#x,force-raw=on", filling, LOW_MIB << 20);
	return child_start(argv, &(struct child_options){.quiet = true, .input = commands});
}

/* All that it says; it ends by the last command. */
static void read_all(const struct child *c, char *said)
{
	size_t used = 0;
	ssize_t n;

	while (used < SAID - 1 && (n = read(c->output, said + used, SAID - 1 - used)) > 0)
		used += (size_t)n;
	said[used] = '\0';
}

double qemu_save_ms(unsigned int mib, const char *path)
{
	char commands[400], filling[120], *said = bench_alloc(1, SAID);
	const char *at;
	struct child c;
	double ms;

	snprintf(filling, sizeof(filling), "%s.filling", path);
	make_filling(filling, mib - LOW_MIB - SPARE_MIB);
	/* Its bandwidth is limited unless that is said. */
	snprintf(commands, sizeof(commands),
		 "migrate_set_parameter max-bandwidth 100G\nmigrate \"exec:cat > %s\"\ninfo migrate\nquit\n", path);
	c = start(mib, filling, commands);
	read_all(&c, said);
	child_finish(&c);
	at = strstr(said, "total time: ");
	if (!at || sscanf(at, "total time: %lf ms", &ms) != 1)
		errx(1, "QEMU saved nothing: '%.300s'", said);
	unlink(filling);
	unlink(path);
	free(said);
	return ms;
}
