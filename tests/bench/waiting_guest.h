/*
 * A guest that does nothing but wait for a byte at its serial port, and ends when it has come: saved with that byte on its way,
 * it ends some instructions after it was brought back.
 */
#pragma once

/* Writes its image to `path`. A file that cannot be written ends the benchmark. */
void waiting_guest_write(const char *path);
