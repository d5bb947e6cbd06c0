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
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include "cli/source.h"
#include "tests/unit/cli_loop.h"

#define BIG ((size_t)3 << 20)

struct fixture {
	struct event_base *base;
	struct source *source;
	char *got;
	size_t have, room; /* room: what take still takes */
	int ended, end_errno;
	bool room_from_inside;
};

static size_t on_take(struct source *source, const void *data, size_t len, void *arg)
{
	struct fixture *f = arg;
	size_t n = len < f->room ? len : f->room;

	memcpy(f->got + f->have, data, n);
	f->have += n;
	f->room -= n;
	if (f->room_from_inside)
		source_room(source);
	return n;
}

static void on_ended(struct source *source, int sys_errno, void *arg)
{
	struct fixture *f = arg;

	(void)source;
	f->ended++;
	f->end_errno = sys_errno;
}

static const struct source_ops ops = {.take = on_take, .ended = on_ended};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->base = event_base_new();
	f->got = malloc(BIG);
	f->room = BIG;
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	source_free(f->source);
	event_base_free(f->base);
	free(f->got);
	free(f);
	return 0;
}

static bool has_ended(void *arg)
{
	struct fixture *f = arg;

	return f->ended > 0;
}

static bool is_out_of_room(void *arg)
{
	struct fixture *f = arg;

	return f->room == 0;
}

static int file_with(const char *data, size_t len)
{
	char path[] = "source-test-XXXXXX";
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	unlink(path);
	assert_int_equal(write(fd, data, len), len);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	return fd;
}

static char *pattern(size_t n)
{
	char *p = malloc(n);

	for (size_t i = 0; i < n; i++)
		p[i] = (char)(i * 7 + i / 512);
	return p;
}

static void regular_file_comes_whole_and_ends_once(void **state)
{
	struct fixture *f = *state;
	char *data = pattern(BIG);
	int fd = file_with(data, BIG);

	f->source = source_new(f->base, fd, &ops, f);
	assert_int_equal(f->have, 0); /* nothing before the loop */
	assert_true(cli_loop_until(f->base, has_ended, f));
	cli_loop_due(f->base);
	assert_int_equal(f->ended, 1);
	assert_int_equal(f->end_errno, 0);
	assert_int_equal(f->have, BIG);
	assert_memory_equal(f->got, data, BIG);
	close(fd);
	free(data);
}

static void file_waits_for_room_and_goes_on(void **state)
{
	struct fixture *f = *state;
	char *data = pattern(BIG);
	int fd = file_with(data, BIG);

	f->room = 1000;
	f->source = source_new(f->base, fd, &ops, f);
	assert_true(cli_loop_until(f->base, is_out_of_room, f));
	cli_loop_due(f->base);
	assert_int_equal(f->have, 1000);
	/* At most one piece was read ahead. */
	assert_true(lseek(fd, 0, SEEK_CUR) <= (off_t)SOURCE_PIECE);
	f->room = BIG;
	source_room(f->source);
	assert_true(cli_loop_until(f->base, has_ended, f));
	assert_int_equal(f->have, BIG);
	assert_memory_equal(f->got, data, BIG);
	close(fd);
	free(data);
}

static void room_told_from_inside_take_is_no_recursion(void **state)
{
	struct fixture *f = *state;
	char *data = pattern(BIG);
	int fd = file_with(data, BIG);

	f->room_from_inside = true;
	f->source = source_new(f->base, fd, &ops, f);
	assert_true(cli_loop_until(f->base, has_ended, f));
	assert_memory_equal(f->got, data, BIG);
	close(fd);
	free(data);
}

static void pipe_is_read_when_there_is_something(void **state)
{
	struct fixture *f = *state;
	int p[2], before;

	assert_int_equal(pipe(p), 0);
	before = fcntl(p[0], F_GETFL);
	f->source = source_new(f->base, p[0], &ops, f);
	cli_loop_due(f->base);
	assert_int_equal(f->have, 0);
	assert_int_equal(write(p[1], "a\0b", 3), 3);
	cli_loop_due(f->base);
	assert_int_equal(f->have, 3);
	assert_memory_equal(f->got, "a\0b", 3);
	assert_int_equal(f->ended, 0);
	close(p[1]);
	assert_true(cli_loop_until(f->base, has_ended, f));
	assert_int_equal(f->end_errno, 0);
	assert_int_equal(fcntl(p[0], F_GETFL), before);
	close(p[0]);
}

static void pipe_is_left_alone_while_there_is_no_room(void **state)
{
	struct fixture *f = *state;
	char byte = 'x';
	int p[2], left = 0;

	assert_int_equal(pipe(p), 0);
	f->room = 0;
	f->source = source_new(f->base, p[0], &ops, f);
	assert_int_equal(write(p[1], &byte, 1), 1);
	cli_loop_due(f->base); /* one piece is read, and not taken */
	assert_int_equal(write(p[1], &byte, 1), 1);
	cli_loop_due(f->base);
	assert_int_equal(ioctl(p[0], FIONREAD, &left), 0);
	assert_int_equal(left, 1);
	f->room = BIG;
	source_room(f->source);
	cli_loop_due(f->base);
	assert_int_equal(f->have, 2);
	close(p[0]);
	close(p[1]);
}

static void stopped_source_reads_no_more(void **state)
{
	struct fixture *f = *state;
	int p[2], left = 0;

	assert_int_equal(pipe(p), 0);
	f->source = source_new(f->base, p[0], &ops, f);
	source_stop(f->source);
	assert_int_equal(write(p[1], "abc", 3), 3);
	close(p[1]);
	cli_loop_due(f->base);
	source_room(f->source);
	cli_loop_due(f->base);
	assert_int_equal(ioctl(p[0], FIONREAD, &left), 0);
	assert_int_equal(left, 3);
	assert_int_equal(f->ended, 0);
	close(p[0]);
}

static void socket_is_read_to_its_half_close_and_keeps_its_flags(void **state)
{
	struct fixture *f = *state;
	int s[2], before;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
	before = fcntl(s[0], F_GETFL);
	f->source = source_new(f->base, s[0], &ops, f);
	assert_int_equal(write(s[1], "hello", 5), 5);
	shutdown(s[1], SHUT_WR);
	assert_true(cli_loop_until(f->base, has_ended, f));
	assert_int_equal(f->have, 5);
	assert_int_equal(fcntl(s[0], F_GETFL), before);
	close(s[0]);
	close(s[1]);
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

static void terminal_end_of_file_is_the_end(void **state)
{
	struct fixture *f = *state;
	int master, slave, before;
	struct termios t;

	open_terminal(&master, &slave);
	tcgetattr(slave, &t);
	before = fcntl(slave, F_GETFL);
	f->source = source_new(f->base, slave, &ops, f);
	assert_int_equal(write(master, "line\n", 5), 5);
	assert_int_equal(write(master, &t.c_cc[VEOF], 1), 1);
	assert_true(cli_loop_until(f->base, has_ended, f));
	assert_int_equal(f->end_errno, 0);
	assert_int_equal(f->have, 5);
	assert_memory_equal(f->got, "line\n", 5);
	assert_int_equal(fcntl(slave, F_GETFL), before);
	close(master);
	close(slave);
}

static void dev_null_ends_at_once(void **state)
{
	struct fixture *f = *state;
	int fd = open("/dev/null", O_RDONLY);

	f->source = source_new(f->base, fd, &ops, f);
	assert_true(cli_loop_until(f->base, has_ended, f));
	assert_int_equal(f->have, 0);
	assert_int_equal(f->end_errno, 0);
	close(fd);
}

static void folder_ends_with_its_errno(void **state)
{
	struct fixture *f = *state;
	int fd = open("/", O_RDONLY | O_DIRECTORY);

	f->source = source_new(f->base, fd, &ops, f);
	assert_true(cli_loop_until(f->base, has_ended, f));
	assert_int_equal(f->end_errno, EISDIR);
	close(fd);
}

static void descriptor_that_is_not_open_ends_with_its_errno(void **state)
{
	struct fixture *f = *state;

	f->source = source_new(f->base, 999, &ops, f);
	assert_int_equal(f->ended, 0); /* from the loop, not from inside source_new */
	assert_true(cli_loop_until(f->base, has_ended, f));
	assert_int_equal(f->end_errno, EBADF);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(regular_file_comes_whole_and_ends_once),
	    T(file_waits_for_room_and_goes_on),
	    T(room_told_from_inside_take_is_no_recursion),
	    T(pipe_is_read_when_there_is_something),
	    T(pipe_is_left_alone_while_there_is_no_room),
	    T(stopped_source_reads_no_more),
	    T(socket_is_read_to_its_half_close_and_keeps_its_flags),
	    T(terminal_end_of_file_is_the_end),
	    T(dev_null_ends_at_once),
	    T(folder_ends_with_its_errno),
	    T(descriptor_that_is_not_open_ends_with_its_errno),
	};

	return cmocka_run_group_tests_name("cli_source", tests, NULL, NULL);
}
