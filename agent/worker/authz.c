/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/worker/authz.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/worker/audit_log.h"
#include "agent/worker/file_request.h"
#include "agent/worker/rates.h"
#include "agent/worker/worker.h"
#include "common/ceiling.h"
#include "common/job_spec.h"
#include "common/log.h"
#include "common/mem.h"

#define ORIGINAL     "TELEX_ORIGINAL_COMMAND="
#define ORIGINAL_MAX ((size_t)64 << 10) /* the kernel takes 128 KiB in one string */

struct authz {
	struct policy *policy;
	struct ceiling ceiling;
	struct rates *rates;
};

/* ---- the policy ---- */

static void on_problem(const char *text, void *arg)
{
	struct err *e = arg;

	log_error("%s", text);
	if (e->code == 0)
		err_set(e, TX_EINVAL, "%s", text);
}

struct authz *authz_new_policy(struct policy *p)
{
	struct authz *a = xcalloc(1, sizeof(*a));

	a->policy = p;
	ceiling_init(&a->ceiling);
	a->rates = rates_new();
	return a;
}

static int read_ceiling(struct ceiling *c, int fd, struct err *e)
{
	uint8_t *data = xmalloc(CEILING_PACKED_MAX + 1);
	ssize_t n;
	int rc;

	do
		n = pread(fd, data, CEILING_PACKED_MAX + 1, 0);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		rc = err_sys(e, errno, "ceiling");
	else
		rc = ceiling_unpack(c, data, (size_t)n, e);
	free(data);
	return rc;
}

int authz_new(
    struct authz **out, const char *policy_name, int policy_fd, int ceiling_fd, struct err *e)
{
	struct policy *p = NULL;
	struct authz *a;
	struct err why = {0};
	int rc;

	if (policy_fd < 0)
		return err_set(
		    e, TX_ESTATE, "policy: there is none to read; `telex policy init` writes one");
	rc = policy_read(&p, policy_fd, policy_name, on_problem, &why);
	if (rc < 0)
		return err_set(e, rc, "%s", why.code != 0 ? why.message : "policy: out of memory");
	log_info("policy: %zu roles, %zu grants", policy_role_count(p), policy_grant_count(p));
	a = authz_new_policy(p);
	rc = ceiling_fd >= 0 ? read_ceiling(&a->ceiling, ceiling_fd, e) : 0;
	if (rc == 0)
		*out = a;
	else
		authz_free(a);
	return rc;
}

void authz_free(struct authz *a)
{
	if (a == NULL)
		return;
	policy_free(a->policy);
	ceiling_clear(&a->ceiling);
	rates_free(a->rates);
	free(a);
}

/* ---- decisions ---- */

static int deny(
    const struct policy_request *r, const struct policy_decision *d, struct rpc_status *refuse)
{
	rpc_status_set(refuse, RPC_PERMISSION_DENIED, "NOT_ALLOWED", "%s (%s)", d->why, d->rule);
	rpc_status_meta(refuse, "identity", "%s", r->identity);
	rpc_status_meta(refuse, "method", "%s", r->method);
	rpc_status_meta(refuse, "rule", "%s", d->rule);
	return TX_EPERM;
}

/* A call that began is refused for its request: that is written down. */
static int deny_request(struct rpc_call *c, const struct policy_request *r,
    const struct policy_decision *d, struct rpc_status *refuse)
{
	deny(r, d, refuse);
	return audit_log_denied(c, d->rule, refuse);
}

/* The policy would have it. */
static int deny_ceiling(struct rpc_call *c, const struct policy_request *r,
    struct policy_decision *d, const struct err *e, struct rpc_status *refuse)
{
	d->allowed = false;
	snprintf(d->rule, sizeof(d->rule), "the agent's ceiling");
	snprintf(d->why, sizeof(d->why), "%s", e->message);
	return deny_request(c, r, d, refuse);
}

int authz_call(struct authz *a, const char *identity, const char *service, const char *method,
    char rule[POLICY_RULE_SIZE], struct rpc_status *refuse)
{
	char path[160];
	struct policy_request r = {.identity = identity, .method = path};
	struct policy_decision d;

	rule[0] = '\0';
	if (identity == NULL || identity[0] == '\0') {
		rpc_status_set(refuse, RPC_UNAUTHENTICATED, "NO_IDENTITY",
		    "the client certificate names no identity");
		return TX_EPERM;
	}
	snprintf(path, sizeof(path), "%s/%s", service, method);
	policy_decide(a != NULL ? a->policy : NULL, &r, &d);
	memcpy(rule, d.rule, POLICY_RULE_SIZE);
	if (a == NULL || !d.allowed)
		return deny(&r, &d, refuse);
	return rates_begin(a->rates, identity, policy_rates(a->policy, identity), refuse);
}

void authz_ended(struct authz *a, const char *identity)
{
	if (a != NULL)
		rates_end(a->rates, identity);
}

/* Fills in who asks, and by which method. */
static const struct policy *ask(struct rpc_call *c, struct policy_request *r)
{
	const struct worker *w = rpc_call_context(c);
	const struct peer *peer = rpc_call_peer(c);

	r->identity = peer->identity;
	r->method = rpc_call_path(c) + 1;
	return w->authz != NULL ? w->authz->policy : NULL;
}

/* ---- a start ---- */

/* Appends a word as a shell would read it again. */
static void quote(char *out, size_t size, size_t *used, const char *word)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	                            "0123456789_@%+=:,./-";
	bool bare = word[0] != '\0' && word[strspn(word, plain)] == '\0';

	if (*used + strlen(word) * 4 + 4 > size) {
		*used = size;
		return;
	}
	if (!bare)
		out[(*used)++] = '\'';
	for (; *word != '\0'; word++) {
		if (*word == '\'') {
			memcpy(out + *used, "'\\''", 4);
			*used += 4;
		} else {
			out[(*used)++] = *word;
		}
	}
	if (!bare)
		out[(*used)++] = '\'';
}

/* The command line that was asked for, as a variable; NULL: it is too long. */
static char *original(const struct job_spec *spec)
{
	char *out = xmalloc(ORIGINAL_MAX + 1);
	size_t used = sizeof(ORIGINAL) - 1;

	memcpy(out, ORIGINAL, used);
	for (size_t i = 0; i < spec->argc && used < ORIGINAL_MAX; i++) {
		if (i > 0)
			out[used++] = ' ';
		quote(out, ORIGINAL_MAX, &used, spec->argv[i]);
	}
	if (used >= ORIGINAL_MAX) {
		free(out);
		return NULL;
	}
	out[used] = '\0';
	return out;
}

static void set_variable(struct job_spec *spec, char *variable)
{
	size_t kept = 0;

	for (size_t i = 0; i < spec->envc; i++) {
		if (strncmp(spec->env[i], ORIGINAL, sizeof(ORIGINAL) - 1) == 0)
			free(spec->env[i]);
		else
			spec->env[kept++] = spec->env[i];
	}
	spec->env = xreallocarray(spec->env, kept + 2, sizeof(*spec->env));
	spec->env[kept++] = variable;
	spec->env[kept] = NULL;
	spec->envc = kept;
}

/* Puts the forced command in. Negative: what was asked for is too long to be told to it. */
static int force(struct job_spec *spec, struct policy_decision *d)
{
	char *variable = original(spec);
	size_t n = 0;

	if (variable == NULL) {
		snprintf(
		    d->why, sizeof(d->why), "the command is too long to be told to %s", d->forced);
		return TX_ETOOBIG;
	}
	for (size_t i = 0; i < spec->argc; i++)
		free(spec->argv[i]);
	while (d->forced_argv[n] != NULL)
		n++;
	spec->argv = xreallocarray(spec->argv, n + 1, sizeof(*spec->argv));
	for (size_t i = 0; i < n; i++)
		spec->argv[i] = xstrdup(d->forced_argv[i]);
	spec->argv[n] = NULL;
	spec->argc = n;
	set_variable(spec, variable);
	return 0;
}

static void impose_rlimits(struct job_spec *spec, const struct policy_decision *d)
{
	size_t n = spec->n_rlimits + d->n_rlimits;

	if (d->n_rlimits == 0)
		return;
	spec->rlimits = xreallocarray(spec->rlimits, n, sizeof(*spec->rlimits));
	memcpy(spec->rlimits + spec->n_rlimits, d->rlimits, d->n_rlimits * sizeof(d->rlimits[0]));
	spec->n_rlimits = n;
}

/* The agent's own size is no way around the role's maximum. */
static void bound_output(
    const struct worker *w, struct job_spec *spec, const struct policy_decision *d)
{
	if (spec->output_buffer == 0 && d->max_output_buffer != 0 &&
	    d->max_output_buffer < w->config.output_buffer)
		spec->output_buffer = d->max_output_buffer;
}

int authz_start(
    struct rpc_call *c, struct job_spec *spec, struct km_start *m, struct rpc_status *refuse)
{
	const struct worker *w = rpc_call_context(c);
	struct policy_request r = {.act = POLICY_RUN, .spec = spec};
	struct policy_decision d;
	struct err e;

	r.user = spec->user != NULL ? spec->user : w->config.default_user;
	policy_decide(ask(c, &r), &r, &d);
	if (!d.allowed)
		return deny_request(c, &r, &d, refuse);
	if (d.forced_argv != NULL && force(spec, &d) < 0)
		return deny_request(c, &r, &d, refuse);
	if (ceiling_check(&w->authz->ceiling, r.user, spec->argv[0], &e) < 0 ||
	    ceiling_check_environment(&w->authz->ceiling, spec->env, spec->envc, &e) < 0)
		return deny_ceiling(c, &r, &d, &e, refuse);
	spec->memory = d.memory;
	spec->pids = d.pids;
	spec->cpu_millis = d.cpu_millis;
	spec->run_timeout_ns = d.run_timeout_ns;
	bound_output(w, spec, &d);
	impose_rlimits(spec, &d);
	m->max_running = d.max_running;
	return 0;
}

/* ---- what is there ---- */

/* Whether the ceiling lets anybody act on another identity's process. */
static bool beyond_own(struct rpc_call *c)
{
	const struct worker *w = rpc_call_context(c);

	return w->authz != NULL && w->authz->ceiling.any_process;
}

int authz_process(
    struct rpc_call *c, struct policy_request *r, uint8_t *any, struct rpc_status *refuse)
{
	const struct policy *p = ask(c, r);
	struct policy_decision d;

	r->act = POLICY_PROCESS;
	r->any = any != NULL && beyond_own(c);
	if (any != NULL)
		*any = 0;
	policy_decide(p, r, &d);
	if (d.allowed && r->any)
		*any = 1;
	if (!d.allowed && r->any) {
		r->any = false;
		policy_decide(p, r, &d);
	}
	return d.allowed ? 0 : deny_request(c, r, &d, refuse);
}

uint8_t authz_any(struct rpc_call *c)
{
	struct policy_request r = {0};
	const struct policy *p = ask(c, &r);

	return beyond_own(c) && policy_any_process(p, r.identity, r.method) ? 1 : 0;
}

/* ---- files ---- */

static const char *user_of(struct rpc_call *c, const char *user)
{
	const struct worker *w = rpc_call_context(c);

	return user[0] != '\0' ? user : w->config.default_user;
}

/* The ceiling's word on all paths. */
static int check_ceiling(const struct ceiling *c, const struct policy_request *r, struct err *e)
{
	int rc = ceiling_check_files(c, r->user, e);

	for (size_t i = 0; i < r->n_reads && rc == 0; i++)
		rc = ceiling_check_path(c, r->reads[i], e);
	for (size_t i = 0; i < r->n_writes && rc == 0; i++)
		rc = ceiling_check_path(c, r->writes[i], e);
	for (size_t i = 0; i < r->n_watches && rc == 0; i++)
		rc = ceiling_check_path(c, r->watches[i], e);
	return rc;
}

static void fill_user(struct rpc_call *c, struct policy_request *r, const char *user)
{
	r->act = POLICY_FILES;
	r->user = user_of(c, user);
	r->default_user = user[0] == '\0';
}

static int decide_files(struct rpc_call *c, struct policy_request *r, struct policy_decision *d,
    struct rpc_status *refuse)
{
	const struct worker *w = rpc_call_context(c);
	struct err e;

	policy_decide(ask(c, r), r, d);
	if (!d->allowed)
		return deny_request(c, r, d, refuse);
	if (check_ceiling(&w->authz->ceiling, r, &e) < 0)
		return deny_ceiling(c, r, d, &e, refuse);
	return 0;
}

int authz_files_user(struct rpc_call *c, const char *user, struct rpc_status *refuse)
{
	struct policy_request r = {0};
	struct policy_decision d;

	fill_user(c, &r, user);
	return decide_files(c, &r, &d, refuse);
}

/* Into one block, the caller's to free. */
static const char **fill_files(
    struct rpc_call *c, struct policy_request *r, const struct file_request *f)
{
	const char **lists = xcalloc(3 * f->n_paths + 1, sizeof(*lists));
	const char **writes = lists + f->n_paths, **watches = writes + f->n_paths;

	*r = (struct policy_request){.reads = lists,
	    .writes = writes,
	    .watches = watches,
	    .carries = f->carries,
	    .exchanges = f->exchanges};
	fill_user(c, r, f->user);
	for (size_t i = 0; i < f->n_paths; i++) {
		if (f->paths[i].read)
			lists[r->n_reads++] = f->paths[i].path;
		if (f->paths[i].write)
			writes[r->n_writes++] = f->paths[i].path;
		if (f->paths[i].watch)
			watches[r->n_watches++] = f->paths[i].path;
	}
	return lists;
}

int authz_files(
    struct rpc_call *c, const struct file_request *f, uint32_t *role, struct rpc_status *refuse)
{
	struct policy_request r;
	struct policy_decision d;
	const char **lists = fill_files(c, &r, f);
	int rc = decide_files(c, &r, &d, refuse);

	if (rc == 0)
		*role = d.role;
	free(lists);
	return rc;
}

bool authz_files_may(struct rpc_call *c, const struct file_request *f)
{
	struct policy_request r;
	struct policy_decision d;
	const char **lists = fill_files(c, &r, f);

	policy_decide(ask(c, &r), &r, &d);
	free(lists);
	return d.allowed;
}

size_t authz_file_roles(struct rpc_call *c, const char *user, struct policy_file_role **out)
{
	struct policy_request r = {0};
	const struct policy *p = ask(c, &r);
	size_t n = policy_file_roles(p, r.identity, user_of(c, user), NULL, 0);

	*out = xcalloc(n + 1, sizeof(**out));
	return policy_file_roles(p, r.identity, user_of(c, user), *out, n);
}

bool authz_ceiling(const struct authz *a, char *out, size_t size)
{
	out[0] = '\0';
	if (a == NULL)
		return false;
	ceiling_describe(&a->ceiling, out, size);
	return !ceiling_is_open(&a->ceiling);
}

bool authz_has_files(const struct authz *a)
{
	return a != NULL && a->ceiling.files;
}
