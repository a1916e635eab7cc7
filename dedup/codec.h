/*
 * A page in fewer bytes: compressed alone, or as what differs from a page that it resembles.
 */
#pragma once

#include <stdint.h>

#define CODEC_MOST 3072u /* bytes; a page that needs more is not worth its fault */

/* What packing pages needs: about 280 KiB. Used by one thread at a time. */
struct codec;

/* NULL, and -ENOMEM is logged. */
struct codec *codec_create(void);
void codec_destroy(struct codec *c);

/*
 * Return the bytes that were put into `out`, or 0: it would take more than `most`, which is at most CODEC_MOST. The same page gives the
 * same bytes, whatever was done before.
 */
unsigned int codec_alone(struct codec *c, const void *page, void *out, unsigned int most);
unsigned int codec_delta(struct codec *c, const void *page, const void *reference, void *out, unsigned int most);

/*
 * The way back, by any thread. Return 0, or -EBADMSG if that is not what the other way made, or not against this reference; then `page` may
 * have been written. Not everything wrong is found: some page may come of it.
 */
int codec_page_alone(const void *bytes, unsigned int size, void *page);
int codec_page_delta(const void *bytes, unsigned int size, const void *reference, void *page);
