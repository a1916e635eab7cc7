#include "tests/vm/inside.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ept/ept.h"
#include "shadow/shadow.h"
#include "tests/vm/modes.h"
#include "tests/vm/spawn.h"

#define RAM (16ull << 20)

void inside_open(struct kvm *kvm)
{
	ck_assert_int_eq(kvm_open(kvm), 0);
	ck_assert_int_eq(vcpu_init_process(), 0);
}

void inside_guest_open(struct inside_guest *g, const struct kvm *kvm, const char *words)
{
	size_t length = strcspn(words, " ");
	char *relative;

	ck_assert_int_ge(asprintf(&relative, "guest/%.*s", (int)length, words), 0);
	g->path = build_path(relative);
	free(relative);
	ck_assert_int_eq(image_open(&g->image, g->path), 0);
	g->out = memfd_create("output", MFD_CLOEXEC);
	ck_assert_int_ge(g->out, 0);
	g->config = (struct vm_config){
		.kvm = kvm, .mmu = mmu_is_shadow() ? &shadow_mmu : &ept_mmu, .image = &g->image, .mem = RAM, .console.fd = g->out,
		.cmdline = words[length] ? words + length + 1 : "",
	};
}

void inside_guest_close(struct inside_guest *g)
{
	image_close(&g->image);
	close(g->out);
	free(g->path);
}

char *inside_output(const struct inside_guest *g)
{
	struct stat st;
	char *text;

	ck_assert_int_eq(fstat(g->out, &st), 0);
	text = calloc(1, (size_t)st.st_size + 1);
	ck_assert_ptr_nonnull(text);
	ck_assert_int_eq(pread(g->out, text, (size_t)st.st_size, 0), st.st_size);
	return text;
}
