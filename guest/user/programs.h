/* The user programs. Each is described above its function, and in guest/README.md. */
#pragma once

int bank_main(int argc, char **argv);
int child_main(int argc, char **argv);
int clock_main(int argc, char **argv);
int compute_main(int argc, char **argv);
int echo_main(int argc, char **argv);
int hello_main(int argc, char **argv);
int memory_main(int argc, char **argv);
int mmucost_main(int argc, char **argv);
int procs_main(int argc, char **argv);
int shell_main(int argc, char **argv);
int unit_main(int argc, char **argv);
