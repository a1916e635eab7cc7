#include "vmm/userfault.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/ensure.h"
#include "vmm/log.h"
#include "vmm/pager.h"
#include "vmm/uffd.h"
#include "vmm/userfault_claim.h"
#include "vmm/worker_thread.h"

#define STACK_BYTES (256u << 10)
#define BUFFER_BYTES (USERFAULT_RUN * PAGE_SIZE)
#define LOOKS 8u /* of the watchdog within a deadline */
#define NS_PER_MS 1000000ull

void userfault_init(struct userfault *u, struct mem *m, void (*failed)(void *arg, const char *reason), void *arg)
{
	*u = (struct userfault){
		.mem = m, .failed = failed, .arg = arg, .deadline_ms = USERFAULT_DEADLINE_MS,
		.fd = -1, .stop_fd = -1, .pagemap_fd = -1, .brings = -1,
	};
	pthread_mutex_init(&u->lock, NULL);
	pthread_cond_init(&u->claim_ended, NULL);
}

static void unregister(struct userfault *u)
{
	for (unsigned int i = 0; i < u->mem->region_count; i++)
		uffd_unregister(u->fd, u->mem->region[i].hva, u->mem->region[i].size);
	u->registered = false;
	atomic_store(&u->mem->paged, false);
}

void userfault_settle(struct userfault *u)
{
	bool needed = u->claims || u->brings >= 0;

	for (unsigned int i = 0; i < USERFAULT_PAGERS; i++)
		needed |= u->source[i].count != 0;
	for (unsigned int i = 0; i < USERFAULT_GUARDS; i++)
		needed |= u->guard[i] != NULL;
	if (u->registered && !needed)
		unregister(u);
}

static void stop(struct userfault *u)
{
	uint64_t one = 1;

	ensure(write(u->stop_fd, &one, sizeof(one)) == sizeof(one));
}

/*
 * The order is what keeps wrong data in: the owner knows, and the vCPU is kicked, before anybody gets a zero page for one that
 * was lost. Unregistering works even when the serving thread is stuck in a pager.
 */
void userfault_fail(struct userfault *u, const char *fmt, ...)
{
	char reason[192];
	va_list args;

	if (u->failing)
		return;
	u->failing = true;
	va_start(args, fmt);
	vsnprintf(reason, sizeof(reason), fmt, args);
	va_end(args);
	u->failed(u->arg, reason);
	ensure(mem_is_lost(u->mem));
	unregister(u);
	pthread_cond_broadcast(&u->claim_ended);
	stop(u);
}

/* The first look at a wait comes within a period of its begin, so the last one comes within the deadline. */
static void look(struct watchdog_entry *e)
{
	struct userfault *u = (struct userfault *)((char *)e - offsetof(struct userfault, watch));

	pthread_mutex_lock(&u->lock);
	for (struct userfault_claim *c = u->claims; c; c = c->next)
		if (c->since_ns && ++c->looks == LOOKS)
			userfault_fail(u, "guest RAM: page 0x%" PRIx64 " was not there within %u ms%s%s",
				       mem_page_gpa(u->mem, c->first), u->deadline_ms, c->source ? ": " : "",
				       c->source ? c->source->pager->name : "");
	pthread_mutex_unlock(&u->lock);
}

static void answered(struct userfault *u, struct userfault_claim *c)
{
	latency_add(&u->stats.answer, (c->until_ns ? c->until_ns : watchdog_now()) - c->since_ns);
	userfault_unclaim(u, c);
}

static void tell_touched(const struct userfault *u, struct pager *p, uint64_t page, unsigned int pages)
{
	if (p && p->touched)
		p->touched(p, mem_page_gpa(u->mem, page), pages);
}

/* Under the lock, which is let go meanwhile: nobody waits for these pages yet. */
static void read_ahead(struct userfault *u, const struct userfault_source *s, uint64_t page)
{
	struct pager *p = s->pager;
	int n = 0;

	if (p->read_ahead && !u->failing && userfault_source_of(u, page) == s && !userfault_claimed(u, page, 1))
		n = (int)p->read_ahead(p, mem_page_gpa(u->mem, page));
	if (n > 0)
		n = userfault_bring(u, page, (uint64_t)n, u->buffer);
	if (n > 0) {
		u->stats.ahead += (unsigned int)n;
		tell_touched(u, p, page, (unsigned int)n);
	}
}

static void answer_absent(struct userfault *u, const struct userfault_source *s, uint64_t page, uint64_t since)
{
	struct userfault_claim c;
	const void *bytes = NULL;
	int n;

	userfault_claim(u, &c, page, s->pager->ahead, false);
	c.since_ns = since;
	pthread_mutex_unlock(&u->lock);
	n = userfault_fetch(u, s, c.first, c.count, u->buffer, &bytes);
	pthread_mutex_lock(&u->lock);
	if (n < 0) {
		userfault_fail(u, "guest RAM: page 0x%" PRIx64 " is lost: %s: %s", mem_page_gpa(u->mem, page), s->pager->name,
			       strerrordesc_np(-n));
	} else if (!u->failing && userfault_install(u, &c, (unsigned int)n, bytes, true) == 0) {
		u->stats.fetched++;
		u->stats.ahead += (unsigned int)n - 1;
		tell_touched(u, s->pager, c.first, (unsigned int)n);
	}
	answered(u, &c);
	read_ahead(u, s, c.first + c.count);
}

/* A present page that is protected, or was when somebody wanted to write it. */
static void answer_protected(struct userfault *u, uint64_t page, uint64_t since)
{
	struct userfault_claim c;

	userfault_claim(u, &c, page, 1, true);
	c.since_ns = since;
	if (c.guards) {
		u->stats.saved_at_fault++;
		pthread_mutex_unlock(&u->lock);
		userfault_tell_guards(u, &c, page, mem_page_hva(u->mem, page), 1);
		pthread_mutex_lock(&u->lock);
	} else {
		u->stats.stale++;
	}
	userfault_let_write(u, &c);
	answered(u, &c);
}

/* A page that nobody has touched before is zero, and known to be so to guards. */
static void answer_untouched(struct userfault *u, uint64_t page, uint64_t since)
{
	struct userfault_claim c;

	userfault_claim(u, &c, page, 1, true);
	c.since_ns = since;
	if (c.guards) {
		u->stats.saved_at_fault++;
		pthread_mutex_unlock(&u->lock);
		userfault_tell_guards(u, &c, page, NULL, 1);
		pthread_mutex_lock(&u->lock);
	}
	if (!u->failing && userfault_install(u, &c, 1, NULL, true) == 0) {
		u->stats.zeroed++;
		for (unsigned int i = 0; i < USERFAULT_PAGERS; i++)
			tell_touched(u, u->source[i].pager, page, 1);
	}
	answered(u, &c);
}

/*
 * Two threads may have touched the same page, and the second one's fault is still here when the first has been answered and
 * the page was written and protected again: then it is not untouched, and its fault is old. So it is if a file's page is shown there
 * by now, which need not be in the page table for that.
 */
static void answer_missing(struct userfault *u, uint64_t page, uint64_t since)
{
	bool touched = userfault_test(u->shown, page);
	int r = 0;

	if (!touched && userfault_guards_of(u, page))
		r = userfault_touched(u, page, 1, &touched);
	if (r < 0) {
		userfault_fail(u, "guest RAM: page 0x%" PRIx64 ": /proc/self/pagemap: %s", mem_page_gpa(u->mem, page),
			       strerrordesc_np(-r));
	} else if (touched) {
		u->stats.stale++;
		uffd_wake(u->fd, mem_page_hva(u->mem, page), PAGE_SIZE);
	} else {
		answer_untouched(u, page, since);
	}
}

static void leave(struct userfault *u, struct userfault_claim *c, uint64_t since)
{
	u->stats.left_to_claimer++;
	if (!c->since_ns)
		c->since_ns = since;
}

static void answer(struct userfault *u, const struct uffd_fault *f, uint64_t since)
{
	uint64_t page = mem_page_at(u->mem, f->hva);
	struct userfault_claim *claim = userfault_claimed(u, page, 1);
	const struct userfault_source *source = userfault_source_of(u, page);

	if (claim)
		leave(u, claim, since);
	else if (source)
		answer_absent(u, source, page, since);
	else if (f->protect)
		answer_protected(u, page, since);
	else
		answer_missing(u, page, since);
}

static void *serve(void *arg)
{
	struct userfault *u = arg;
	struct pollfd fds[] = {{.fd = u->fd, .events = POLLIN}, {.fd = u->stop_fd, .events = POLLIN}};
	struct uffd_fault faults[UFFD_FAULTS];

	for (;;) {
		uint64_t since;
		int n;

		poll(fds, 2, -1);
		if (fds[1].revents)
			return NULL;
		n = uffd_read(u->fd, faults);
		since = watchdog_now();
		pthread_mutex_lock(&u->lock);
		if (n < 0)
			userfault_fail(u, "guest RAM: userfaultfd: %s", strerrordesc_np(-n));
		for (int i = 0; i < n && u->registered; i++)
			answer(u, &faults[i], since);
		pthread_mutex_unlock(&u->lock);
	}
}

static int start_thread(struct userfault *u)
{
	int r = worker_thread_start(&u->thread, STACK_BYTES, false, serve, u);

	return r < 0 ? log_errno(-r, "the thread that serves guest RAM") : 0;
}

static int open_all(struct userfault *u)
{
	int r = u->fd = uffd_open();

	if (r < 0)
		return r;
	u->stop_fd = eventfd(0, EFD_CLOEXEC);
	if (u->stop_fd < 0) {
		r = log_errno(errno, "eventfd");
		goto fd;
	}
	u->buffer = mmap(NULL, BUFFER_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (u->buffer == MAP_FAILED) {
		r = log_errno(errno, "a buffer of %llu KiB", BUFFER_BYTES >> 10);
		goto stop_fd;
	}
	u->watch = (struct watchdog_entry){.look = look, .period_ns = u->deadline_ms * NS_PER_MS / LOOKS};
	r = watchdog_add(&u->watch);
	if (r < 0)
		goto buffer;
	r = start_thread(u);
	if (r < 0)
		goto watch;
	u->open = true;
	return 0;
watch:
	watchdog_remove(&u->watch);
buffer:
	munmap(u->buffer, BUFFER_BYTES);
stop_fd:
	close(u->stop_fd);
fd:
	close(u->fd);
	return r;
}

static int register_all(struct userfault *u)
{
	int r = 0;

	/* A file's pages that are mapped over RAM cannot be registered, nor does the kernel do it around them. */
	if (u->mem->overlaid)
		return log_bad(ENOTSUP, "userfaultfd for guest RAM: pages of a disk are mapped into it (--disk FILE,remap)");
	atomic_store(&u->mem->paged, true);
	u->registered = true;
	for (unsigned int i = 0; i < u->mem->region_count && r == 0; i++)
		r = uffd_register(u->fd, u->mem->region[i].hva, u->mem->region[i].size);
	if (r < 0)
		unregister(u);
	return r;
}

int userfault_open(struct userfault *u)
{
	return u->open ? 0 : open_all(u);
}

int userfault_need(struct userfault *u)
{
	if (u->failing)
		return -ECANCELED;
	return u->registered ? 0 : register_all(u);
}

static void close_all(struct userfault *u)
{
	watchdog_remove(&u->watch);
	stop(u);
	pthread_join(u->thread, NULL);
	ensure(!u->claims);
	/* Not left to close(): a child that was forked and has not called exec may still have the descriptor. */
	if (u->registered)
		unregister(u);
	munmap(u->buffer, BUFFER_BYTES);
	close(u->stop_fd);
	close(u->fd);
}

void userfault_destroy(struct userfault *u)
{
	if (u->open)
		close_all(u);
	if (u->pagemap_fd >= 0)
		close(u->pagemap_fd);
	for (unsigned int i = 0; i < USERFAULT_PAGERS; i++)
		free(u->source[i].absent);
	free(u->shown);
	pthread_cond_destroy(&u->claim_ended);
	pthread_mutex_destroy(&u->lock);
	u->open = false;
}

void userfault_stats(struct userfault *u, struct userfault_stats *stats)
{
	pthread_mutex_lock(&u->lock);
	*stats = u->stats;
	pthread_mutex_unlock(&u->lock);
}
