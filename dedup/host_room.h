/*
 * How much more memory the host lets this process have.
 */
#pragma once

#include <stdint.h>

/*
 * Bytes: what is available (proc(5), MemAvailable), or less where a control group that the process is in allows less (Linux,
 * admin-guide/cgroup-v2.rst: memory.max, less what is used and cannot be given up at once). UINT64_MAX where nothing says. `root`: as in
 * host_file.h. Version 1 of control groups is not looked at.
 */
uint64_t host_room(const char *root);
