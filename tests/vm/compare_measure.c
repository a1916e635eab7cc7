/*
 * Measuring itself, with modes of the test's own: what is made dearer shows up, there and nowhere else; the order of the columns decides
 * nothing; guests that end otherwise in one mode are said to.
 */
#include <check.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "compare/measure.h"
#include "compare/verdict.h"
#include "compare/workload.h"
#include "ept/ept.h"
#include "shadow/shadow.h"
#include "tests/vm/effort.h"
#include "tests/vm/inside.h"
#include "tests/vm/spawn.h"
#include "tests/vm/suite.h"
#include "vmm/program.h"
#include "vmm/vm.h"

#define DEARER_US 1000.0 /* what each hidden fault costs more in mode `dear` */
#define ROUNDS 5
#define LITTLE 0.3 /* of a row's time; a smaller part of it may be lost in the noise */
#define QUIET 1.3  /* the dearest round over the cheapest, where nothing came in between */

#define NS_PER_US 1000.0

/* With hidden faults in shadow mode, and without. */
static const struct workload
	touch = {"touch", WORKLOAD_SPACES, WORKLOAD_4K, "touch", 256, 0, "", ""},
	touch_clear = {"touch-clear", WORKLOAD_SPACES, WORKLOAD_4K, "touch-clear", 64, 0, "", ""},
	kernel_touch = {"kernel-touch", WORKLOAD_SPACES, WORKLOAD_4K, "kernel-touch", 256, 0, "", ""},
	system_call = {"system-call", WORKLOAD_NANO, WORKLOAD_4K, "syscall", 100, 0, "", ""},
	cr0_write = {"cr0-write", WORKLOAD_NANO, WORKLOAD_4K, "cr0-write", 100, 0, "", ""},
	port_in = {"port-in", WORKLOAD_NANO, WORKLOAD_4K, "port-in", 100, 0, "", ""},
	compute = {"compute", WORKLOAD_MIXED, WORKLOAD_4K, "compute", 2000, 0, "", ""};

static double thread_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void burn(double us)
{
	double end = thread_ns() + us * NS_PER_US;

	while (thread_ns() < end)
		;
}

static uint64_t hidden_faults(const struct vm *vm)
{
	struct mmu_stats stats;

	shadow_mmu.stats(vm, &stats);
	return stats.hidden_faults;
}

/* Both look at the statistics, which takes time; one does nothing then. */
static enum mmu_verdict handle(struct vcpu *v, double us)
{
	uint64_t before = hidden_faults(v->vm);
	enum mmu_verdict verdict = shadow_mmu.handle_exit(v);

	burn(us * (double)(hidden_faults(v->vm) - before));
	return verdict;
}

static enum mmu_verdict handle_plain(struct vcpu *v)
{
	return handle(v, 0);
}

static enum mmu_verdict handle_dear(struct vcpu *v)
{
	return handle(v, DEARER_US);
}

/* Has the guest end with another status than its own. */
static enum mmu_verdict handle_otherwise(struct vcpu *v)
{
	vm_end(v->vm, VM_EXITED, 43, "as the test wants it");
	return MMU_DONE;
}

static struct mmu_ops like_shadow(const char *name, enum mmu_verdict (*handle_exit)(struct vcpu *v))
{
	struct mmu_ops ops = shadow_mmu;

	ops.name = name;
	ops.handle_exit = handle_exit;
	return ops;
}

struct order {
	const struct mmu_ops *first, *second;
};

static void measure_in(struct comparison *c, struct order order, struct measure_plan plan)
{
	const struct mmu_ops *const none[] = {NULL};
	const struct program program = {.mmus = none, .host_mmu = "host", .host_mmu_words = "this host"};
	struct kvm kvm;

	inside_open(&kvm);
	plan.kvm = &kvm;
	plan.program = &program;
	plan.modes = 2;
	plan.mmu[0] = order.first;
	plan.mmu[1] = order.second;
	comparison_init(c);
	ck_assert_int_eq(measure(c, &plan), 0);
	kvm_close(&kvm);
}

static double hidden_faults_of(const struct cell *cell)
{
	for (unsigned int i = 0; i < cell->causes; i++)
		if (!strcmp(cell->cause[i].name, "hidden_faults"))
			return cell->cause[i].per_operation;
	return 0;
}

static void print_row(const struct row *row, struct verdict v)
{
	printf("| %s | %.3f | %.3f | x%.3f (%.3f-%.3f) %s | %.3f hidden faults |\n", row->name, spread_of(&row->cell[0].us).median,
	       spread_of(&row->cell[1].us).median, v.ratio, v.low, v.high, verdict_name(v.kind), hidden_faults_of(&row->cell[0]));
}

/* A host that is busy with other things, and an emulated one above all, may leave nothing to be said; but never what is wrong. */
static bool is_quiet(const struct row *row)
{
	for (unsigned int i = 0; i < 2; i++) {
		struct spread s = spread_of(&row->cell[i].us);

		if (s.max > QUIET * s.min)
			return false;
	}
	return true;
}

/* Noise only adds. */
static double ratio_of_least(const struct row *row)
{
	return spread_of(&row->cell[1].us).min / spread_of(&row->cell[0].us).min;
}

/* By how much of a row's time its hidden faults must make it dearer. */
static double dearer_by(const struct row *row)
{
	return hidden_faults_of(&row->cell[0]) * DEARER_US / spread_of(&row->cell[0].us).min;
}

/* Whether it was not disturbed, and an operation is not so slow on this host that what is burnt for it is lost in the noise. */
static bool is_telling(const struct row *row)
{
	return is_quiet(row) && (hidden_faults_of(&row->cell[0]) == 0 || dearer_by(row) > LITTLE);
}

/* An emulated host that is given too little time burns it more slowly than it should, and evenly: there it may be more. */
static bool is_as_dear(double ratio, double wanted)
{
	return ratio > wanted * (1 - LITTLE) && (in_lab() || ratio < wanted * (1 + LITTLE));
}

/* Exactly the rows with hidden faults are dearer, and by as much as was burnt. */
static void check_dearer(const struct row *row)
{
	struct verdict v = verdict_of(&row->cell[1], &row->cell[0]);
	double hidden = hidden_faults_of(&row->cell[0]), dearer = dearer_by(row);

	print_row(row, v);
	ck_assert(fabs(hidden_faults_of(&row->cell[1]) - hidden) < 0.01);
	if (!is_telling(row))
		return;
	ck_assert_msg(is_as_dear(ratio_of_least(row), 1 + dearer), "%s: x%g and not x%g", row->name, ratio_of_least(row), 1 + dearer);
	ck_assert_msg(hidden == 0 || v.kind == VERDICT_DIFFERS, "%s: not found to be dearer", row->name);
	if (v.kind == VERDICT_DIFFERS)
		ck_assert_msg(v.ratio < 1 + LITTLE ? hidden == 0 : hidden > 0, "%s: x%g", row->name, v.ratio);
}

/* Is there a row with hidden faults that tells something, so that the test has been one? */
static bool has_telling_row(const struct comparison *c)
{
	for (size_t i = 0; i < c->rows; i++)
		if (hidden_faults_of(&c->row[i].cell[0]) > 0 && is_telling(&c->row[i]))
			return true;
	return false;
}

static void check_all(const struct comparison *c)
{
	unsigned int with_hidden_faults = 0;

	ck_assert(c->rows == 6 && c->columns == 2 && !c->partial);
	for (size_t i = 0; i < c->rows; i++) {
		ck_assert_uint_eq(c->row[i].cell[0].us.n, ROUNDS);
		check_dearer(&c->row[i]);
		with_hidden_faults += hidden_faults_of(&c->row[i].cell[0]) > 0;
	}
	ck_assert_uint_eq(with_hidden_faults, 3);
}

START_TEST(dearer_shows_up)
{
	static const struct workload *const list[] = {&touch, &system_call, &touch_clear, &cr0_write, &kernel_touch, &compute};
	const struct mmu_ops plain = like_shadow("plain", handle_plain), dear = like_shadow("dear", handle_dear);
	struct comparison c;
	bool told = false;

	for (int tries = 0; tries < 3 && !told; tries++) {
		measure_in(&c, (struct order){&plain, &dear},
			   (struct measure_plan){.workload = list, .workloads = 6, .rounds = ROUNDS});
		check_all(&c);
		told = has_telling_row(&c);
		comparison_free(&c);
	}
	if (!told)
		puts("| this host is too busy to see what is dearer |");
}
END_TEST

/* What two columns of a row say, whichever stands first: 1 a is dearer, -1 b is, 0 neither is said. */
static int dearer_one(const struct cell *a, const struct cell *b)
{
	struct verdict v = verdict_of(a, b), w = verdict_of(b, a);

	ck_assert_int_eq(v.kind, w.kind);
	ck_assert(fabs(v.ratio * w.ratio - 1) < 1e-12 && fabs(v.low * w.high - 1) < 1e-12);
	if (v.kind != VERDICT_DIFFERS)
		return 0;
	return v.ratio > 1 ? 1 : -1;
}

/* The same two modes in both orders: no row is won by one and then by the other. Those far apart are decided both times. */
START_TEST(order_decides_nothing)
{
	static const struct workload *const list[] = {&system_call, &cr0_write, &port_in, &touch_clear, &compute};
	struct measure_plan plan = {.workload = list, .workloads = 5, .rounds = ROUNDS};
	struct comparison one, other;

	measure_in(&one, (struct order){&ept_mmu, &shadow_mmu}, plan);
	measure_in(&other, (struct order){&shadow_mmu, &ept_mmu}, plan);
	ck_assert_str_eq(one.column[0].name, "ept");
	ck_assert_str_eq(other.column[0].name, "shadow");
	for (size_t i = 0; i < one.rows; i++) {
		const struct cell *a = one.row[i].cell, *b = other.row[i].cell;
		int first = dearer_one(&a[0], &a[1]), second = dearer_one(&b[1], &b[0]);

		print_row(&one.row[i], verdict_of(&a[1], &a[0]));
		print_row(&other.row[i], verdict_of(&b[0], &b[1]));
		ck_assert_msg(first * second >= 0, "%s: %d, and %d in the other order", one.row[i].name, first, second);
		if (is_quiet(&one.row[i]) && is_quiet(&other.row[i]) && fabs(log(ratio_of_least(&one.row[i]))) > log(1.5))
			ck_assert_msg(first * second == 1, "%s: not decided", one.row[i].name);
		ck_assert(fabs(a[0].exits - b[1].exits) < 0.2 && fabs(a[1].exits - b[0].exits) < 0.2);
	}
	comparison_free(&one);
	comparison_free(&other);
}
END_TEST

/* Exits of an operation without those that marks cost. */
START_TEST(counts_are_right)
{
	static const struct workload nothing = {"nothing", WORKLOAD_NANO, WORKLOAD_4K, "nothing", 1, 0, "", ""};
	static const struct workload kernel_nothing = {"kernel-nothing", WORKLOAD_NANO, WORKLOAD_4K, "kernel-nothing", 1, 0, "", ""};
	static const struct workload *const list[] = {&nothing, &kernel_nothing, &port_in, &cr0_write, &system_call};
	static const double exits[][2] = {{0, 0}, {0, 0}, {1, 1}, {0, 1}, {0, 2}};
	struct comparison c;

	measure_in(&c, (struct order){&ept_mmu, &shadow_mmu}, (struct measure_plan){.workload = list, .workloads = 5, .rounds = 1});
	for (size_t i = 0; i < c.rows; i++)
		for (unsigned int j = 0; j < 2; j++) {
			const struct cell *cell = &c.row[i].cell[j];

			ck_assert_int_eq(cell->kind, CELL_MEASURED);
			ck_assert_msg(fabs(cell->exits - exits[i][j]) < 0.05, "%s, %s: %g exits", c.row[i].name, c.column[j].name,
				      cell->exits);
			ck_assert(cell->walk.references > 0 && cell->us.value[0] > 0);
		}
	ck_assert(c.column[0].host_page == 4096 && c.column[1].bare_exit_us > 0 && c.column[1].bare_loop_ns > 0);
	comparison_free(&c);
}
END_TEST

/* A workload that the guest does not know ends it with an error, and the next one is measured. */
START_TEST(a_row_that_cannot)
{
	static const struct workload bad = {"bad", WORKLOAD_NANO, WORKLOAD_4K, "no-such-operation", 1, 0, "", ""};
	static const struct workload *const list[] = {&bad, &port_in};
	struct comparison c;

	measure_in(&c, (struct order){&ept_mmu, &shadow_mmu}, (struct measure_plan){.workload = list, .workloads = 2, .rounds = 1});
	ck_assert(c.rows == 2 && !c.partial);
	for (unsigned int j = 0; j < 2; j++) {
		ck_assert_int_eq(c.row[0].cell[j].kind, CELL_CANNOT);
		ck_assert_msg(*c.row[0].cell[j].why, "no reason");
		ck_assert_int_eq(c.row[1].cell[j].kind, CELL_MEASURED);
	}
	comparison_free(&c);
}
END_TEST

START_TEST(another_end)
{
	const struct mmu_ops otherwise = like_shadow("otherwise", handle_otherwise);
	struct comparison c;
	char *path = build_path("guest/hello");

	measure_in(&c, (struct order){&ept_mmu, &otherwise}, (struct measure_plan){.image = path, .arguments = "42", .rounds = 2});
	ck_assert(c.rows == 1 && !c.partial);
	ck_assert_str_eq(c.row->name, "hello 42");
	for (unsigned int j = 0; j < 2; j++) {
		ck_assert_int_eq(c.row->cell[j].kind, CELL_CANNOT);
		ck_assert_msg(strstr(c.row->cell[j].why, j ? "status 43" : "status 42"), "%s", c.row->cell[j].why);
	}
	comparison_free(&c);
	measure_in(&c, (struct order){&ept_mmu, &shadow_mmu}, (struct measure_plan){.image = path, .arguments = "42", .rounds = 2});
	ck_assert(c.row->cell[0].kind == CELL_MEASURED && c.row->cell[1].us.n == 2 && c.row->cell[1].exits > 10);
	comparison_free(&c);
	free(path);
}
END_TEST

struct stopper {
	atomic_bool stop;
	unsigned int runs, after;
};

static void stop_after(void *arg, const char *row, unsigned int done, unsigned int all)
{
	struct stopper *s = arg;

	ck_assert(done < all && *row);
	if (s->runs++ == s->after)
		atomic_store(&s->stop, true);
}

/* Stopped before this or that run: rounds that were finished are there, and nothing of others. */
START_TEST(stopped)
{
	static const struct workload *const list[] = {&port_in, &cr0_write};

	static const unsigned int moments[] = {0, 1, 2, 3, 5, 6, 8, 11};

	for (size_t i = 0; i < sizeof(moments) / sizeof(*moments); i++) {
		unsigned int after = moments[i];
		struct stopper s = {.after = after};
		struct comparison c;
		unsigned int samples = 0, expected = 0;

		/* Of each row's six runs the first two warm up. */
		for (unsigned int run = 0; run < after; run++)
			expected += run % 6 >= 2;
		measure_in(&c, (struct order){&ept_mmu, &shadow_mmu},
			   (struct measure_plan){.workload = list, .workloads = 2, .rounds = 2, .stop = &s.stop,
						 .progress = stop_after, .progress_arg = &s});
		for (size_t row = 0; row < c.rows; row++)
			samples += c.row[row].cell[0].us.n + c.row[row].cell[1].us.n;
		ck_assert(c.partial && s.runs == after + 1);
		ck_assert_msg(samples == expected, "stopped before run %u: %u samples", after, samples);
		comparison_free(&c);
	}
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {dearer_shows_up, order_decides_nothing, counts_are_right, a_row_that_cannot, another_end,
				      stopped};

	setvbuf(stdout, NULL, _IOLBF, 0);
	return RUN_TESTS("compare-measure", tests);
}
