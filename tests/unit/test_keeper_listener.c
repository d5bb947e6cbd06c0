/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/keeper/listener.h"

static struct listeners *open_these(struct listeners *before, char *first, char *second)
{
	struct config c = {.listen = {first, second}, .n_listen = second != NULL ? 2 : 1};
	struct listeners *ls = NULL;
	struct err e;

	if (listeners_open(&ls, &c, before, &e) != 0)
		fail_msg("%s", e.message);
	return ls;
}

static uint16_t port_of(const struct listener *l)
{
	return (uint16_t)atoi(strrchr(l->address, ':') + 1);
}

/* A connection, or -1: refused. */
static int try_connect(uint16_t port)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_true(fd >= 0);
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0)
		return fd;
	assert_int_equal(errno, ECONNREFUSED);
	close(fd);
	return -1;
}

static void what_stays_is_taken_over_with_those_who_wait(void **state)
{
	char zero[] = "127.0.0.1:0", other[] = "127.0.0.2:0", numeric[32];
	struct listeners *before = open_these(NULL, zero, NULL);
	struct listeners *after;
	uint16_t port = port_of(&before->list[0]);
	int waiting = try_connect(port);
	int accepted;

	(void)state;
	assert_true(waiting >= 0);
	/* By its words. */
	after = open_these(before, zero, NULL);
	listeners_unref(before);
	assert_int_equal(after->n, 1);
	assert_int_equal(port_of(&after->list[0]), port);
	/* By its address. */
	before = after;
	snprintf(numeric, sizeof(numeric), "127.0.0.1:%u", port);
	after = open_these(before, numeric, other);
	listeners_unref(before);
	assert_int_equal(after->n, 2);
	assert_int_equal(port_of(&after->list[0]), port);
	assert_string_equal(after->list[0].text, numeric);
	assert_non_null(strstr(after->list[1].address, "127.0.0.2:"));
	accepted = accept4(after->list[0].fd, NULL, NULL, SOCK_CLOEXEC);
	assert_true(accepted >= 0);
	close(accepted);
	close(waiting);
	listeners_unref(after);
}

static void what_is_not_named_any_more_is_closed(void **state)
{
	char one[] = "127.0.0.1:0", two[] = "localhost:0", none[32];
	struct listeners *before = open_these(NULL, one, NULL);
	struct listeners *after;
	uint16_t port = port_of(&before->list[0]);
	int fd;

	(void)state;
	after = open_these(before, two, NULL);
	listeners_unref(before);
	assert_int_equal(try_connect(port), -1);
	fd = try_connect(port_of(&after->list[0]));
	assert_true(fd >= 0);
	close(fd);
	/* All or none: what was there is there still. */
	snprintf(none, sizeof(none), "192.0.2.1:%u", port_of(&after->list[0]));
	{
		struct config c = {.listen = {two, none}, .n_listen = 2};
		struct listeners *ls = NULL;
		struct err e;

		assert_true(listeners_open(&ls, &c, after, &e) < 0);
		assert_null(ls);
		assert_non_null(strstr(e.message, "listener 192.0.2.1:"));
	}
	fd = try_connect(port_of(&after->list[0]));
	assert_true(fd >= 0);
	close(fd);
	listeners_unref(after);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_stays_is_taken_over_with_those_who_wait),
	    cmocka_unit_test(what_is_not_named_any_more_is_closed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
