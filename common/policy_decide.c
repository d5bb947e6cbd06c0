/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each role of an identity is held against the whole request, in the order of the file; the first
 * that allows all of it decides. Of those that do not, the one that was got furthest with is the
 * one that is told.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/duration.h"
#include "common/escape.h"
#include "common/glob.h"
#include "common/job_spec.h"
#include "common/policy_internal.h"
#include "common/signame.h"

#define SHOWN 80 /* of a foreign text in a sentence */

/* How far a request came with a role. */
enum stage {
	STAGE_NOTHING,
	STAGE_METHOD,
	STAGE_OWNER,
	STAGE_COMMAND,
	STAGE_ARGUMENTS,
	STAGE_USER,
	STAGE_SETTINGS,
	STAGE_ALLOWED,
};

/* One role's answer. */
struct answer {
	const struct policy_role *role;
	const struct policy_command *command; /* the one that decided, or NULL */
	enum stage stage;
	char why[256];
};

static enum stage refuse(struct answer *a, enum stage stage, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static enum stage refuse(struct answer *a, enum stage stage, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(a->why, sizeof(a->why), fmt, ap);
	va_end(ap);
	return stage;
}

static const char *safe(char out[SHOWN], const char *text)
{
	escape_text(out, SHOWN, text, strlen(text));
	return out;
}

/* "deploy, www-data" for a sentence; "none". */
static const char *listed(char *out, size_t size, const struct policy_list *list)
{
	size_t used = 0;

	snprintf(out, size, "none");
	for (size_t i = 0; i < list->n && used < size; i++) {
		int n =
		    snprintf(out + used, size - used, "%s%s", i > 0 ? ", " : "", list->items[i]);

		used += n > 0 ? (size_t)n : 0;
	}
	return out;
}

/* ---- what it runs ---- */

static enum stage check_command(const struct policy_request *r, struct answer *a)
{
	const char *program = r->spec->argv[0];
	enum stage reached = STAGE_COMMAND;
	char name[SHOWN];

	if (a->role->forced.n > 0)
		return STAGE_ALLOWED;
	for (size_t i = 0; i < a->role->n_commands; i++) {
		const struct policy_command *c = &a->role->commands[i];

		if (!policy_program_allowed(c->path, program))
			continue;
		a->command = c;
		if (policy_arguments_allowed(&c->arguments, r->spec->argc - 1, r->spec->argv + 1))
			return STAGE_ALLOWED;
		reached = STAGE_ARGUMENTS;
	}
	if (reached == STAGE_ARGUMENTS)
		return refuse(
		    a, reached, "%s may be run, but not with these arguments", safe(name, program));
	if (program[0] != '/')
		return refuse(a, reached,
		    "programs are named by their absolute paths here: type /usr/bin/%s, or where "
		    "'%s' is",
		    safe(name, program), name);
	if (!glob_path_plain(program))
		return refuse(a, reached,
		    "'%s' is not a plain path: type it without //, . and .., and without a / at "
		    "its "
		    "end",
		    safe(name, program));
	return refuse(a, reached, "the program %s may not be run", safe(name, program));
}

static enum stage check_user(const struct policy_request *r, bool named, struct answer *a)
{
	char name[SHOWN], list[100];

	if (r->user != NULL && policy_user_allowed(&a->role->users, r->user))
		return STAGE_ALLOWED;
	if (!named)
		return refuse(a, STAGE_USER,
		    "no user was named, and the agent's own ('%s') is not allowed; name one with "
		    "-u: %s",
		    safe(name, r->user != NULL ? r->user : ""),
		    listed(list, sizeof(list), &a->role->users));
	return refuse(a, STAGE_USER, "not as the user '%s'; allowed: %s",
	    safe(name, r->user != NULL ? r->user : ""),
	    listed(list, sizeof(list), &a->role->users));
}

/* ---- how it runs ---- */

static bool check_variable(
    const struct policy_role *role, const char *variable, char *name, size_t size)
{
	const char *const *names = policy_default_environment;
	size_t len = strcspn(variable, "=");

	if (role->environment.set)
		names = (const char *const *)role->environment.items;
	snprintf(name, size, "%.*s", (int)(len < size ? len : size - 1), variable);
	return len < size && variable[len] == '=' && policy_variable_allowed(names, name);
}

static bool check_environment(const struct job_spec *s, struct answer *a)
{
	char name[128], shown[SHOWN];

	for (size_t i = 0; i < s->envc; i++) {
		if (check_variable(a->role, s->env[i], name, sizeof(name)))
			continue;
		refuse(a, 0, "the variable %s may not be set", safe(shown, name));
		return false;
	}
	return true;
}

static bool check_directory(const struct job_spec *s, struct answer *a)
{
	char name[SHOWN], list[100];

	if (s->cwd == NULL || policy_path_allowed(&a->role->directories, s->cwd))
		return true;
	if (!glob_path_plain(s->cwd))
		refuse(a, 0,
		    "the folder '%s' is not a plain path: without //, . and .., and without a / at "
		    "its end",
		    safe(name, s->cwd));
	else
		refuse(a, 0, "not in the folder %s; allowed: the user's home, %s",
		    safe(name, s->cwd), listed(list, sizeof(list), &a->role->directories));
	return false;
}

/* What is asked for, against a maximum; 0: none. */
static bool check_maximum(
    struct answer *a, const char *what, uint64_t asked, uint64_t max, const char *unit)
{
	if (max == 0 || asked <= max)
		return true;
	refuse(a, 0, "%s is at most %llu%s here, and %llu was asked for", what,
	    (unsigned long long)max, unit, (unsigned long long)asked);
	return false;
}

static bool check_rlimits(struct answer *a, const struct job_rlimit *limits, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint32_t resource = limits[i].resource;
		const char *name = job_rlimit_name((int)resource);
		uint64_t max = resource < POLICY_RESOURCES ? a->role->rlimits[resource] : 0;

		if (max == 0) {
			refuse(a, 0, "the limit %s may not be set", name != NULL ? name : "?");
			return false;
		}
		if (!check_maximum(a, name != NULL ? name : "a limit", limits[i].hard, max, ""))
			return false;
	}
	return true;
}

static bool check_nice(struct answer *a, int nice)
{
	if (nice >= a->role->min_nice)
		return true;
	refuse(a, 0, "a priority of %d is not allowed; %d at least", nice, (int)a->role->min_nice);
	return false;
}

static bool check_signal(struct answer *a, int signo, const char *what)
{
	char name[24];

	if (signo == 0)
		return true;
	if (signo > 0 && signo <= 64 && (a->role->signals & UINT64_C(1) << (signo - 1)) != 0)
		return true;
	refuse(a, 0, "%s %s is not allowed", what, signame_format(name, sizeof(name), signo));
	return false;
}

static bool check_sizes(const struct job_spec *s, struct answer *a)
{
	const struct policy_role *role = a->role;

	return check_maximum(a, "memory", s->memory, role->max_memory, " bytes") &&
	       check_maximum(a, "pids", s->pids, role->max_pids, "") &&
	       check_maximum(a, "cpu", s->cpu_millis, role->max_cpu, " thousandths") &&
	       check_maximum(
	           a, "the output buffer", s->output_buffer, role->max_output_buffer, " bytes") &&
	       check_maximum(a, "the spool", s->spool, role->max_spool, " bytes") &&
	       check_maximum(a, "the run timeout in milliseconds",
	           (uint64_t)(s->run_timeout_ns / NS_PER_MS),
	           (uint64_t)(role->max_run_timeout_ns / NS_PER_MS), "");
}

static enum stage check_settings(const struct job_spec *s, struct answer *a)
{
	if (s->terminal && !a->role->terminal)
		return refuse(a, STAGE_SETTINGS, "a terminal is not allowed; leave out -t");
	if (s->run_timeout_ns == 0 && a->role->run_timeout_required)
		return refuse(
		    a, STAGE_SETTINGS, "it must say how long it may run: add --timeout TIME");
	if (check_environment(s, a) && check_directory(s, a) && check_sizes(s, a) &&
	    check_rlimits(a, s->rlimits, s->n_rlimits) && check_nice(a, s->nice) &&
	    check_signal(a, s->stop_signal, "the stop signal"))
		return STAGE_ALLOWED;
	return STAGE_SETTINGS;
}

static enum stage check_run(const struct policy_request *r, struct answer *a)
{
	enum stage stage;

	if (r->spec == NULL || r->spec->argc == 0 || r->spec->argv[0][0] == '\0')
		return refuse(a, STAGE_COMMAND, "no program is named");
	stage = check_command(r, a);
	if (stage == STAGE_ALLOWED)
		stage = check_user(r, r->spec->user != NULL, a);
	return stage == STAGE_ALLOWED ? check_settings(r->spec, a) : stage;
}

/* ---- the other acts ---- */

static enum stage check_process(const struct policy_request *r, struct answer *a)
{
	const struct policy_role *role = a->role;

	if (r->any && !role->any_process)
		return refuse(a, STAGE_OWNER, "it is another identity's process");
	if (check_signal(a, r->signal, "the signal") &&
	    (!r->kill || check_signal(a, 9, "the signal that would follow,")) &&
	    (!r->renice || check_nice(a, r->nice)) &&
	    check_maximum(a, "memory", r->memory, role->max_memory, " bytes") &&
	    check_maximum(a, "pids", r->pids, role->max_pids, "") &&
	    check_maximum(a, "cpu", r->cpu_millis, role->max_cpu, " thousandths") &&
	    check_rlimits(a, r->rlimits, r->n_rlimits))
		return STAGE_ALLOWED;
	return STAGE_SETTINGS;
}

/* "read", "written" or "watched", by the roots for it. */
static bool check_root(
    struct answer *a, const struct policy_list *roots, const char *word, const char *path)
{
	char name[SHOWN], list[100];

	if (path != NULL && policy_path_allowed(roots, path))
		return true;
	refuse(a, 0, "%s may not be %s; allowed: %s", safe(name, path != NULL ? path : "nothing"),
	    word, listed(list, sizeof(list), roots));
	return false;
}

static enum stage check_path(const struct policy_request *r, struct answer *a)
{
	bool reads = r->act == POLICY_FILE_READ;
	const struct policy_list *roots = reads ? &a->role->read : &a->role->write;

	return check_root(a, roots, reads ? "read" : "written", r->path) ? STAGE_ALLOWED
	                                                                 : STAGE_COMMAND;
}

/* Nothing comes to be readable by being moved. */
static bool check_carried(struct answer *a, const char *from, const char *to)
{
	const struct policy_role *role = a->role;
	char name[SHOWN];

	if (policy_path_allowed(&role->read, from) || !policy_path_allowed(&role->read, to))
		return true;
	refuse(a, 0, "%s may not be read, and so it may not come to where it could be",
	    safe(name, from));
	return false;
}

static enum stage check_files(const struct policy_request *r, struct answer *a)
{
	if (check_user(r, !r->default_user, a) != STAGE_ALLOWED)
		return STAGE_COMMAND;
	for (size_t i = 0; i < r->n_reads; i++)
		if (!check_root(a, &a->role->read, "read", r->reads[i]))
			return STAGE_USER;
	for (size_t i = 0; i < r->n_writes; i++)
		if (!check_root(a, &a->role->write, "written", r->writes[i]))
			return STAGE_USER;
	for (size_t i = 0; i < r->n_watches; i++)
		if (!check_root(a, &a->role->watch, "watched", r->watches[i]))
			return STAGE_USER;
	if (r->carries && r->n_writes == 2 &&
	    (!check_carried(a, r->writes[0], r->writes[1]) ||
	        (r->exchanges && !check_carried(a, r->writes[1], r->writes[0]))))
		return STAGE_SETTINGS;
	return STAGE_ALLOWED;
}

static bool has_method(const struct policy_role *role, const char *method)
{
	for (size_t i = 0; i < role->methods.n; i++)
		if (glob_match(role->methods.items[i], method))
			return true;
	return false;
}

static void hold_against(
    const struct policy_role *role, const struct policy_request *r, struct answer *a)
{
	char name[SHOWN];

	*a = (struct answer){.role = role};
	if (!r->any_method && !has_method(role, r->method)) {
		a->stage = refuse(a, STAGE_METHOD, "%s may not be called", safe(name, r->method));
		return;
	}
	switch (r->act) {
	case POLICY_CALL:
		a->stage = STAGE_ALLOWED;
		return;
	case POLICY_RUN:
		a->stage = check_run(r, a);
		return;
	case POLICY_PROCESS:
		a->stage = check_process(r, a);
		return;
	case POLICY_FILE_READ:
	case POLICY_FILE_WRITE:
		a->stage = check_path(r, a);
		return;
	case POLICY_FILES:
		a->stage = check_files(r, a);
		return;
	}
	a->stage = refuse(a, STAGE_METHOD, "nothing is known of this act");
}

/* ---- the roles of an identity ---- */

static bool grants_to(const struct policy_grant *g, const char *identity)
{
	for (size_t i = 0; i < g->identities.n; i++)
		if (glob_match(g->identities.items[i], identity))
			return true;
	return false;
}

/* The next role of an identity, from *grant and *at on; NULL: no more. */
static const struct policy_role *next_role(
    const struct policy *p, const char *identity, size_t *grant, size_t *at)
{
	for (; *grant < p->n_grants; ++*grant, *at = 0) {
		const struct policy_grant *g = &p->grants[*grant];

		if (*at == 0 && !grants_to(g, identity))
			continue;
		if (*at < g->roles.n)
			return &p->roles[g->role_at[(*at)++]];
	}
	return NULL;
}

static void tell_rule(
    struct policy_decision *out, const struct policy_grant *g, const struct answer *a)
{
	const struct policy_command *c = a->command;
	char name[SHOWN];
	int used =
	    snprintf(out->rule, sizeof(out->rule), "grant %s, role %s", g->name, a->role->name);

	if (c != NULL && used > 0 && (size_t)used < sizeof(out->rule))
		snprintf(out->rule + used, sizeof(out->rule) - (size_t)used, ", command %s",
		    safe(name, c->path));
	if (a->role->forced.n > 0 && a->stage > STAGE_COMMAND && used > 0 &&
	    (size_t)used < sizeof(out->rule))
		snprintf(out->rule + used, sizeof(out->rule) - (size_t)used, ", forced_command");
}

static bool sets(const struct job_spec *s, uint32_t resource)
{
	for (size_t i = 0; i < s->n_rlimits; i++)
		if (s->rlimits[i].resource == resource)
			return true;
	return false;
}

/* Who asks for no limit has not got none. */
static void impose_rlimits(
    struct policy_decision *out, const struct policy_role *role, const struct job_spec *s)
{
	for (uint32_t i = 0; i < POLICY_RESOURCES; i++) {
		uint64_t max = role->rlimits[i];

		if (max == 0 || max == UINT64_MAX || sets(s, i) ||
		    out->n_rlimits == JOB_RLIMITS_MAX)
			continue;
		out->rlimits[out->n_rlimits++] =
		    (struct job_rlimit){.resource = i, .at_most = 1, .soft = max, .hard = max};
	}
}

static void allow_run(
    struct policy_decision *out, const struct policy_role *role, const struct job_spec *s)
{
	out->max_running = (uint32_t)role->max_running;
	if (role->forced.n > 0) {
		out->forced_argv = role->forced.items;
		out->forced = role->forced_text;
	}
	out->memory = s->memory != 0 ? s->memory : role->max_memory;
	out->pids = s->pids != 0 ? s->pids : role->max_pids;
	out->cpu_millis = s->cpu_millis != 0 ? s->cpu_millis : (uint32_t)role->max_cpu;
	out->run_timeout_ns = s->run_timeout_ns != 0 ? s->run_timeout_ns : role->max_run_timeout_ns;
	out->max_output_buffer = role->max_output_buffer;
	impose_rlimits(out, role, s);
}

void policy_decide(
    const struct policy *p, const struct policy_request *r, struct policy_decision *out)
{
	struct answer a, best = {.stage = STAGE_NOTHING};
	const struct policy_role *role;
	size_t grant = 0, at = 0;
	uint32_t place = 0;
	char name[SHOWN];

	*out = (struct policy_decision){.allowed = false};
	snprintf(out->rule, sizeof(out->rule), "no grant matches");
	if (p == NULL || r->identity == NULL || r->identity[0] == '\0' || r->method == NULL) {
		snprintf(out->why, sizeof(out->why), "no identity is known");
		return;
	}
	snprintf(
	    out->why, sizeof(out->why), "the policy grants nothing to %s", safe(name, r->identity));
	while ((role = next_role(p, r->identity, &grant, &at)) != NULL) {
		hold_against(role, r, &a);
		if (a.stage == STAGE_ALLOWED)
			out->role = place;
		place += r->user != NULL && policy_user_allowed(&role->users, r->user);
		if (a.stage <= best.stage)
			continue;
		best = a;
		tell_rule(out, &p->grants[grant], &a);
		snprintf(out->why, sizeof(out->why), "%s", a.why);
		if (a.stage == STAGE_ALLOWED)
			break;
	}
	out->allowed = best.stage == STAGE_ALLOWED;
	if (out->allowed && r->act == POLICY_RUN)
		allow_run(out, best.role, r->spec);
}

size_t policy_file_roles(const struct policy *p, const char *identity, const char *user,
    struct policy_file_role *out, size_t max)
{
	const struct policy_role *role;
	size_t grant = 0, at = 0, n = 0;

	if (p == NULL || identity == NULL || identity[0] == '\0')
		return 0;
	while ((role = next_role(p, identity, &grant, &at)) != NULL) {
		if (!policy_user_allowed(&role->users, user))
			continue;
		if (n < max)
			out[n] =
			    (struct policy_file_role){.read = (const char *const *)role->read.items,
			        .write = (const char *const *)role->write.items,
			        .watch = (const char *const *)role->watch.items,
			        .max_upload = role->max_upload,
			        .max_upload_files = role->max_upload_files,
			        .max_unfinished = role->max_unfinished};
		n++;
	}
	return n;
}

bool policy_any_process(const struct policy *p, const char *identity, const char *method)
{
	const struct policy_role *role;
	size_t grant = 0, at = 0;

	if (p == NULL || identity == NULL || identity[0] == '\0')
		return false;
	while ((role = next_role(p, identity, &grant, &at)) != NULL)
		if (role->any_process && has_method(role, method))
			return true;
	return false;
}

static void widen(uint32_t *most, bool first, uint64_t limit)
{
	if (limit == 0 || (!first && *most == 0))
		*most = 0;
	else if (first || limit > *most)
		*most = (uint32_t)limit;
}

struct policy_rates policy_rates(const struct policy *p, const char *identity)
{
	struct policy_rates rates = {0};
	const struct policy_role *role;
	size_t grant = 0, at = 0;
	bool first = true;

	if (p == NULL || identity == NULL || identity[0] == '\0')
		return rates;
	while ((role = next_role(p, identity, &grant, &at)) != NULL) {
		widen(&rates.calls_per_second, first, role->calls_per_second);
		widen(&rates.concurrent_calls, first, role->concurrent_calls);
		first = false;
	}
	return rates;
}
