/*
 * What the scan's rules have to know of this host, found out by a tiny guest.
 */
#pragma once

struct image;
struct image_reason;
struct kvm;
struct scan;
struct scan_host;

/* Returns 0 or a logged -errno. Takes some milliseconds: for images in which it matters. */
int scan_host_find(const struct kvm *k, struct scan_host *host);

/*
 * Scans the image and decides whether it can run: 0, with what scan_free() frees and the host (all false where it does not
 * matter), or a negative errno as of scan_image() and scan_verdict(); what was logged leaves *why empty.
 */
int scan_for_host(struct scan *s, const struct image *im, const struct kvm *k, struct scan_host *host,
		  struct image_reason *why);

/* The same for who has no `struct kvm`, and only wants to know. A host without KVM is one not known. */
int scan_check(const struct image *im, struct image_reason *why);
