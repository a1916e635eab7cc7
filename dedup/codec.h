/*
 * A page in fewer bytes: compressed alone, or as what differs from a page that it resembles.
 */
#pragma once

#include <stdint.h>

#define CODEC_MOST 3072u /* bytes; a page that needs more is not worth its fault */

/* Any thread. Return the bytes that were put into `out` (room for CODEC_MOST), or 0: it would take more than `most`. */
unsigned int codec_alone(const void *page, void *out, unsigned int most);
unsigned int codec_delta(const void *page, const void *reference, void *out, unsigned int most);

/* The way back. Return 0, or -EBADMSG if that is not what the other way made. */
int codec_page_alone(const void *bytes, unsigned int size, void *page);
int codec_page_delta(const void *bytes, unsigned int size, const void *reference, void *page);
