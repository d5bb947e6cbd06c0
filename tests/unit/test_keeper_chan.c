/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/keeper_msg.h"

/* What one end saw. */
struct end {
	struct km_chan *chan;
	size_t messages, starved, writable, closed;
	uint64_t last_seq;
	uint16_t last_type;
	int fds[4];
	size_t n_fds;
	int answer;       /* what on_message returns */
	bool reply;       /* it sends KM_INFO_REPLY */
	bool free_closed; /* free the channel in on_closed */
	bool from_worker;
	struct err why;
};

struct fixture {
	struct event_base *base;
	struct end keeper, worker;
	int raw; /* the worker's end, where the test speaks for it */
	size_t fds_before;
};

static size_t count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	size_t n = 0;

	assert_non_null(d);
	while (readdir(d) != NULL)
		n++;
	closedir(d);
	return n;
}

static int on_message(struct km_chan *c, const union km_any *msg, int *fds, size_t n, void *arg)
{
	struct end *end = arg;

	assert_ptr_equal(c, end->chan);
	end->messages++;
	end->last_type = msg->hdr.type;
	end->last_seq = msg->hdr.seq;
	for (size_t i = 0; i < n; i++)
		if (end->n_fds < 4)
			end->fds[end->n_fds++] = fds[i];
		else
			close(fds[i]);
	if (end->reply) {
		struct km_info_reply m = {.processes = 1};

		return km_send(c, KM_INFO_REPLY, msg->hdr.seq, &m, NULL, 0);
	}
	return end->answer;
}

static void on_writable(struct km_chan *c, void *arg)
{
	struct end *end = arg;

	assert_false(km_chan_busy(c));
	end->writable++;
}

static void on_closed(struct km_chan *c, const struct err *why, void *arg)
{
	struct end *end = arg;
	struct km_hdr hdr = {0};

	end->closed++;
	end->why = *why;
	assert_int_equal(
	    km_send(c, end->from_worker ? KM_INFO : KM_PING, 1, &hdr, NULL, 0), TX_ECLOSED);
	if (end->free_closed) {
		km_chan_free(c);
		end->chan = NULL;
	}
}

static int on_starved(struct km_chan *c, const union km_any *msg, void *arg)
{
	struct end *end = arg;

	assert_ptr_equal(c, end->chan);
	end->starved++;
	end->last_type = msg->hdr.type;
	end->last_seq = msg->hdr.seq;
	return 0;
}

static const struct km_chan_ops ops = {on_message, on_starved, on_writable, on_closed};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	int sv[2];

	assert_non_null(f);
	f->fds_before = count_fds();
	f->base = event_base_new();
	assert_non_null(f->base);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv), 0);
	assert_int_equal(
	    km_chan_new(&f->keeper.chan, f->base, sv[0], KM_KEEPER, &ops, &f->keeper, NULL), 0);
	assert_int_equal(km_chan_state(f->keeper.chan), KM_LINK_NEW);
	km_chan_set_state(f->keeper.chan, KM_LINK_READY);
	f->raw = sv[1];
	*state = f;
	return 0;
}

/* Gives the worker's end a channel of its own. */
static void add_worker(struct fixture *f)
{
	assert_int_equal(
	    km_chan_new(&f->worker.chan, f->base, f->raw, KM_WORKER, &ops, &f->worker, NULL), 0);
	km_chan_set_state(f->worker.chan, KM_LINK_READY);
	f->worker.from_worker = true;
	f->raw = -1;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	km_chan_free(f->keeper.chan);
	km_chan_free(f->worker.chan);
	for (size_t i = 0; i < f->keeper.n_fds; i++)
		close(f->keeper.fds[i]);
	for (size_t i = 0; i < f->worker.n_fds; i++)
		close(f->worker.fds[i]);
	if (f->raw >= 0)
		close(f->raw);
	event_base_free(f->base);
	/* Whatever a test did: no descriptor was leaked. */
	assert_int_equal(count_fds(), f->fds_before);
	free(f);
	return 0;
}

/* Runs events until nothing is ready. */
static void settle(struct fixture *f)
{
	event_base_loop(f->base, EVLOOP_NONBLOCK);
}

/* Sends bytes as the worker, with fds, unchecked. */
static void raw_send(struct fixture *f, const void *msg, size_t len, const int *fds, size_t n_fds)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(32 * sizeof(int))];
	} control = {.space = {0}};
	struct iovec iov = {.iov_base = (void *)(uintptr_t)msg, .iov_len = len};
	struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};

	if (n_fds > 0) {
		struct cmsghdr *cm;

		mh.msg_control = &control;
		mh.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		cm = CMSG_FIRSTHDR(&mh);
		cm->cmsg_level = SOL_SOCKET;
		cm->cmsg_type = SCM_RIGHTS;
		cm->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(cm), fds, n_fds * sizeof(int));
	}
	assert_int_equal(sendmsg(f->raw, &mh, MSG_NOSIGNAL), (ssize_t)len);
}

static struct km_start good_start(void)
{
	return (struct km_start){.hdr = {.version = KM_VERSION,
	                             .type = KM_START,
	                             .size = sizeof(struct km_start),
	                             .seq = 9},
	    .id = "job",
	    .owner = "spiffe://d/user/u"};
}

static void assert_ended(const struct fixture *f, int code)
{
	assert_int_equal(f->keeper.closed, 1);
	assert_int_equal(f->keeper.why.code, code);
	assert_true(f->keeper.why.message[0] != '\0');
}

static void messages_and_descriptors_arrive(void **state)
{
	struct fixture *f = *state;
	struct km_start start = good_start();
	struct km_info_reply reply = {.processes = 7};
	int pipes[2];

	add_worker(f);
	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	assert_int_equal(km_send(f->worker.chan, KM_START, 42, &start, &pipes[1], 1), 0);
	close(pipes[1]);
	assert_int_equal(km_send(f->keeper.chan, KM_INFO_REPLY, 43, &reply, NULL, 0), 0);
	settle(f);
	assert_int_equal(f->keeper.messages, 1);
	assert_int_equal(f->keeper.last_type, KM_START);
	assert_int_equal(f->keeper.last_seq, 42);
	assert_int_equal(f->keeper.n_fds, 1);
	assert_int_equal(fcntl(f->keeper.fds[0], F_GETFD), FD_CLOEXEC);
	assert_int_equal(write(f->keeper.fds[0], "x", 1), 1);
	assert_int_equal(f->worker.messages, 1);
	assert_int_equal(f->worker.last_seq, 43);
	close(pipes[0]);
}

/* No descriptor more for this process; returns the limit as it was. */
static struct rlimit forbid_descriptors(void)
{
	struct rlimit before, none;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = before;
	none.rlim_cur = 3;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	return before;
}

static void a_message_whose_descriptor_finds_no_room_is_told(void **state)
{
	struct fixture *f = *state;
	struct km_start start = good_start();
	struct km_info info = {.hdr = {0}};
	struct rlimit before;

	add_worker(f);
	assert_int_equal(km_send(f->worker.chan, KM_START, 42, &start, (int[]){0}, 1), 0);
	before = forbid_descriptors();
	settle(f);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(f->keeper.starved, 1);
	assert_int_equal(f->keeper.messages, 0);
	assert_int_equal(f->keeper.last_type, KM_START);
	assert_int_equal(f->keeper.last_seq, 42);
	/* The link goes on. */
	assert_int_equal(km_send(f->worker.chan, KM_INFO, 43, &info, NULL, 0), 0);
	settle(f);
	assert_int_equal(f->keeper.messages, 1);
	assert_int_equal(f->keeper.closed, 0);
}

static void a_descriptor_that_cannot_be_queued_is_tried_again(void **state)
{
	struct km_ring ring = {.att = 1, .stream = KM_STDOUT, .size = 4096};
	struct km_ping ping = {.hdr = {0}};
	struct fixture *f = *state;
	struct rlimit before;
	size_t queued = 0;

	add_worker(f);
	/* Until the socket is full. */
	while (!km_chan_busy(f->keeper.chan)) {
		assert_int_equal(km_send(f->keeper.chan, KM_PING, 1, &ping, NULL, 0), 0);
		queued++;
	}
	before = forbid_descriptors();
	assert_int_equal(km_send(f->keeper.chan, KM_RING, 0, &ring, (int[]){0}, 1), TX_EAGAIN);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	while (f->keeper.writable == 0)
		settle(f);
	assert_int_equal(f->keeper.closed, 0);
	assert_int_equal(km_send(f->keeper.chan, KM_RING, 0, &ring, (int[]){0}, 1), 0);
	while (f->worker.last_type != KM_RING)
		settle(f);
	assert_int_equal(f->worker.messages, queued + 1);
}

static void send_refuses_what_is_not_in_the_table(void **state)
{
	struct fixture *f = *state;
	struct km_start start = good_start();
	struct km_info info = {.hdr = {0}};
	const int two[2] = {0, 1};

	add_worker(f);
	assert_int_equal(km_send(f->keeper.chan, KM_INFO, 1, &info, NULL, 0), TX_EINVAL);
	assert_int_equal(km_send(f->worker.chan, 99, 1, &info, NULL, 0), TX_EINVAL);
	assert_int_equal(km_send(f->worker.chan, KM_START, 1, &start, NULL, 0), TX_EINVAL);
	assert_int_equal(km_send(f->worker.chan, KM_START, 1, &start, two, 2), TX_EINVAL);
	memset(start.id, 'x', sizeof(start.id));
	assert_int_equal(km_send(f->worker.chan, KM_START, 1, &start, two, 1), TX_EINVAL);
	settle(f);
	assert_int_equal(f->keeper.messages, 0);
}

static void the_queue_keeps_order_and_has_an_end(void **state)
{
	struct fixture *f = *state;
	struct km_start start = good_start();
	size_t sent = 0;
	int r, pipes[2];

	add_worker(f);
	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	assert_false(km_chan_busy(f->worker.chan));
	while ((r = km_send(f->worker.chan, KM_START, sent + 1, &start, &pipes[0], 1)) == 0)
		sent++;
	/* The system may also refuse more descriptors under way. */
	assert_true(r == TX_ELIMIT || r == TX_ESYS);
	assert_true(r != TX_ELIMIT || sent > KM_QUEUE_MAX);
	if (r == TX_ELIMIT)
		assert_true(km_chan_busy(f->worker.chan));
	assert_int_equal(f->worker.writable, 0);
	close(pipes[0]);
	close(pipes[1]);
	settle(f);
	assert_int_equal(f->keeper.messages, sent);
	assert_int_equal(f->keeper.last_seq, sent);
	assert_false(km_chan_busy(f->worker.chan));
	if (r == TX_ELIMIT)
		assert_int_equal(f->worker.writable, 1);
}

static void a_queue_for_a_dead_peer_is_dropped_without_a_signal(void **state)
{
	struct fixture *f = *state;
	struct km_ping ping = {.hdr = {0}};
	int r;

	while ((r = km_send(f->keeper.chan, KM_PING, 1, &ping, NULL, 0)) == 0)
		continue;
	assert_int_equal(r, TX_ELIMIT);
	close(f->raw);
	f->raw = -1;
	f->keeper.free_closed = true;
	settle(f);
	assert_ended(f, TX_ECLOSED);
	assert_null(f->keeper.chan);
}

static void a_turn_takes_a_bounded_number_of_messages(void **state)
{
	struct fixture *f = *state;
	struct km_info info = {
	    .hdr = {.version = KM_VERSION, .type = KM_INFO, .size = sizeof(info)}};

	for (int i = 0; i < 100; i++)
		raw_send(f, &info, sizeof(info), NULL, 0);
	event_base_loop(f->base, EVLOOP_NONBLOCK | EVLOOP_ONCE);
	assert_int_equal(f->keeper.messages, 64);
	event_base_loop(f->base, EVLOOP_NONBLOCK | EVLOOP_ONCE);
	assert_int_equal(f->keeper.messages, 100);
}

/* It asks more than any queue holds before it reads the first answer, and gets them all, in order.
 */
static void a_worker_that_reads_late_gets_all_its_answers(void **state)
{
	const uint64_t n = 4 * KM_QUEUE_MAX;
	struct fixture *f = *state;
	struct km_info info = {
	    .hdr = {.version = KM_VERSION, .type = KM_INFO, .size = sizeof(info)}};
	struct km_info_reply reply;
	uint64_t asked = 0, answered = 0;
	bool stuck = false;

	f->keeper.reply = true;
	while (answered < n) {
		info.hdr.seq = asked + 1;
		if (asked < n && !stuck &&
		    send(f->raw, &info, sizeof(info), MSG_DONTWAIT | MSG_NOSIGNAL) > 0) {
			asked++;
			settle(f);
			continue;
		}
		stuck = true;
		assert_int_equal(f->keeper.closed, 0);
		if (recv(f->raw, &reply, sizeof(reply), MSG_DONTWAIT) > 0)
			assert_int_equal(reply.hdr.seq, ++answered);
		else
			stuck = false;
		settle(f);
	}
	assert_int_equal(asked, n);
	assert_false(km_chan_busy(f->keeper.chan));
}

static void what_was_sent_before_the_end_still_arrives(void **state)
{
	struct fixture *f = *state;
	struct km_failed failed = {
	    .hdr = {.version = KM_VERSION, .type = KM_FAILED, .size = sizeof(failed)},
	    .text = "why"};
	struct km_ping ping = {.hdr = {0}};

	/* The peer goes with a message unread: the kernel reports a reset before the peer's last
	 * words. */
	assert_int_equal(km_send(f->keeper.chan, KM_PING, 1, &ping, NULL, 0), 0);
	raw_send(f, &failed, sizeof(failed), NULL, 0);
	close(f->raw);
	f->raw = -1;
	settle(f);
	assert_int_equal(f->keeper.messages, 1);
	assert_int_equal(f->keeper.last_type, KM_FAILED);
	assert_ended(f, TX_ECLOSED);
	assert_int_equal(km_send(f->keeper.chan, KM_PING, 1, &ping, NULL, 0), TX_ECLOSED);
}

static void a_broken_message_ends_the_link_and_its_descriptors_are_closed(void **state)
{
	struct fixture *f = *state;
	struct km_start start = good_start();
	const int fds[1] = {f->raw};

	start.hdr.version = 77;
	raw_send(f, &start, sizeof(start), fds, 1);
	settle(f);
	assert_int_equal(f->keeper.messages, 0);
	assert_ended(f, TX_EPROTO);
}

static void too_many_descriptors_end_the_link(void **state)
{
	struct fixture *f = *state;
	struct km_start start = good_start();
	const int fds[2] = {f->raw, f->raw};

	raw_send(f, &start, sizeof(start), fds, 2);
	settle(f);
	assert_ended(f, TX_EPROTO);
}

static void more_descriptors_than_fit_end_the_link(void **state)
{
	struct fixture *f = *state;
	struct km_start start = good_start();
	int fds[32];

	for (size_t i = 0; i < 32; i++)
		fds[i] = f->raw;
	raw_send(f, &start, sizeof(start), fds, 32);
	settle(f);
	assert_ended(f, TX_EPROTO);
	assert_non_null(strstr(f->keeper.why.message, "descriptors"));
}

static void a_message_longer_than_any_ends_the_link(void **state)
{
	struct fixture *f = *state;
	char big[sizeof(union km_any) + 1] = {0};
	struct km_start start = good_start();
	const int fds[1] = {f->raw};

	memcpy(big, &start, sizeof(start));
	raw_send(f, big, sizeof(big), fds, 1);
	settle(f);
	assert_ended(f, TX_EPROTO);
}

static void an_empty_message_is_the_end(void **state)
{
	struct fixture *f = *state;

	raw_send(f, "", 0, NULL, 0);
	settle(f);
	assert_ended(f, TX_ECLOSED);
}

static void a_message_of_another_state_ends_the_link(void **state)
{
	struct fixture *f = *state;
	struct km_start start = good_start();
	const int fds[1] = {f->raw};

	km_chan_set_state(f->keeper.chan, KM_LINK_CONFIGURED);
	raw_send(f, &start, sizeof(start), fds, 1);
	settle(f);
	assert_int_equal(f->keeper.messages, 0);
	assert_ended(f, TX_EPROTO);
}

static void an_echo_of_our_own_message_ends_the_link(void **state)
{
	struct fixture *f = *state;
	struct km_ping ping = {
	    .hdr = {.version = KM_VERSION, .type = KM_PING, .size = sizeof(ping)}};

	raw_send(f, &ping, sizeof(ping), NULL, 0);
	settle(f);
	assert_ended(f, TX_EPROTO);
}

static void the_callee_may_end_the_link(void **state)
{
	struct fixture *f = *state;
	struct km_info info = {
	    .hdr = {.version = KM_VERSION, .type = KM_INFO, .size = sizeof(info)}};

	f->keeper.answer = TX_EPROTO;
	f->keeper.free_closed = true;
	raw_send(f, &info, sizeof(info), NULL, 0);
	raw_send(f, &info, sizeof(info), NULL, 0);
	settle(f);
	assert_int_equal(f->keeper.messages, 1);
	assert_ended(f, TX_EPROTO);

	add_worker(f);
	settle(f);
	assert_int_equal(f->worker.closed, 1);
}

static void any_negative_answer_ends_the_link(void **state)
{
	struct fixture *f = *state;
	struct km_info info = {
	    .hdr = {.version = KM_VERSION, .type = KM_INFO, .size = sizeof(info)}};

	f->keeper.answer = TX_EAGAIN;
	raw_send(f, &info, sizeof(info), NULL, 0);
	settle(f);
	assert_ended(f, TX_EAGAIN);
}

static void what_cannot_be_watched_stays_the_callers(void **state)
{
	struct fixture *f = *state;
	struct km_chan *c = NULL;
	struct err e;

	assert_int_equal(km_chan_new(&c, f->base, -1, KM_KEEPER, &ops, NULL, &e), TX_ESYS);
	assert_null(c);
	km_chan_free(NULL);
}

#define CHAN_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    CHAN_TEST(messages_and_descriptors_arrive),
	    CHAN_TEST(a_message_whose_descriptor_finds_no_room_is_told),
	    CHAN_TEST(a_descriptor_that_cannot_be_queued_is_tried_again),
	    CHAN_TEST(send_refuses_what_is_not_in_the_table),
	    CHAN_TEST(the_queue_keeps_order_and_has_an_end),
	    CHAN_TEST(a_queue_for_a_dead_peer_is_dropped_without_a_signal),
	    CHAN_TEST(a_turn_takes_a_bounded_number_of_messages),
	    CHAN_TEST(what_was_sent_before_the_end_still_arrives),
	    CHAN_TEST(a_worker_that_reads_late_gets_all_its_answers),
	    CHAN_TEST(what_was_sent_before_the_end_still_arrives),
	    CHAN_TEST(a_broken_message_ends_the_link_and_its_descriptors_are_closed),
	    CHAN_TEST(too_many_descriptors_end_the_link),
	    CHAN_TEST(more_descriptors_than_fit_end_the_link),
	    CHAN_TEST(a_message_longer_than_any_ends_the_link),
	    CHAN_TEST(an_empty_message_is_the_end),
	    CHAN_TEST(a_message_of_another_state_ends_the_link),
	    CHAN_TEST(an_echo_of_our_own_message_ends_the_link),
	    CHAN_TEST(the_callee_may_end_the_link),
	    CHAN_TEST(any_negative_answer_ends_the_link),
	    CHAN_TEST(what_cannot_be_watched_stays_the_callers),
	};

	/* valgrind: its limit of descriptors is not the kernel's. */
	if (getenv("TELEX_TEST_SLOW") != NULL) {
		puts("# left out under valgrind: a_message_whose_descriptor_finds_no_room_is_told");
		cmocka_set_skip_filter("a_message_whose_descriptor_finds_no_room_is_told");
	}
	return cmocka_run_group_tests_name("keeper_chan", tests, NULL, NULL);
}
