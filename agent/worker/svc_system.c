/* SPDX-License-Identifier: Apache-2.0 */
/* SystemService: what the agent and its machine are. */
#include "config.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/worker/authz.h"
#include "agent/worker/keeper_client.h"
#include "agent/worker/process_reply.h"
#include "agent/worker/revoked.h"
#include "agent/worker/services.h"
#include "agent/worker/worker.h"
#include "common/audit.h"
#include "common/duration.h"
#include "telex/v1/system.pb-c.h"

void svc_system_look(struct worker *w)
{
	w->processors = sysconf(_SC_NPROCESSORS_ONLN);
	w->pages = sysconf(_SC_PHYS_PAGES);
	w->page_size = sysconf(_SC_PAGESIZE);
	if (uname(&w->names) != 0)
		memset(&w->names, 0, sizeof(w->names));
}

static void fill_machine(Telex__V1__Machine *m, struct worker *w)
{
	telex__v1__machine__init(m);
	m->hostname = w->names.nodename;
	m->system = w->names.sysname;
	m->kernel = w->names.release;
	m->architecture = w->names.machine;
	m->processors = w->processors > 0 ? (uint32_t)w->processors : 0;
	if (w->pages > 0 && w->page_size > 0)
		m->memory_bytes = (uint64_t)w->pages * (uint64_t)w->page_size;
}

#define GROUPS_MAX 8

/* What a SecurityInfo points to. */
struct security {
	Telex__V1__SecurityInfo info;
	Telex__V1__Confinement list[CONFINE_MEASURES_MAX + 1], *of[CONFINE_MEASURES_MAX + 1];
	Telex__V1__Confinement files[CONFINE_MEASURES_MAX], *of_files[CONFINE_MEASURES_MAX];
	char ceiling[128];
	char text[128], *groups[GROUPS_MAX];
	Google__Protobuf__Timestamp not_after, revocations_time;
};

/* "*A:B" without the marks of OpenSSL's notation. */
static void fill_groups(struct security *s, const char *groups)
{
	char *rest = s->text, *word;

	snprintf(s->text, sizeof(s->text), "%s", groups != NULL ? groups : "");
	while ((word = strsep(&rest, ":")) != NULL && s->info.n_groups < GROUPS_MAX)
		if (word[0] != '\0')
			s->groups[s->info.n_groups++] = word + (word[0] == '*');
	s->info.groups = s->groups;
}

static void fill_revocations(struct security *s, const struct worker *w)
{
	const struct revoked *r = w->revoked;

	s->info.revocations_when_stale =
	    (char *)(uintptr_t)(w->config.revocations_stale == KM_STALE_WARN ? "warn"
	                                                                     : "fail-closed");
	if (r == NULL)
		return;
	s->info.revocations_stale = revoked_stale(r);
	if (revoked_number(r) < 0)
		return;
	s->info.revocations_number = revoked_number(r);
	s->info.revocations_count = (uint32_t)revoked_count(r);
	process_reply_time(&s->revocations_time, revoked_time(r) * NS_PER_S);
	s->info.revocations_time = &s->revocations_time;
}

static void fill_measures(
    Telex__V1__Confinement *list, Telex__V1__Confinement **of, struct confine_report *r)
{
	for (size_t i = 0; i < r->n; i++) {
		struct confine_measure *m = &r->list[i];

		telex__v1__confinement__init(&list[i]);
		list[i].name = (char *)(uintptr_t)m->name;
		list[i].in_force = m->in_force;
		list[i].note = m->note;
		of[i] = &list[i];
	}
}

/* After the measures: it is the keeper's, and holds for every worker. */
static void fill_ceiling(struct security *s, const struct worker *w)
{
	size_t n = s->info.n_confinements++;

	telex__v1__confinement__init(&s->list[n]);
	s->list[n].name = (char *)(uintptr_t) "ceiling";
	s->list[n].in_force = authz_ceiling(w->authz, s->ceiling, sizeof(s->ceiling));
	s->list[n].note = s->ceiling;
	s->of[n] = &s->list[n];
}

static void fill_security(struct security *s, struct worker *w)
{
	memset(s, 0, sizeof(*s));
	telex__v1__security_info__init(&s->info);
	fill_measures(s->list, s->of, &w->confinement);
	s->info.confinements = s->of;
	s->info.n_confinements = w->confinement.n;
	fill_ceiling(s, w);
	fill_measures(s->files, s->of_files, &w->files_confinement);
	s->info.file_confinements = s->of_files;
	s->info.n_file_confinements = w->files_confinement.n;
	fill_groups(s, w->groups);
	fill_revocations(s, w);
	if (w->certificate_not_after != 0) {
		process_reply_time(&s->not_after, w->certificate_not_after * NS_PER_S);
		s->info.certificate_not_after = &s->not_after;
	}
	s->info.audit_dropped = audit_lost(w->audit);
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

#define WORDS_MAX 10

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
	if (authz_has_files(w->authz)) {
		words[n++] = (char *)(uintptr_t) "files";
		words[n++] = (char *)(uintptr_t) "watch";
	}
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
	struct security security;

	fill_machine(&machine, w);
	fill_security(&security, w);
	r.security = &security.info;
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
