/*
 * What main.c wires together for the commands: the MMU backends and what the host was found to be. The commands live in
 * vmm/ and include no feature's folder.
 */
#pragma once

#include <stdbool.h>

struct mmu_ops;

struct program {
	const struct mmu_ops *const *mmus; /* the first is the default; NULL ends the list */
	const char *host_mmu;		   /* stamp for results: "ept", "npt", "kvm-shadow", "pvm-shadow", ... */
	const char *host_mmu_words;
	bool host_mmu_nested;
};

/* Exit codes of the program itself (the guest's own code is passed on). */
enum { EXIT_BAD = 125, EXIT_KILLED = 126, EXIT_NO_IMAGE = 127 };

/* Exit code for a negative errno from opening an image: EXIT_NO_IMAGE or EXIT_BAD (image.h). */
int program_image_status(int error);

/* The commands: argv[0] is the command's name. They return the program's exit status. */
int cmd_run(const struct program *p, int argc, char **argv);
int cmd_ctl(const struct program *p, int argc, char **argv);
int cmd_doctor(const struct program *p, int argc, char **argv);
int cmd_inspect(const struct program *p, int argc, char **argv);
