#include "replay/timeline.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "replay/page_set.h"
#include "replay/page_store.h"
#include "replay/page_versions.h"
#include "replay/replayer.h"
#include "replay/vm_state.h"
#include "snapshot/reason.h"
#include "snapshot/touched.h"
#include "vmm/cpu_state.h"
#include "vmm/dirty.h"
#include "vmm/ensure.h"
#include "vmm/log.h"
#include "vmm/vm.h"

#define OVERHEAD 32u /* of a checkpoint's allocations, about */

struct checkpoint {
	uint64_t position;
	struct page_layer ram;
	struct page_set used; /* by the guest between the checkpoint before and this one; more, too; not there: not known */
	struct vm_state state;
	uint64_t said; /* console.h */
	struct replayer_mark mark;
};

struct timeline {
	struct vm *vm;
	struct replayer *replayer;
	struct timeline_options options;
	struct page_store store;
	struct checkpoint **list; /* by position */
	uint64_t count, room;
	uint64_t at;	 /* that the guest has gone on from */
	uint64_t tried;	 /* position of the last that was asked for: there may not have been room for it */
	struct page_set since; /* pages that were written since */
	struct page_set wanted; /* room for another such set */
	struct dirty_consumer consumer;
	struct dirty_set taken;
	bool noting;
	bool lost; /* what was used since the guest was brought to a checkpoint, or made one, is not known */
	uint64_t bytes; /* that checkpoints take, beside the store */
	struct timeline_counts counts;
};

static uint64_t position(const struct timeline *t)
{
	return t->vm->vcpu.port.position;
}

static void add_layer(struct page_set *set, const struct page_layer *l)
{
	for (uint64_t i = 0; i < l->count; i++)
		page_set_add(set, l->version[i].page);
}

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

/* Pages that may not be as they were at checkpoint n. */
static struct page_set *differing(struct timeline *t, uint64_t n)
{
	uint64_t from = n < t->at ? n : t->at, to = n < t->at ? t->at : n;

	page_set_copy(&t->wanted, &t->since);
	while (from++ < to)
		add_layer(&t->wanted, &t->list[from]->ram);
	return &t->wanted;
}

static void stand_at(struct timeline *t, uint64_t n)
{
	page_set_clear(&t->since);
	t->at = n;
}

static uint64_t checkpoint_bytes(const struct checkpoint *c)
{
	return sizeof(*c) + c->state.size + page_layer_bytes(&c->ram) + page_set_bytes(&c->used) + OVERHEAD;
}

static void free_checkpoint(struct timeline *t, struct checkpoint *c)
{
	page_layer_free(&c->ram, &t->store);
	page_set_free(&c->used);
	vm_state_free(&c->state);
	free(c);
}

/* Each time anew. What was used before a way was gone again is used again on it, so that nothing is missing. */
static bool take_used(struct timeline *t, struct page_set *used)
{
	struct vm *vm = t->vm;
	bool known;

	if (!t->options.uses || !vm->mmu->accessed || vm_ended(vm) || page_set_init(used, &vm->mem) < 0)
		return false;
	known = vm->mmu->accessed(vm, used->word) == 1 && !t->lost;
	t->lost = false;
	if (!known)
		page_set_free(used);
	return known;
}

void timeline_lose_uses(struct timeline *t)
{
	t->lost = true;
}

/* Of what comes behind, for a checkpoint in between: what is used on all of the way is more than what is on a part. */
static void take_over_used(struct timeline *t, struct page_set *used, const struct page_set *behind)
{
	if (behind->word && page_set_init(used, &t->vm->mem) == 0)
		page_set_copy(used, behind);
}

static void join_used(struct page_set *to, const struct page_set *from)
{
	if (from->word)
		page_set_join(to, from);
	else
		page_set_free(to);
}

struct layer_maker {
	struct timeline *t;
	struct page_layer *layer;
};

static int add_version(void *arg, uint64_t page)
{
	const struct layer_maker *m = arg;

	return page_layer_add(m->layer, &m->t->store, page, mem_page_hva(&m->t->vm->mem, page));
}

/* A checkpoint of the guest as it is, which has these pages. NULL: no memory, which was logged, as was whatever else failed. */
static struct checkpoint *make_checkpoint(struct timeline *t, const struct page_set *pages)
{
	struct checkpoint *c = calloc(1, sizeof(*c));
	struct layer_maker maker = {t, c ? &c->ram : NULL};

	if (!c) {
		log_errno(ENOMEM, "checkpoint of a replay");
		return NULL;
	}
	c->position = position(t);
	c->said = t->vm->console.said;
	replayer_mark(t->replayer, &c->mark);
	if (vm_state_save(&c->state, t->vm) == 0) {
		if (page_set_each(pages, add_version, &maker) == 0)
			return c;
		log_errno(ENOMEM, "checkpoint of a replay: RAM");
	}
	free_checkpoint(t, c);
	return NULL;
}

static int make_room(struct timeline *t)
{
	uint64_t room = t->room ? 2 * t->room : 16;
	struct checkpoint **more;

	if (t->count < t->room)
		return 0;
	more = realloc(t->list, room * sizeof(*more));
	if (!more)
		return log_errno(ENOMEM, "checkpoint of a replay");
	t->bytes += (room - t->room) * sizeof(*more);
	t->list = more;
	t->room = room;
	return 0;
}

static int insert(struct timeline *t, uint64_t n, const struct page_set *pages)
{
	struct checkpoint *c;

	if (make_room(t) < 0)
		return -ENOMEM;
	c = make_checkpoint(t, pages);
	if (!c)
		return -ENOMEM;
	if (!take_used(t, &c->used) && n < t->count)
		take_over_used(t, &c->used, &t->list[n]->used);
	memmove(&t->list[n + 1], &t->list[n], (t->count - n) * sizeof(*t->list));
	t->list[n] = c;
	t->count++;
	t->bytes += checkpoint_bytes(c);
	t->counts.taken++;
	stand_at(t, n);
	return 0;
}

static uint64_t all_bytes(const struct timeline *t)
{
	return t->bytes + t->store.bytes;
}

/* The checkpoint goes, which is not the first; what of RAM it had goes to the next one, if there is one. */
static int drop(struct timeline *t, uint64_t n)
{
	struct checkpoint *c = t->list[n], *next = n + 1 < t->count ? t->list[n + 1] : NULL;
	uint64_t before = checkpoint_bytes(c) + (next ? checkpoint_bytes(next) : 0);

	if (t->at == n)
		add_layer(&t->since, &c->ram);
	if (next && page_layer_fold(&next->ram, &c->ram, &t->store) < 0)
		return -ENOMEM;
	if (next)
		join_used(&next->used, &c->used);
	else
		t->lost = true; /* the next one follows the one before: what was used between that and this is missing */
	free_checkpoint(t, c);
	t->bytes -= before - (next ? checkpoint_bytes(next) : 0);
	t->at -= t->at >= n;
	t->count--;
	memmove(&t->list[n], &t->list[n + 1], (t->count - n) * sizeof(*t->list));
	t->counts.dropped++;
	return 0;
}

/* How well a checkpoint is missed: the gap that it would leave, by how far that is from here. */
static double worth(const struct timeline *t, uint64_t n)
{
	uint64_t here = position(t), at = t->list[n]->position, far = here > at ? here - at : at - here;

	return (double)(t->list[n + 1]->position - t->list[n - 1]->position) / (double)(far + 1);
}

/* The one that is missed least. The first stays; that where the guest stands, and the last, go when there is no other. */
static uint64_t least(const struct timeline *t)
{
	uint64_t found = 0;

	for (uint64_t n = 1; n + 1 < t->count; n++)
		if (n != t->at && (!found || worth(t, n) < worth(t, found)))
			found = n;
	return found ? found : t->count - 1;
}

static void thin_out(struct timeline *t)
{
	while (all_bytes(t) > t->options.room && t->count > 1) {
		if (drop(t, least(t)) < 0) {
			log_print(LOG_WARN, "checkpoints of the replay: no memory to make them take less");
			break;
		}
	}
}

/* The latest that is not after `at`, or the first. */
static uint64_t find(const struct timeline *t, uint64_t at)
{
	uint64_t low = 0, high = t->count;

	while (high - low > 1) {
		uint64_t middle = low + (high - low) / 2;

		if (t->list[middle]->position <= at)
			low = middle;
		else
			high = middle;
	}
	return low;
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
		err = page_set_each(differing(t, n), compare_page, &c);
	if (err == 0)
		stand_at(t, n);
	return err;
}

int timeline_take(struct timeline *t, struct reason *why)
{
	uint64_t n = find(t, position(t));
	int err = note_written(t);

	t->tried = position(t);
	if (err < 0)
		return err;
	if (t->list[n]->position == position(t))
		return compare(t, n, why);
	err = insert(t, n + 1, differing(t, n));
	if (err == 0)
		thin_out(t);
	return err;
}

bool timeline_due(const struct timeline *t)
{
	uint64_t here = position(t), n = find(t, here), last = t->list[n]->position;

	if (here == last)
		return n != t->at;
	if (t->tried > last && t->tried <= here)
		last = t->tried;
	return t->options.every && here - last >= t->options.every;
}

uint64_t timeline_before(const struct timeline *t, uint64_t at)
{
	return t->list[find(t, at)]->position;
}

/* The checkpoint that says what happens on the way, the page being RAM; NULL: none does. */
static const struct checkpoint *knows(const struct timeline *t, uint64_t from, uint64_t to, uint64_t gpa)
{
	uint64_t n = find(t, from) + 1;

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
	struct page_set *wanted = differing(t, n);

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
	stand_at(t, n);
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
	return vm_state_leave(t->vm) < 0 ? give_up(t, "the state of the vCPU cannot be read") : bring(t, find(t, at));
}

void timeline_count(const struct timeline *t, struct timeline_counts *counts)
{
	*counts = t->counts;
	counts->count = t->count;
	counts->bytes = all_bytes(t);
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
		err = insert(t, 0, &t->since);
	if (err == 0 && all_bytes(t) > t->options.room)
		err = log_bad(ENOMEM, "%s: the first checkpoint takes %" PRIu64 " KiB, and there is room for %" PRIu64, t->replayer->name,
			      (all_bytes(t) >> 10) + 1, t->options.room >> 10);
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
	for (uint64_t n = 0; n < t->count; n++)
		free_checkpoint(t, t->list[n]);
	if (t->noting)
		dirty_end(&t->vm->dirty, &t->consumer);
	dirty_set_free(&t->taken);
	page_store_destroy(&t->store);
	free(t->list);
	page_set_free(&t->since);
	page_set_free(&t->wanted);
	free(t);
}
