/*
 * Fault injection: the calls that the program's own code makes into the C library and the kernel are wrapped by the linker
 * (-Wl,--wrap), counted, and the n-th of them fails. meson.build names the same functions.
 */
#pragma once

#include <stdbool.h>

/* Lets the n-th wrapped call from now on, of any thread, fail; 0 = none. None fails after faults_disarm(). */
void faults_arm(unsigned int n);
void faults_disarm(void);

/* What failed since faults_arm(): the function's name (for ioctl with its number), or NULL. */
const char *faults_fired(void);
