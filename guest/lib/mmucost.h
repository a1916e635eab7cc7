/*
 * What the image mmucost tells its observer, by writes to ABI_PORT_SCRATCH: where what is to be measured begins and ends.
 * Shared by ring 0, ring 3 and the tests. Ring 3 has no ports: there `int3` with one of these in RAX asks the kernel.
 */
#pragma once

#define MMUCOST_WARM 0x10u  /* nothing: so that the way to a mark has been gone before it counts */
#define MMUCOST_BEGIN 0x11u
#define MMUCOST_END 0x12u
#define MMUCOST_USED 0x13u /* pte-write: all that was written has been used */

/* Of ring 3 alone: clears A and D of the RSI pages from RDI on. */
#define MMUCOST_CLEAR 0x20u
