/*
 * The access seam: every nondeterministic thing that a guest can learn passes here.
 *
 * An *access* is one guest-made port or MMIO element of at most 8 bytes, in the order KVM splits them, or one HLT.
 * Completed accesses are counted per vCPU since reset: the *position*. Host events (hidden faults, EINTR, internal
 * exits, interrupts of the host) never count, so a position means the same in both MMU modes and on every host.
 *
 * What enters from outside is one of three kinds: external bytes (console input, entropy), a step of the virtual clock, and an
 * interrupt's delivery. The first and the last pass the VM's tap, if there is one, with the position at which they happen; who steers
 * the guest (steering.h) moves the clock himself.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bus;
struct mem;
struct access_tap;

enum access_kind { ACCESS_PORT_READ, ACCESS_PORT_WRITE, ACCESS_MMIO_READ, ACCESS_MMIO_WRITE, ACCESS_HLT };

struct access {
	enum access_kind kind;
	uint8_t size;	/* bytes: 1..8; 0 for HLT */
	uint64_t addr;	/* port or gpa; for a device's callback: the offset in its range */
	uint64_t value; /* written, or to be filled by who answers a read; bits above size are zero */
};

/* Who brought bytes from outside; a hypercall of Solo5 does so during its access, and says so before it counts. */
enum access_source { ACCESS_CONSOLE, ACCESS_ENTROPY, ACCESS_SOLO5, ACCESS_DISK, ACCESS_SOURCES };

/*
 * Who listens at the seam: a recorder, or a replayer, which puts what was recorded in place of what came. Called on the vCPU's
 * thread, in order; any function may be NULL.
 */
struct access_tap {
	/* Before the access is answered; `position` does not include it. */
	void (*before)(struct access_tap *t, uint64_t position, const struct access *a);
	/* After it was; `position` includes it: 1 for the first one. */
	void (*access)(struct access_tap *t, uint64_t position, const struct access *a);
	/* Bytes from outside, before the guest can see them. */
	void (*external)(struct access_tap *t, uint64_t position, enum access_source source, void *bytes, size_t size);
	void (*interrupt)(struct access_tap *t, uint64_t position, uint8_t vector);
	/* What the guest did up to here, or in the access that is being made, is about to be seen outside, and cannot be taken back. */
	void (*seen)(struct access_tap *t, uint64_t position);
	/* Of a replayer: see access_was_done(). */
	bool (*was_done)(struct access_tap *t, uint64_t position, enum access_source source);
};

/* What one vCPU passes through the seam. */
struct access_port {
	struct bus *bus;
	const struct mem *mem;	/* may be NULL: once this RAM is lost (mem.h) no access is done any more */
	struct access_tap *tap; /* may be NULL; not owned */
	uint64_t position;
};

static inline int access_is_read(enum access_kind kind)
{
	return kind == ACCESS_PORT_READ || kind == ACCESS_MMIO_READ;
}

/*
 * Completes one access: lets the device that owns the address answer (an unowned read gives all ones), counts it, tells
 * the tap. Once RAM is lost nothing of that happens, and reads give all ones. a->addr must be a port or an MMIO gpa that bus_find() or
 * the device hole answers; see bus.h. Bits of a->value above its size are cleared.
 */
void access_complete(struct access_port *p, struct access *a);

/* Tells the tap that these bytes, which it may exchange, become visible to the guest, or that an interrupt is delivered, from now on. */
void access_external(struct access_port *p, enum access_source source, void *bytes, size_t size);
void access_interrupt(struct access_port *p, uint8_t vector);

/* A device is about to do what is seen outside. */
void access_seen(struct access_port *p);

/*
 * Whether the tap says what comes, and when: then it is not the device that knows. And whether it comes now: what it is the outcome of was
 * done before, and is not to be done again; what it was, access_external() brings.
 */
bool access_is_told(const struct access_port *p);
bool access_was_done(const struct access_port *p, enum access_source source);
