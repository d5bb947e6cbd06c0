/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/watch/watch_conn.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/files/files_status.h"
#include "agent/watch/watch_conn_internal.h"
#include "common/digest.h"
#include "common/log.h"
#include "common/rpc_arena.h"

#define LOW (WATCH_CONN_FULL / 4) /* the call may go on */

/* ---- its end ---- */

struct watch_conn *watch_conn_new(struct watch_conns *all, int fd)
{
	struct watch_conn *c = calloc(1, sizeof(*c));

	if (c == NULL) {
		close(fd);
		return NULL;
	}
	c->all = all;
	c->fd = fd;
	c->state = CONN_SETUP;
	return c;
}

void watch_conn_free(struct watch_conn *c)
{
	if (c == NULL)
		return;
	watch_client_free(c->client);
	watch_conn_clear(c);
	close(c->fd);
	free(c);
}

int watch_conn_fd(const struct watch_conn *c)
{
	return c->fd;
}

bool watch_conn_is_over(const struct watch_conn *c)
{
	return c->broken;
}

void watch_conn_refuse(struct watch_conn *c, const struct rpc_status *status)
{
	struct files_status s;

	files_status_fill(&s, status, "");
	watch_conn_put(c, FILES_STATUS, &s.m.base);
	c->state = CONN_OVER;
}

static void refuse_as_wrong(struct watch_conn *c, const char *what)
{
	struct rpc_status status;

	rpc_status_set(&status, RPC_INVALID_ARGUMENT, "BAD_REQUEST", "%s", what);
	watch_conn_refuse(c, &status);
}

/* ---- the call's ---- */

static bool on_send(const Telex__V1__WatchResponse *m, void *arg)
{
	struct watch_conn *c = arg;

	watch_conn_put(c, FILES_MESSAGE, &m->base);
	if (watch_conn_pending(c) < WATCH_CONN_FULL)
		return true;
	c->full = true;
	return false;
}

static void end_call(struct watch_conn *c, const struct rpc_status *status)
{
	watch_client_free(c->client);
	c->client = NULL;
	watch_conn_refuse(c, status);
}

static void on_finish(const struct rpc_status *status, void *arg)
{
	end_call(arg, status);
}

static const struct watch_client_ops client_ops = {on_send, on_finish};

/* ---- frames ---- */

/* Whether it is the one with the key. */
static bool is_the_setup(const struct watch_conn *c, const uint8_t *body, size_t len)
{
	uint8_t hash[DIGEST_SIZE];
	struct digest *d = digest_new();
	bool yes = d != NULL && digest_add(d, body, len) == 0 && digest_end(d, hash) == 0 &&
	           memcmp(hash, c->all->serve->key, sizeof(hash)) == 0;

	digest_free(d);
	return yes;
}

static int lock_in(struct watch_conn *c, const uint8_t *body, size_t len)
{
	const struct watch_serve *s = c->all->serve;
	Telex__Internal__V1__FilesSetup *m =
	    telex__internal__v1__files_setup__unpack(NULL, len, body);
	int rc = m != NULL ? s->ops->lock_in(m, s->arg, &c->all->failure)
	                   : err_set(&c->all->failure, TX_EPROTO, "the setup is none");

	if (m != NULL)
		telex__internal__v1__files_setup__free_unpacked(m, NULL);
	c->all->locked_in = rc == 0;
	return rc;
}

static void take_setup(struct watch_conn *c, const uint8_t *body, size_t len)
{
	const struct watch_serve *s = c->all->serve;
	struct rpc_status status;

	if (!is_the_setup(c, body, len)) {
		log_warn("a connection is refused: its setup is not that of this process");
		rpc_status_set(&status, RPC_INTERNAL, "SYSTEM",
		    "telex-files: the setup is not that of this process");
		watch_conn_refuse(c, &status);
	} else if (!c->all->locked_in && lock_in(c, body, len) < 0) {
		rpc_status_set(
		    &status, RPC_INTERNAL, "SYSTEM", "telex-files: %s", c->all->failure.message);
		watch_conn_refuse(c, &status);
	} else {
		watch_conn_put(c, FILES_READY, &s->ops->ready(s->arg)->base);
		c->state = CONN_CALL;
	}
}

static void take_call(struct watch_conn *c, const uint8_t *body, size_t len)
{
	const struct watch_serve *s = c->all->serve;
	Telex__Internal__V1__FilesCall *m =
	    telex__internal__v1__files_call__unpack(NULL, len, body);
	struct rpc_status status;

	if (m != NULL)
		c->roots = s->ops->role(m->role, s->arg);
	if (m == NULL || c->roots == NULL) {
		c->broken = true;
	} else if (strcmp(m->method, "Watch") != 0) {
		rpc_status_set(&status, RPC_UNIMPLEMENTED, "NO_SUCH_METHOD",
		    "this agent does not serve %.64s", m->method);
		watch_conn_refuse(c, &status);
	} else {
		c->state = CONN_BEGIN;
	}
	if (m != NULL)
		telex__internal__v1__files_call__free_unpacked(m, NULL);
}

static void begin(struct watch_conn *c, const Telex__V1__WatchRequest *m)
{
	struct rpc_status status;

	if (m->request_case != TELEX__V1__WATCH_REQUEST__REQUEST_BEGIN) {
		refuse_as_wrong(c, "the first message is not `begin`");
		return;
	}
	rpc_status_set(&status, RPC_OK, NULL, "%s", "");
	c->client =
	    watch_client_new(c->all->serve->watcher, c->roots, m->begin, &client_ops, c, &status);
	if (c->client != NULL)
		c->state = CONN_RUNNING;
	else
		watch_conn_refuse(c, &status);
}

static void go_on(struct watch_conn *c, const Telex__V1__WatchRequest *m)
{
	struct rpc_status status;

	if (m->request_case == TELEX__V1__WATCH_REQUEST__REQUEST_BEGIN) {
		rpc_status_set(&status, RPC_INVALID_ARGUMENT, "BAD_REQUEST",
		    "`begin` is for the first message alone");
		end_call(c, &status);
	} else if (watch_client_message(c->client, m, &status) < 0) {
		end_call(c, &status);
	}
}

static void take_message(struct watch_conn *c, const uint8_t *body, size_t len)
{
	struct rpc_arena arena = {0};
	const Telex__V1__WatchRequest *m = (const Telex__V1__WatchRequest *)rpc_arena_unpack(
	    &arena, &telex__v1__watch_request__descriptor, body, len);
	struct rpc_status status;

	if (m == NULL) {
		rpc_status_set(&status, RPC_INVALID_ARGUMENT, "BAD_REQUEST",
		    "a message is not a valid telex.v1.WatchRequest");
		end_call(c, &status);
	} else if (c->state == CONN_BEGIN) {
		begin(c, m);
	} else {
		go_on(c, m);
	}
	rpc_arena_clear(&arena);
}

static void take_half_close(struct watch_conn *c)
{
	c->half_closed = true;
	if (c->state == CONN_BEGIN)
		refuse_as_wrong(c, "Watch takes a request, and none came");
	else
		watch_client_half_closed(c->client);
}

/* One that nobody of ours would send ends the connection. */
static void take(struct watch_conn *c, const struct files_frame *head, const uint8_t *body)
{
	bool serving = c->state == CONN_BEGIN || c->state == CONN_RUNNING;

	if (c->state == CONN_SETUP && head->type == FILES_SETUP)
		take_setup(c, body, head->length);
	else if (c->state == CONN_CALL && head->type == FILES_CALL)
		take_call(c, body, head->length);
	else if (serving && head->type == FILES_MESSAGE && !c->half_closed)
		take_message(c, body, head->length);
	else if (serving && head->type == FILES_HALF_CLOSE && head->length == 0 && !c->half_closed)
		take_half_close(c);
	else if (c->state != CONN_OVER)
		c->broken = true;
}

/* ---- the loop's ---- */

static void obey(struct watch_conn *c)
{
	struct files_frame head = {0, 0};
	const uint8_t *body = NULL;

	while (!c->full && watch_conn_next(c, &head, &body))
		take(c, &head, body);
}

short watch_conn_events(const struct watch_conn *c)
{
	return (short)((c->full ? 0 : POLLIN) | (watch_conn_pending(c) > 0 ? POLLOUT : 0));
}

void watch_conn_turn(struct watch_conn *c, short revents)
{
	if ((revents & (POLLERR | POLLNVAL)) != 0 || (c->full && (revents & POLLHUP) != 0))
		c->broken = true;
	else if (!c->full && (revents & (POLLIN | POLLHUP)) != 0)
		watch_conn_read(c);
	if (!c->broken)
		obey(c);
}

void watch_conn_flush(struct watch_conn *c)
{
	watch_conn_write(c);
	if (c->broken || !c->full || watch_conn_pending(c) > LOW)
		return;
	c->full = false;
	if (c->client != NULL)
		watch_client_writable(c->client);
	obey(c);
}
