/*
 * Text in HTML and SVG: whatever it is, it stays text. Made for elements and for attributes in double quotes.
 */
#pragma once

#include <stdio.h>

/* A name of the comparison, which may hold anything (label.h). */
void markup_label(FILE *out, const char *text);

/* A sentence of our own, in which such names are harmless already: "12 us" is written with the letter mu. */
void markup_prose(FILE *out, const char *text);

/* An amount (amount.h): with the letter mu, a true multiplication sign and an en dash. */
void markup_amount(FILE *out, const char *amount);
