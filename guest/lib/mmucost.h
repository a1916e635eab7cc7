/*
 * What the image mmucost tells its observer, by writes to ABI_PORT_SCRATCH: where what is to be measured begins and ends.
 * Shared by ring 0, ring 3 and the tests. Ring 3 has no ports: there `int3` with one of these in RAX asks the kernel.
 */
#pragma once

#define MMUCOST_WARM 0x10u  /* nothing: so that the way to a mark has been gone before it counts */
#define MMUCOST_BEGIN 0x11u
#define MMUCOST_END 0x12u
#define MMUCOST_USED 0x13u /* pte-write: all that was written has been used */

/*
 * Requests of ring 3 alone, not told to anybody; arguments in RDI and RSI, the result in RAX.
 *
 * MMUCOST_CLEAR: clears A and D in the entries of the RSI pages from RDI on.
 * MMUCOST_LARGE: maps RSI pages of zeros, rounded up to whole large pages, in 2 MiB pages; their gva, 0 = no memory.
 * MMUCOST_STOCK: has RSI pages that are known to be zero, and that the host has given memory to, wait for use; 0 = no memory.
 * MMUCOST_FAULTS: from now on, a divide error, or a page fault at MMUCOST_NOWHERE, adds one to RBX and goes on at RCX.
 */
#define MMUCOST_CLEAR 0x20u
#define MMUCOST_LARGE 0x21u
#define MMUCOST_STOCK 0x22u
#define MMUCOST_FAULTS 0x23u

#define MMUCOST_WINDOW 0x10000000000ull /* 1 TiB, PML4 slot 2: the image's own */
#define MMUCOST_NOWHERE MMUCOST_WINDOW	/* nothing, unless it was mapped */
