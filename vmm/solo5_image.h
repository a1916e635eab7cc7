/*
 * What the segments of a Solo5 unikernel must be, beyond what image.h says of all: in the part of memory that is theirs, and such
 * that each page has the rights that one segment asks for, never both to write and to execute.
 */
#pragma once

struct image;
struct image_reason;

/* After the segments of an image of this kind have been read. Returns 0, or -ENOEXEC and a reason. */
int solo5_image_check_segments(const struct image *im, struct image_reason *why);
