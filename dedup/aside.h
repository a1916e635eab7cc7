/*
 * Keeps the scavenging thread off the processors that guests run on, where there are others.
 */
#pragma once

struct ward;

/* The calling thread moves aside, if the guests that run have left it a processor. */
void aside(const struct ward *wards);
