#include "tests/bench/ksm.h"

#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DIRECTORY "/sys/kernel/mm/ksm/"
#define VALUE 40

/* In the order in which they are put back: the advisor, while it is on, forbids that the pages are set. */
static struct setting {
	const char *path;
	char before[VALUE]; /* "" = not in this kernel */
} settings[] = {
	{DIRECTORY "advisor_mode", ""},
	{DIRECTORY "pages_to_scan", ""},
	{DIRECTORY "sleep_millisecs", ""},
	{DIRECTORY "use_zero_pages", ""},
	{DIRECTORY "run", ""},
};

#define SETTINGS (sizeof(settings) / sizeof(*settings))
#define RUN "/sys/kernel/mm/ksm/run"

static const int deadly[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM};

static volatile sig_atomic_t borrowed;

/* Also in a signal handler: only what is allowed there. */
static bool put(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool ok = fd >= 0 && write(fd, value, strlen(value)) == (ssize_t)strlen(value);

	if (fd >= 0)
		close(fd);
	return ok;
}

static void need(const char *path, const char *value)
{
	if (!put(path, value))
		err(1, "%s: cannot be set to %s", path, value);
}

/* Of "[none] scan-time", the word that is chosen. */
static void chosen(char *value)
{
	const char *open = strchr(value, '['), *end = strchr(value, ']');

	if (!open || !end || end < open)
		return;
	memmove(value, open + 1, (size_t)(end - open - 1));
	value[end - open - 1] = '\0';
}

static bool get(const char *path, char value[VALUE])
{
	FILE *f = fopen(path, "re");
	bool ok = f && fgets(value, VALUE, f);

	if (f)
		fclose(f);
	if (ok) {
		value[strcspn(value, "\n")] = '\0';
		chosen(value);
	}
	return ok;
}

int64_t ksm_figure(const char *name)
{
	char path[80], value[VALUE];

	snprintf(path, sizeof(path), DIRECTORY "%s", name);
	return get(path, value) ? strtoll(value, NULL, 10) : -1;
}

static bool has_mergeable(const char *pid)
{
	char path[300], line[80];
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%s/ksm_stat", pid);
	f = fopen(path, "re");
	while (f && !found && fgets(line, sizeof(line), f))
		found = !strcmp(line, "ksm_mergeable: yes\n");
	if (f)
		fclose(f);
	return found;
}

static bool is_pid(const char *name)
{
	return name[strspn(name, "0123456789")] == '\0';
}

/* Older kernels do not tell whose memory it would look at besides: such as that of a QEMU, which offers all of it. */
static bool others_have_mergeable(void)
{
	DIR *d = opendir("/proc");
	const struct dirent *e;
	bool found = false;

	while (d && !found && (e = readdir(d)))
		found = is_pid(e->d_name) && strtol(e->d_name, NULL, 10) != getpid() && has_mergeable(e->d_name);
	if (d)
		closedir(d);
	return found;
}

const char *ksm_refuses(enum ksm_pace pace)
{
	if (ksm_figure("run") < 0)
		return "this kernel has no KSM";
	if (access(RUN, W_OK))
		return "KSM may not be set by this user";
	if (ksm_figure("run") == 1 || ksm_figure("pages_sharing") > 0)
		return "KSM is in use here";
	if (others_have_mergeable())
		return "there are other processes with memory that KSM would look at";
	if (pace == KSM_ADVISOR && ksm_figure("advisor_max_cpu") < 0)
		return "this kernel's KSM has no advisor";
	return NULL;
}

void ksm_return(void)
{
	if (!borrowed)
		return;
	borrowed = 0;
	put(RUN, "2");
	for (size_t i = 0; i < SETTINGS; i++)
		if (settings[i].before[0])
			put(settings[i].path, settings[i].before);
}

static void on_signal(int number)
{
	ksm_return();
	raise(number); /* its default action has been restored */
}

static void watch_signals(void)
{
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESETHAND};
	static bool done;

	if (done)
		return;
	done = true;
	atexit(ksm_return);
	for (size_t i = 0; i < sizeof(deadly) / sizeof(*deadly); i++)
		sigaction(deadly[i], &action, NULL);
}

void ksm_borrow(enum ksm_pace pace)
{
	for (size_t i = 0; i < SETTINGS; i++)
		if (!get(settings[i].path, settings[i].before))
			settings[i].before[0] = '\0';
	watch_signals();
	borrowed = 1;
	need(DIRECTORY "use_zero_pages", "1");
	need(DIRECTORY "sleep_millisecs", "20");
	if (settings[0].before[0])
		need(settings[0].path, pace == KSM_ADVISOR ? "scan-time" : "none");
	if (pace == KSM_FAST)
		need(DIRECTORY "pages_to_scan", "5000");
	need(RUN, "1");
}

static bool is_ksmd(const char *pid)
{
	char path[300], name[VALUE] = "";

	snprintf(path, sizeof(path), "/proc/%s/comm", pid);
	return get(path, name) && !strcmp(name, "ksmd");
}

static pid_t find_ksmd(void)
{
	DIR *d = opendir("/proc");
	const struct dirent *e;
	pid_t pid = 0;

	while (d && !pid && (e = readdir(d)))
		if (is_ksmd(e->d_name))
			pid = (pid_t)strtol(e->d_name, NULL, 10);
	if (d)
		closedir(d);
	if (!pid)
		errx(1, "no thread ksmd, whose processor time is asked for");
	return pid;
}

double ksm_cpu_s(void)
{
	static pid_t pid;
	unsigned long user, kernel;
	char path[40];
	FILE *f;

	if (!pid)
		pid = find_ksmd();
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "re");
	if (!f || fscanf(f, "%*d %*s %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &kernel) != 2)
		errx(1, "%s: not as expected", path);
	fclose(f);
	return (double)(user + kernel) / (double)sysconf(_SC_CLK_TCK);
}
