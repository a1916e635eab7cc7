/*
 * Our own bugs end here: an assertion that stays in release builds and whose condition may not have side effects.
 */
#pragma once

_Noreturn void ensure_failed(const char *condition, const char *file, int line);

#define ensure(cond) ((cond) ? (void)0 : ensure_failed(#cond, __FILE__, __LINE__))
