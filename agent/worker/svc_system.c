/* SPDX-License-Identifier: Apache-2.0 */
/* SystemService: what the agent and its machine are. */
#include "config.h"

#include <stdint.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "agent/worker/keeper_client.h"
#include "agent/worker/process_reply.h"
#include "agent/worker/services.h"
#include "agent/worker/worker.h"
#include "telex/v1/system.pb-c.h"

static void fill_machine(Telex__V1__Machine *m, struct utsname *names)
{
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);

	telex__v1__machine__init(m);
	if (uname(names) == 0) {
		m->hostname = names->nodename;
		m->system = names->sysname;
		m->kernel = names->release;
		m->architecture = names->machine;
	}
	m->processors = processors > 0 ? (uint32_t)processors : 0;
	if (pages > 0 && page > 0)
		m->memory_bytes = (uint64_t)pages * (uint64_t)page;
}

static void fill_limits(Telex__V1__Limits *l, const struct worker *w)
{
	telex__v1__limits__init(l);
	l->max_message_bytes = WORKER_MAX_MESSAGE;
	l->max_concurrent_streams = WORKER_MAX_STREAMS;
	l->max_processes = w->config.max_processes;
	l->output_buffer_bytes = w->config.output_buffer;
	l->max_output_buffer_bytes = w->config.max_output_buffer;
	l->max_spool_bytes = w->config.max_spool;
	l->max_ended_processes = w->config.max_ended;
}

static void fill_tls(Telex__V1__TlsInfo *t, const struct peer *peer)
{
	telex__v1__tls_info__init(t);
	if (peer->tls.version == NULL)
		return;
	t->version = (char *)peer->tls.version;
	t->cipher = (char *)peer->tls.cipher;
	t->group = (char *)peer->tls.group;
}

#define WORDS_MAX 8

/* As system.proto lists them. `words` holds them. */
static void fill_capabilities(
    Telex__V1__GetInfoResponse *r, const struct worker *w, char *words[WORDS_MAX])
{
	static const struct {
		uint32_t can;
		const char *word;
	} all[] = {
	    {KM_CAN_TREE_CGROUP2, "tree-kill-cgroup2"},
	    {KM_CAN_TREE_CGROUP1, "tree-kill-cgroup1"},
	    {KM_CAN_TREE_BEST_EFFORT, "tree-kill-best-effort"},
	    {KM_CAN_LIMIT_MEMORY, "limit-memory"},
	    {KM_CAN_LIMIT_CPU, "limit-cpu"},
	    {KM_CAN_LIMIT_PIDS, "limit-pids"},
	};
	size_t n = 0;

	/* Only a keeper that was root when it started this worker can run processes as somebody
	 * else. */
	if (w->config.drop)
		words[n++] = (char *)(uintptr_t) "user-switching";
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if ((w->config.can & all[i].can) != 0)
			words[n++] = (char *)(uintptr_t)all[i].word;
	r->capabilities = words;
	r->n_capabilities = n;
}

static void send_info(struct rpc_call *c, uint32_t processes)
{
	Telex__V1__GetInfoResponse r = TELEX__V1__GET_INFO_RESPONSE__INIT;
	struct worker *w = rpc_call_context(c);
	struct peer *peer = rpc_call_peer(c);
	Google__Protobuf__Timestamp start;
	Telex__V1__Machine machine;
	Telex__V1__Limits limits;
	Telex__V1__TlsInfo tls;
	char *words[WORDS_MAX];
	struct utsname names;

	fill_machine(&machine, &names);
	fill_limits(&limits, w);
	fill_tls(&tls, peer);
	fill_capabilities(&r, w, words);
	process_reply_time(&start, w->config.keeper_start_ns);
	r.version = (char *)PACKAGE_VERSION;
	r.agent_identity = w->agent_identity;
	r.client_identity = peer->identity;
	r.machine = &machine;
	r.default_user = w->config.default_user;
	r.start_time = &start;
	r.workers = w->config.workers;
	r.processes = processes;
	r.limits = &limits;
	r.tls = &tls;
	rpc_send(c, &r.base);
	rpc_finish(c, NULL);
}

static void on_answer(const union km_any *msg, int fd, void *arg)
{
	struct rpc_call *c = arg;
	struct rpc_status status;

	(void)fd;
	rpc_call_set_data(c, NULL);
	if (msg != NULL && msg->hdr.type == KM_INFO_REPLY) {
		send_info(c, msg->info_reply.processes);
		return;
	}
	if (msg != NULL && msg->hdr.type == KM_REFUSED)
		process_reply_refused(&status, &msg->refused);
	else
		process_reply_gone(&status);
	rpc_finish(c, &status);
}

static void get_info(struct rpc_call *c, const ProtobufCMessage *msg)
{
	const struct worker *w = rpc_call_context(c);
	struct keeper_call *asked = NULL;
	struct km_info m = {0};
	struct rpc_status status;
	int rc = keeper_call(w->keeper, KM_INFO, &m, -1, on_answer, c, &asked);

	(void)msg;
	rpc_call_set_data(c, asked);
	if (rc < 0) {
		process_reply_link(&status, rc);
		rpc_finish(c, &status);
	}
}

static void closed(struct rpc_call *c)
{
	keeper_call_forget(rpc_call_data(c));
}

static const struct rpc_method methods[] = {{
    .name = "GetInfo",
    .request = &telex__v1__get_info_request__descriptor,
    .response = &telex__v1__get_info_response__descriptor,
    .message = get_info,
    .closed = closed,
}};

const struct rpc_service svc_system = {"telex.v1.SystemService", methods, 1};
