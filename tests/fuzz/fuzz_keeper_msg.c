/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The link between the keeper and a worker: one end is the channel's, in a state, the other sends
 * what the input says. Each message begins with a byte: bits 0 to 5 choose a row of the table, 6
 * makes its number of descriptors wrong, 7 says that it is sent as it is, without a right head.
 */
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/keeper_msg.h"
#include "common/mem.h"
#include "tests/fuzz/fuzz.h"

#define MESSAGES_MAX 64
#define FDS_MAX      20
#define ROUNDS_MAX   1000
#define ROOM         (sizeof(union km_any) + 64) /* for one that is too large, too */

struct link {
	enum km_side side;
	unsigned state;
	unsigned closed;
	bool refuse; /* what it gets */
	bool echo;   /* and sends messages of its own, where it may */
	unsigned writable, starved;
};

static struct event_base *base;
static int null_fd;

static void on_closed(struct km_chan *c, const struct err *why, void *arg)
{
	struct link *l = arg;

	(void)c;
	fuzz_require(l->closed++ == 0 && why->code < 0 && why->message[0] != '\0');
}

static void on_writable(struct km_chan *c, void *arg)
{
	fuzz_require(!km_chan_busy(c));
	((struct link *)arg)->writable++;
}

static int on_starved(struct km_chan *c, const union km_any *msg, void *arg)
{
	(void)c;
	fuzz_require(km_row(msg->hdr.type)->n_fds > 0);
	((struct link *)arg)->starved++;
	return 0;
}

static void send_own(struct km_chan *c, const union km_any *msg, const struct km_row *row)
{
	union km_any copy = *msg;
	int fds[3] = {null_fd, null_fd, null_fd};
	int rc = km_send(c, msg->hdr.type, msg->hdr.seq, &copy, fds, row->n_fds);

	/* Not this side's to send. */
	fuzz_require(rc == TX_EINVAL);
	for (size_t i = 0; i < km_table_rows; i++)
		if (km_table[i].sender != row->sender && km_table[i].size <= row->size)
			(void)km_send(
			    c, km_table[i].type, msg->hdr.seq, &copy, fds, km_table[i].n_fds);
}

static int on_message(struct km_chan *c, const union km_any *msg, int *fds, size_t n, void *arg)
{
	const struct km_row *row = km_row(msg->hdr.type);
	struct link *l = arg;

	fuzz_require(row != NULL && row->sender != l->side && (row->states & l->state) != 0);
	fuzz_require(row->n_fds == n && row->size == msg->hdr.size && km_strings_valid(row, msg));
	for (size_t i = 0; i < n; i++) {
		fuzz_require(fcntl(fds[i], F_GETFD) == FD_CLOEXEC);
		close(fds[i]);
	}
	if (l->echo)
		send_own(c, msg, row);
	return l->refuse ? TX_EPROTO : 0;
}

/* More descriptors than there should be, or fewer. */
static void send_raw(int fd, const void *data, size_t len, size_t n_fds)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(FDS_MAX * sizeof(int))];
	} control = {.space = {0}};
	uint8_t copy[ROOM];
	struct iovec iov = {.iov_base = copy, .iov_len = len};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
	struct cmsghdr *c;

	memcpy(copy, data, len);
	if (n_fds > 0) {
		m.msg_control = control.space;
		m.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		for (size_t i = 0; i < n_fds; i++)
			memcpy(CMSG_DATA(c) + i * sizeof(int), &null_fd, sizeof(int));
	}
	(void)sendmsg(fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void send_one(struct fuzz_input *in, int fd, struct link *l)
{
	uint8_t op = fuzz_byte(in);
	const struct km_row *row = &km_table[(op & 63) % km_table_rows];
	size_t n_fds = row->n_fds, len, size = row->size;
	const uint8_t *body = fuzz_part(in, &len);
	union {
		struct km_hdr hdr;
		uint8_t bytes[ROOM];
	} msg;
	struct err e;

	memset(&msg, 0, sizeof(msg));
	if (len > sizeof(msg))
		len = sizeof(msg);
	if (len > 0)
		memcpy(&msg, body, len);
	if ((op & 64) != 0)
		n_fds = fuzz_byte(in) % FDS_MAX;
	if ((op & 128) == 0)
		msg.hdr = (struct km_hdr){.version = KM_VERSION,
		    .type = row->type,
		    .size = row->size,
		    .seq = msg.hdr.seq};
	else
		size = len;
	if (km_check(&msg, size, n_fds, row->sender, l->state, &e) != 0)
		fuzz_require(e.code == TX_EPROTO && e.message[0] != '\0');
	send_raw(fd, &msg, size, n_fds);
}

static void drain(int fd)
{
	char sink[sizeof(union km_any)];

	while (recv(fd, sink, sizeof(sink), MSG_DONTWAIT) > 0)
		;
}

/* The loop, with no room for a descriptor more where `full`. */
static void turn(bool full)
{
	struct rlimit before, none;
	int next = fcntl(null_fd, F_DUPFD_CLOEXEC, 0);

	close(next);
	fuzz_require(getrlimit(RLIMIT_NOFILE, &before) == 0);
	none = before;
	none.rlim_cur = (rlim_t)next;
	if (full)
		fuzz_require(setrlimit(RLIMIT_NOFILE, &none) == 0);
	event_base_loop(base, EVLOOP_NONBLOCK);
	if (full)
		fuzz_require(setrlimit(RLIMIT_NOFILE, &before) == 0);
}

static void run(struct fuzz_input *in, int fds[2])
{
	static const struct km_chan_ops ops = {.on_message = on_message,
	    .on_starved = on_starved,
	    .on_writable = on_writable,
	    .on_closed = on_closed};
	uint8_t how = fuzz_byte(in);
	struct link l = {.side = (how & 1) != 0 ? KM_KEEPER : KM_WORKER,
	    .state = 1u << (how >> 1 & 3),
	    .refuse = (how & 8) != 0,
	    .echo = (how & 16) != 0};
	struct km_ping ping = {.hdr = {0}};
	struct km_chan *c;

	fuzz_require(km_chan_new(&c, base, fds[0], l.side, &ops, &l, NULL) == 0);
	km_chan_set_state(c, (enum km_link_state)l.state);
	for (int i = 0; i < MESSAGES_MAX && in->left > 0; i++) {
		send_one(in, fds[1], &l);
		turn((how & 128) != 0);
		if ((how & 64) == 0)
			drain(fds[1]);
	}
	/* What had to wait goes when it is read. */
	for (int i = 0; i < ROUNDS_MAX && km_chan_busy(c) && l.closed == 0; i++) {
		drain(fds[1]);
		event_base_loop(base, EVLOOP_NONBLOCK);
	}
	fuzz_require(!km_chan_busy(c) || l.closed != 0);
	if ((how & 32) != 0)
		shutdown(fds[1], SHUT_RDWR);
	event_base_loop(base, EVLOOP_NONBLOCK);
	if ((how & 32) != 0)
		fuzz_require(l.closed == 1 && km_send(c, KM_PING, 0, &ping, NULL, 0) < 0);
	km_chan_free(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	int fds[2], free_before, free_after;

	if (base == NULL) {
		base = event_base_new();
		null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
		fuzz_require(base != NULL && null_fd >= 0);
	}
	free_before = fcntl(null_fd, F_DUPFD_CLOEXEC, 0);
	close(free_before);
	fuzz_require(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) == 0);
	run(&in, fds);
	close(fds[1]);
	/* No descriptor that came is left open. */
	free_after = fcntl(null_fd, F_DUPFD_CLOEXEC, 0);
	close(free_after);
	fuzz_require(free_before == free_after);
	return 0;
}
