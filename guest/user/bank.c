#include "guest/lib/parse.h"
#include "guest/user/programs.h"
#include "guest/user/user.h"

#define TELLERS 2

struct vault {
	volatile uint64_t balance;
	volatile uint64_t receipt_ns; /* when something was last paid in */
};

struct teller {
	struct vault *vault;
	uint64_t deposits;
	uint64_t amount; /* of each; another one than the other teller's: a balance tells who has paid in */
};

/*
 * Here is the mistake that all of this is about: who is preempted between the first line and the last pays in to a balance that
 * was, and what the other has paid in meanwhile is lost.
 */
static __attribute__((noinline)) void deposit(struct vault *vault, uint64_t amount)
{
	volatile uint64_t balance = vault->balance; /* volatile: for the debugger's eyes */

	vault->receipt_ns = clock_ns();
	vault->balance = balance + amount;
}

static void work(void *arg)
{
	const struct teller *teller = arg;

	for (uint64_t i = 0; i < teller->deposits; i++)
		deposit(teller->vault, teller->amount);
}

/* For who looks for the reason: the balance is wrong, and everybody is gone who could have done it. */
static __attribute__((noinline)) int missing(const struct vault *vault, uint64_t expected)
{
	print("bank: the vault holds %lu, but %lu were paid in\n", vault->balance, expected);
	return 1;
}

/*
 * bank [DEPOSITS]: two tellers pay in, one 1 and the other 10 at a time, so many times each, and the timer takes the processor from
 * one and gives it to the other. The exit code is 1 if something was lost.
 */
int bank_main(int argc, char **argv)
{
	struct vault *vault = allocate(sizeof(*vault));
	struct teller *teller = allocate(TELLERS * sizeof(*teller));
	uint64_t deposits = 4, expected = 0, amount = 1;
	int status;

	if (argc > 2 || (argc > 1 && !parse_number(argv[1], &deposits)))
		usage("bank [DEPOSITS]");
	for (int i = 0; i < TELLERS; i++, amount *= 10) {
		teller[i] = (struct teller){ vault, deposits, amount };
		expected += deposits * amount;
		thread(work, &teller[i]);
	}
	for (int i = 0; i < TELLERS; i++)
		wait(&status);
	if (vault->balance != expected)
		return missing(vault, expected);
	print("bank: the vault holds %lu, as it should\n", vault->balance);
	return 0;
}
