/*
 * The target description that gdb asks for: gdb_registers.h's table as XML (gdb manual, appendix G).
 */
#pragma once

#include <stddef.h>

/* Returns the text, the caller's to free(), or NULL if there is no memory, which has been logged. *size: without the NUL. */
char *gdb_description(size_t *size);
