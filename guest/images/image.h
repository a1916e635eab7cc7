/* What the images made of user programs have in common. */
#pragma once

#include <stddef.h>

#include "guest/kernel/machine.h"
#include "guest/kernel/process.h"

/* An entry of programs[], and its end. The link puts `user_` before all names of the user programs. */
#define PROGRAM(name) { #name, user_##name##_main }
#define PROGRAMS_END { NULL, NULL }

#define TIMER_HZ 100 /* unless a program changes it */

int user_child_main(int argc, char **argv);
int user_bank_main(int argc, char **argv);
int user_clock_main(int argc, char **argv);
int user_compute_main(int argc, char **argv);
int user_echo_main(int argc, char **argv);
int user_hello_main(int argc, char **argv);
int user_memory_main(int argc, char **argv);
int user_mmucost_main(int argc, char **argv);
int user_procs_main(int argc, char **argv);
int user_shell_main(int argc, char **argv);
int user_unit_main(int argc, char **argv);
