/*
 * What a fuzz target offers; the names are libFuzzer's.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Gives the program under test one input. Ends the process if it finds something; returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
