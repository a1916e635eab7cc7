/*
 * `penumbra ctl SOCKET stats --watch`: the statistics of a run again and again until it ends or the user has seen enough. On a terminal a
 * table that is written over, else one line of JSON each time.
 */
#pragma once

/* Returns the program's exit status. Call once, without other threads: signals that end a program end this instead. */
int stats_watch(const char *socket, unsigned int every_ms);
