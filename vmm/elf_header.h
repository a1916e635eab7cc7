/*
 * The header of an ELF file: whether it is a linked one for this machine, of 32 or 64 bit.
 * Layout: System V ABI, "Object Files"; the machine's number is in the x86-64 supplement.
 */
#pragma once

#include <elf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct image_reason;

/*
 * Fills in *header from a file of file_size bytes that begins with head[0, head_size). A header of 32 bit is widened; e_ident
 * alone still tells. The program headers that it names have been checked to be some, of the class's size, and inside the
 * file. Returns 0, or -ENOEXEC and a reason.
 */
int elf_header_read(Elf64_Ehdr *header, const void *head, size_t head_size, uint64_t file_size, struct image_reason *why);

bool elf_is_32bit(const Elf64_Ehdr *header);
