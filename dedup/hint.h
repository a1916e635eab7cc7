/*
 * What a guest's balloon says is known at once: pages that it has reported are zero, and need not be looked at.
 */
#pragma once

struct ward;

/* The vCPU's thread, once a ward is open; until hint_end(), when the guest's thread is gone. */
void hint_begin(struct ward *w);
void hint_end(struct ward *w);
