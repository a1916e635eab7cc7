#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/ensure.h"
#include "vmm/log.h"
#include "vmm/pager.h"
#include "vmm/uffd.h"
#include "vmm/userfault_claim.h"

#define NO_PAGE UINT64_MAX

static unsigned int number_of(const struct userfault *u, const struct userfault_guard *g)
{
	unsigned int i = 0;

	while (i < USERFAULT_GUARDS && u->guard[i] != g)
		i++;
	return i;
}

int userfault_guard_add(struct userfault *u, struct userfault_guard *g)
{
	unsigned int i = number_of(u, NULL);
	int r = userfault_open_pagemap(u);

	if (r < 0)
		return r;
	if (i == USERFAULT_GUARDS)
		return log_errno(EBUSY, "guest RAM: more than %u want to save pages", USERFAULT_GUARDS);
	r = userfault_open(u);
	if (r < 0)
		return r;
	g->pages = calloc(userfault_words(u), sizeof(*g->pages));
	if (!g->pages)
		return log_errno(ENOMEM, "a bit for each page of guest RAM");
	g->left = g->cursor = 0;
	pthread_mutex_lock(&u->lock);
	r = userfault_need(u);
	if (r == 0)
		u->guard[i] = g;
	pthread_mutex_unlock(&u->lock);
	if (r == 0)
		return 0;
	free(g->pages);
	g->pages = NULL;
	return r;
}

static void want(struct userfault_guard *g, uint64_t first, uint64_t end)
{
	for (uint64_t page = first; page < end; page++) {
		g->left += !userfault_test(g->pages, page);
		userfault_set(g->pages, page);
	}
}

int userfault_protect(struct userfault *u, struct userfault_guard *g, uint64_t gpa, uint64_t size)
{
	uint64_t first = mem_page_number(u->mem, gpa), pages = size / PAGE_SIZE;
	int r;

	ensure(pages && gpa % PAGE_SIZE == 0 && size % PAGE_SIZE == 0 && mem_page_room(u->mem, first) >= pages);
	/* A system call that has the pages pinned in the kernel would write them unseen. */
	if (mem_is_pinned(u->mem, gpa, size))
		return -EBUSY;
	pthread_mutex_lock(&u->lock);
	if (u->failing) {
		r = -ECANCELED;
	} else {
		want(g, first, first + pages);
		r = uffd_protect(u->fd, mem_page_hva(u->mem, first), size, true);
	}
	pthread_mutex_unlock(&u->lock);
	return r < 0 ? log_errno(-r, "guest RAM: protect pages") : 0;
}

/* A page of this word that g still wants and nobody has claimed; NO_PAGE = none. */
static uint64_t page_in(const struct userfault *u, const struct userfault_guard *g, uint64_t word)
{
	for (uint64_t bits = g->pages[word]; bits; bits &= bits - 1) {
		uint64_t page = word * USERFAULT_WORD_BITS + (unsigned int)__builtin_ctzll(bits);

		if (!userfault_claimed(u, page, 1))
			return page;
	}
	return NO_PAGE;
}

/* Under the lock: the next such page of all, from where the last one was. */
static uint64_t next_page(const struct userfault *u, struct userfault_guard *g)
{
	uint64_t words = userfault_words(u), page;

	for (uint64_t i = 0; i < words; i++) {
		page = page_in(u, g, g->cursor);
		if (page != NO_PAGE)
			return page;
		g->cursor = (g->cursor + 1) % words;
	}
	return NO_PAGE;
}

/* Absent pages are saved from the pager's bytes and stay absent. */
static int save_absent(struct userfault *u, const struct userfault_claim *c, void *buffer)
{
	int n;

	for (unsigned int done = 0; done < c->count; done += (unsigned int)n) {
		const void *bytes = NULL;

		n = userfault_fetch(u, c->source, c->first + done, c->count - done, buffer, &bytes);
		if (n < 0)
			return n;
		userfault_tell_guards(u, c, c->first + done, bytes, (unsigned int)n);
	}
	return 0;
}

/* Most pages that are not are told by their first word. Those of the host's zero page need no room in a copy. */
static bool is_zero(const uint8_t *page)
{
	const uint64_t *words = __builtin_assume_aligned(page, PAGE_SIZE);

	for (unsigned int i = 0; i < PAGE_SIZE / sizeof(*words); i++)
		if (__atomic_load_n(&words[i], __ATOMIC_RELAXED))
			return false;
	return true;
}

static int save_present(struct userfault *u, const struct userfault_claim *c)
{
	bool touched[USERFAULT_RUN];
	int r = userfault_touched(u, c->first, c->count, touched);

	if (r < 0)
		return log_errno(-r, "/proc/self/pagemap");
	for (unsigned int n = 0; n < c->count; n++)
		touched[n] = touched[n] && !is_zero(mem_page_hva(u->mem, c->first + n));
	for (unsigned int n = 0, end; n < c->count; n = end) {
		for (end = n + 1; end < c->count && touched[end] == touched[n];)
			end++;
		userfault_tell_guards(u, c, c->first + n, touched[n] ? mem_page_hva(u->mem, c->first + n) : NULL, end - n);
	}
	return 0;
}

/* Under the lock, which is let go meanwhile: saves a run of pages from this one on. */
static int save_run(struct userfault *u, uint64_t page, void *buffer)
{
	struct userfault_claim c;
	int r;

	userfault_claim(u, &c, page, USERFAULT_RUN, true);
	pthread_mutex_unlock(&u->lock);
	r = c.source ? save_absent(u, &c, buffer) : save_present(u, &c);
	pthread_mutex_lock(&u->lock);
	u->stats.saved_behind += c.count;
	if (!c.source)
		userfault_let_write(u, &c);
	else if (!u->failing)
		uffd_wake(u->fd, mem_page_hva(u->mem, c.first), c.count * PAGE_SIZE);
	userfault_unclaim(u, &c);
	return u->failing ? -ECANCELED : r;
}

/* Under the lock: some claim may still be saving for the guard. */
static void await_claims_for(struct userfault *u, unsigned int number)
{
	struct userfault_claim *c = u->claims;

	while (c) {
		if (c->guards >> number & 1) {
			pthread_cond_wait(&u->claim_ended, &u->lock);
			c = u->claims;
		} else {
			c = c->next;
		}
	}
}

int64_t userfault_save(struct userfault *u, struct userfault_guard *g, void *buffer)
{
	uint64_t page;
	int64_t left;
	int r = 0;

	pthread_mutex_lock(&u->lock);
	while (g->left && !u->failing && (page = next_page(u, g)) == NO_PAGE)
		pthread_cond_wait(&u->claim_ended, &u->lock);
	if (u->failing)
		r = -ECANCELED;
	else if (g->left)
		r = save_run(u, page, buffer);
	if (!g->left)
		await_claims_for(u, number_of(u, g));
	left = r < 0 ? r : (int64_t)g->left;
	pthread_mutex_unlock(&u->lock);
	return left;
}

/* Under the lock: the pages that g still wants may be written, as far as no other guard wants them. */
static void let_all_write(struct userfault *u, struct userfault_guard *g)
{
	uint64_t page;

	while (g->left && !u->failing && (page = next_page(u, g)) != NO_PAGE) {
		struct userfault_claim c;

		userfault_claim(u, &c, page, USERFAULT_RUN, false);
		for (unsigned int n = 0; n < c.count; n++)
			userfault_take(g->pages, page + n);
		g->left -= c.count;
		userfault_let_write(u, &c);
		userfault_unclaim(u, &c);
	}
}

void userfault_unprotect(struct userfault *u, struct userfault_guard *g)
{
	pthread_mutex_lock(&u->lock);
	let_all_write(u, g);
	memset(g->pages, 0, userfault_words(u) * sizeof(*g->pages)); /* what is claimed is the claimer's to make writable */
	g->left = 0;
	await_claims_for(u, number_of(u, g));
	pthread_mutex_unlock(&u->lock);
}

void userfault_guard_remove(struct userfault *u, struct userfault_guard *g)
{
	userfault_unprotect(u, g);
	pthread_mutex_lock(&u->lock);
	u->guard[number_of(u, g)] = NULL;
	userfault_settle(u);
	pthread_mutex_unlock(&u->lock);
	free(g->pages);
	g->pages = NULL;
}
