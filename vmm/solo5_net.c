#include "vmm/solo5_net.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/log.h"
#include "vmm/solo5_abi.h"

#define TUN_DEVICE "/dev/net/tun"
#define MAC_LOCAL 0x02u
#define MAC_MULTICAST 0x01u

int solo5_net_parse_mac(const char *text, uint8_t *mac)
{
	for (unsigned int i = 0; i < 6; i++, text += 3) {
		char digits[3] = {text[0], text[0] ? text[1] : '\0'}, *end;
		unsigned long byte = strtoul(digits, &end, 16);

		if (end != digits + 2 || strspn(digits, "0123456789abcdefABCDEF") != 2 || text[2] != (i < 5 ? ':' : '\0'))
			return -EINVAL;
		mac[i] = (uint8_t)byte;
	}
	return mac[0] & MAC_MULTICAST ? -EINVAL : 0;
}

static int random_mac(uint8_t *mac)
{
	if (getrandom(mac, 6, 0) != 6)
		return log_errno(errno, "getrandom");
	mac[0] = (uint8_t)((mac[0] & ~MAC_MULTICAST) | MAC_LOCAL);
	return 0;
}

/* What the host says of an interface, by one of the SIOCGIF* requests. Returns 0 or a logged -errno. */
static int ask_interface(const char *name, unsigned long request, struct ifreq *answer)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), r;

	if (fd < 0)
		return log_errno(errno, "%s: socket", name);
	*answer = (struct ifreq){0};
	memcpy(answer->ifr_name, name, strlen(name) + 1);
	r = ioctl(fd, request, answer) ? log_errno(errno, "%s: network interface", name) : 0;
	close(fd);
	return r;
}

static int check_interface(struct solo5_net *n, const char *name)
{
	struct ifreq answer;
	int r;

	if (strlen(name) >= IFNAMSIZ)
		return log_bad(EINVAL, "%s: too long for the name of a network interface", name);
	/* TUNSETIFF would make an interface that is not there, and ours would then lead nowhere. */
	r = ask_interface(name, SIOCGIFFLAGS, &answer);
	if (r < 0)
		return r;
	if (!(answer.ifr_flags & IFF_UP))
		return log_bad(ENETDOWN, "%s: the network interface is down; try `ip link set %s up`", name, name);
	r = ask_interface(name, SIOCGIFMTU, &answer);
	if (r < 0)
		return r;
	if (answer.ifr_mtu < 1 || answer.ifr_mtu > UINT16_MAX)
		return log_bad(EINVAL, "%s: an MTU of %d bytes is not for a unikernel", name, answer.ifr_mtu);
	n->mtu = (uint16_t)answer.ifr_mtu;
	return 0;
}

static int open_tap(struct solo5_net *n, const char *name)
{
	struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};
	int r = check_interface(n, name);

	if (r < 0)
		return r;
	n->fd = open(TUN_DEVICE, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (n->fd < 0)
		return log_errno(errno, TUN_DEVICE);
	memcpy(request.ifr_name, name, strlen(name) + 1);
	if (ioctl(n->fd, TUNSETIFF, &request) == 0)
		return 0;
	r = log_errno(errno, "%s: attach to the TAP interface", name);
	close(n->fd);
	return r;
}

/* The program's own descriptors, /dev/kvm and a disk's file among them, close on exec; what it was given did not. */
static bool is_our_own(int fd)
{
	int flags = fcntl(fd, F_GETFD);

	return flags >= 0 && (flags & FD_CLOEXEC);
}

static int copy_descriptor(struct solo5_net *n, const char *number)
{
	char *end;
	unsigned long fd = strtoul(number, &end, 10);
	int flags;

	if (*number < '0' || *number > '9' || *end || fd <= STDERR_FILENO || fd > INT_MAX)
		return log_bad(EINVAL, "@%s: not the number of an open descriptor above 2", number);
	if (is_our_own((int)fd))
		return log_bad(EBADF, "@%s: Bad file descriptor: none that the program was started with", number);
	/* Each VM of the process closes one of its own. */
	n->fd = fcntl((int)fd, F_DUPFD_CLOEXEC, 0);
	if (n->fd < 0)
		return log_errno(errno, "@%s", number);
	n->mtu = SOLO5_MTU;
	flags = fcntl(n->fd, F_GETFL);
	if (flags >= 0 && fcntl(n->fd, F_SETFL, flags | O_NONBLOCK) == 0)
		return 0;
	flags = log_errno(errno, "@%s", number);
	close(n->fd);
	return flags;
}

int solo5_net_open(struct solo5_net *n, const char *where, const uint8_t *mac)
{
	int r;

	*n = (struct solo5_net){0};
	if (mac)
		memcpy(n->mac, mac, sizeof(n->mac));
	r = mac ? 0 : random_mac(n->mac);
	if (r < 0)
		return r;
	return *where == '@' ? copy_descriptor(n, where + 1) : open_tap(n, where);
}

void solo5_net_close(struct solo5_net *n)
{
	close(n->fd);
}

size_t solo5_net_frame_max(const struct solo5_net *n)
{
	return n->mtu + SOLO5_NET_HEADER;
}

static ssize_t result(ssize_t n)
{
	if (n >= 0)
		return n;
	return errno == EAGAIN || errno == EINTR || errno == ENOBUFS ? -EAGAIN : -EIO;
}

ssize_t solo5_net_read(const struct solo5_net *n, void *to, size_t size)
{
	ssize_t got = result(read(n->fd, to, size));

	/* No frame is empty: the other end of a descriptor is gone. */
	return got ? got : -EIO;
}

ssize_t solo5_net_write(const struct solo5_net *n, const void *from, size_t size)
{
	return result(write(n->fd, from, size));
}
