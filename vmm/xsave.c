#include "vmm/xsave.h"

#include <string.h>

/* MXCSR is there whatever the header says: XRSTOR loads it with either of SSE and AVX (SDM vol. 1, 13.8.1). */
void xsave_unpack(uint8_t area[XSAVE_SIZE])
{
	const uint16_t fcw = XSAVE_FCW_INIT;

	if (!(area[XSAVE_BV] & XSAVE_BV_X87)) {
		memset(area, 0, XSAVE_MXCSR);
		memcpy(area + XSAVE_FCW, &fcw, sizeof(fcw));
		memset(area + XSAVE_ST, 0, XSAVE_XMM - XSAVE_ST);
	}
	if (!(area[XSAVE_BV] & XSAVE_BV_SSE))
		memset(area + XSAVE_XMM, 0, XSAVE_XMM_END - XSAVE_XMM);
	memset(area + XSAVE_XMM_END, 0, XSAVE_SIZE - XSAVE_XMM_END);
	area[XSAVE_BV] = XSAVE_BV_X87 | XSAVE_BV_SSE;
}
