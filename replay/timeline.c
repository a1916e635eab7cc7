#include "replay/timeline.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "replay/timeline_list.h"
#include "snapshot/reason.h"
#include "snapshot/touched.h"
#include "vmm/log.h"
#include "vmm/vm.h"

static int add_range(void *arg, uint64_t gpa, uint64_t size)
{
	struct timeline *t = arg;
	uint64_t page = mem_page_number(&t->vm->mem, gpa);

	for (uint64_t n = 0; n < size / PAGE_SIZE; n++)
		page_set_add(&t->since, page + n);
	return 0;
}

/* Into `since`, what was written until now. */
static int note_written(struct timeline *t)
{
	int err = dirty_take(&t->vm->dirty, &t->consumer, &t->taken);

	return err < 0 ? err : dirty_walk(&t->vm->dirty, &t->taken, add_range, t);
}

/* What a page held at checkpoint n; NULL: it was zero. */
static const struct page_content *content_at(const struct timeline *t, uint64_t n, uint64_t page)
{
	const struct page_content *c;

	do
		c = page_layer_find(&t->list[n]->ram, page);
	while (!c && n--);
	return c;
}

struct comparison {
	struct timeline *t;
	uint64_t with;
	struct reason *why;
};

static int compare_page(void *arg, uint64_t page)
{
	static const uint8_t zeros[PAGE_SIZE];
	const struct comparison *c = arg;
	const struct page_content *was = content_at(c->t, c->with, page);
	const struct mem *m = &c->t->vm->mem;
	const uint8_t *is = mem_page_hva(m, page);

	if (was ? page_store_is(&c->t->store, was, is) : !memcmp(is, zeros, PAGE_SIZE))
		return 0;
	reason_give(c->why, EBADMSG, "RAM is not as it was: the page at 0x%" PRIx64, mem_page_gpa(m, page));
	return 1;
}

/* Whether the guest is as it was at checkpoint n. As take(). */
static int compare(struct timeline *t, uint64_t n, struct reason *why)
{
	struct comparison c = {t, n, why};
	int err = vm_state_compare(&t->list[n]->state, t->vm, why);

	if (err == 0)
		err = page_set_each(timeline_differing(t, n), compare_page, &c);
	if (err == 0)
		timeline_stand_at(t, n);
	return err;
}

int timeline_take(struct timeline *t, struct reason *why)
{
	uint64_t n = timeline_find(t, timeline_position(t));
	int err = note_written(t);

	t->tried = timeline_position(t);
	if (err < 0)
		return err;
	if (t->list[n]->position == timeline_position(t))
		return compare(t, n, why);
	err = timeline_insert(t, n + 1, timeline_differing(t, n));
	if (err == 0)
		timeline_thin_out(t);
	return err;
}

bool timeline_due(const struct timeline *t)
{
	uint64_t here = timeline_position(t), n = timeline_find(t, here), last = t->list[n]->position;

	if (here == last)
		return n != t->at;
	if (t->tried > last && t->tried <= here)
		last = t->tried;
	return t->options.every && here - last >= t->options.every;
}

uint64_t timeline_before(const struct timeline *t, uint64_t at)
{
	return t->list[timeline_find(t, at)]->position;
}

void timeline_lose_uses(struct timeline *t)
{
	t->lost = true;
}

/* The checkpoint that says what happens on the way, the page being RAM; NULL: none does. */
static const struct checkpoint *knows(const struct timeline *t, uint64_t from, uint64_t to, uint64_t gpa)
{
	uint64_t n = timeline_find(t, from) + 1;

	if (n >= t->count || t->list[n]->position < to || !mem_at(&t->vm->mem, gpa, 1, MEM_READ))
		return NULL;
	return t->list[n];
}

bool timeline_may_use(const struct timeline *t, uint64_t from, uint64_t to, uint64_t gpa)
{
	const struct checkpoint *c = knows(t, from, to, gpa);

	return !c || !c->used.word || page_set_has(&c->used, mem_page_number(&t->vm->mem, gpa));
}

bool timeline_may_write(const struct timeline *t, uint64_t from, uint64_t to, uint64_t gpa)
{
	const struct checkpoint *c = knows(t, from, to, gpa);

	return !c || page_layer_find(&c->ram, mem_page_number(&t->vm->mem, gpa));
}

static void write_page(struct timeline *t, uint64_t page, const struct page_content *c)
{
	void *to = mem_at(&t->vm->mem, mem_page_gpa(&t->vm->mem, page), PAGE_SIZE, MEM_WRITE);

	if (c)
		page_store_out(&t->store, c, to);
	else
		memset(to, 0, PAGE_SIZE);
}

static int clear_page(void *arg, uint64_t page)
{
	write_page(arg, page, NULL);
	return 0;
}

/* From that layer back, each page is found in its last version first. */
static void bring_ram(struct timeline *t, uint64_t n)
{
	struct page_set *wanted = timeline_differing(t, n);

	for (uint64_t back = n + 1; back-- > 0;) {
		const struct page_layer *l = &t->list[back]->ram;

		for (uint64_t i = 0; i < l->count; i++)
			if (page_set_take(wanted, l->version[i].page))
				write_page(t, l->version[i].page, l->version[i].content);
	}
	page_set_each(wanted, clear_page, t);
}

static int give_up(struct timeline *t, const char *what)
{
	vm_fail(t->vm, "%s", what);
	return -EIO;
}

static int bring(struct timeline *t, uint64_t n)
{
	const struct checkpoint *c = t->list[n];
	struct reason why = {0};

	if (note_written(t) < 0)
		return give_up(t, "what the guest has written cannot be found out");
	bring_ram(t, n);
	/* Before the guest's CPU is there: what that writes counts again. */
	if (dirty_take(&t->vm->dirty, &t->consumer, &t->taken) < 0)
		return give_up(t, "what the guest has written cannot be found out");
	timeline_stand_at(t, n);
	t->lost = false;
	t->vm->vcpu.port.position = c->position;
	console_rewind(&t->vm->console, c->said);
	if (vm_state_load(&c->state, t->vm) < 0)
		return give_up(t, "the guest's state cannot be changed");
	return replayer_return(t->replayer, &c->mark, &why) < 0 ? give_up(t, why.text) : 0;
}

int timeline_go(struct timeline *t, uint64_t at)
{
	t->counts.gone++;
	return vm_state_leave(t->vm) < 0 ? give_up(t, "the state of the vCPU cannot be read") : bring(t, timeline_find(t, at));
}

void timeline_count(const struct timeline *t, struct timeline_counts *counts)
{
	*counts = t->counts;
	counts->count = t->count;
	counts->bytes = timeline_bytes(t);
}

static int begin_noting(struct timeline *t)
{
	int err = dirty_set_alloc(&t->vm->dirty, &t->taken);

	if (err == 0)
		err = dirty_begin(&t->vm->dirty, &t->consumer);
	t->noting = err == 0;
	return err;
}

static int note_touched(struct timeline *t)
{
	struct mem *m = &t->vm->mem;
	struct reason why = {0};
	int err = 0;

	if (!m->paged && !m->backed)
		err = touched_walk(m, add_range, t, &why);
	for (unsigned int i = 0; i < m->region_count && (m->paged || m->backed); i++)
		add_range(t, m->region[i].gpa, m->region[i].size);
	return err < 0 ? log_bad(-err, "checkpoint of a replay: %s", why.text) : 0;
}

static int take_first(struct timeline *t)
{
	int err = begin_noting(t);

	if (err == 0)
		err = note_touched(t);
	if (err == 0)
		err = timeline_insert(t, 0, &t->since);
	if (err == 0 && timeline_bytes(t) > t->options.room)
		err = log_bad(ENOMEM, "%s: the first checkpoint takes %" PRIu64 " KiB, and there is room for %" PRIu64, t->replayer->name,
			      (timeline_bytes(t) >> 10) + 1, t->options.room >> 10);
	return err;
}

int timeline_begin(struct timeline **made, struct vm *vm, struct replayer *r, const struct timeline_options *o)
{
	struct timeline *t = calloc(1, sizeof(*t));
	int err = 0;

	if (!t || page_store_init(&t->store) < 0) {
		free(t);
		return log_errno(ENOMEM, "checkpoints of a replay");
	}
	t->vm = vm;
	t->replayer = r;
	t->options = *o;
	if (page_set_init(&t->since, &vm->mem) < 0 || page_set_init(&t->wanted, &vm->mem) < 0)
		err = log_errno(ENOMEM, "checkpoints of a replay");
	t->bytes = sizeof(*t) + 4 * page_set_bytes(&t->since); /* and two more of the consumer's */
	if (err == 0)
		err = take_first(t);
	if (err < 0)
		timeline_end(t);
	else
		*made = t;
	return err;
}

void timeline_end(struct timeline *t)
{
	if (t->noting)
		dirty_end(&t->vm->dirty, &t->consumer);
	dirty_set_free(&t->taken);
	timeline_empty(t);
	page_store_destroy(&t->store);
	page_set_free(&t->since);
	page_set_free(&t->wanted);
	free(t);
}
