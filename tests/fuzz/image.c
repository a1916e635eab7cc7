/*
 * Fuzz target: any bytes as a guest image. Besides not crashing, the loader must say of every file
 * what the naive oracle says, and load what it accepts exactly as the oracle does.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/fuzz/target.h"
#include "tests/unit/image_oracle.h"
#include "tests/unit/kernel_oracle.h"
#include "vmm/image.h"
#include "vmm/log.h"
#include "vmm/mem.h"
#include "vmm/symbols.h"

#define RAM ((uint64_t)2 << 20)

static void require(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "fuzz image: %s\n", what);
	abort();
}

static void check_names(const struct image *im)
{
	struct symbols symbols;
	char text[40];

	if (symbols_read(&symbols, im) < 0)
		return;
	symbols_describe(&symbols, im->entry_gva, text, sizeof(text));
	for (unsigned int i = 0; i < im->segment_count; i++) {
		symbols_describe(&symbols, im->segment[i].gva, text, sizeof(text));
		symbols_describe(&symbols, im->segment[i].gva + im->segment[i].size - 1, text,
				 sizeof(text));
	}
	for (size_t i = 0; i < symbols.count; i++) {
		require(symbols_find(&symbols, symbols.symbol[i].gva), "a symbol is not at its place");
		symbols_describe(&symbols, symbols.symbol[i].gva, text, sizeof(text));
		for (const char *c = text; *c; c++)
			require((unsigned char)*c >= 0x20 && *c != 0x7f, "a control character");
	}
	symbols_free(&symbols);
}

static void check_loaded(const struct image *im, const struct oracle *o)
{
	static uint8_t expected[RAM];
	struct mem m;

	memset(expected, 0, sizeof(expected));
	if (!oracle_load(o, expected, RAM))
		return;
	require(mem_create(&m, RAM, MEM_HUGE_NEVER) == 0, "no memory for the guest");
	require(image_load(im, &m) == 0, "does not load what fits");
	require(!memcmp(m.region[0].hva, expected, RAM), "RAM differs from the oracle's");
	mem_destroy(&m);
}

/* Of what a kernel oracle knows nothing of, it says nothing: Penumbra's images and Solo5's may hold a kernel's notes. */
static void check_kernel(const struct image *im, const uint8_t *bytes, size_t size)
{
	struct kernel_oracle o = {.file = bytes, .size = size};

	require(kernel_format_of(&o) != KERNEL_NONE, "takes for a kernel what is none");
	require(im->entry == o.entry && im->low == o.low && im->top == o.top, "the kernel's places differ");
	require(im->enters_32 == o.enters_32, "the kernel's mode differs");
}

static void check_refused(const uint8_t *bytes, size_t size)
{
	struct kernel_oracle o = {.file = bytes, .size = size};
	enum kernel_format format = kernel_format_of(&o);

	require(format != KERNEL_LINUX && format != KERNEL_FLAT, "refuses a kernel");
}

/* A kernel's note that is not right is refused in an image of ours, too. */
static bool oracle_has_bad_pvh(const struct oracle *o)
{
	struct kernel_oracle k = {.file = o->file, .size = o->size};
	kernel_wide entry;

	return kernel_pvh_notes(&k, &entry) > 1;
}

/* Kernels that say where they go are taken as such, whatever else is in the file. */
static bool is_flat_kernel(const struct oracle *o)
{
	struct kernel_oracle k = {.file = o->file, .size = o->size};
	int header = kernel_multiboot_header(&k);

	return header >= 0 && kernel_get(&k, (unsigned int)header + 4, 4) >> 16 & 1;
}

static void check_image(const char *path, struct oracle *o)
{
	struct image_reason why;
	struct image im;
	bool bootable = !is_flat_kernel(o) && oracle_bootable(o) && !oracle_has_bad_pvh(o);

	if (image_probe(&im, path, &why) < 0) {
		require(!bootable, "refuses what the oracle accepts");
		require(why.text[0] && im.what, "refuses without a reason");
		check_refused(o->file, o->size);
		return;
	}
	if (im.kind == IMAGE_SOLO5) {
		require(!bootable, "takes an image of ours for a Solo5 unikernel");
		check_names(&im);
		image_close(&im);
		return;
	}
	if (image_is_pc(&im)) {
		check_kernel(&im, o->file, o->size);
		check_names(&im);
		image_close(&im);
		return;
	}
	require(bootable, "accepts what the oracle refuses");
	require(im.entry == o->entry && im.low == o->low && im.top == o->top, "places differ");
	check_loaded(&im, o);
	check_names(&im);
	image_close(&im);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct oracle o = {.file = bytes, .size = size};
	int fd = memfd_create("image", MFD_CLOEXEC);
	char path[40];

	require(fd >= 0 && write(fd, bytes, size) == (ssize_t)size, "no file for the input");
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	check_image(path, &o);
	close(fd);
	return 0;
}
