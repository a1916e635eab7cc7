/*
 * An access in words.
 */
#pragma once

#include "vmm/access.h"

#define SHOW_ACCESS_ROOM 80u

/* Returns `text`. */
const char *show_access(char text[SHOW_ACCESS_ROOM], const struct access *a);
