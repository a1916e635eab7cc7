/*
 * What the Solo5 test unikernels have in common: output, time, an end, and exceptions that end them by name.
 */
#pragma once

#include <stdint.h>
#include <stdnoreturn.h>

#include "guest/solo5/hvt.h"

/* The image's main function; what it returns is the exit status. */
int solo5_main(const struct hvt_boot_info *info);

void solo5_write(const char *text, size_t size);
void solo5_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
noreturn void solo5_exit(int status);
uint64_t solo5_walltime(void);

/* Waits for a frame; returns the set of handles that have one. */
uint64_t solo5_poll(uint64_t timeout_ns);

/* Handle of a device of the manifest; ends the unikernel if it is not attached. */
unsigned int solo5_find(const struct hvt_boot_info *info, const char *name, uint32_t type);

/*
 * An exception ends the unikernel with its vector as the exit status; the line it prints begins with "exception". The entry
 * code of start.S gives these.
 */
noreturn void solo5_exception(uint64_t vector, uint64_t error, uint64_t rip, uint64_t cr2);

/* Declares the manifest: `count` entries with the first one, which is written for the caller. */
#define SOLO5_MANIFEST(count, ...)                                                                                     \
	const struct {                                                                                                 \
		uint32_t namesz, descsz, type;                                                                         \
		char name[8];                                                                                          \
		struct {                                                                                               \
			uint32_t version, entries;                                                                     \
			struct hvt_entry e[count];                                                                     \
		} m __attribute__((aligned(8)));                                                                       \
	} solo5_manifest __attribute__((section(".note.solo5.manifest"), aligned(8), used)) = {                                    \
		sizeof("Solo5"), sizeof(solo5_manifest) - 20, 0x3154464d, "Solo5",                                     \
		{1, count, {{.type = HVT_RESERVED_FIRST}, __VA_ARGS__}}}
