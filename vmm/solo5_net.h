/*
 * Network devices of a Solo5 unikernel: a TAP interface of the host, or a descriptor that somebody has opened; one read or write
 * is one Ethernet frame. Nothing blocks.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define SOLO5_MTU 1500u /* of a descriptor that does not tell */

struct solo5_net {
	int fd;
	uint8_t mac[6];
	uint16_t mtu; /* without the Ethernet header */
};

/*
 * `where`: the name of a TAP interface that exists and is up, or "@N", an open descriptor N, of which a copy is taken. mac NULL:
 * a random one of those that may be made up locally. Returns 0 or a logged -errno.
 */
int solo5_net_open(struct solo5_net *n, const char *where, const uint8_t *mac);
void solo5_net_close(struct solo5_net *n);

/* "02:00:00:00:00:01" -> mac[6]. Returns 0 or -EINVAL (not logged). */
int solo5_net_parse_mac(const char *text, uint8_t *mac);

/* The largest frame, in bytes. */
size_t solo5_net_frame_max(const struct solo5_net *n);

/* One frame. Its size, -EAGAIN if there is none or no room for it now, or -EIO; nothing is logged. */
ssize_t solo5_net_read(const struct solo5_net *n, void *to, size_t size);
ssize_t solo5_net_write(const struct solo5_net *n, const void *from, size_t size);
