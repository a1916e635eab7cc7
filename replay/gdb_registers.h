/*
 * The registers that gdb is shown, in its order: one table, from which come the description that gdb gets and the bytes it reads
 * and writes, so that these cannot disagree.
 *
 * The guest is always an x86-64 to gdb, which cannot change its mind while connected. Outside of 64-bit code, where the guest
 * cannot see the upper halves of RIP and of the first eight general registers, gdb sees zeros there, and a write leaves them as
 * they are. (gdb still decodes 32-bit code as 64-bit code, and takes RIP for a linear address, whatever the base of CS.)
 *
 * No CPU model has AVX (cpu_model.h), so there are no YMM registers.
 */
#pragma once

#include <stdint.h>

#include "vmm/cpu_state.h"

#define GDB_REGISTER_BYTES_MAX 16u

/* What is special about a register's value. */
enum gdb_register_rule {
	GDB_REGISTER_PLAIN,
	GDB_REGISTER_GPR,     /* half as wide outside of 64-bit code */
	GDB_REGISTER_RIP,     /* the same, and canonical */
	GDB_REGISTER_ADDRESS, /* canonical */
	GDB_REGISTER_FLAGS,   /* written as by POPF at CPL 0 */
	GDB_REGISTER_FIXED,   /* not to be written: the rest of the CPU's state hangs together with it */
	GDB_REGISTER_TAGS,    /* x87 tags: two bits for each in gdb, one in the XSAVE area */
	GDB_REGISTER_OPCODE,  /* 11 bits */
	GDB_REGISTER_MXCSR,
};

enum gdb_feature { GDB_FEATURE_CORE, GDB_FEATURE_SSE, GDB_FEATURE_SEGMENTS, GDB_FEATURE_CONTROL, GDB_FEATURES };

struct gdb_register {
	const char *name, *type; /* type: gdb's own, or one of the description's */
	const char *group;	 /* NULL: gdb decides by the type */
	uint8_t feature;	 /* enum gdb_feature; the table is in their order */
	uint8_t rule;		 /* enum gdb_register_rule */
	uint8_t bits;		 /* to gdb */
	uint8_t size;		 /* bytes in struct cpu_state, at most bits / 8; zeros follow */
	uint16_t offset;	 /* there */
};

extern const struct gdb_register gdb_registers[];
extern const unsigned int gdb_register_count;

/* The value of register n, little endian. Returns how many bytes it has. */
unsigned int gdb_register_get(const struct cpu_state *cs, unsigned int n, uint8_t value[GDB_REGISTER_BYTES_MAX]);

/* Sets it. Returns 0; -EPERM: it is not to be changed; -EINVAL: the CPU cannot hold that value. Its own value can always be set. */
int gdb_register_set(struct cpu_state *cs, unsigned int n, const uint8_t *value);
