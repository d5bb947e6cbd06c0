/* SPDX-License-Identifier: Apache-2.0 */
/* Making a client, and every way in which connecting fails: its kind, and a sentence that names the
 * address. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/resolve.h"
#include "tests/support/client_fixture.h"

struct answer {
	bool done, failed;
	struct telex_error error;
};

static void on_done(const struct telex_error *error, void *arg)
{
	struct answer *a = arg;

	assert_false(a->done);
	a->done = true;
	a->failed = error != NULL;
	if (error != NULL)
		a->error = *error;
}

/* Asks an agent at this address, or the fixture's, and gives the error; kind OK when there is none.
 */
static struct telex_error ask(struct fixture *f, const struct telex_options *o)
{
	struct telex_client *client = fixture_client(f, o);
	struct answer a = {0};
	struct telex_error error;

	if (telex_info(client, 0, NULL, on_done, &a, &error) == 0) {
		fixture_until(f, &a.done);
		error = a.error;
	}
	telex_client_free(client);
	return error;
}

static void expect(
    struct telex_error error, enum telex_error_kind kind, const char *address, const char *words)
{
	if (error.kind != kind || strstr(error.message, address) == NULL ||
	    strstr(error.message, words) == NULL)
		fail_msg("kind %d: %s", error.kind, error.message);
}

/* ---- options ---- */

static void options_that_are_missing_are_named(void **state)
{
	struct fixture *f = *state;
	const struct telex_options good = {.address = "h",
	    .certificate_file = f->certificate,
	    .key_file = f->key,
	    .ca_file = f->ca};
	struct telex_options bad[6] = {good, good, good, good, good, good};
	static const char *const words[] = {
	    "address", "certificate_file", "key_file", "ca_file", "connect_timeout_ms", "port"};
	struct telex_client *client = NULL;
	struct telex_error error;

	bad[0].address = NULL;
	bad[1].certificate_file = NULL;
	bad[2].key_file = NULL;
	bad[3].ca_file = NULL;
	bad[4].connect_timeout_ms = -1;
	bad[5].address = "h:99999";
	for (size_t i = 0; i < 6; i++) {
		assert_int_equal(telex_client_new(&client, f->base, &bad[i], &error), -1);
		expect(error, TELEX_ERROR_USAGE, "", words[i]);
		assert_int_equal(telex_client_new(&client, f->base, &bad[i], NULL), -1);
	}
	assert_null(client);
}

static struct telex_error try_files(
    struct fixture *f, const char *certificate, const char *key, const char *ca)
{
	const struct telex_options o = {
	    .address = "h", .certificate_file = certificate, .key_file = key, .ca_file = ca};
	struct telex_client *client = NULL;
	struct telex_error error;

	assert_int_equal(telex_client_new(&client, f->base, &o, &error), -1);
	assert_null(client);
	return error;
}

static void files_that_are_not_usable_are_named(void **state)
{
	const struct pki_spec expired = {.defects = PKI_EXPIRED};
	const struct pki_spec nameless = {.defects = PKI_NO_URI};
	struct fixture *f = *state;
	struct telex_error error;
	char missing[128];

	snprintf(missing, sizeof(missing), "%s/none", f->folder);
	error = try_files(f, missing, f->key, f->ca);
	expect(error, TELEX_ERROR_SYSTEM, missing, "");
	assert_int_equal(error.sys_errno, ENOENT);
	expect(try_files(f, f->certificate, missing, f->ca), TELEX_ERROR_SYSTEM, missing, "");
	expect(try_files(f, f->certificate, f->key, missing), TELEX_ERROR_SYSTEM, missing, "");
	expect(try_files(f, f->key, f->key, f->ca), TELEX_ERROR_CERTIFICATE, f->key, "");
	expect(try_files(f, f->certificate, f->certificate, f->ca), TELEX_ERROR_CERTIFICATE,
	    f->certificate, "");
	fixture_write(f, &expired, f->pki, f->pki);
	expect(try_files(f, f->certificate, f->key, f->ca), TELEX_ERROR_CERTIFICATE, f->certificate,
	    "expired");
	fixture_write(f, &nameless, f->pki, f->pki);
	expect(try_files(f, f->certificate, f->key, f->ca), TELEX_ERROR_CERTIFICATE, f->certificate,
	    "");
}

static void a_client_knows_who_is_who(void **state)
{
	struct fixture *f = *state;
	struct answer a = {0};

	assert_null(telex_client_agent(f->client));
	assert_true(telex_client_expires(f->client) > (int64_t)time(NULL));
	assert_int_equal(telex_info(f->client, 0, NULL, on_done, &a, NULL), 0);
	fixture_until(f, &a.done);
	assert_false(a.failed);
	assert_string_equal(telex_client_agent(f->client), "spiffe://test.internal/agent/web1");
	assert_string_not_equal(telex_version(), "");
}

/* ---- somebody else's server ---- */

struct server {
	struct evconnlistener *listener;
	char address[64];
	const char *says; /* as soon as somebody has said something; NULL: the same back */
	bool hangs_up, silent;
	struct bufferevent *bevs[8];
	size_t n;
};

static void on_said(struct bufferevent *bev, void *arg)
{
	struct server *s = arg;
	struct evbuffer *in = bufferevent_get_input(bev);

	if (s->says == NULL) {
		bufferevent_write_buffer(bev, in);
		return;
	}
	evbuffer_drain(in, evbuffer_get_length(in));
	bufferevent_write(bev, s->says, strlen(s->says));
}

static void on_accept(
    struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *addr, int len, void *arg)
{
	struct server *s = arg;

	(void)addr;
	(void)len;
	if (s->hangs_up) {
		close(fd);
		return;
	}
	assert_true(s->n < 8);
	s->bevs[s->n] =
	    bufferevent_socket_new(evconnlistener_get_base(l), fd, BEV_OPT_CLOSE_ON_FREE);
	bufferevent_setcb(s->bevs[s->n], on_said, NULL, NULL, s);
	bufferevent_enable(s->bevs[s->n], s->silent ? EV_WRITE : EV_READ | EV_WRITE);
	s->n++;
}

static void serve(struct fixture *f, struct server *s)
{
	struct sockaddr_in sin = {.sin_family = AF_INET};
	socklen_t len = sizeof(sin);

	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	s->listener = evconnlistener_new_bind(
	    f->base, on_accept, s, LEV_OPT_CLOSE_ON_FREE, 8, (struct sockaddr *)&sin, sizeof(sin));
	assert_non_null(s->listener);
	getsockname(evconnlistener_get_fd(s->listener), (struct sockaddr *)&sin, &len);
	snprintf(s->address, sizeof(s->address), "127.0.0.1:%u", ntohs(sin.sin_port));
}

static void server_end(struct server *s)
{
	for (size_t i = 0; i < s->n; i++)
		bufferevent_free(s->bevs[i]);
	evconnlistener_free(s->listener);
}

static struct telex_error ask_server(struct fixture *f, struct server *s, int64_t timeout_ms)
{
	struct telex_options o = {.connect_timeout_ms = timeout_ms};
	struct telex_error error;

	serve(f, s);
	o.address = s->address;
	error = ask(f, &o);
	server_end(s);
	return error;
}

/* The port is nobody else's meanwhile. */
static void nobody_listens(void **state)
{
	struct sockaddr_in sin = {.sin_family = AF_INET};
	socklen_t len = sizeof(sin);
	char address[64];
	const struct telex_options o = {.address = address};
	struct telex_error error;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(fd, (struct sockaddr *)&sin, sizeof(sin)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&sin, &len), 0);
	snprintf(address, sizeof(address), "127.0.0.1:%u", ntohs(sin.sin_port));
	error = ask(*state, &o);
	expect(error, TELEX_ERROR_CONNECT, address, "refused");
	assert_int_equal(error.sys_errno, ECONNREFUSED);
	close(fd);
}

static void an_echo_server_is_no_agent(void **state)
{
	struct server s = {0};
	struct telex_error error = ask_server(*state, &s, 0);

	expect(error, TELEX_ERROR_NOT_TLS, s.address, "TLS");
}

static void a_web_server_is_no_agent(void **state)
{
	struct server s = {.says = "HTTP/1.1 400 Bad Request\r\n\r\n"};
	struct telex_error error = ask_server(*state, &s, 0);

	expect(error, TELEX_ERROR_NOT_TLS, s.address, "HTTP/1.1 400");
}

static void a_server_that_hangs_up_is_no_agent(void **state)
{
	struct server s = {.hangs_up = true};
	struct telex_error error = ask_server(*state, &s, 0);

	expect(error, TELEX_ERROR_CONNECT, s.address, "TLS");
}

static void a_silent_server_runs_into_the_deadline(void **state)
{
	struct server s = {.silent = true};
	struct telex_error error = ask_server(*state, &s, 30);

	expect(error, TELEX_ERROR_CONNECT, s.address, "0.03 s");
	assert_int_equal(error.sys_errno, ETIMEDOUT);
}

static void a_calls_own_deadline_may_be_shorter(void **state)
{
	struct fixture *f = *state;
	struct server s = {.silent = true};
	const struct telex_options o = {.address = s.address};
	struct telex_client *client;
	struct answer soon = {0}, later = {0};

	serve(f, &s);
	client = fixture_client(f, &o);
	assert_int_equal(telex_info(client, 30, NULL, on_done, &soon, NULL), 0);
	assert_int_equal(telex_info(client, 0, NULL, on_done, &later, NULL), 0);
	fixture_until(f, &soon.done);
	expect(soon.error, TELEX_ERROR_STATUS, s.address, "deadline");
	assert_int_equal(soon.error.code, 4);
	assert_false(later.done);
	telex_client_free(client);
	server_end(&s);
}

static void all_that_wait_fail_and_the_next_connects_again(void **state)
{
	struct fixture *f = *state;
	struct server s = {.hangs_up = true};
	const struct telex_options o = {.address = s.address};
	struct telex_client *client;
	struct heard run = {0};
	struct answer a = {0}, b = {0};
	const char *argv[] = {"exit", "0", NULL};
	const struct telex_command command = {.argv = argv};

	serve(f, &s);
	client = fixture_client(f, &o);
	assert_int_equal(telex_info(client, 0, NULL, on_done, &a, NULL), 0);
	assert_int_equal(telex_run(client, &run.run, &command, &heard_ops, &run, NULL), 0);
	fixture_until(f, &a.done);
	fixture_until(f, &run.done);
	expect(a.error, TELEX_ERROR_CONNECT, s.address, "");
	assert_string_equal(a.error.message, run.error.message);
	/* It answers in another way now, so that the second connection can be told from the first.
	 */
	s.hangs_up = false;
	s.says = "this is not TLS";
	assert_int_equal(telex_info(client, 0, NULL, on_done, &b, NULL), 0);
	fixture_until(f, &b.done);
	expect(b.error, TELEX_ERROR_NOT_TLS, s.address, "");
	telex_client_free(client);
	server_end(&s);
}

/* ---- certificates ---- */

static void another_authority_is_not_trusted(void **state)
{
	const struct pki_spec user = {.agent = false};
	struct fixture *f = *state;
	struct pki *other = pki_new("other CA");

	/* Ours is of theirs, but we trust the other. */
	fixture_write(f, &user, f->pki, other);
	expect(ask(f, NULL), TELEX_ERROR_CERTIFICATE, f->address, "the CA file");
	/* We trust theirs, but ours is of the other. */
	fixture_write(f, &user, other, f->pki);
	expect(ask(f, NULL), TELEX_ERROR_CERTIFICATE, f->address, "that the agent trusts");
	pki_free(other);
}

static void the_agent_must_be_named_as_it_was_called(void **state)
{
	const struct telex_options wrong = {.server_name = "other.example"};
	const struct telex_options right = {.server_name = "localhost"};
	struct fixture *f = *state;

	expect(ask(f, &wrong), TELEX_ERROR_CERTIFICATE, f->address, "other.example");
	assert_int_equal(ask(f, &right).kind, TELEX_OK);
}

/* ---- names ---- */

struct resolved {
	bool done;
	size_t n;
	int family;
};

static void on_resolved(const struct resolve_list *list, const struct err *why, void *arg)
{
	struct resolved *r = arg;

	assert_true((list == NULL) != (why == NULL));
	r->done = true;
	r->n = list != NULL ? list->n : 0;
	r->family = list != NULL ? list->at[0].addr.ss_family : 0;
}

static void the_thread_answers_in_the_loop(void **state)
{
	struct fixture *f = *state;
	struct resolved ok = {0}, bad = {0};
	struct resolve *r;
	struct err e;

	/* Numbers need no server, and what is no name fails without one. */
	assert_int_equal(resolve_start(&r, f->base, "127.0.0.1", 99, on_resolved, &ok, &e), 0);
	assert_int_equal(resolve_start(&r, f->base, "", 99, on_resolved, &bad, &e), 0);
	fixture_until(f, &ok.done);
	fixture_until(f, &bad.done);
	assert_int_equal(ok.n, 1);
	assert_int_equal(ok.family, AF_INET);
}

static void a_cancelled_lookup_says_nothing(void **state)
{
	struct fixture *f = *state;
	struct resolved cancelled = {0};
	struct resolve *r;
	struct err e;

	assert_int_equal(
	    resolve_start(&r, f->base, "127.0.0.1", 99, on_resolved, &cancelled, &e), 0);
	resolve_cancel(r);
	resolve_cancel(NULL);
	fixture_settle(f);
	assert_false(cancelled.done);
}

static void the_next_address_is_tried(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_in6 sin6 = {.sin6_family = AF_INET6};
	struct server s = {.says = "this is not TLS"};
	struct telex_options o = {.server_name = "localhost"};
	struct telex_error error;
	socklen_t len = sizeof(sin6);
	char localhost[64];

	/* Only the second address of "localhost" is listened on. */
	sin6.sin6_addr = in6addr_loopback;
	s.listener = evconnlistener_new_bind(f->base, on_accept, &s, LEV_OPT_CLOSE_ON_FREE, 8,
	    (struct sockaddr *)&sin6, sizeof(sin6));
	if (s.listener == NULL)
		skip(); /* a machine without IPv6 */
	getsockname(evconnlistener_get_fd(s.listener), (struct sockaddr *)&sin6, &len);
	snprintf(localhost, sizeof(localhost), "localhost:%u", ntohs(sin6.sin6_port));
	o.address = localhost;
	error = ask(f, &o);
	expect(error, TELEX_ERROR_NOT_TLS, localhost, "TLS");
	server_end(&s);
}

#define CLIENT_TEST(t) cmocka_unit_test_setup_teardown(t, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    CLIENT_TEST(options_that_are_missing_are_named),
	    CLIENT_TEST(files_that_are_not_usable_are_named),
	    CLIENT_TEST(a_client_knows_who_is_who),
	    CLIENT_TEST(nobody_listens),
	    CLIENT_TEST(an_echo_server_is_no_agent),
	    CLIENT_TEST(a_web_server_is_no_agent),
	    CLIENT_TEST(a_server_that_hangs_up_is_no_agent),
	    CLIENT_TEST(a_silent_server_runs_into_the_deadline),
	    CLIENT_TEST(a_calls_own_deadline_may_be_shorter),
	    CLIENT_TEST(all_that_wait_fail_and_the_next_connects_again),
	    CLIENT_TEST(another_authority_is_not_trusted),
	    CLIENT_TEST(the_agent_must_be_named_as_it_was_called),
	    CLIENT_TEST(the_thread_answers_in_the_loop),
	    CLIENT_TEST(a_cancelled_lookup_says_nothing),
	    CLIENT_TEST(the_next_address_is_tried),
	};

	return cmocka_run_group_tests_name("client", tests, NULL, NULL);
}
