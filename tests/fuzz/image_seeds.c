/*
 * Writes the first inputs of the image target: image_seeds DIRECTORY IMAGE... puts the unit tests'
 * images, good and broken, and copies of real ones there.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/unit/broken_images.h"
#include "tests/unit/elf_writer.h"
#include "tests/unit/kernel_writer.h"

static uint8_t bytes[256 << 10];

static void fail(const char *what)
{
	fprintf(stderr, "image_seeds: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void put(const char *directory, const char *name, size_t size)
{
	char path[4096];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	f = fopen(path, "we");
	if (!f || fwrite(bytes, 1, size, f) != size || fclose(f))
		fail(path);
}

static void put_elf(const char *directory, const char *name, const struct writer_elf *e)
{
	writer_write(e, bytes);
	put(directory, name, e->size);
}

static void put_symbols(const char *directory)
{
	struct writer_elf e = writer_good();
	struct writer_symbols s = {
		.symbol = { { 0 }, { 1, 2, 1, e.entry, 0x20 }, { 7, 1, 1, e.entry + 0x40, 0 } },
		.count = 3, .names = "\0start\0label", .names_size = 13,
	};

	writer_sections(&e);
	writer_write(&e, bytes);
	writer_put_symbols(&s, bytes);
	put(directory, "symbols", e.size);
}

static void put_copy(const char *directory, const char *path)
{
	const char *name = strrchr(path, '/');
	FILE *f = fopen(path, "re");
	size_t size;

	if (!f)
		fail(path);
	size = fread(bytes, 1, sizeof(bytes), f);
	fclose(f);
	put(directory, name ? name + 1 : path, size);
}

static void put_kernel(const char *directory, const char *name, struct kernel_file *k)
{
	memcpy(bytes, k->bytes, k->size);
	put(directory, name, k->size);
}

static void put_kernels(const char *directory)
{
	static struct kernel_file k;

	kernel_write_linux(&k);
	put_kernel(directory, "linux", &k);
	kernel_write_flat(&k);
	put_kernel(directory, "multiboot-flat", &k);
	for (int narrow = 0; narrow < 2; narrow++) {
		kernel_write_multiboot(&k, narrow, narrow ? 0xc0000000 : 0xffffffff80000000);
		put_kernel(directory, narrow ? "multiboot-32" : "multiboot-64", &k);
		kernel_write_pvh(&k, narrow, narrow ? 0 : 0xffffffff80000000);
		put_kernel(directory, narrow ? "pvh-32" : "pvh-64", &k);
	}
}

int main(int argc, char **argv)
{
	struct writer_elf good = writer_good(), small = writer_small();

	if (argc < 2) {
		fputs("usage: image_seeds DIRECTORY IMAGE...\n", stderr);
		return 2;
	}
	if (mkdir(argv[1], 0777) && errno != EEXIST)
		fail(argv[1]);
	put_elf(argv[1], "good", &good);
	put_elf(argv[1], "small", &small);
	put_symbols(argv[1]);
	put_kernels(argv[1]);
	for (size_t i = 0; i < BROKEN_IMAGES; i++) {
		struct writer_elf e = writer_good();

		broken_images[i].damage(&e);
		put_elf(argv[1], broken_images[i].name, &e);
	}
	for (int i = 2; i < argc; i++)
		put_copy(argv[1], argv[i]);
	return 0;
}
