/*
 * What --scavenge and --share-group say (scavenging.h). Each function reads what the option was given, and returns 0 or a logged
 * -errno: -EINVAL after one line that names the command, the option and what it wants.
 */
#pragma once

#include "vmm/scavenging.h"

/* What is so if nothing is said: it rests. */
void scavenge_options_init(struct scavenge_options *o);

/* --scavenge[=OPT[,OPT...]]: it is on, unless `off` is among them. text: NULL = there is no `=`. What was said before stays. */
int scavenge_options_set(struct scavenge_options *o, const char *command, const char *text);

/* --share-group=NAME[,NAME...]: further groups; or `each`. */
int scavenge_options_add_groups(struct scavenge_options *o, const char *command, const char *text);

void scavenge_options_free(struct scavenge_options *o);
