#include "replay/gdb_description.h"

#include <errno.h>
#include <stdio.h>

#include "replay/gdb_registers.h"
#include "vmm/log.h"

#define FLAGS(id, size) "<flags id=\"" id "\" size=\"" size "\">"
#define BIT(name, at) "<field name=\"" name "\" start=\"" #at "\" end=\"" #at "\"/>"
#define VECTOR(id, type, count) "<vector id=\"" id "\" type=\"" type "\" count=\"" count "\"/>"
#define FIELD(name, type) "<field name=\"" name "\" type=\"" type "\"/>"

struct feature {
	const char *name;
	const char *types; /* that its registers have */
};

static const struct feature features[GDB_FEATURES] = {
	[GDB_FEATURE_CORE] = {"org.gnu.gdb.i386.core",
			      FLAGS("i386_eflags", "4") BIT("CF", 0) BIT("", 1) BIT("PF", 2) BIT("AF", 4) BIT("ZF", 6) BIT("SF", 7)
				      BIT("TF", 8) BIT("IF", 9) BIT("DF", 10) BIT("OF", 11) BIT("NT", 14)
					      BIT("RF", 16) BIT("VM", 17) BIT("AC", 18) BIT("VIF", 19) BIT("VIP", 20)
						      BIT("ID", 21) "</flags>"},
	[GDB_FEATURE_SSE] = {"org.gnu.gdb.i386.sse",
			     VECTOR("v4f", "ieee_single", "4") VECTOR("v2d", "ieee_double", "2") VECTOR("v16i8", "int8", "16")
				     VECTOR("v8i16", "int16", "8") VECTOR("v4i32", "int32", "4") VECTOR("v2i64", "int64", "2")
			     "<union id=\"vec128\">" FIELD("v4_float", "v4f") FIELD("v2_double", "v2d") FIELD("v16_int8", "v16i8")
				     FIELD("v8_int16", "v8i16") FIELD("v4_int32", "v4i32") FIELD("v2_int64", "v2i64")
					     FIELD("uint128", "uint128") "</union>"
			     FLAGS("i386_mxcsr", "4") BIT("IE", 0) BIT("DE", 1) BIT("ZE", 2) BIT("OE", 3) BIT("UE", 4) BIT("PE", 5)
				     BIT("DAZ", 6) BIT("IM", 7) BIT("DM", 8) BIT("ZM", 9) BIT("OM", 10) BIT("UM", 11)
					     BIT("PM", 12) BIT("FZ", 15) "</flags>"},
	[GDB_FEATURE_SEGMENTS] = {"org.gnu.gdb.i386.segments", ""},
	[GDB_FEATURE_CONTROL] = {"org.penumbra.control",
				 FLAGS("x86_cr0", "8") BIT("PE", 0) BIT("MP", 1) BIT("EM", 2) BIT("TS", 3) BIT("ET", 4) BIT("NE", 5)
					 BIT("WP", 16) BIT("AM", 18) BIT("NW", 29) BIT("CD", 30) BIT("PG", 31) "</flags>"
				 FLAGS("x86_cr4", "8") BIT("VME", 0) BIT("PVI", 1) BIT("TSD", 2) BIT("DE", 3) BIT("PSE", 4)
					 BIT("PAE", 5) BIT("MCE", 6) BIT("PGE", 7) BIT("PCE", 8) BIT("OSFXSR", 9)
						 BIT("OSXMMEXCPT", 10) BIT("UMIP", 11) BIT("LA57", 12) BIT("VMXE", 13)
							 BIT("SMXE", 14) BIT("FSGSBASE", 16) BIT("PCIDE", 17)
								 BIT("OSXSAVE", 18) BIT("SMEP", 20) BIT("SMAP", 21)
									 BIT("PKE", 22) "</flags>"
				 FLAGS("x86_efer", "8") BIT("SCE", 0) BIT("LME", 8) BIT("LMA", 10) BIT("NXE", 11) BIT("SVME", 12)
					 BIT("LMSLE", 13) BIT("FFXSR", 14) BIT("TCE", 15) "</flags>"},
};

static void print_register(FILE *f, const struct gdb_register *r)
{
	unsigned int n = (unsigned int)(r - gdb_registers);

	fprintf(f, "<reg name=\"%s\" bitsize=\"%u\" type=\"%s\" regnum=\"%u\"", r->name, r->bits, r->type, n);
	if (r->group)
		fprintf(f, " group=\"%s\"", r->group);
	/* Around a function that its user calls, gdb leaves alone what cannot be written back. */
	if (r->rule == GDB_REGISTER_FIXED)
		fputs(" save-restore=\"no\"", f);
	fputs("/>", f);
}

static void print_feature(FILE *f, unsigned int feature)
{
	fprintf(f, "<feature name=\"%s\">%s", features[feature].name, features[feature].types);
	for (unsigned int i = 0; i < gdb_register_count; i++) {
		if (gdb_registers[i].feature == feature)
			print_register(f, &gdb_registers[i]);
	}
	fputs("</feature>", f);
}

char *gdb_description(size_t *size)
{
	char *text = NULL;
	FILE *f = open_memstream(&text, size);

	if (f) {
		fputs("<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM \"gdb-target.dtd\"><target version=\"1.0\">"
		      "<architecture>i386:x86-64</architecture>", f);
		for (unsigned int i = 0; i < GDB_FEATURES; i++)
			print_feature(f, i);
		fputs("</target>", f);
	}
	if (f && fclose(f) == 0)
		return text;
	log_errno(ENOMEM, "gdb: the description of the registers");
	return NULL;
}
