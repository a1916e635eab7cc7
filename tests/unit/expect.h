/*
 * Assertions for inner loops: those of the Check library write to a pipe each time they hold, these only speak when they
 * do not.
 */
#pragma once

#include <check.h>
#include <inttypes.h>
#include <stdint.h>

#define expect_msg(cond, ...) ((cond) ? (void)0 : ck_abort_msg(__VA_ARGS__))
#define expect(cond) expect_msg(cond, "%s", #cond)

#define expect_eq(got, expected)                                                                                       \
	do {                                                                                                           \
		uint64_t got_ = (uint64_t)(got), expected_ = (uint64_t)(expected);                                     \
                                                                                                                       \
		expect_msg(got_ == expected_, "%s is 0x%" PRIx64 " and not %s, 0x%" PRIx64, #got, got_, #expected,     \
			   expected_);                                                                                 \
	} while (0)
