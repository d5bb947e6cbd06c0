/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/worker_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/worker/authz.h"
#include "agent/worker/file_pool.h"
#include "agent/worker/revoked.h"
#include "agent/worker/services.h"

static void require(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "worker_rig: %s\n", what);
	abort();
}

static int control(const union km_any *msg, int *fds, size_t n_fds, void *arg)
{
	struct worker_rig *rig = arg;

	for (size_t i = 0; i < n_fds; i++)
		close(fds[i]);
	if (msg->hdr.type == KM_CONFIG)
		rig->worker.config = msg->config;
	if (msg->hdr.type == KM_CONFIG && msg->config.default_user[0] == '\0')
		snprintf(rig->worker.config.default_user, KM_USER_SIZE, "%s", RIG_DEFAULT_USER);
	if (msg->hdr.type == KM_GO)
		keeper_client_ready(rig->worker.keeper);
	return 0;
}

static void lost(const struct err *why, void *arg)
{
	struct worker_rig *rig = arg;

	(void)why;
	rig->keeper_lost = true;
}

static void finished(struct rpc_call *c, const char *path, const struct rpc_status *status)
{
	struct peer *p = rpc_call_peer(c);

	(void)path;
	p->last_code = status->code;
}

static int on_stream(struct h2_conn *c, struct h2_stream *s, void *arg)
{
	struct worker_rig *rig = arg;

	(void)c;
	return rpc_server_stream(rig->server, s, &rig->peer);
}

void worker_rig_settle(struct worker_rig *rig)
{
	h2_pair_settle(&rig->pair);
}

static void on_problem(const char *text, void *arg)
{
	(void)arg;
	fprintf(stderr, "worker_rig: %s\n", text);
}

void worker_rig_policy(struct worker_rig *rig, const char *text)
{
	char *example = text == NULL ? policy_example(RIG_USER) : NULL;
	struct policy *p = NULL;

	if (text == NULL)
		text = example;
	require(text != NULL, "no policy");
	require(policy_parse(&p, text, strlen(text), "policy", on_problem, NULL) == 0, "policy");
	free(example);
	authz_free(rig->worker.authz);
	rig->worker.authz = authz_new_policy(p);
}

void worker_rig_init(struct worker_rig *rig)
{
	static const struct keeper_client_ops keeper_ops = {.control = control, .lost = lost};
	static const struct h2_conn_ops h2_ops = {.on_stream = on_stream};
	const struct rpc_server_config cfg = {
	    .services = services_all,
	    .n_services = SERVICES_COUNT,
	    .finished = finished,
	    .context = &rig->worker,
	};
	union km_any ready;
	struct err e;
	int fd;

	memset(rig, 0, sizeof(*rig));
	h2_pair_init(&rig->pair);
	rig->worker.base = rig->pair.base;
	svc_system_look(&rig->worker);
	snprintf(rig->peer.identity, sizeof(rig->peer.identity), RIG_USER);
	worker_rig_policy(rig, NULL);
	rig->worker.revoked = revoked_new("", 0, &rig->worker.config);
	rig->keeper = fake_keeper_new(rig->pair.base, &fd);
	require(
	    keeper_client_new(&rig->worker.keeper, rig->pair.base, fd, &keeper_ops, rig, &e) == 0,
	    "no link");
	fake_keeper_configure(rig->keeper);
	require(rpc_server_new(&rig->server, rig->pair.base, &cfg) == 0, "no server");
	h2_pair_start(&rig->pair, &rig->pair.server, NULL, &h2_ops, rig);
	h2_pair_start(&rig->pair, &rig->pair.client, NULL, NULL, NULL);
	worker_rig_settle(rig);
	require(fake_keeper_take(rig->keeper, KM_READY, &ready, NULL), "the worker is not ready");
}

void worker_rig_free(struct worker_rig *rig)
{
	struct err why = {0};

	if (rig->pair.client.conn != NULL)
		h2_close(rig->pair.client.conn, H2_NO_ERROR);
	worker_rig_settle(rig);
	file_pool_free(rig->peer.files);
	require(!fake_keeper_lost(rig->keeper, &why) || why.code == TX_ECLOSED, why.message);
	fake_keeper_free(rig->keeper);
	worker_rig_settle(rig);
	keeper_client_free(rig->worker.keeper);
	h2_pair_free(&rig->pair);
	rpc_server_free(rig->server);
	revoked_free(rig->worker.revoked);
	authz_free(rig->worker.authz);
	svc_reflection_cleanup();
}
