/*
 * The benchmark guest inside the program: an image like any other that is a file, but one that nobody can change.
 */
#include "compare/benchmark_guest.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "compare/benchmark_guest_image.h"
#include "tests/vm/suite.h"
#include "vmm/image.h"

static struct benchmark_guest guest;

static void open_guest(void)
{
	ck_assert_int_eq(benchmark_guest_open(&guest), 0);
}

static void close_guest(void)
{
	benchmark_guest_close(&guest);
}

START_TEST(it_is_an_image)
{
	struct image image;

	ck_assert_int_eq(image_open(&image, guest.path), 0);
	ck_assert_uint_eq(image.kind, IMAGE_PENUMBRA);
	ck_assert_uint_gt(image.segment_count, 0);
	image_close(&image);
}
END_TEST

START_TEST(it_is_whole)
{
	size_t size = (size_t)(benchmark_guest_image_end - benchmark_guest_image);
	unsigned char *bytes = malloc(size);
	struct stat st;

	ck_assert_ptr_nonnull(bytes);
	ck_assert_int_eq(fstat(guest.fd, &st), 0);
	ck_assert_uint_eq((size_t)st.st_size, size);
	ck_assert_int_eq(pread(guest.fd, bytes, size, 0), (ssize_t)size);
	ck_assert_mem_eq(bytes, benchmark_guest_image, size);
	free(bytes);
}
END_TEST

START_TEST(nobody_changes_it)
{
	int fd = open(guest.path, O_RDWR);

	ck_assert_int_eq(pwrite(guest.fd, "x", 1, 0), -1);
	ck_assert_int_eq(errno, EPERM);
	ck_assert_int_eq(ftruncate(guest.fd, 0), -1);
	ck_assert_ptr_eq(mmap(NULL, 4096, PROT_WRITE, MAP_SHARED, guest.fd, 0), MAP_FAILED);
	ck_assert_int_eq(fcntl(guest.fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
	ck_assert_int_eq(fcntl(guest.fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	if (fd >= 0) {
		ck_assert_int_eq(pwrite(fd, "x", 1, 0), -1);
		close(fd);
	}
}
END_TEST

START_TEST(two_are_two)
{
	struct benchmark_guest other;

	ck_assert_int_eq(benchmark_guest_open(&other), 0);
	ck_assert_str_ne(other.path, guest.path);
	benchmark_guest_close(&other);
	ck_assert_int_eq(access(other.path, F_OK), -1);
	ck_assert_int_eq(access(guest.path, F_OK), 0);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("benchmark-guest");

	tcase_add_checked_fixture(tcase, open_guest, close_guest);
	tcase_add_test(tcase, it_is_an_image);
	tcase_add_test(tcase, it_is_whole);
	tcase_add_test(tcase, nobody_changes_it);
	tcase_add_test(tcase, two_are_two);
	return run_case("benchmark-guest", tcase);
}
