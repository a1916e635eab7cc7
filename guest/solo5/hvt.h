/*
 * The Solo5 hvt interface, version 2, as a unikernel sees it, on x86-64; from Solo5's public headers. Nothing here is shared with
 * the program that runs it: the two were written apart from each other, so that each tests the other.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define HVT_PORT 0x500

enum { HVT_WALLTIME = 1, HVT_PUTS, HVT_POLL, HVT_BLOCK_WRITE, HVT_BLOCK_READ, HVT_NET_WRITE, HVT_NET_READ, HVT_HALT };
enum { HVT_OK, HVT_AGAIN, HVT_EINVAL, HVT_EUNSPEC };

struct hvt_block_basic {
	uint64_t capacity;
	uint16_t block_size;
};

struct hvt_net_basic {
	uint8_t mac[6];
	uint16_t mtu;
};

#define HVT_BLOCK_BASIC 1u
#define HVT_NET_BASIC 2u
#define HVT_RESERVED_FIRST (1u << 30)

struct hvt_entry {
	char name[68];
	uint32_t type;
	union {
		struct hvt_block_basic block;
		struct hvt_net_basic net;
	} u;
	void *data;
	uint8_t attached;
};

struct hvt_manifest {
	uint32_t version;
	uint32_t entries;
	struct hvt_entry e[];
};

struct hvt_boot_info {
	uint64_t mem_size, kernel_end, cycle_freq;
	const char *cmdline;
	const struct hvt_manifest *mft;
};

struct hvt_walltime {
	uint64_t nsecs;
};

struct hvt_puts {
	const char *data;
	size_t len;
};

struct hvt_poll {
	uint64_t timeout_nsecs;
	uint64_t ready_set;
	int ret;
};

struct hvt_block {
	uint64_t handle, offset;
	void *data;
	size_t len;
	int ret;
};

struct hvt_net {
	uint64_t handle;
	void *data;
	size_t len;
	int ret;
};

struct hvt_halt {
	void *cookie;
	int exit_status;
};

/* A hypercall whose argument may be anything. */
static inline void hvt_call_raw(unsigned int number, uint32_t argument)
{
	__asm__ volatile("outl %0, %w1" : : "a"(argument), "d"(HVT_PORT + number) : "memory");
}

static inline void hvt_call(unsigned int number, volatile void *argument)
{
	hvt_call_raw(number, (uint32_t)(uintptr_t)argument);
}
