/*
 * `snapshot [--compress] DIR` of the control socket. A thread of its own makes room, has the guest captured while it stands
 * still, writes the directory, and answers the request.
 */
#pragma once

#include "vmm/control_feature.h"

extern const struct control_feature snapshot_request;
