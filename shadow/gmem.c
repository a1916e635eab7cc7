#include "shadow/gmem.h"

#include <errno.h>
#include <string.h>

#include "vmm/access.h"
#include "vmm/cpu_state.h"
#include "vmm/ensure.h"
#include "vmm/mem.h"
#include "vmm/mmu.h"
#include "vmm/walk.h"

#define ACCESS_MAX 8u

unsigned int gmem_cpl(const struct cpu_state *cs)
{
	return cs->segment[CPU_SS].attributes >> CPU_SEGMENT_DPL_SHIFT & 3;
}

unsigned int gmem_user(const struct cpu_state *cs)
{
	return gmem_cpl(cs) == 3 ? MMU_USER : 0;
}

static bool canonical(uint64_t gva)
{
	return gva + (1ull << 47) < 1ull << 48;
}

bool gmem_canonical(uint64_t gva, uint32_t size)
{
	return canonical(gva) && canonical(gva + size - 1);
}

static int walk(struct gmem *g, uint64_t gva, unsigned int access, struct walk *w, struct gfault *fault)
{
	walk_guest(g->mem, g->cs, gva, access, w);
	if (g->walked)
		g->walked(g, w, !w->fault);
	if (!w->fault)
		return 0;
	*fault = (struct gfault){.gva = gva, .error = w->error};
	return -EFAULT;
}

static bool mark(struct gmem *g, struct walk *w, unsigned int access)
{
	bool unchanged;

	g->storing = true;
	unchanged = walk_mark(g->mem, w, access);
	g->storing = false;
	return unchanged;
}

int gmem_resolve(struct gmem *g, uint64_t gva, uint32_t size, unsigned int access, struct gmem_range *r,
		 struct gfault *fault)
{
	uint64_t room = PAGE_SIZE - gva % PAGE_SIZE;
	uint32_t first = size < room ? size : (uint32_t)room;
	struct walk w[2];

	ensure(size >= 1 && size <= GMEM_MAX);
	do {
		w[1] = (struct walk){0};
		if (walk(g, gva, access, &w[0], fault) < 0)
			return -EFAULT;
		if (first < size && walk(g, gva + first, access, &w[1], fault) < 0)
			return -EFAULT;
	} while (!mark(g, &w[0], access) || !mark(g, &w[1], access));
	*r = (struct gmem_range){.part = {{w[0].gpa, first}, {w[1].gpa, size - first}}};
	return 0;
}

static int device(struct gmem *g, enum access_kind kind, const struct gmem_part *p, uint8_t *bytes)
{
	uint32_t size;

	for (uint32_t done = 0; done < p->size; done += size) {
		struct access a = {.kind = kind, .addr = p->gpa + done};

		size = p->size - done < ACCESS_MAX ? p->size - done : ACCESS_MAX;
		a.size = (uint8_t)size;
		if (!access_is_read(kind))
			memcpy(&a.value, bytes + done, size);
		if (!g->device(g, &a))
			return -EIO;
		if (access_is_read(kind))
			memcpy(bytes + done, &a.value, size);
	}
	return 0;
}

static int load_part(struct gmem *g, const struct gmem_part *p, uint8_t *to)
{
	if (mem_read(g->mem, p->gpa, to, p->size) == 0)
		return 0;
	return device(g, ACCESS_MMIO_READ, p, to);
}

static int store_part(struct gmem *g, const struct gmem_part *p, uint8_t *from)
{
	int r;

	if (!p->size)
		return 0;
	g->storing = true;
	r = mem_write(g->mem, p->gpa, from, p->size);
	g->storing = false;
	if (r < 0)
		return device(g, ACCESS_MMIO_WRITE, p, from);
	if (g->stored)
		g->stored(g, p->gpa, p->size);
	return 0;
}

int gmem_load(struct gmem *g, const struct gmem_range *r, void *to)
{
	uint8_t *bytes = to;
	int err = load_part(g, &r->part[0], bytes);

	return err ? err : load_part(g, &r->part[1], bytes + r->part[0].size);
}

int gmem_store(struct gmem *g, const struct gmem_range *r, const void *from)
{
	uint8_t bytes[GMEM_MAX];
	int err;

	memcpy(bytes, from, r->part[0].size + r->part[1].size);
	err = store_part(g, &r->part[0], bytes);
	return err ? err : store_part(g, &r->part[1], bytes + r->part[0].size);
}

int gmem_read(struct gmem *g, uint64_t gva, void *to, uint32_t size, unsigned int access, struct gfault *fault)
{
	struct gmem_range r;
	int err = gmem_resolve(g, gva, size, access, &r, fault);

	return err ? err : gmem_load(g, &r, to);
}

int gmem_write(struct gmem *g, uint64_t gva, const void *from, uint32_t size, unsigned int access,
	       struct gfault *fault)
{
	struct gmem_range r;
	int err = gmem_resolve(g, gva, size, access | MMU_WRITE, &r, fault);

	return err ? err : gmem_store(g, &r, from);
}
