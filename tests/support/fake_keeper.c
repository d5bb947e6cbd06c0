/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/fake_keeper.h"

#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

struct received {
	union km_any msg;
	int fd;
	TAILQ_ENTRY(received) link;
};

struct fake_keeper {
	struct km_chan *chan;
	bool lost;
	struct err why;
	TAILQ_HEAD(, received) received;
};

static void require(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "fake_keeper: %s\n", what);
	abort();
}

static int on_message(struct km_chan *c, const union km_any *msg, int *fds, size_t n_fds, void *arg)
{
	struct fake_keeper *k = arg;
	struct received *r = calloc(1, sizeof(*r));

	require(r != NULL, "no memory");
	memcpy(&r->msg, msg, msg->hdr.size);
	r->fd = n_fds > 0 ? fds[0] : -1;
	TAILQ_INSERT_TAIL(&k->received, r, link);
	if (msg->hdr.type == KM_READY)
		km_chan_set_state(c, KM_LINK_READY);
	return 0;
}

static void on_closed(struct km_chan *c, const struct err *why, void *arg)
{
	struct fake_keeper *k = arg;

	(void)c;
	k->lost = true;
	k->why = *why;
}

struct fake_keeper *fake_keeper_new(struct event_base *base, int *worker_fd)
{
	static const struct km_chan_ops ops = {.on_message = on_message, .on_closed = on_closed};
	struct fake_keeper *k = calloc(1, sizeof(*k));
	int fds[2];
	struct err e;

	require(k != NULL, "no memory");
	TAILQ_INIT(&k->received);
	require(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) == 0, "no socketpair");
	require(km_chan_new(&k->chan, base, fds[0], KM_KEEPER, &ops, k, &e) == 0, "no channel");
	*worker_fd = fds[1];
	return k;
}

void fake_keeper_die(struct fake_keeper *k)
{
	km_chan_free(k->chan);
	k->chan = NULL;
}

void fake_keeper_free(struct fake_keeper *k)
{
	struct received *r;

	while ((r = TAILQ_FIRST(&k->received)) != NULL) {
		TAILQ_REMOVE(&k->received, r, link);
		if (r->fd >= 0)
			close(r->fd);
		free(r);
	}
	fake_keeper_die(k);
	free(k);
}

void fake_keeper_configure(struct fake_keeper *k)
{
	struct km_config config = {.workers = 1,
	    .max_processes = 10,
	    .output_buffer = 4096,
	    .can = KM_CAN_TREE_CGROUP1 | KM_CAN_LIMIT_PIDS};
	struct km_go go = {0};
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC), fds[3] = {null, null, null};

	require(null >= 0, "no /dev/null");
	require(km_send(k->chan, KM_CONFIG, 0, &config, fds, 3) == 0, "no config");
	require(km_send(k->chan, KM_GO, 0, &go, NULL, 0) == 0, "no go");
	km_chan_set_state(k->chan, KM_LINK_CONFIGURED);
	close(null);
}

bool fake_keeper_lost(const struct fake_keeper *k, struct err *why)
{
	if (k->lost && why != NULL)
		*why = k->why;
	return k->lost;
}

bool fake_keeper_take(struct fake_keeper *k, enum km_type type, union km_any *out, int *fd)
{
	struct received *r;

	TAILQ_FOREACH(r, &k->received, link)
	if (r->msg.hdr.type == type)
		break;
	if (r == NULL)
		return false;
	TAILQ_REMOVE(&k->received, r, link);
	*out = r->msg;
	if (fd != NULL)
		*fd = r->fd;
	else if (r->fd >= 0)
		close(r->fd);
	free(r);
	return true;
}

size_t fake_keeper_count(const struct fake_keeper *k, enum km_type type)
{
	const struct received *r;
	size_t n = 0;

	TAILQ_FOREACH(r, &k->received, link)
	n += r->msg.hdr.type == type;
	return n;
}

void fake_keeper_send(struct fake_keeper *k, enum km_type type, uint64_t seq, void *msg, int fd)
{
	require(km_send(k->chan, (uint16_t)type, seq, msg, &fd, fd < 0 ? 0 : 1) == 0, "not sent");
}

void fake_keeper_ring(
    struct fake_keeper *k, uint32_t att, enum km_stream stream, const struct ring *ring)
{
	struct km_ring m = {
	    .att = att,
	    .stream = stream,
	    .size = ring_size(ring),
	    .head = ring_head(ring),
	    .tail = ring_tail(ring),
	};

	fake_keeper_send(k, KM_RING, 0, &m, ring_fd(ring));
}

void fake_keeper_wake(struct fake_keeper *k, uint32_t att, uint32_t eof)
{
	struct km_wake m = {.att = att, .eof = eof};

	fake_keeper_send(k, KM_WAKE, 0, &m, -1);
}

void fake_keeper_refuse(struct fake_keeper *k, uint64_t seq, enum km_why why)
{
	struct km_refused m = {.why = why};

	fake_keeper_send(k, KM_REFUSED, seq, &m, -1);
}

void fake_keeper_table(
    struct fake_keeper *k, uint64_t seq, const struct job_record *records, size_t n)
{
	struct job_records *rs = job_records_new();
	struct km_table_msg m = {0};
	struct err e;
	int fd = -1;

	require(rs != NULL, "no memory");
	for (size_t i = 0; i < n; i++)
		require(job_records_add(rs, &records[i]) == 0, "no record");
	require(job_records_seal(rs, &fd, &m.count, &m.bytes, &e) == 0, "no table");
	fake_keeper_send(k, KM_TABLE, seq, &m, fd);
	close(fd);
	job_records_free(rs);
}

void fake_keeper_write(struct ring *ring, const void *data, size_t len)
{
	size_t room;
	uint8_t *at = ring_space(ring, &room);

	require(room >= len, "a full ring");
	memcpy(at, data, len);
	ring_commit(ring, len);
}
