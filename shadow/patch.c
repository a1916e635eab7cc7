#include "shadow/patch.h"

#include <errno.h>
#include <stdlib.h>

#include "vmm/log.h"
#include "vmm/mem.h"

#define HLT 0xf4u
#define PUSHF 0x9cu
#define POPF 0x9du

static int compare(const void *a, const void *b)
{
	const struct patch *x = a, *y = b;

	return (x->gpa > y->gpa) - (x->gpa < y->gpa);
}

static struct patch patch_of(const struct scan_site *site)
{
	struct patch p = {.gpa = site->gpa + site->length - 1, .before = site->before, .size = site->size};

	for (unsigned int i = 0; i < site->size; i++)
		p.bytes[i] = site->bytes[i];
	return p;
}

int patches_create(struct patches *p, const struct scan *s, const struct scan_host *host)
{
	*p = (struct patches){0};
	if (!s->count)
		return 0;
	p->patch = calloc(s->count, sizeof(*p->patch));
	if (!p->patch)
		return log_errno(ENOMEM, "shadow: patches");
	for (size_t i = 0; i < s->count; i++)
		if (scan_decide(&s->site[i], host) == RULE_PATCH)
			p->patch[p->count++] = patch_of(&s->site[i]);
	qsort(p->patch, p->count, sizeof(*p->patch), compare);
	return 0;
}

void patches_destroy(struct patches *p)
{
	free(p->patch);
	*p = (struct patches){0};
}

/* Other patches may be among the bytes. */
static bool same(uint8_t now, uint8_t image)
{
	return now == image || (now == HLT && (image == PUSHF || image == POPF));
}

/* How many bytes around the place, which is at gpa now, are no longer the image's. */
static unsigned int changed(const struct patch *p, struct mem *m, uint64_t gpa)
{
	const uint8_t *now = gpa >= p->before ? mem_at(m, gpa - p->before, p->size, MEM_READ) : NULL;
	unsigned int count = 0;

	for (unsigned int i = 0; now && i < p->size; i++)
		count += !same(now[i], p->bytes[i]);
	return now ? count : p->size;
}

static uint8_t original(const struct patch *p)
{
	return p->bytes[p->before];
}

static uint8_t *place(const struct patch *p, struct mem *m)
{
	/* Not by MEM_WRITE: the page is not dirty, for whoever looks at it finds it as it was. */
	return mem_at(m, p->gpa, 1, MEM_READ);
}

/* Exchanges `from` for `to` where the place is still ours. */
static void exchange(const struct patch *p, struct mem *m, uint8_t from, uint8_t to)
{
	uint8_t *at = place(p, m);

	if (at && *at == from && changed(p, m, p->gpa) <= p->size / 2u)
		*at = to;
}

void patches_put_in(struct patches *p, struct mem *m)
{
	if (p->in)
		return;
	for (size_t i = 0; i < p->count; i++)
		exchange(&p->patch[i], m, original(&p->patch[i]), HLT);
	p->in = true;
}

void patches_take_out(struct patches *p, struct mem *m)
{
	if (!p->in)
		return;
	for (size_t i = 0; i < p->count; i++)
		exchange(&p->patch[i], m, HLT, original(&p->patch[i]));
	p->in = false;
}

bool patches_find(const struct patches *p, struct mem *m, uint64_t gpa, uint8_t *byte)
{
	struct patch key = {.gpa = gpa};
	const struct patch *found = p->in && p->count ? bsearch(&key, p->patch, p->count, sizeof(key), compare) : NULL;

	if (!found || changed(found, m, gpa) > found->size / 2u)
		return false;
	*byte = original(found);
	return true;
}

bool patches_copied(const struct patches *p, struct mem *m, uint64_t gpa)
{
	for (size_t i = 0; i < p->count; i++)
		if (p->patch[i].size > SCAN_REACH && !changed(&p->patch[i], m, gpa))
			return true;
	return false;
}
