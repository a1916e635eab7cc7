#include "replay/timeline_list.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/log.h"
#include "vmm/vm.h"

#define OVERHEAD 32u /* of a checkpoint's allocations, about */

uint64_t timeline_position(const struct timeline *t)
{
	return t->vm->vcpu.port.position;
}

static void add_layer(struct page_set *set, const struct page_layer *l)
{
	for (uint64_t i = 0; i < l->count; i++)
		page_set_add(set, l->version[i].page);
}

struct page_set *timeline_differing(struct timeline *t, uint64_t n)
{
	uint64_t from = n < t->at ? n : t->at, to = n < t->at ? t->at : n;

	page_set_copy(&t->wanted, &t->since);
	while (from++ < to)
		add_layer(&t->wanted, &t->list[from]->ram);
	return &t->wanted;
}

void timeline_stand_at(struct timeline *t, uint64_t n)
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
	c->position = timeline_position(t);
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

int timeline_insert(struct timeline *t, uint64_t n, const struct page_set *pages)
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
	timeline_stand_at(t, n);
	return 0;
}

uint64_t timeline_bytes(const struct timeline *t)
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
	uint64_t here = timeline_position(t), at = t->list[n]->position, far = here > at ? here - at : at - here;

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

void timeline_thin_out(struct timeline *t)
{
	while (timeline_bytes(t) > t->options.room && t->count > 1) {
		if (drop(t, least(t)) < 0) {
			log_print(LOG_WARN, "checkpoints of the replay: no memory to make them take less");
			break;
		}
	}
}

uint64_t timeline_find(const struct timeline *t, uint64_t at)
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

void timeline_empty(struct timeline *t)
{
	for (uint64_t n = 0; n < t->count; n++)
		free_checkpoint(t, t->list[n]);
	free(t->list);
}
