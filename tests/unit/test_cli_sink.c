/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include "cli/sink.h"
#include "tests/unit/cli_loop.h"

#define BIG ((size_t)1 << 20)

struct fixture {
	struct event_base *base;
	struct sink *sink;
	size_t written;
	int lost, lost_calls;
};

static void on_written(struct sink *sink, size_t n, void *arg)
{
	struct fixture *f = arg;

	(void)sink;
	f->written += n;
}

static void on_lost(struct sink *sink, int sys_errno, void *arg)
{
	struct fixture *f = arg;

	(void)sink;
	f->lost = sys_errno;
	f->lost_calls++;
}

static const struct sink_ops ops = {.written = on_written, .lost = on_lost};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->base = event_base_new();
	signal(SIGPIPE, SIG_IGN);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	sink_free(f->sink);
	event_base_free(f->base);
	free(f);
	return 0;
}

static char *pattern(size_t n)
{
	char *p = malloc(n);

	for (size_t i = 0; i < n; i++)
		p[i] = (char)('a' + i % 23 + i / 4096 % 3);
	return p;
}

/* Reads `want` bytes from fd while the loop runs, and compares. */
struct drain {
	struct fixture *f;
	int fd;
	char *got;
	size_t have, want;
};

static bool drained(void *arg)
{
	struct drain *d = arg;
	ssize_t n;

	while (d->have < d->want && (n = read(d->fd, d->got + d->have, d->want - d->have)) > 0)
		d->have += (size_t)n;
	return d->have == d->want && d->f->written == d->want;
}

static void drain_and_compare(struct fixture *f, int fd, const char *sent, size_t want)
{
	struct drain d = {.f = f, .fd = fd, .got = malloc(want), .want = want};

	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	/* The reader makes room, which wakes the writer. */
	assert_true(cli_loop_until(f->base, drained, &d));
	assert_memory_equal(d.got, sent, want);
	free(d.got);
}

static void pipe_takes_what_fits_and_the_rest_when_read(void **state)
{
	struct fixture *f = *state;
	char *data = pattern(BIG);
	int p[2];

	assert_int_equal(pipe(p), 0);
	f->sink = sink_new(f->base, p[1], &ops, f);
	sink_write(f->sink, data, BIG);
	assert_true(f->written > 0 && f->written < BIG);
	assert_int_equal(sink_pending(f->sink), BIG - f->written);
	drain_and_compare(f, p[0], data, BIG);
	assert_int_equal(sink_pending(f->sink), 0);
	assert_int_equal(f->lost_calls, 0);
	close(p[0]);
	close(p[1]);
	free(data);
}

static void order_is_kept_between_queued_and_new(void **state)
{
	struct fixture *f = *state;
	char *data = pattern(BIG);
	int p[2];

	assert_int_equal(pipe(p), 0);
	f->sink = sink_new(f->base, p[1], &ops, f);
	for (size_t at = 0; at < BIG; at += 4096)
		sink_write(f->sink, data + at, 4096);
	drain_and_compare(f, p[0], data, BIG);
	close(p[0]);
	close(p[1]);
	free(data);
}

static void flags_of_an_inherited_pipe_are_untouched(void **state)
{
	struct fixture *f = *state;
	char *data = pattern(BIG);
	int p[2], before;

	assert_int_equal(pipe(p), 0);
	before = fcntl(p[1], F_GETFL);
	f->sink = sink_new(f->base, p[1], &ops, f);
	sink_write(f->sink, data, BIG);
	cli_loop_due(f->base);
	assert_int_equal(fcntl(p[1], F_GETFL), before);
	assert_int_equal(before & O_NONBLOCK, 0);
	close(p[0]);
	close(p[1]);
	free(data);
}

static void closed_pipe_is_lost_once_and_everything_is_accounted_for(void **state)
{
	struct fixture *f = *state;
	char *data = pattern(BIG);
	int p[2];

	assert_int_equal(pipe(p), 0);
	f->sink = sink_new(f->base, p[1], &ops, f);
	sink_write(f->sink, data, BIG);
	assert_int_equal(f->lost_calls, 0);
	close(p[0]);
	while (f->lost_calls == 0)
		event_base_loop(f->base, EVLOOP_ONCE);
	assert_int_equal(f->lost, EPIPE);
	assert_int_equal(f->written, BIG);
	sink_write(f->sink, data, 100);
	assert_int_equal(f->written, BIG + 100);
	assert_int_equal(f->lost_calls, 1);
	assert_int_equal(sink_pending(f->sink), 0);
	close(p[1]);
	free(data);
}

static void socket_is_written_without_waiting_and_keeps_its_flags(void **state)
{
	struct fixture *f = *state;
	char *data = pattern(BIG);
	int s[2], before;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
	before = fcntl(s[1], F_GETFL);
	f->sink = sink_new(f->base, s[1], &ops, f);
	sink_write(f->sink, data, BIG);
	assert_true(f->written < BIG);
	drain_and_compare(f, s[0], data, BIG);
	assert_int_equal(fcntl(s[1], F_GETFL), before);
	close(s[0]);
	close(s[1]);
	free(data);
}

/* A terminal; where the system has none to give (no devpts, as in a bare chroot), the test is
 * skipped. */
static void open_terminal(int *master, int *slave)
{
	if (openpty(master, slave, NULL, NULL, NULL) == 0)
		return;
	assert_int_equal(errno, ENOENT);
	print_message("/dev/pts is not mounted here\n");
	skip();
}

static void terminal_that_nobody_reads_does_not_block(void **state)
{
	struct fixture *f = *state;
	char *data = pattern(BIG / 4);
	int master, slave, before;
	struct termios raw;

	open_terminal(&master, &slave);
	tcgetattr(slave, &raw);
	cfmakeraw(&raw);
	tcsetattr(slave, TCSANOW, &raw);
	before = fcntl(slave, F_GETFL);
	f->sink = sink_new(f->base, slave, &ops, f);
	sink_write(f->sink, data, BIG / 4);
	assert_true(f->written < BIG / 4);
	drain_and_compare(f, master, data, BIG / 4);
	assert_int_equal(fcntl(slave, F_GETFL), before);
	close(master);
	close(slave);
	free(data);
}

static void pty_master_is_written_itself(void **state)
{
	struct fixture *f = *state;
	char got[16];
	int master, slave;
	struct termios raw;

	open_terminal(&master, &slave);
	tcgetattr(slave, &raw);
	cfmakeraw(&raw);
	tcsetattr(slave, TCSANOW, &raw);
	f->sink = sink_new(f->base, master, &ops, f);
	sink_write(f->sink, "hello", 5);
	assert_int_equal(f->written, 5);
	assert_int_equal(read(slave, got, sizeof(got)), 5);
	assert_memory_equal(got, "hello", 5);
	close(master);
	close(slave);
}

static void regular_file_is_written_at_its_own_offset(void **state)
{
	struct fixture *f = *state;
	char path[] = "sink-test-XXXXXX", got[32] = "";
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	unlink(path);
	assert_int_equal(write(fd, "before ", 7), 7);
	f->sink = sink_new(f->base, fd, &ops, f);
	sink_write(f->sink, "after", 5);
	assert_int_equal(f->written, 5);
	assert_int_equal(pread(fd, got, sizeof(got), 0), 12);
	assert_string_equal(got, "before after");
	close(fd);
}

static void full_disk_is_told_by_its_errno(void **state)
{
	struct fixture *f = *state;
	int fd = open("/dev/full", O_WRONLY);

	if (fd < 0)
		skip();
	f->sink = sink_new(f->base, fd, &ops, f);
	sink_write(f->sink, "x", 1);
	assert_int_equal(f->lost, ENOSPC);
	assert_int_equal(f->written, 1);
	close(fd);
}

static void descriptor_that_is_only_for_reading_is_lost(void **state)
{
	struct fixture *f = *state;
	int p[2];

	assert_int_equal(pipe(p), 0);
	f->sink = sink_new(f->base, p[0], &ops, f);
	sink_write(f->sink, "x", 1);
	assert_int_equal(f->lost, EBADF);
	close(p[0]);
	close(p[1]);
}

static void nothing_written_tells_nothing(void **state)
{
	struct fixture *f = *state;

	f->sink = sink_new(f->base, 1, &ops, f);
	sink_write(f->sink, "", 0);
	assert_int_equal(f->written, 0);
	assert_int_equal(f->lost_calls, 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(pipe_takes_what_fits_and_the_rest_when_read),
	    T(order_is_kept_between_queued_and_new),
	    T(flags_of_an_inherited_pipe_are_untouched),
	    T(closed_pipe_is_lost_once_and_everything_is_accounted_for),
	    T(socket_is_written_without_waiting_and_keeps_its_flags),
	    T(terminal_that_nobody_reads_does_not_block),
	    T(pty_master_is_written_itself),
	    T(regular_file_is_written_at_its_own_offset),
	    T(full_disk_is_told_by_its_errno),
	    T(descriptor_that_is_only_for_reading_is_lost),
	    T(nothing_written_tells_nothing),
	};

	return cmocka_run_group_tests_name("cli_sink", tests, NULL, NULL);
}
