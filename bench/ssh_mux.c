/* SPDX-License-Identifier: Apache-2.0 */
/* One connection to the master's socket a session, as ssh itself does it. Numbers: PROTOCOL.mux,
 * version 4. */
#include "bench/ssh_mux.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define MUX_MSG_HELLO        0x00000001u
#define MUX_C_NEW_SESSION    0x10000002u
#define MUX_S_EXIT_MESSAGE   0x80000004u
#define MUX_S_SESSION_OPENED 0x80000006u

struct packet {
	uint8_t bytes[1024];
	size_t len;
};

static void put_u32(struct packet *p, uint32_t value)
{
	value = htonl(value);
	memcpy(p->bytes + p->len, &value, 4);
	p->len += 4;
}

static void put_string(struct packet *p, const char *s)
{
	put_u32(p, (uint32_t)strlen(s));
	memcpy(p->bytes + p->len, s, strlen(s));
	p->len += strlen(s);
}

static int write_all(int fd, const void *data, size_t len)
{
	const uint8_t *at = data;

	while (len > 0) {
		ssize_t n = write(fd, at, len);

		if (n <= 0)
			return -1;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

static int read_all(int fd, void *data, size_t len)
{
	uint8_t *at = data;

	while (len > 0) {
		ssize_t n = read(fd, at, len);

		if (n <= 0)
			return -1;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

static int send_packet(int fd, const struct packet *p)
{
	uint32_t len = htonl((uint32_t)p->len);
	uint8_t all[sizeof(p->bytes) + 4];

	memcpy(all, &len, 4);
	memcpy(all + 4, p->bytes, p->len);
	return write_all(fd, all, p->len + 4);
}

static int receive_packet(int fd, uint8_t *bytes, size_t size, size_t *len)
{
	uint32_t n;

	if (read_all(fd, &n, 4) != 0)
		return -1;
	n = ntohl(n);
	if (n > size || n < 4)
		return -1;
	*len = n;
	return read_all(fd, bytes, n);
}

static uint32_t get_u32(const uint8_t *at)
{
	uint32_t value;

	memcpy(&value, at, 4);
	return ntohl(value);
}

static int send_fd(int socket_fd, int fd)
{
	char byte = 0;
	struct iovec iov = {&byte, 1};
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {{0}};
	struct msghdr msg = {.msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = control.bytes,
	    .msg_controllen = sizeof(control.bytes)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(int));
	return sendmsg(socket_fd, &msg, 0) == 1 ? 0 : -1;
}

static int hello(int fd)
{
	struct packet p = {.len = 0};
	uint8_t answer[1024];
	size_t len;

	put_u32(&p, MUX_MSG_HELLO);
	put_u32(&p, 4);
	if (send_packet(fd, &p) != 0 || receive_packet(fd, answer, sizeof(answer), &len) != 0)
		return -1;
	return get_u32(answer) == MUX_MSG_HELLO ? 0 : -1;
}

static int new_session(int fd, const char *command, int null_fd)
{
	struct packet p = {.len = 0};

	put_u32(&p, MUX_C_NEW_SESSION);
	put_u32(&p, 1); /* request id */
	put_string(&p, "");
	put_u32(&p, 0);           /* tty */
	put_u32(&p, 0);           /* X11 */
	put_u32(&p, 0);           /* agent */
	put_u32(&p, 0);           /* subsystem */
	put_u32(&p, 0xffffffffu); /* no escape character */
	put_string(&p, "dumb");
	put_string(&p, command);
	if (send_packet(fd, &p) != 0)
		return -1;
	for (int i = 0; i < 3; i++)
		if (send_fd(fd, null_fd) != 0)
			return -1;
	return 0;
}

int ssh_mux_run(const char *path, const char *command, int null_fd)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	uint8_t answer[1024];
	size_t len;
	int code = -1;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0 ||
	    hello(fd) != 0 || new_session(fd, command, null_fd) != 0)
		goto out;
	while (receive_packet(fd, answer, sizeof(answer), &len) == 0) {
		uint32_t type = get_u32(answer);

		if (type == MUX_S_EXIT_MESSAGE && len >= 12) {
			code = (int)get_u32(answer + 8);
			break;
		}
		if (type != MUX_S_SESSION_OPENED)
			break;
	}
out:
	close(fd);
	return code;
}
