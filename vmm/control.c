#include "vmm/control.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "vmm/fleet.h"
#include "vmm/log.h"
#include "vmm/program.h"
#include "vmm/stats.h"

/* One VM's part of a request: runs on its vCPU's thread. */
struct control_part {
	struct vcpu_work work;
	struct control_request *request;
	struct fleet_member *member;
	int error;     /* negative errno of what went wrong */
	json_t *stats; /* with `stats` */
};

struct control_request {
	const struct control_command *command;
	const struct mmu_ops *mmu; /* with `mmu` */
	struct fleet *fleet;
	atomic_uint pending; /* parts not yet carried out */
	unsigned int count;
	struct control_part part[];
};

struct control_command {
	const char *name;
	bool argument;
	void (*run)(struct control_part *part, struct vm *vm); /* on the vCPU's thread */
};

static void run_pause(struct control_part *part, struct vm *vm)
{
	vm_pause(vm, true);
}

static void run_resume(struct control_part *part, struct vm *vm)
{
	vm_pause(vm, false);
}

static void run_stats(struct control_part *part, struct vm *vm)
{
	part->stats = stats_guest(part->member);
}

static void run_quit(struct control_part *part, struct vm *vm)
{
	vm_end(vm, VM_STOPPED, 0, "stopped by `ctl quit`");
}

static void run_mmu(struct control_part *part, struct vm *vm)
{
	part->error = vm_change_mmu(vm, part->request->mmu);
}

static const struct control_command commands[] = {
	{"pause", false, run_pause}, {"resume", false, run_resume}, {"stats", false, run_stats},
	{"quit", false, run_quit},   {"mmu", true, run_mmu},
};

static void finish_part(struct control_request *r)
{
	/* Nothing of r may be touched after the count is down: the fleet's thread frees it. */
	struct fleet *f = r->fleet;

	if (atomic_fetch_sub(&r->pending, 1) == 1)
		fleet_wake(f);
}

static void run_part(struct vcpu_work *w, struct vm *vm)
{
	struct control_part *part = (struct control_part *)w;

	if (!vm_ended(vm))
		part->request->command->run(part, vm);
	else
		part->error = -ESRCH;
	finish_part(part->request);
}

static void start(struct control_request *r)
{
	for (unsigned int i = 0; i < r->count; i++) {
		struct control_part *part = &r->part[i];

		*part = (struct control_part){.work.run = run_part, .request = r, .member = &r->fleet->members[i]};
		if (vcpu_post(&part->member->vm.vcpu, &part->work))
			continue;
		part->error = -ESRCH;
		finish_part(r);
	}
}

static void free_request(struct control_request *r)
{
	for (unsigned int i = 0; r && i < r->count; i++)
		json_decref(r->part[i].stats);
	free(r);
}

static const struct control_command *find_command(const char *name)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++)
		if (!strcmp(commands[i].name, name))
			return &commands[i];
	return NULL;
}

static const struct mmu_ops *find_mmu(const struct program *p, const char *name)
{
	for (const struct mmu_ops *const *m = p->mmus; *m; m++)
		if (!strcmp((*m)->name, name))
			return *m;
	return NULL;
}

/* Parses a line into a request of n parts. Returns NULL with *error, a constant string. */
static struct control_request *parse(const struct control *c, char *line, const char **error)
{
	char *save, *name = strtok_r(line, " \t\r", &save), *argument = strtok_r(NULL, " \t\r", &save);
	const struct control_command *command = name ? find_command(name) : NULL;
	unsigned int n = c->fleet->count;
	struct control_request *r;

	*error = "no such request; known are pause, resume, stats, quit, mmu MODE";
	if (!command || !argument != !command->argument || (argument && strtok_r(NULL, " \t\r", &save)))
		return NULL;
	*error = "no such MMU mode";
	if (argument && !find_mmu(c->program, argument))
		return NULL;
	*error = "out of memory";
	r = calloc(1, sizeof(*r) + n * sizeof(r->part[0]));
	if (!r)
		return NULL;
	r->command = command;
	r->mmu = argument ? find_mmu(c->program, argument) : NULL;
	r->fleet = c->fleet;
	r->count = n;
	atomic_init(&r->pending, n);
	return r;
}

static void drop(struct control_client *client)
{
	close(client->fd);
	client->fd = -1;
	client->used = 0;
}

/* An answer is short; a client whose socket has no room for it does not read, and is dropped. */
static void send_answer(struct control_client *client, json_t *answer)
{
	char *text = json_dumps(answer, JSON_COMPACT | JSON_PRESERVE_ORDER);
	size_t size = text ? strlen(text) : 0;

	json_decref(answer);
	if (text)
		text[size++] = '\n'; /* in place of the NUL */
	if (client->fd >= 0 && (!text || send(client->fd, text, size, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)size))
		drop(client);
	free(text);
}

static json_t *failure(const char *error)
{
	return json_pack("{s:b, s:s}", "ok", 0, "error", error);
}

static json_t *outcome(const struct control_request *r)
{
	json_t *guests = json_array();
	int error = 0;

	for (unsigned int i = 0; i < r->count; i++) {
		/* A guest that has ended meanwhile is no failure of a request to many. */
		if (r->part[i].error && (r->part[i].error != -ESRCH || r->count == 1))
			error = r->part[i].error;
		if (r->part[i].stats)
			json_array_append(guests, r->part[i].stats);
	}
	if (error || !json_array_size(guests)) {
		json_decref(guests);
		return error ? failure(strerror(-error)) : json_pack("{s:b}", "ok", 1);
	}
	return json_pack("{s:b, s:o}", "ok", 1, "guests", guests);
}

static void answer_finished(struct control_client *client)
{
	struct control_request *r = client->request;

	if (!r || atomic_load(&r->pending))
		return;
	client->request = NULL;
	send_answer(client, outcome(r));
	free_request(r);
}

static void handle_line(struct control *c, struct control_client *client, char *line)
{
	const char *error;

	client->request = parse(c, line, &error);
	if (client->request)
		start(client->request);
	else
		send_answer(client, failure(error));
}

/* Takes one whole line out of the buffer; the rest waits until it has been answered. */
static void next_line(struct control *c, struct control_client *client)
{
	char line[CONTROL_MAX_LINE], *end = memchr(client->line, '\n', client->used);
	size_t size;

	if (client->fd < 0 || client->request)
		return;
	if (!end) {
		if (client->used == sizeof(client->line))
			drop(client);
		return;
	}
	size = (size_t)(end - client->line);
	memcpy(line, client->line, size);
	line[size] = '\0';
	client->used -= size + 1;
	memmove(client->line, end + 1, client->used);
	if (strlen(line) == size)
		handle_line(c, client, line);
	else
		drop(client);
}

static void receive(struct control_client *client)
{
	ssize_t n = recv(client->fd, client->line + client->used, sizeof(client->line) - client->used, MSG_DONTWAIT);

	if (n > 0)
		client->used += (size_t)n;
	else if (n == 0 || (errno != EAGAIN && errno != EINTR))
		drop(client);
}

static void accept_client(struct control *c)
{
	int fd = accept4(c->fd, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		return;
	for (unsigned int i = 0; i < CONTROL_MAX_CLIENTS; i++)
		if (c->clients[i].fd < 0 && !c->clients[i].request) {
			c->clients[i] = (struct control_client){.fd = fd};
			return;
		}
	close(fd);
}

void control_poll(const struct control *c, struct pollfd *fds)
{
	for (unsigned int i = 0; i < CONTROL_MAX_CLIENTS; i++) {
		const struct control_client *client = &c->clients[i];

		fds[i] = (struct pollfd){.fd = c->path && !client->request ? client->fd : -1, .events = POLLIN};
	}
	fds[CONTROL_MAX_CLIENTS] = (struct pollfd){.fd = c->path ? c->fd : -1, .events = POLLIN};
}

void control_handle(struct control *c, const struct pollfd *fds)
{
	if (!c->path)
		return;
	for (unsigned int i = 0; i < CONTROL_MAX_CLIENTS; i++) {
		struct control_client *client = &c->clients[i];

		if (fds[i].fd >= 0 && fds[i].revents)
			receive(client);
		answer_finished(client);
		next_line(c, client);
	}
	if (fds[CONTROL_MAX_CLIENTS].revents)
		accept_client(c);
}

/* True if a socket file is there that nobody listens on. */
static bool is_stale(const struct sockaddr_un *address)
{
	struct stat st;
	int fd, r;

	if (lstat(address->sun_path, &st) || !S_ISSOCK(st.st_mode))
		return false;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	r = connect(fd, (const struct sockaddr *)address, sizeof(*address)) ? errno : 0;
	close(fd);
	return r == ECONNREFUSED;
}

static int bind_and_listen(int fd, const struct sockaddr_un *address)
{
	mode_t old = umask(0177);
	int r = bind(fd, (const struct sockaddr *)address, sizeof(*address)) ? errno : 0;

	umask(old);
	if (!r && listen(fd, CONTROL_MAX_CLIENTS))
		r = errno;
	return r;
}

int control_init(struct control *c, const char *path, const struct program *p, struct fleet *f)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int r;

	*c = (struct control){.program = p, .fleet = f, .fd = -1};
	for (unsigned int i = 0; i < CONTROL_MAX_CLIENTS; i++)
		c->clients[i].fd = -1;
	if (!path)
		return 0;
	if (strlen(path) >= sizeof(address.sun_path))
		return log_errno(ENAMETOOLONG, "%s", path);
	strcpy(address.sun_path, path);
	if (is_stale(&address))
		unlink(path);
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->fd < 0)
		return log_errno(errno, "control socket");
	r = bind_and_listen(c->fd, &address);
	if (r) {
		close(c->fd);
		return log_errno(r, "%s: control socket", path);
	}
	c->path = path;
	return 0;
}

void control_destroy(struct control *c)
{
	if (!c->path)
		return;
	for (unsigned int i = 0; i < CONTROL_MAX_CLIENTS; i++) {
		answer_finished(&c->clients[i]);
		if (c->clients[i].fd >= 0)
			close(c->clients[i].fd);
		free_request(c->clients[i].request);
	}
	close(c->fd);
	unlink(c->path);
}
