#include "guest/lib/parse.h"
#include "guest/lib/random.h"
#include "guest/lib/string.h"
#include "guest/user/compute_sse.h"
#include "guest/user/programs.h"
#include "guest/user/user.h"

#define SIEVE_SIZE 65536u
#define MIX_PER_ROUND 100000u
#define DEFAULT_ROUNDS 10

static uint64_t count_primes(uint8_t *composite)
{
	uint64_t count = 0;

	memset(composite, 0, SIEVE_SIZE);
	for (unsigned int i = 2; i < SIEVE_SIZE; i++) {
		if (composite[i])
			continue;
		count++;
		for (unsigned int j = 2 * i; j < SIEVE_SIZE; j += i)
			composite[j] = 1;
	}
	return count;
}

static uint64_t integer_work(uint64_t rounds)
{
	uint8_t *composite = allocate(SIEVE_SIZE);
	uint64_t state = 1;
	uint64_t sum = 0;

	for (uint64_t i = 0; i < rounds; i++) {
		sum = sum * 31 + count_primes(composite);
		for (unsigned int j = 0; j < MIX_PER_ROUND; j++)
			sum ^= random_next(&state) / (sum % 1000 + 1);
	}
	return sum;
}

/*
 * compute [sse] [ROUNDS]: a round is some 100,000 divisions and a sieve (or, with "sse", floating-point arithmetic);
 * prints a checksum that depends on nothing but ROUNDS.
 */
int compute_main(int argc, char **argv)
{
	bool sse = argc > 1 && strcmp(argv[1], "sse") == 0;
	int options = sse ? 2 : 1;
	uint64_t rounds = DEFAULT_ROUNDS;

	if (argc > options + 1 || (argc > options && !parse_number(argv[options], &rounds)))
		usage("compute [sse] [ROUNDS]");
	print("compute: %s %lu rounds, checksum %016lx\n", sse ? "sse" : "integer", rounds,
	      sse ? compute_sse(rounds) : integer_work(rounds));
	return 0;
}
