/*
 * solo5-sse: computes with SSE in ring 0, as unikernels do, and keeps the result in registers over hypercalls.
 */
#include "guest/solo5/solo5.h"

SOLO5_MANIFEST(1);

#define TERMS 100000u

/* pi / 4 = 1 - 1/3 + 1/5 - ... */
static double quarter_pi(void)
{
	double sum = 0;

	for (unsigned int i = 0; i < TERMS; i++) {
		double term = 1.0 / (2 * i + 1);

		sum += i % 2 ? -term : term;
		if (i % (TERMS / 4) == 0)
			solo5_write(".", 1);
	}
	return sum;
}

int solo5_main(const struct hvt_boot_info *info)
{
	uint64_t digits = (uint64_t)(4e9 * quarter_pi());

	solo5_printf("\npi: %lu\n", digits);
	return digits / 10000 == 314158 ? 0 : 1;
}
