/*
 * What main.c wires together for the commands: the MMU backends and what the host was found to be. The commands live in
 * vmm/ and include no feature's folder.
 */
#pragma once

#include <stdbool.h>

struct control_feature;
struct debugging_feature;
struct keeper;
struct mmu_ops;
struct recording_feature;
struct recovery_feature;
struct scavenging;

/* For what `inspect` looks at besides guest images. */
struct inspector {
	bool (*knows)(const char *path);
	int (*inspect)(const char *path, bool json); /* returns the program's exit status */
	int (*events)(const char *path, bool json);  /* the same, for what happened, one by one; NULL = nothing did */
	const char *hint; /* for who takes it for a guest image: what it is, and what is done with it */
};

struct program {
	const struct mmu_ops *const *mmus; /* the first is the default; NULL ends the list */
	const char *host_mmu;		   /* stamp for results: "ept", "npt", "kvm-shadow", "pvm-shadow", ... */
	const char *host_mmu_words;
	bool host_mmu_nested;
	bool host_ring0_interpreted; /* KVM interprets ring 0 of a guest in direct mode */
	const struct control_feature *const *requests; /* of features, NULL ends the list; may be NULL */
	const struct inspector *const *inspectors;     /* the same */
	const struct keeper *checkpointer;	       /* for --checkpoint; NULL = there is none */
	const struct recording_feature *recording; /* for --record */
	const struct recovery_feature *recovery;   /* for restore --recording */
	const struct debugging_feature *debugging; /* for --gdb */
	const struct scavenging *scavenging;	       /* for --scavenge; the same */
};

/* The mode that --mmu calls `name`, NULL = there is none. */
const struct mmu_ops *program_find_mmu(const struct program *p, const char *name);

/* Whose business that path is, NULL = it may be a guest image. */
const struct inspector *program_find_inspector(const struct program *p, const char *path);

/* Exit codes of the program itself (the guest's own code is passed on). */
enum { EXIT_BAD = 125, EXIT_KILLED = 126, EXIT_NO_IMAGE = 127 };

/* Exit code for a negative errno from opening an image: EXIT_NO_IMAGE or EXIT_BAD (image.h). */
int program_image_status(int error);

/* Says whether standard output has taken all that was printed. Returns 0 or a logged -errno. */
int program_flush_output(void);

/* The commands: argv[0] is the command's name. They return the program's exit status. */
int cmd_run(const struct program *p, int argc, char **argv);
int cmd_ctl(const struct program *p, int argc, char **argv);
int cmd_doctor(const struct program *p, int argc, char **argv);
int cmd_inspect(const struct program *p, int argc, char **argv);
