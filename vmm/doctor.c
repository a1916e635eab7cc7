#include "vmm/doctor.h"

#include <errno.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "vmm/command_line.h"
#include "vmm/log.h"
#include "vmm/program.h"

#define PLAIN_WIDTH 100 /* of a table that does not go to a terminal */

enum key { KEY_JSON = 0x100 };

static const struct argp_option options[] = {
	{"json", KEY_JSON, NULL, 0, "Print one JSON object instead of the table", 0},
	{0},
};

static const char doc[] =
	"Say what this host can do, what is missing, and what to do about it.\v"
	"The first word of a line is ok, note (works, but not as one might think), lack (not there, guests run without it) or "
	"BAD (guests cannot run). Nothing on the host is changed; tiny guests are run to see what it really does, which takes "
	"less than a second.\n\n"
	"The exit status is 0 if guests can run here, 125 if not.";

static error_t on_key(int key, char *arg, struct argp_state *state)
{
	bool *json = state->input;

	if (key != KEY_JSON)
		return ARGP_ERR_UNKNOWN;
	*json = true;
	return 0;
}

static int output_width(void)
{
	struct winsize size;

	if (isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col)
		return size.ws_col;
	return PLAIN_WIDTH;
}

static void examine(struct doctor *d)
{
	doctor_device(d, "/dev/kvm", "");
	if (d->kvm.fd >= 0) {
		doctor_kvm(d);
		doctor_probes(d);
	}
	doctor_host(d, "");
	kvm_close(&d->kvm);
}

static int print_verdict(const struct report *r)
{
	bool good = report_good(r);

	return printf("\n%s\n", good ? "Guests can run here." : "Guests cannot run here: see the line that says BAD.") < 0;
}

int cmd_doctor(const struct program *p, int argc, char **argv)
{
	static const struct argp argp = {options, on_key, NULL, doc, NULL, NULL, NULL};
	struct report report = {0};
	struct doctor d = {.program = p, .report = &report, .kvm.fd = -1};
	bool json = false;
	int r;

	if (command_line_parse(&argp, argc, argv, &json) < 0)
		return EXIT_BAD;
	examine(&d);
	r = json ? report_print_json(&report, stdout) : report_print(&report, stdout, output_width()) | print_verdict(&report);
	if (r || fflush(stdout)) {
		log_errno(errno ? errno : EIO, "doctor: standard output");
		return EXIT_BAD;
	}
	return report_good(&report) ? 0 : EXIT_BAD;
}
