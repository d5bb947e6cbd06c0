/* SPDX-License-Identifier: Apache-2.0 */
/* One helper, from the asking of the keeper to its end. */
#include <assert.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/worker/authz.h"
#include "agent/worker/file_pool_internal.h"
#include "agent/worker/keeper_client.h"
#include "agent/worker/process_reply.h"
#include "agent/worker/worker.h"
#include "common/digest.h"
#include "common/files_frame.h"
#include "common/log.h"
#include "common/mem.h"

_Static_assert(KM_HASH_SIZE == DIGEST_SIZE, "the key of a setup");

#define IDLE_S 60

void file_helper_free(struct file_helper *h)
{
	TAILQ_REMOVE(&h->pool->helpers, h, entry);
	keeper_call_forget(h->asked);
	file_link_free(h->link);
	if (h->idle != NULL)
		event_free(h->idle);
	free(h->setup);
	free(h->use.user);
	free(h);
}

/* One that never came to be lent. Where others of its user's run, these are waited for. */
static void fail_start(struct file_helper *h, const struct rpc_status *why)
{
	struct file_use use = h->use;
	struct file_pool *p = h->pool;

	h->use.user = NULL;
	file_helper_free(h);
	file_pool_fail(p, &use, why);
	free(use.user);
}

static void set_died(struct rpc_status *status)
{
	rpc_status_set(status, RPC_ABORTED, "HELPER_DIED",
	    "the agent's process for files has ended; try again");
}

static void keep_confinement(struct worker *w, const Telex__Internal__V1__FilesReady *m)
{
	struct confine_report *r = &w->files_confinement;

	r->n = 0;
	for (size_t i = 0; i < m->n_confinements && i < CONFINE_MEASURES_MAX; i++) {
		const Telex__V1__Confinement *from = m->confinements[i];
		struct confine_measure *to = &r->list[r->n++];

		snprintf(w->files_measures[i], sizeof(w->files_measures[i]), "%s", from->name);
		to->name = w->files_measures[i];
		to->in_force = from->in_force;
		snprintf(to->note, sizeof(to->note), "%s", from->note);
	}
}

static void make_idle(struct file_helper *h)
{
	const struct timeval limit = {IDLE_S, 0};

	h->state = HELPER_IDLE;
	h->to = NULL;
	if (event_add(h->idle, &limit) != 0)
		abort();
	file_pool_poke(h->pool);
}

static void on_idle(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	file_helper_free(arg);
}

/* ---- its link ---- */

static void on_message(struct evbuffer *msg, void *arg)
{
	struct file_helper *h = arg;

	if (h->state == HELPER_LENT)
		h->to->message(msg, h->arg);
	else
		log_warn("telex-files answers what nobody asked");
}

static void on_ready(const Telex__Internal__V1__FilesReady *m, void *arg)
{
	struct file_helper *h = arg;

	if (h->state != HELPER_STARTING)
		return;
	/* GetInfo tells of those that work on files: that is the wider one. */
	if (h->use.watch == 0)
		keep_confinement(h->pool->worker, m);
	make_idle(h);
}

static void on_status(const Telex__Internal__V1__FilesStatus *m, void *arg)
{
	struct file_helper *h = arg;
	struct rpc_status status;

	if (h->state == HELPER_LENT) {
		h->to->status(m, h->arg);
	} else if (h->state == HELPER_STARTING) {
		file_link_status(&status, m);
		fail_start(h, &status);
	}
}

static void on_sent(size_t n, void *arg)
{
	struct file_helper *h = arg;

	if (h->state == HELPER_LENT)
		h->to->sent(n, h->arg);
}

static void on_drained(void *arg)
{
	struct file_helper *h = arg;

	if (h->state == HELPER_RETURNING)
		make_idle(h);
}

static void on_lost(void *arg)
{
	struct file_helper *h = arg;
	struct rpc_status status;

	set_died(&status);
	if (h->state == HELPER_LENT) {
		h->to->lost(h->arg);
	} else if (h->state == HELPER_STARTING) {
		fail_start(h, &status);
	} else {
		struct file_pool *p = h->pool;

		file_helper_free(h);
		file_pool_poke(p);
	}
}

static const struct file_link_ops link_ops = {.message = on_message,
    .ready = on_ready,
    .status = on_status,
    .sent = on_sent,
    .drained = on_drained,
    .lost = on_lost};

/* ---- starting one ---- */

static void refused(struct rpc_status *out, const union km_any *msg)
{
	if (msg == NULL)
		process_reply_gone(out);
	else if (msg->hdr.type == KM_REFUSED)
		process_reply_refused(out, &msg->refused);
	else
		rpc_status_set(
		    out, RPC_INTERNAL, "SYSTEM", "the agent gave an answer of the wrong kind");
}

static void on_answer(const union km_any *msg, int fd, void *arg)
{
	struct file_helper *h = arg;
	struct rpc_status status;
	int own;

	h->asked = NULL;
	if (msg == NULL || msg->hdr.type != KM_FILES_REPLY) {
		refused(&status, msg);
		fail_start(h, &status);
		return;
	}
	own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (own < 0) {
		rpc_status_set(&status, RPC_RESOURCE_EXHAUSTED, "LIMIT",
		    "the agent's worker is out of file descriptors");
		fail_start(h, &status);
		return;
	}
	memcpy(h->home, msg->files_reply.home, sizeof(h->home));
	h->link = file_link_new(h->pool->worker->base, own, &link_ops, h);
	(void)file_link_send(h->link, FILES_SETUP, h->setup, h->setup_len);
	free(h->setup);
	h->setup = NULL;
}

static char **as_texts(const char *const *list, size_t *n)
{
	for (*n = 0; list != NULL && list[*n] != NULL; ++*n)
		;
	return (char **)(uintptr_t)list;
}

/* Of the roles that the ticket's caller has; packed. */
static void pack_setup(struct file_helper *h, struct rpc_call *c)
{
	Telex__Internal__V1__FilesSetup m = TELEX__INTERNAL__V1__FILES_SETUP__INIT;
	const struct worker *w = h->pool->worker;
	struct policy_file_role *roles;
	size_t n = authz_file_roles(c, h->use.user, &roles);
	Telex__Internal__V1__FilesRole *list = xcalloc(n + 1, sizeof(*list));
	Telex__Internal__V1__FilesRole **of = xcalloc(n + 1, sizeof(*of));

	for (size_t i = 0; i < n; i++) {
		telex__internal__v1__files_role__init(&list[i]);
		list[i].read = as_texts(roles[i].read, &list[i].n_read);
		list[i].write = as_texts(roles[i].write, &list[i].n_write);
		list[i].watch = as_texts(roles[i].watch, &list[i].n_watch);
		list[i].max_upload_bytes = roles[i].max_upload;
		list[i].max_upload_files = roles[i].max_upload_files;
		list[i].max_unfinished = roles[i].max_unfinished;
		of[i] = &list[i];
	}
	m.roles = of;
	m.n_roles = n;
	m.log_level = w->config.log_level;
	m.log_json = w->config.log_json != 0;
	h->setup_len = telex__internal__v1__files_setup__get_packed_size(&m);
	h->setup = xmalloc(h->setup_len + 1);
	telex__internal__v1__files_setup__pack(&m, h->setup);
	free(of);
	free(list);
	free(roles);
}

static void hash_setup(const struct file_helper *h, uint8_t out[DIGEST_SIZE])
{
	struct digest *d = digest_new();

	if (d == NULL || digest_add(d, h->setup, h->setup_len) != 0 || digest_end(d, out) != 0)
		abort();
	digest_free(d);
}

static int ask_keeper(struct file_helper *h, struct rpc_call *c)
{
	const struct peer *peer = rpc_call_peer(c);
	struct km_files m = {.watch = h->use.watch != 0};

	snprintf(m.owner, sizeof(m.owner), "%s", peer->identity);
	snprintf(m.user, sizeof(m.user), "%s", h->use.user);
	if (m.watch != 0)
		hash_setup(h, m.key);
	return keeper_call(h->pool->worker->keeper, KM_FILES, &m, -1, on_answer, h, &h->asked);
}

void file_helper_start(struct file_pool *p, const struct file_ticket *t)
{
	struct file_helper *h = xcalloc(1, sizeof(*h));
	struct rpc_status status;
	int rc;

	h->pool = p;
	h->state = HELPER_STARTING;
	h->use = (struct file_use){xstrdup(t->use.user), t->use.watch};
	h->idle = evtimer_new(p->worker->base, on_idle, h);
	if (h->idle == NULL)
		abort();
	TAILQ_INSERT_TAIL(&p->helpers, h, entry);
	pack_setup(h, t->call);
	if (h->setup_len > FILES_FRAME_MAX) {
		rpc_status_set(&status, RPC_RESOURCE_EXHAUSTED, "LIMIT", "the policy is too long");
		fail_start(h, &status);
		return;
	}
	rc = ask_keeper(h, t->call);
	if (rc == 0)
		return;
	process_reply_link(&status, rc);
	fail_start(h, &status);
}

/* ---- lent ---- */

void file_helper_lend(struct file_helper *h, const struct file_borrower *to, void *arg)
{
	h->to = to;
	h->arg = arg;
}

struct file_link *file_helper_link(struct file_helper *h)
{
	return h->link;
}

const char *file_helper_home(const struct file_helper *h)
{
	return h->home;
}

void file_helper_return(struct file_helper *h)
{
	assert(h->state == HELPER_LENT);
	if (h->use.watch != 0) {
		file_helper_free(h);
		return;
	}
	file_link_pause(h->link, false);
	h->state = HELPER_RETURNING;
	h->to = NULL;
	if (file_link_is_drained(h->link))
		make_idle(h);
}

void file_helper_end(struct file_helper *h)
{
	struct file_pool *p = h->pool;

	file_helper_free(h);
	file_pool_poke(p);
}
