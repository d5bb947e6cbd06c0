/* SPDX-License-Identifier: Apache-2.0 */
/* A connection's way from its accept to its end, over TLS on loopback. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "agent/worker/audit_log.h"
#include "agent/worker/authz.h"
#include "agent/worker/revoked.h"
#include "agent/worker/services.h"
#include "agent/worker/session.h"
#include "agent/worker/worker.h"
#include "common/audit.h"
#include "common/duration.h"
#include "common/log.h"
#include "common/rpc.h"
#include "common/tls.h"
#include "grpc/health/v1/health.pb-c.h"
#include "tests/support/pki.h"
#include "tests/support/tls_pair.h"

struct fixture {
	struct worker worker;
	struct pki *pki;
	struct tls_ctx *server_tls, *client_tls;
	struct rpc_server *rpc;
	struct sessions *sessions;
	unsigned ended;
	struct h2_conn *client;
	bool connected, cut, closed, goaway, done;
	unsigned answers;
	struct rpc_status status;
};

static void on_ended(void *arg)
{
	((struct fixture *)arg)->ended++;
}

static int authorize(struct rpc_call *c, const struct rpc_service *s, const struct rpc_method *m,
    struct rpc_status *refuse)
{
	struct peer *who = rpc_call_peer(c);
	char rule[POLICY_RULE_SIZE];
	int rc = authz_call(who->worker->authz, who->identity, s->name, m->name, rule, refuse);

	rc = audit_log_call(c, s->name, m, rc != 0, rule, refuse);
	if (rc == 0)
		session_called(who);
	return rc;
}

static const char policy[] = "role r { methods = {\"**\"} }\n"
                             "grant g { identities = {\"spiffe://*/user/*\"} roles = {r} }\n";

static void on_problem(const char *text, void *arg)
{
	(void)arg;
	print_error("%s\n", text);
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct rpc_server_config cfg = {.services = services_all,
	    .n_services = SERVICES_COUNT,
	    .authorize = authorize,
	    .context = &f->worker};
	struct policy *p;

	assert_non_null(f);
	log_open("test", LOG_LEVEL_ERROR, false, STDERR_FILENO);
	f->worker.base = event_base_new();
	assert_int_equal(policy_parse(&p, policy, strlen(policy), "policy", on_problem, NULL), 0);
	f->worker.authz = authz_new_policy(p);
	f->pki = pki_new("root");
	f->server_tls = pki_server_ctx(f->pki, f->pki);
	f->client_tls = pki_client_ctx(f->pki, f->pki);
	assert_int_equal(rpc_server_new(&f->rpc, f->worker.base, &cfg), 0);
	f->sessions = sessions_new(&f->worker, f->server_tls, f->rpc, on_ended, f);
	*state = f;
	return 0;
}

static bool run_until(struct fixture *f, const bool *flag)
{
	time_t end = time(NULL) + 60;

	while (!*flag && time(NULL) < end)
		event_base_loop(f->worker.base, EVLOOP_NONBLOCK);
	return *flag;
}

static void run_until_empty_but(struct fixture *f, size_t n)
{
	time_t end = time(NULL) + 60;

	while (sessions_count(f->sessions) > n && time(NULL) < end)
		event_base_loop(f->worker.base, EVLOOP_NONBLOCK);
	assert_int_equal(sessions_count(f->sessions), n);
}

static void run_until_empty(struct fixture *f)
{
	run_until_empty_but(f, 0);
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	if (f->client != NULL) {
		h2_close(f->client, H2_NO_ERROR);
		assert_true(run_until(f, &f->closed));
	}
	sessions_close(f->sessions);
	run_until_empty(f);
	sessions_free(f->sessions);
	authz_free(f->worker.authz);
	rpc_server_free(f->rpc);
	tls_ctx_free(f->server_tls);
	tls_ctx_free(f->client_tls);
	pki_free(f->pki);
	event_base_free(f->worker.base);
	free(f);
	return 0;
}

/* ---- the client ---- */

static void on_goaway(struct h2_conn *c, int32_t last, uint32_t code, void *arg)
{
	(void)c;
	(void)last;
	(void)code;
	((struct fixture *)arg)->goaway = true;
}

static void on_closed(struct h2_conn *c, const struct err *why, void *arg)
{
	struct fixture *f = arg;

	(void)c;
	(void)why;
	f->closed = true;
	f->client = NULL;
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
	static const struct h2_conn_ops ops = {.on_goaway = on_goaway, .on_closed = on_closed};
	char identity[TLS_IDENTITY_SIZE];
	struct fixture *f = arg;
	struct err e;

	if ((what & BEV_EVENT_CONNECTED) == 0) {
		/* The time was over before its handshake was. */
		f->cut = true;
		tls_free(bev);
		return;
	}
	f->connected = true;
	assert_int_equal(tls_established(bev, identity, &e), 0);
	assert_int_equal(
	    h2_conn_new(&f->client, f->worker.base, bev, false, NULL, &ops, f, tls_free, &e), 0);
}

/* One end of a connection goes to the sessions, the other is returned. */
static int accept_one(struct fixture *f)
{
	struct sockaddr_in from = {0};
	socklen_t len = sizeof(from);
	int fds[2];

	tls_pair_tcp(fds);
	assert_int_equal(getpeername(fds[0], (struct sockaddr *)&from, &len), 0);
	sessions_accept(f->sessions, fds[0], (struct sockaddr *)&from, len);
	return fds[1];
}

/* False: it was cut before it was there. */
static bool try_connect(struct fixture *f)
{
	time_t end = time(NULL) + 60;
	struct bufferevent *bev = NULL;
	struct err e;
	int fd = accept_one(f);

	f->connected = f->cut = f->closed = f->goaway = false;
	assert_int_equal(tls_connect(&bev, f->worker.base, f->client_tls, fd, "localhost", &e), 0);
	bufferevent_setcb(bev, NULL, NULL, on_event, f);
	while (!f->connected && !f->cut && time(NULL) < end)
		event_base_loop(f->worker.base, EVLOOP_NONBLOCK);
	assert_true(f->connected || f->cut);
	return f->connected;
}

static void connect_client(struct fixture *f)
{
	assert_true(try_connect(f));
}

static void on_answer(struct rpc_call *c, const ProtobufCMessage *msg, void *data)
{
	(void)c;
	(void)msg;
	((struct fixture *)data)->answers++;
}

static void on_done(struct rpc_call *c, const struct rpc_status *status, void *data)
{
	struct fixture *f = data;

	(void)c;
	f->status = *status;
	f->done = true;
}

static void ask_health(struct fixture *f, const char *method)
{
	static const struct rpc_client_ops ops = {.message = on_answer, .done = on_done};
	const struct rpc_client_options o = {.authority = "localhost",
	    .service = "grpc.health.v1.Health",
	    .method = method,
	    .response = &grpc__health__v1__health_check_response__descriptor,
	    .server_stream = strcmp(method, "Watch") == 0};
	Grpc__Health__V1__HealthCheckRequest q = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
	struct rpc_call *call;

	f->done = false;
	assert_int_equal(rpc_open(&call, f->client, f->worker.base, &o, &ops, f), 0);
	assert_int_equal(rpc_send(call, &q.base), 0);
	rpc_half_close(call);
}

/* ---- the tests ---- */

static void a_user_is_served(void **state)
{
	struct fixture *f = *state;

	connect_client(f);
	assert_int_equal(sessions_count(f->sessions), 1);
	ask_health(f, "Check");
	assert_true(run_until(f, &f->done));
	assert_int_equal(f->status.code, RPC_OK);
	assert_int_equal(f->answers, 1);
	h2_close(f->client, H2_NO_ERROR);
	run_until_empty(f);
	assert_int_equal(f->ended, 1);
}

static void what_is_not_tls_is_refused(void **state)
{
	static const char hello[] = "GET / HTTP/1.1\r\n\r\n";
	struct fixture *f = *state;
	int fd = accept_one(f);

	assert_int_equal(write(fd, hello, sizeof(hello) - 1), sizeof(hello) - 1);
	run_until_empty(f);
	assert_int_equal(f->ended, 1);
	close(fd);
}

static void a_hang_up_in_the_handshake_is_the_end(void **state)
{
	struct fixture *f = *state;

	close(accept_one(f));
	run_until_empty(f);
	assert_int_equal(f->ended, 1);
}

static void draining_lets_calls_go_on_and_idle_connections_end(void **state)
{
	struct fixture *f = *state;

	connect_client(f);
	ask_health(f, "Watch");
	while (f->answers == 0)
		event_base_loop(f->worker.base, EVLOOP_NONBLOCK);
	f->worker.draining = true;
	sessions_drain(f->sessions);
	assert_true(run_until(f, &f->goaway));
	assert_int_equal(sessions_count(f->sessions), 1);
	assert_false(f->done);
	svc_health_draining(&f->worker);
	assert_true(run_until(f, &f->done));
	assert_int_equal(f->status.code, RPC_UNAVAILABLE);
	run_until_empty(f);
}

static void who_comes_to_a_draining_worker_is_sent_away_kindly(void **state)
{
	struct fixture *f = *state;

	f->worker.draining = true;
	connect_client(f);
	assert_true(run_until(f, &f->goaway));
	run_until_empty(f);
}

/* False: it was cut before it was told, as the time was over before its handshake was. */
static bool ends_kindly(struct fixture *f, int64_t first_call_ns, const char *method)
{
	f->worker.config.first_call_ns = first_call_ns;
	f->ended = 0;
	if (try_connect(f)) {
		if (method != NULL && f->client != NULL)
			ask_health(f, method);
		assert_true(run_until(f, &f->closed));
	}
	run_until_empty(f);
	assert_int_equal(f->ended, 1);
	return f->goaway && (method == NULL || f->done);
}

/* In a short time, or in one that suffices for a handshake here. */
static void expect_kind_end(struct fixture *f, const char *method)
{
	int64_t first_call_ns = 300 * NS_PER_MS;

	while (!ends_kindly(f, first_call_ns, method)) {
		first_call_ns *= 2;
		assert_true(first_call_ns < 30 * NS_PER_S);
	}
}

static void a_connection_without_a_call_ends(void **state)
{
	expect_kind_end(*state, NULL);
}

static void a_handshake_that_goes_nowhere_ends(void **state)
{
	struct fixture *f = *state;
	int fd;

	f->worker.config.first_call_ns = 50 * NS_PER_MS;
	fd = accept_one(f);
	run_until_empty(f);
	assert_int_equal(f->ended, 1);
	close(fd);
}

/* However many it makes: by these nobody shows that he is to be served. */
static void calls_that_are_refused_do_not_keep_a_connection(void **state)
{
	struct fixture *f = *state;

	authz_free(f->worker.authz);
	f->worker.authz = NULL;
	expect_kind_end(f, "Check");
}

/* Who has been served may stay for its life, not only for the first call's time; who has not, no
 * longer than that. */
static void a_life_begins_with_a_call(void **state)
{
	struct fixture *f = *state;

	sessions_set_limits(f->sessions, 8, 3600, 32);
	expect_kind_end(f, NULL);
}

/* False: the call was not there within that time. */
static bool stays_after_a_call(struct fixture *f, int64_t limit_ns)
{
	int64_t until;

	f->worker.config.first_call_ns = limit_ns;
	f->done = false;
	if (try_connect(f) && f->client != NULL) {
		ask_health(f, "Check");
		assert_true(run_until(f, &f->done));
	}
	if (!f->done || f->status.code != RPC_OK) {
		run_until_empty(f);
		return false;
	}
	until = clock_monotonic_ns() + limit_ns + 200 * NS_PER_MS;
	while (clock_monotonic_ns() < until && !f->goaway)
		event_base_loop(f->worker.base, EVLOOP_NONBLOCK);
	assert_int_equal(sessions_count(f->sessions), 1);
	assert_false(f->goaway);
	return true;
}

/* Also when the time that was allowed is over. */
static void one_call_is_enough_to_stay(void **state)
{
	int64_t limit_ns = NS_PER_S;

	while (!stays_after_a_call(*state, limit_ns)) {
		limit_ns *= 2;
		assert_true(limit_ns < 30 * NS_PER_S);
	}
}

static void a_source_has_so_many_connections_and_no_more(void **state)
{
	struct fixture *f = *state;
	int fds[4];
	char byte;

	sessions_free(f->sessions);
	f->worker.config.max_connections_per_source = 2;
	f->sessions = sessions_new(&f->worker, f->server_tls, f->rpc, on_ended, f);
	for (int i = 0; i < 4; i++)
		fds[i] = accept_one(f);
	assert_int_equal(sessions_count(f->sessions), 2);
	/* They were closed without a word. */
	assert_int_equal(read(fds[2], &byte, 1), 0);
	assert_int_equal(read(fds[3], &byte, 1), 0);
	close(fds[0]);
	run_until_empty_but(f, 1);
	close(fds[2]);
	fds[2] = accept_one(f);
	assert_int_equal(sessions_count(f->sessions), 2);
	for (int i = 1; i < 4; i++)
		close(fds[i]);
}

static void closing_ends_calls_and_handshakes(void **state)
{
	struct fixture *f = *state;
	int fd;

	connect_client(f);
	ask_health(f, "Watch");
	while (f->answers == 0)
		event_base_loop(f->worker.base, EVLOOP_NONBLOCK);
	fd = accept_one(f);
	sessions_close(f->sessions);
	assert_true(run_until(f, &f->done));
	run_until_empty(f);
	assert_int_equal(f->ended, 2);
	close(fd);
}

/* ---- what strangers leave in the audit log ---- */

static char *read_all(FILE *in)
{
	char *text = calloc(1, 1 << 20);

	assert_non_null(text);
	rewind(in);
	text[fread(text, 1, (1 << 20) - 1, in)] = '\0';
	return text;
}

static size_t count_lines(const char *text)
{
	size_t n = 0;

	for (; (text = strchr(text, '\n')) != NULL; text++)
		n++;
	return n;
}

static void who_fails_often_fills_no_disk(void **state)
{
	struct fixture *f = *state;
	FILE *log = tmpfile();
	struct err e;
	char *text;

	assert_non_null(log);
	assert_int_equal(fcntl(fileno(log), F_SETFL, O_APPEND), 0);
	f->worker.config.audit_per_source = 3;
	assert_int_equal(audit_log_open(&f->worker, dup(fileno(log)), &e), 0);
	for (int i = 0; i < 50; i++) {
		int fd = accept_one(f);

		assert_int_equal(write(fd, "GET / HTTP/1.1\r\n\r\n", 18), 18);
		run_until_empty(f);
		close(fd);
	}
	/* Who is known is written down all the same. */
	connect_client(f);
	h2_close(f->client, H2_NO_ERROR);
	run_until_empty(f);
	audit_log_close(&f->worker);
	audit_free(f->worker.audit);
	text = read_all(log);
	/* begin, three refused, one accepted, how many more, end */
	assert_int_equal(count_lines(text), 7);
	assert_non_null(strstr(text, "\"outcome\":\"accepted\""));
	assert_non_null(strstr(text, "\"more\":47,"));
	assert_true(strstr(text, "\"more\":47,") < strstr(text, "\"event\":\"end\""));
	free(text);
	fclose(log);
}

/* Who has a certificate and no grant, and asks and asks. */
static void who_may_do_nothing_fills_no_disk(void **state)
{
	struct fixture *f = *state;
	FILE *log = tmpfile();
	struct authz *authz = f->worker.authz;
	struct err e;
	char *text;

	assert_non_null(log);
	assert_int_equal(fcntl(fileno(log), F_SETFL, O_APPEND), 0);
	f->worker.authz = NULL;
	f->worker.config.audit_per_source = 3;
	assert_int_equal(audit_log_open(&f->worker, dup(fileno(log)), &e), 0);
	connect_client(f);
	for (int i = 0; i < 100; i++) {
		ask_health(f, "Check");
		assert_true(run_until(f, &f->done));
		assert_int_equal(
		    f->status.code, i < 30 ? RPC_PERMISSION_DENIED : RPC_RESOURCE_EXHAUSTED);
	}
	assert_string_equal(f->status.reason, "DENIALS");
	assert_non_null(strstr(f->status.message, "only counted"));
	/* What is allowed is written all the same. */
	f->worker.authz = authz;
	ask_health(f, "Check");
	assert_true(run_until(f, &f->done));
	assert_int_equal(f->status.code, RPC_OK);
	h2_close(f->client, H2_NO_ERROR);
	run_until_empty(f);
	audit_log_close(&f->worker);
	audit_free(f->worker.audit);
	f->worker.audit = NULL;
	text = read_all(log);
	/* begin, accepted, thirty denied, one allowed, how many more, end */
	assert_int_equal(count_lines(text), 35);
	assert_non_null(strstr(text, "\"more\":70,"));
	assert_non_null(strstr(text, "\"decision\":\"allowed\""));
	free(text);
	fclose(log);
}

/* Connections cost a record, too; but one that is good for something has it. */
static void who_only_connects_fills_no_disk(void **state)
{
	struct fixture *f = *state;
	FILE *log = tmpfile();
	struct err e;
	char *text;

	assert_non_null(log);
	assert_int_equal(fcntl(fileno(log), F_SETFL, O_APPEND), 0);
	f->worker.config.audit_per_source = 1;
	assert_int_equal(audit_log_open(&f->worker, dup(fileno(log)), &e), 0);
	for (int i = 0; i < 13; i++) {
		f->connected = f->closed = false;
		connect_client(f);
		if (i == 12) {
			ask_health(f, "Check");
			assert_true(run_until(f, &f->done));
			ask_health(f, "Check");
			assert_true(run_until(f, &f->done));
		}
		h2_close(f->client, H2_NO_ERROR);
		assert_true(run_until(f, &f->closed));
		run_until_empty(f);
	}
	audit_log_close(&f->worker);
	audit_free(f->worker.audit);
	f->worker.audit = NULL;
	text = read_all(log);
	/* begin, ten accepted, one with its two calls, how many more, end */
	assert_int_equal(count_lines(text), 16);
	assert_non_null(strstr(text, "\"more\":3,"));
	for (int i = 0; i < 11; i++) {
		char *at = strstr(text, "\"outcome\":\"accepted\"");

		assert_non_null(at);
		assert_true(at < strstr(text, "\"event\":\"call\""));
		at[1] = 'O';
	}
	free(text);
	fclose(log);
}

/* ---- who is cut off ---- */

static FILE *open_log(struct fixture *f)
{
	FILE *log = tmpfile();
	struct err e;

	assert_non_null(log);
	assert_int_equal(fcntl(fileno(log), F_SETFL, O_APPEND), 0);
	assert_int_equal(audit_log_open(&f->worker, dup(fileno(log)), &e), 0);
	return log;
}

static char *close_log(struct fixture *f, FILE *log)
{
	char *text;

	audit_log_close(&f->worker);
	audit_free(f->worker.audit);
	f->worker.audit = NULL;
	text = read_all(log);
	fclose(log);
	return text;
}

/* A client whose certificate's text is known. */
static struct tls_ctx *client_of(struct fixture *f, struct pki_pair *pair)
{
	struct tls_material m;
	struct tls_ctx *ctx = NULL;
	struct err e;

	pki_issue(f->pki, &(struct pki_spec){.name = "mallory"}, pair);
	m = pki_material(pair, f->pki);
	assert_int_equal(tls_client_ctx_new(&ctx, &m, &e), 0);
	return ctx;
}

static void put_on_list(struct fixture *f, const char *certificate)
{
	char *pem = pki_revoke(f->pki, certificate, 1);
	struct crl *list;
	struct err e;

	f->worker.revoked = revoked_new(pki_ca(f->pki), strlen(pki_ca(f->pki)), &f->worker.config);
	assert_int_equal(revoked_read(f->worker.revoked, &list, pem, strlen(pem), &e), 0);
	assert_true(revoked_take(f->worker.revoked, list));
	free(pem);
}

static void who_is_revoked_is_cut_off_and_nobody_else(void **state)
{
	struct fixture *f = *state;
	struct tls_ctx *alice = f->client_tls;
	struct h2_conn *hers;
	struct pki_pair pair;
	FILE *log = open_log(f);
	char *text;

	connect_client(f);
	hers = f->client;
	f->client_tls = client_of(f, &pair);
	f->connected = false;
	connect_client(f);
	/* The client has what it needs before the agent has: a call is answered by both. */
	ask_health(f, "Watch");
	while (f->answers == 0)
		event_base_loop(f->worker.base, EVLOOP_NONBLOCK);
	assert_int_equal(sessions_cut_revoked(f->sessions), 0);
	put_on_list(f, pair.certificate);
	assert_int_equal(sessions_cut_revoked(f->sessions), 1);
	assert_true(run_until(f, &f->done));
	assert_true(run_until(f, &f->closed));
	run_until_empty_but(f, 1);
	assert_int_equal(sessions_cut_revoked(f->sessions), 0);
	/* One whose handshake was held against an older list. */
	f->connected = f->closed = false;
	connect_client(f);
	assert_true(run_until(f, &f->closed));
	run_until_empty_but(f, 1);
	/* The other is served. */
	f->client = hers;
	ask_health(f, "Check");
	assert_true(run_until(f, &f->done));
	assert_int_equal(f->status.code, RPC_OK);
	f->closed = false;
	text = close_log(f, log);
	assert_non_null(strstr(text, "\"event\":\"cut\""));
	assert_non_null(strstr(text, "its certificate is revoked"));
	assert_non_null(strstr(text, "\"outcome\":\"refused\""));
	free(text);
	pki_pair_free(&pair);
	tls_ctx_free(f->client_tls);
	f->client_tls = alice;
	revoked_free(f->worker.revoked);
	f->worker.revoked = NULL;
}

/* DATA that belongs to no stream. */
static void misbehave(struct fixture *f)
{
	static const uint8_t frame[] = {0, 0, 0, 0, 0, 0, 0, 0, 0};

	f->connected = f->closed = false;
	connect_client(f);
	assert_int_equal(bufferevent_write(h2_bufferevent(f->client), frame, sizeof(frame)), 0);
	assert_true(run_until(f, &f->closed));
	run_until_empty(f);
}

static void who_breaks_the_protocol_is_cut_off_and_waits(void **state)
{
	struct fixture *f = *state;
	FILE *log = open_log(f);
	char *text;
	int fd;

	misbehave(f);
	misbehave(f);
	/* One that waits for its turn is ended like any other. */
	fd = accept_one(f);
	assert_int_equal(sessions_count(f->sessions), 1);
	sessions_close(f->sessions);
	run_until_empty(f);
	assert_int_equal(f->ended, 3);
	close(fd);
	/* Who comes again is served, if later. */
	f->connected = f->closed = false;
	connect_client(f);
	ask_health(f, "Check");
	assert_true(run_until(f, &f->done));
	assert_int_equal(f->status.code, RPC_OK);
	text = close_log(f, log);
	assert_non_null(strstr(text, "\"event\":\"cut\""));
	free(text);
}

/* What cannot be written down does not happen. */
static void without_an_audit_log_nobody_is_let_in(void **state)
{
	struct fixture *f = *state;
	struct err e;
	int full = open("/dev/full", O_WRONLY | O_APPEND | O_CLOEXEC);

	assert_true(full >= 0);
	assert_int_equal(audit_log_open(&f->worker, full, &e), 0);
	connect_client(f);
	assert_true(run_until(f, &f->closed));
	run_until_empty(f);
	assert_int_equal(f->ended, 1);
	audit_log_close(&f->worker);
	audit_free(f->worker.audit);
	f->worker.audit = NULL;
}

/* False: the call was not there within the first one's time. */
static bool life_ends(struct fixture *f, int64_t first_call_ns)
{
	f->worker.config.first_call_ns = first_call_ns;
	f->ended = f->answers = 0;
	f->done = false;
	if (try_connect(f) && f->client != NULL) {
		ask_health(f, "Watch");
		assert_true(run_until(f, &f->done));
	}
	run_until_empty(f);
	assert_int_equal(f->ended, 1);
	return f->answers > 0 && f->goaway;
}

/* Where a connection has a life, it ends with it, whatever goes on. */
static void a_life_has_an_end(void **state)
{
	struct fixture *f = *state;
	int64_t first_call_ns = 2 * NS_PER_S;

	sessions_set_limits(f->sessions, 8, 1, 32);
	while (!life_ends(f, first_call_ns)) {
		first_call_ns *= 2;
		assert_true(first_call_ns < 60 * NS_PER_S);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_user_is_served),
	    TEST(what_is_not_tls_is_refused),
	    TEST(a_hang_up_in_the_handshake_is_the_end),
	    TEST(draining_lets_calls_go_on_and_idle_connections_end),
	    TEST(who_comes_to_a_draining_worker_is_sent_away_kindly),
	    TEST(a_connection_without_a_call_ends),
	    TEST(calls_that_are_refused_do_not_keep_a_connection),
	    TEST(a_life_begins_with_a_call),
	    TEST(a_handshake_that_goes_nowhere_ends),
	    TEST(one_call_is_enough_to_stay),
	    TEST(a_source_has_so_many_connections_and_no_more),
	    TEST(closing_ends_calls_and_handshakes),
	    TEST(who_fails_often_fills_no_disk),
	    TEST(who_may_do_nothing_fills_no_disk),
	    TEST(who_only_connects_fills_no_disk),
	    TEST(who_is_revoked_is_cut_off_and_nobody_else),
	    TEST(who_breaks_the_protocol_is_cut_off_and_waits),
	    TEST(without_an_audit_log_nobody_is_let_in),
	    TEST(a_life_has_an_end),
	};

	return cmocka_run_group_tests_name("worker_session", tests, NULL, NULL);
}
