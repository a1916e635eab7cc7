#include "snapshot/reason.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int reason_give(struct reason *why, int err, const char *fmt, ...)
{
	va_list args;

	if (*why->text)
		return -err;
	va_start(args, fmt);
	vsnprintf(why->text, sizeof(why->text), fmt, args);
	va_end(args);
	return -err;
}

int reason_errno(struct reason *why, int err, const char *fmt, ...)
{
	char text[sizeof(why->text)];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	return reason_give(why, err, "%.400s: %s", text, strerrordesc_np(err));
}
