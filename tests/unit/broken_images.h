/*
 * Guest images that must be refused: how each is made from a sound one, and what the refusal says.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "tests/unit/elf_writer.h"

struct broken_image {
	const char *name;
	void (*damage)(struct writer_elf *e);
	const char *says;
};

#define BREAK(name, statement) static void break_##name(struct writer_elf *e) { statement }

BREAK(header_cut, e->size = 63;)
BREAK(ident_only, e->size = 5;)
BREAK(headers_cut, e->size = 64 + 2 * 56 + 55;)
BREAK(note_cut, e->size = WRITER_NOTE_OFFSET + 27;)
BREAK(segment_cut, e->size = 0x2200 + 0x455;)
BREAK(class32, e->class = 1;)
BREAK(class_odd, e->class = 9;)
BREAK(big_endian, e->data = 2;)
BREAK(no_endian, e->data = 0;)
BREAK(ident_version, e->ident_version = 0;)
BREAK(version, e->version = 2;)
BREAK(arm, e->machine = 183;)
BREAK(i386, e->machine = 3;)
BREAK(odd_machine, e->machine = 0xfff0;)
BREAK(relocatable, e->type = 1;)
BREAK(core, e->type = 4;)
BREAK(odd_type, e->type = 0xfe00;)
BREAK(dynamic, e->type = 3;)
BREAK(library, e->type = 3; e->note_count = 0; e->segment[2].type = 0;)
BREAK(linux_program, e->segment[2].type = WRITER_INTERP;)
BREAK(linux_static, strcpy(e->note[0].name, "GNU"); e->note[0].namesz = 4;)
BREAK(no_note, e->segment[2].type = 0;)
BREAK(note_name, strcpy(e->note[0].name, "Penumbrb");)
BREAK(note_type, e->note[0].type = 2;)
BREAK(note_short, e->note[0].descsz = 3;)
BREAK(note_version, e->note[0].desc = 2;)
BREAK(note_huge, e->segment[2].filesz = 0x40000000;)
BREAK(note_wraps, e->segment[2].offset = UINT64_MAX - 8;)
BREAK(note_twice, e->note[1] = e->note[0]; e->note_count = 2; e->segment[2].filesz = 56;)
BREAK(entry_size, e->phentsize = 32;)
BREAK(no_headers, e->phnum = 0;)
BREAK(headers_nowhere, e->phoff = 0;)
BREAK(many_headers, e->phnum = 0xffff;)
BREAK(more_headers, e->phnum = 300;)
BREAK(headers_far, e->phoff = UINT64_MAX - 55;)
BREAK(section_escape, e->shoff = 0x3000; e->shnum = 0;)
BREAK(no_segment, e->segment[0].type = e->segment[1].type = 7;)
BREAK(empty_segments, for (int i = 0; i < 2; i++) e->segment[i].filesz = e->segment[i].memsz = 0;)
BREAK(file_exceeds, e->segment[1].memsz = 0x455;)
BREAK(file_exceeds_none, e->segment[1].memsz = 0;)
BREAK(offset_wraps, e->segment[0].offset = UINT64_MAX - 0x10;)
BREAK(file_huge, e->segment[1].filesz = e->segment[1].memsz = UINT64_MAX;)
BREAK(memory_huge, e->segment[1].vaddr = 0; e->segment[1].memsz = UINT64_MAX;)
BREAK(address_wraps, e->segment[1].paddr = UINT64_MAX - 0x7ff;)
BREAK(address_wraps_to_good, e->segment[1].vaddr = 0; e->segment[1].paddr = UINT64_MAX - 0xfff;
      e->segment[1].memsz = 0x200000;)
BREAK(virtual_wraps, e->segment[1].vaddr = UINT64_MAX - 0x100;)
BREAK(too_low, e->segment[0].paddr = 0xffff;)
BREAK(at_zero, e->segment[1].paddr = 0;)
BREAK(overlap, e->segment[1].paddr = 0x100122;)
BREAK(same_place, e->segment[1].paddr = 0x100000;)
BREAK(overlap_below, e->segment[1].paddr = 0xfe001;)
BREAK(in_hole, e->segment[1].paddr = 0xd0000000;)
BREAK(into_hole, e->segment[1].paddr = 0xbffff000;)
BREAK(over_hole, e->segment[1].vaddr = 0; e->segment[1].memsz = 0x100000000;)
BREAK(hole_end, e->segment[1].paddr = 0xfffff000;)
BREAK(beyond_ram, e->segment[1].paddr = 0x8040000000 - 0x2fff;)
BREAK(entry_below, e->entry = 0xffffffff7fffffff;)
BREAK(entry_behind, e->entry = 0xffffffff80000123;)
BREAK(entry_zero, e->entry = 0;)
BREAK(entry_in_data, e->entry = 0xffffffff80001000;)
BREAK(entry_high, e->segment[0].paddr = 0x40000000; e->entry = 0xffffffff80000000;)

static void break_too_many(struct writer_elf *e)
{
	e->segment[35] = e->segment[2];
	for (unsigned int i = 2; i < 35; i++) {
		e->segment[i] = e->segment[0];
		e->segment[i].paddr = 0x200000 + i * 0x1000;
	}
	e->phnum = 36;
}

#define BROKEN(name, says) { #name, break_##name, says }

static const struct broken_image broken_images[] = {
	BROKEN(header_cut, "truncated: 63 bytes"),
	BROKEN(ident_only, "truncated: 5 bytes"),
	BROKEN(headers_cut, "truncated: the program headers"),
	BROKEN(note_cut, "truncated: its notes"),
	BROKEN(segment_cut, "truncated: a segment"),
	BROKEN(class32, "32-bit"),
	BROKEN(class_odd, "unknown class 9"),
	BROKEN(big_endian, "big-endian"),
	BROKEN(no_endian, "unknown byte order"),
	BROKEN(ident_version, "unknown version"),
	BROKEN(version, "unknown version"),
	BROKEN(arm, "AArch64"),
	BROKEN(i386, "32-bit x86"),
	BROKEN(odd_machine, "another machine (ELF machine 65520)"),
	BROKEN(relocatable, "not linked"),
	BROKEN(core, "core dump"),
	BROKEN(odd_type, "unknown type"),
	BROKEN(dynamic, "linked position-independent"),
	BROKEN(library, "shared library or position-independent"),
	BROKEN(linux_program, "a Linux program, not a guest image"),
	BROKEN(linux_static, "a Linux program, not a guest image"),
	BROKEN(no_note, "no Penumbra note"),
	BROKEN(note_name, "no Penumbra note"),
	BROKEN(note_type, "no Penumbra note"),
	BROKEN(note_short, "damaged Penumbra note"),
	BROKEN(note_version, "version 2 of the guest interface; this Penumbra speaks version 1"),
	BROKEN(note_huge, "truncated: its notes"),
	BROKEN(note_wraps, "truncated: its notes"),
	BROKEN(note_twice, "more than one Penumbra note"),
	BROKEN(entry_size, "program headers of 32 bytes"),
	BROKEN(no_headers, "no program headers"),
	BROKEN(headers_nowhere, "no program headers"),
	BROKEN(many_headers, "too many program headers"),
	BROKEN(more_headers, "truncated: the program headers"),
	BROKEN(headers_far, "truncated: the program headers"),
	BROKEN(section_escape, "section table without a size"),
	BROKEN(no_segment, "no loadable segment"),
	BROKEN(empty_segments, "no loadable segment"),
	BROKEN(file_exceeds, "more bytes in the file"),
	BROKEN(file_exceeds_none, "more bytes in the file"),
	BROKEN(offset_wraps, "truncated: a segment"),
	BROKEN(file_huge, "truncated: a segment"),
	BROKEN(memory_huge, "beyond any RAM"),
	BROKEN(address_wraps, "beyond any RAM"),
	BROKEN(address_wraps_to_good, "beyond any RAM"),
	BROKEN(virtual_wraps, "wrap"),
	BROKEN(too_low, "below 0x10000"),
	BROKEN(at_zero, "below 0x10000"),
	BROKEN(overlap, "segments overlap"),
	BROKEN(same_place, "segments overlap"),
	BROKEN(overlap_below, "segments overlap"),
	BROKEN(in_hole, "device hole"),
	BROKEN(into_hole, "device hole"),
	BROKEN(over_hole, "device hole"),
	BROKEN(hole_end, "device hole"),
	BROKEN(beyond_ram, "beyond any RAM"),
	BROKEN(entry_below, "outside all segments"),
	BROKEN(entry_behind, "outside all segments"),
	BROKEN(entry_zero, "outside all segments"),
	BROKEN(entry_in_data, "not executable"),
	BROKEN(entry_high, "first GiB"),
	BROKEN(too_many, "more than 32 segments"),
};

#define BROKEN_IMAGES (sizeof(broken_images) / sizeof(broken_images[0]))
