/*
 * `record start DIR` and `record stop` of the control socket. The guest stands still while it is taken; a thread of its own writes that to
 * DIR/start, and answers the request.
 */
#pragma once

#include "vmm/control_feature.h"

extern const struct control_feature record_request;
