/*
 * The XSAVE area of a guest, in standard form (SDM vol. 1, 13.4): where things are, and what of it is the guest's. The CPU models have
 * x87 and SSE and no more; beyond these a host may put in what it has itself (PKRU, say), which another would refuse.
 */
#pragma once

#include <stdint.h>

#define XSAVE_SIZE 4096u

/* Legacy region and header, in bytes (SDM vol. 1, tables 10-2 and 13-1, and 13.4.2). */
enum {
	XSAVE_FCW = 0,
	XSAVE_FSW = 2,
	XSAVE_FTW = 4,
	XSAVE_FOP = 6,
	XSAVE_FIP = 8,
	XSAVE_FCS = 12,
	XSAVE_FDP = 16,
	XSAVE_FDS = 20,
	XSAVE_MXCSR = 24,
	XSAVE_MXCSR_MASK = 28,
	XSAVE_ST = 32,
	XSAVE_XMM = 160,
	XSAVE_XMM_END = 416,
	XSAVE_BV = 512, /* which components are in the area; the others are as after a reset */
};

/* Bits of XSAVE_BV. */
#define XSAVE_BV_X87 1u
#define XSAVE_BV_SSE 2u

#define XSAVE_FCW_INIT 0x37fu
#define XSAVE_MXCSR_INIT 0x1f80u

/*
 * The same state in the one way in which every host spells it: x87 and SSE are there, also where they are as after a reset, which a
 * processor may say in either way (SDM vol. 1, 13.6); nothing else is. What MXCSR may hold is the host's affair, and stays.
 */
void xsave_unpack(uint8_t area[XSAVE_SIZE]);
