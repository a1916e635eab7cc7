#include "dedup/ward_stats.h"

#include "dedup/ward.h"
#include "vmm/vm.h"

#define KIB_PER_PAGE (PAGE_SIZE >> 10)

/* This guest's part of what its group has. */
struct share {
	uint64_t slots;	   /* bytes */
	uint64_t stored;   /* bytes, with what is unused between objects */
	uint64_t metadata; /* bytes */
};

static uint64_t part_of(uint64_t whole, uint64_t mine, uint64_t all)
{
	return all ? (uint64_t)((double)whole * (double)mine / (double)all) : 0;
}

static struct share share_of(const struct ward *w)
{
	const uint64_t *kind = w->counts.kind;
	struct pool_stats pool;
	struct store_stats store;

	pool_stats(w->group->pool, &pool);
	store_stats(w->group->store, &store);
	return (struct share){
		.slots = part_of(pool.slots * PAGE_SIZE, kind[PAGE_SHARED] + kind[PAGE_COLD_SAME] + kind[PAGE_COLD_DELTA], pool.needs),
		.stored = part_of(store.held, w->counts.stored, store.bytes),
		.metadata = ward_metadata(w) + part_of(group_metadata(w->group), w->pages, w->group->pages),
	};
}

static int64_t saved_bytes(const struct ward *w, const struct share *s)
{
	const uint64_t *kind = w->counts.kind;
	uint64_t away = kind[PAGE_ZERO] + kind[PAGE_SHARED] + kind[PAGE_COLD_SAME] + kind[PAGE_COLD_DELTA] + kind[PAGE_COLD_ALONE];

	return (int64_t)(away * PAGE_SIZE) - (int64_t)(s->slots + s->stored + s->metadata);
}

static const char *state_of(const struct ward *w, bool on)
{
	if (w->state == WARD_REFUSED)
		return "refused";
	return on ? "on" : "off";
}

static json_int_t kib(const struct ward *w, enum page_kind kind)
{
	return (json_int_t)(w->counts.kind[kind] * KIB_PER_PAGE);
}

static void set(json_t *o, const char *name, uint64_t value)
{
	json_object_set_new(o, name, json_integer((json_int_t)value));
}

static void set_pages(json_t *o, const struct ward *w)
{
	struct share s = share_of(w);

	json_object_set_new(o, "resident_kib", json_integer(kib(w, PAGE_UNKNOWN) + kib(w, PAGE_UNIQUE) + kib(w, PAGE_DENSE)));
	json_object_set_new(o, "zero_kib", json_integer(kib(w, PAGE_ZERO)));
	json_object_set_new(o, "shared_kib", json_integer(kib(w, PAGE_SHARED)));
	json_object_set_new(o, "same_kib", json_integer(kib(w, PAGE_COLD_SAME)));
	json_object_set_new(o, "delta_kib", json_integer(kib(w, PAGE_COLD_DELTA)));
	json_object_set_new(o, "compressed_kib", json_integer(kib(w, PAGE_COLD_ALONE)));
	set(o, "stored_kib", s.stored >> 10);
	set(o, "slots_kib", s.slots >> 10);
	set(o, "metadata_kib", s.metadata >> 10);
	json_object_set_new(o, "saved_kib", json_integer((json_int_t)(saved_bytes(w, &s) / 1024)));
}

static void set_events(json_t *o, const struct ward *w)
{
	const struct ward_counts *c = &w->counts;

	set(o, "scanned", c->scanned);
	set(o, "evicted", c->evicted);
	set(o, "refaults", c->refaults);
	set(o, "faults_same", c->brought[PAGE_COLD_SAME]);
	set(o, "faults_delta", c->brought[PAGE_COLD_DELTA]);
	set(o, "faults_compressed", c->brought[PAGE_COLD_ALONE]);
	set(o, "reported", c->reported);
	set(o, "cow_broken", c->broken);
	set(o, "held_busy", c->busy);
	set(o, "mappings", c->mappings);
	set(o, "cpu_us", w->cpu_ns / 1000);
}

static void set_latency(json_t *o, const struct ward *w)
{
	struct userfault_stats s;

	userfault_stats(&w->vm->userfault, &s);
	set(o, "median_ns", latency_quantile(&s.answer, .5));
	set(o, "p99_ns", latency_quantile(&s.answer, .99));
	set(o, "p999_ns", latency_quantile(&s.answer, .999));
}

json_t *ward_stats(const struct ward *w, bool on)
{
	json_t *o = json_pack("{s:s, s:s}", "state", state_of(w, on), "group", w->group->name);

	if (!o)
		return NULL;
	set_latency(o, w);
	pthread_mutex_lock(&w->group->lock);
	set_pages(o, w);
	set_events(o, w);
	pthread_mutex_unlock(&w->group->lock);
	return o;
}
