#include "vmm/progress.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "vmm/printable.h"

#define FIRST_NS 500000000ull
#define EVERY_NS 100000000ull

static uint64_t host_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

bool progress_is_seen(void)
{
	return isatty(STDERR_FILENO);
}

/* A line that is wrapped could not be written over. */
static int width(void)
{
	struct winsize size;

	return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col - 1 : 79;
}

void progress_line(const char *fmt, ...)
{
	char line[512], text[512];
	va_list args;

	if (!progress_is_seen())
		return;
	va_start(args, fmt);
	vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	fprintf(stderr, "\r\033[K%.*s", width(), printable(text, sizeof(text), line, sizeof(line)));
	fflush(stderr);
}

void progress_no_line(void)
{
	if (!progress_is_seen())
		return;
	fputs("\r\033[K", stderr);
	fflush(stderr);
}

void progress_begin(struct progress *p, const char *what, uint64_t all)
{
	*p = (struct progress){.what = what, .all = all, .seen = progress_is_seen()};
	if (!p->seen)
		return;
	p->start_ns = host_ns();
	p->next_ns = p->start_ns + FIRST_NS;
}

static void show(struct progress *p, uint64_t now)
{
	uint64_t us = (now - p->start_ns) / 1000, percent = p->all ? p->done * 100 / p->all : 100;

	progress_line("%3" PRIu64 " %%  %" PRIu64 " of %" PRIu64 " MiB, %" PRIu64 " MB/s  %s", percent, p->done >> 20,
		      p->all >> 20, p->done / (us ? us : 1), p->what);
	p->shown = true;
	p->next_ns = now + EVERY_NS;
}

void progress_add(struct progress *p, uint64_t bytes)
{
	uint64_t now;

	p->done += bytes;
	if (!p->seen)
		return;
	now = host_ns();
	if (now >= p->next_ns)
		show(p, now);
}

void progress_end(struct progress *p)
{
	if (p->shown)
		progress_no_line();
}
