/*
 * The interface between a Solo5 "hvt" unikernel and the program that runs it, on x86-64: numbers and layouts.
 * Source: Solo5's public headers hvt_abi.h (version 2), mft_abi.h (version 1) and elf_abi.h, and its documentation.
 *
 * A unikernel is a static ELF64 whose addresses are virtual and physical at once. Two notes named "Solo5" say for which
 * interface it was built and which devices it wants, the *manifest*. It makes hypercalls by a 32-bit OUT of the address of a
 * structure to port SOLO5_PORT + number. There are no interrupts.
 */
#pragma once

#include <stdint.h>

#define SOLO5_NOTE_NAME "Solo5"
#define SOLO5_NOTE_ABI 0x31494241u	/* "ABI1": struct solo5_abi */
#define SOLO5_NOTE_MANIFEST 0x3154464du /* "MFT1": struct solo5_manifest_header and its entries */
#define SOLO5_NOTE_HEADER 20u		/* bytes of a note before its descriptor, the name with them */
#define SOLO5_MANIFEST_AT 24u		/* the manifest begins here from the note's start: aligned to 8, unlike the descriptor */

#define SOLO5_ABI_HVT 1u
#define SOLO5_ABI_VERSION 2u
#define SOLO5_MANIFEST_VERSION 1u
#define SOLO5_MAX_ENTRIES 64u /* a set of them is 64 bits */
#define SOLO5_NAME_MAX 67u

struct solo5_abi {
	uint32_t target, version;
	uint32_t reserved[2];
};

struct solo5_manifest_header {
	uint32_t version;
	uint32_t entries;
};

enum solo5_type { SOLO5_BLOCK = 1, SOLO5_NET = 2, SOLO5_FIRST = 1 << 30 };

/* The first entry has type SOLO5_FIRST and no name; an entry's index is the device's handle. */
struct solo5_entry {
	char name[SOLO5_NAME_MAX + 1];
	uint32_t type;
	union {
		struct {
			uint64_t capacity; /* bytes */
			uint16_t block_size;
		} block;
		struct {
			uint8_t mac[6];
			uint16_t mtu; /* without the Ethernet header */
		} net;
	};
	uint64_t backing; /* the launcher's own */
	uint8_t attached;
	uint8_t padding[7];
};

_Static_assert(sizeof(struct solo5_entry) == 104, "an entry as the interface lays it out");

/* RDI at the first instruction. */
struct solo5_boot_info {
	uint64_t mem_size;   /* bytes of RAM, from address 0 on */
	uint64_t kernel_end; /* first free byte behind the image */
	uint64_t cycle_hz;   /* of the time stamp counter */
	uint64_t cmdline;    /* address of a C string */
	uint64_t manifest;   /* address of the manifest, filled in */
};

#define SOLO5_CMDLINE_MAX 8192u /* bytes, with the NUL */

/* Addresses. */
#define SOLO5_GDT 0x1000ull
#define SOLO5_PML4 0x2000ull
#define SOLO5_PDPT 0x3000ull
#define SOLO5_PD 0x4000ull /* four tables, one for each GiB */
#define SOLO5_PT0 0x8000ull
#define SOLO5_BOOT_INFO 0x10000ull /* what the unikernel may read begins here: boot info, manifest, command line */
#define SOLO5_PT 0x20000ull	   /* our own: tables for what is not whole 2 MiB, not mapped */
#define SOLO5_LOAD_MIN 0x100000ull

#define SOLO5_LARGE_PAGE (2ull << 20)
#define SOLO5_MEM_MIN SOLO5_LARGE_PAGE
#define SOLO5_MEM_MAX (3ull << 30) /* the interface has room for 4 GiB; our RAM is in one piece below 3 */

#define SOLO5_PORT 0x500u

enum solo5_call {
	SOLO5_CALL_WALLTIME = 1,
	SOLO5_CALL_PUTS,
	SOLO5_CALL_POLL,
	SOLO5_CALL_BLOCK_WRITE,
	SOLO5_CALL_BLOCK_READ,
	SOLO5_CALL_NET_WRITE,
	SOLO5_CALL_NET_READ,
	SOLO5_CALL_HALT,
	SOLO5_CALLS
};

enum solo5_result { SOLO5_OK, SOLO5_AGAIN, SOLO5_EINVAL, SOLO5_EUNSPEC };

struct solo5_walltime {
	uint64_t ns; /* out: since 1970, UTC */
};

struct solo5_puts {
	uint64_t data, size;
};

struct solo5_poll {
	uint64_t timeout_ns;
	uint64_t ready; /* out: set of handles that can be read */
	int32_t ret;	/* out: how many */
	uint32_t padding;
};

/* Block read and write. */
struct solo5_block_io {
	uint64_t handle, offset, data, size;
	int32_t ret; /* out: enum solo5_result */
	uint32_t padding;
};

/* Network read and write. */
struct solo5_net_io {
	uint64_t handle, data;
	uint64_t size; /* out for a read, too */
	int32_t ret;   /* out: enum solo5_result */
	uint32_t padding;
};

#define SOLO5_COOKIE_SIZE 512u

struct solo5_halt {
	uint64_t cookie; /* 0, or the address of SOLO5_COOKIE_SIZE bytes that say why */
	int32_t status;
	uint32_t padding;
};

#define SOLO5_NET_HEADER 14u /* bytes of an Ethernet header */
