/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sections and keys. Every mistake is told and the reading goes on behind it, but what was read
 * with any mistake is thrown away: half a policy is not the one that was meant.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/duration.h"
#include "common/escape.h"
#include "common/job_spec.h"
#include "common/nearest.h"
#include "common/policy_internal.h"
#include "common/policy_text.h"
#include "common/policy_value.h"

#define ROLES_MAX    256
#define GRANTS_MAX   1024
#define COMMANDS_MAX 1024 /* of a role */
#define NAME_SHOWN   80
#define KEYS_MAX     40

#define ROLE(member, kind, min, max)                                                               \
	{                                                                                          \
#member, POLICY_KIND_##kind, offsetof(struct policy_role, member),                 \
		    (uint64_t)(min), (uint64_t)(max)                                               \
	}

static const struct policy_key role_keys[] = {
    ROLE(methods, METHODS, 0, 0),
    ROLE(users, USERS, 0, 0),
    ROLE(environment, NAMES, 0, 0),
    ROLE(directories, PATHS, 0, 0),
    ROLE(read, PATHS, 0, 0),
    ROLE(write, PATHS, 0, 0),
    ROLE(watch, PATHS, 0, 0),
    {"forced_command", POLICY_KIND_FORCED, offsetof(struct policy_role, forced), 0, 0},
    ROLE(terminal, BOOL, 0, 0),
    ROLE(any_process, BOOL, 0, 0),
    ROLE(signals, SIGNALS, 0, 0),
    ROLE(rlimits, RLIMITS, 0, 0),
    ROLE(max_memory, SIZE, JOB_MEMORY_MIN, UINT64_C(1) << 60),
    ROLE(max_pids, COUNT, 1, UINT32_MAX),
    ROLE(max_cpu, CPU, JOB_CPU_MILLIS_MIN, 1000000),
    ROLE(max_output_buffer, SIZE, 1, UINT64_C(1) << 50),
    ROLE(max_spool, SIZE, 1, UINT64_C(1) << 50),
    {"max_run_timeout", POLICY_KIND_DURATION, offsetof(struct policy_role, max_run_timeout_ns),
        (uint64_t)NS_PER_MS, (uint64_t)JOB_RUN_TIMEOUT_MAX_NS},
    ROLE(run_timeout_required, BOOL, 0, 0),
    ROLE(min_nice, NICE, 0, 0),
    ROLE(max_running, COUNT, 1, 1000000),
    ROLE(calls_per_second, COUNT, 1, 1000000),
    ROLE(concurrent_calls, COUNT, 1, 1000000),
    ROLE(max_upload, SIZE, 1, UINT64_C(1) << 60),
    ROLE(max_upload_files, COUNT, 1, UINT64_C(1) << 50),
    ROLE(max_unfinished, COUNT, 1, 1000000),
};
static const struct policy_key command_keys[] = {
    {"arguments", POLICY_KIND_ARGUMENTS, offsetof(struct policy_command, arguments), 0, 0},
};
static const struct policy_key grant_keys[] = {
    {"identities", POLICY_KIND_IDENTITIES, offsetof(struct policy_grant, identities), 0, 0},
    {"roles", POLICY_KIND_WORDS, offsetof(struct policy_grant, roles), 0, 0},
};
#define COUNT_OF(keys) (sizeof(keys) / sizeof((keys)[0]))

/* One kind of section: its keys, and the word of the sections that may be in it. */
struct grammar {
	const char *name; /* "a role" */
	const struct policy_key *keys;
	size_t n_keys;
	const char *section; /* NULL: none */
};

static const struct grammar role_grammar = {"a role", role_keys, COUNT_OF(role_keys), "command"};
static const struct grammar command_grammar = {
    "a command", command_keys, COUNT_OF(command_keys), NULL};
static const struct grammar grant_grammar = {"a grant", grant_keys, COUNT_OF(grant_keys), NULL};

/* ---- going on behind a mistake ---- */

/* From '{' to behind its '}'. */
static void skip_braces(struct policy_text *t)
{
	unsigned depth = 0;

	do {
		if (policy_text_is(t, '{'))
			depth++;
		else if (policy_text_is(t, '}'))
			depth--;
		policy_text_next(t);
	} while (depth > 0 && t->token != POLICY_TOKEN_END);
}

/* What stands behind a key that nobody knows: a value, or a section. */
static void skip_value(struct policy_text *t)
{
	while (t->token == POLICY_TOKEN_TEXT)
		policy_text_next(t);
	if (policy_text_is(t, '=')) {
		policy_text_next(t);
		if (!policy_text_is(t, '{')) {
			if (t->token == POLICY_TOKEN_WORD || t->token == POLICY_TOKEN_TEXT)
				policy_text_next(t);
			return;
		}
	}
	if (policy_text_is(t, '{'))
		skip_braces(t);
}

static void tell_unknown(
    struct policy_text *t, const char *what, const char *const *words, size_t n)
{
	char safe[NAME_SHOWN];
	const char *near = nearest_word(t->value, words, n);

	escape_text(safe, sizeof(safe), t->value, strlen(t->value));
	if (near != NULL)
		policy_text_tell(
		    t, t->line, "unknown %s '%s'; did you mean '%s'?", what, safe, near);
	else
		policy_text_tell(t, t->line, "unknown %s '%s'", what, safe);
}

static void unknown_key(struct policy_text *t, const struct grammar *g)
{
	const char *words[KEYS_MAX];
	char what[48];
	size_t n = 0;

	for (; n < g->n_keys; n++)
		words[n] = g->keys[n].name;
	if (g->section != NULL)
		words[n++] = g->section;
	snprintf(what, sizeof(what), "key in %s", g->name);
	tell_unknown(t, what, words, n);
	policy_text_next(t);
	skip_value(t);
}

/* ---- a section ---- */

static void read_command(struct policy_text *t, struct policy_role *role);

static void read_key(struct policy_text *t, const struct grammar *g, void *section, uint64_t *seen)
{
	size_t i = 0;

	while (i < g->n_keys && strcmp(g->keys[i].name, t->value) != 0)
		i++;
	if (i == g->n_keys) {
		unknown_key(t, g);
		return;
	}
	if ((*seen & UINT64_C(1) << i) != 0)
		policy_text_tell(t, t->line, "%s is given twice", g->keys[i].name);
	*seen |= UINT64_C(1) << i;
	policy_text_next(t);
	if (policy_text_is(t, '=')) {
		policy_text_next(t);
		policy_value_read(t, &g->keys[i], section);
	} else {
		policy_text_tell(t, t->line, "%s: = is missing", g->keys[i].name);
		skip_value(t);
	}
}

/* From behind the section's title to behind its '}'. */
static void read_section(struct policy_text *t, const struct grammar *g, void *section)
{
	unsigned begun = t->line;
	uint64_t seen = 0;

	if (!policy_text_is(t, '{')) {
		policy_text_tell(t, t->line, "%s needs { and } around what it allows", g->name);
		return;
	}
	policy_text_next(t);
	while (t->token != POLICY_TOKEN_END && !policy_text_is(t, '}')) {
		if (t->token != POLICY_TOKEN_WORD) {
			policy_text_tell(t, t->line, "a key is expected here");
			policy_text_next(t);
			skip_value(t);
		} else if (g->section != NULL && strcmp(t->value, g->section) == 0) {
			read_command(t, section);
		} else {
			read_key(t, g, section, &seen);
		}
	}
	if (policy_text_is(t, '}'))
		policy_text_next(t);
	else
		policy_text_tell(t, begun, "%s that begins here has no closing }", g->name);
}

/* Room for one more of *list's n; the new one is zeroed. NULL: none. */
static void *grow(struct policy_text *t, void **list, size_t *n, size_t max, size_t size)
{
	char *more;

	if (*n == max) {
		policy_text_tell(t, t->line, "there are more than %zu of these", max);
		return NULL;
	}
	more = realloc(*list, (*n + 1) * size);
	if (more == NULL) {
		t->no_memory = true;
		return NULL;
	}
	*list = more;
	memset(more + *n * size, 0, size);
	return more + (*n)++ * size;
}

/* The title into *out; NULL when there is none, which was told. */
static bool take_title(struct policy_text *t, const char *what, char **out)
{
	if (t->token != POLICY_TOKEN_WORD && t->token != POLICY_TOKEN_TEXT) {
		policy_text_tell(t, t->line, "%s is missing", what);
		return false;
	}
	*out = strdup(t->value);
	if (*out == NULL)
		t->no_memory = true;
	policy_text_next(t);
	return *out != NULL;
}

static void read_command(struct policy_text *t, struct policy_role *role)
{
	struct policy_command *c = grow(
	    t, (void **)&role->commands, &role->n_commands, COMMANDS_MAX, sizeof(*role->commands));
	unsigned line = t->line;
	const char *wrong;
	char safe[NAME_SHOWN];

	policy_text_next(t);
	if (c == NULL || !take_title(t, "the command's path", &c->path)) {
		skip_value(t);
		return;
	}
	wrong = policy_value_program(c->path);
	escape_text(safe, sizeof(safe), c->path, strlen(c->path));
	if (wrong != NULL)
		policy_text_tell(t, line, "command: '%s' %s", safe, wrong);
	read_section(t, &command_grammar, c);
}

/* ---- the whole ---- */

static void check_name(struct policy_text *t, const char *what, const char *name, unsigned line)
{
	char safe[NAME_SHOWN];

	if (job_id_valid(name, strlen(name)))
		return;
	escape_text(safe, sizeof(safe), name, strlen(name));
	policy_text_tell(t, line,
	    "%s '%s': a name is 1 to 64 of A-Z a-z 0-9 . _ -, not beginning with . or -", what,
	    safe);
}

static void read_role(struct policy_text *t, struct policy *p)
{
	struct policy_role *r =
	    grow(t, (void **)&p->roles, &p->n_roles, ROLES_MAX, sizeof(*p->roles));
	unsigned line = t->line;

	policy_text_next(t);
	if (r == NULL || !take_title(t, "the role's name", &r->name)) {
		skip_value(t);
		return;
	}
	r->line = line;
	r->signals = policy_default_signals();
	check_name(t, "role", r->name, line);
	for (size_t i = 0; i + 1 < p->n_roles; i++)
		if (p->roles[i].name != NULL && strcmp(p->roles[i].name, r->name) == 0)
			policy_text_tell(t, line, "role %s is there already, in line %u", r->name,
			    p->roles[i].line);
	read_section(t, &role_grammar, r);
	if (r->forced.set && r->n_commands > 0)
		policy_text_tell(t, line,
		    "role %s has a forced_command, so no command of it would ever be run", r->name);
	if (r->forced.set && (r->forced.n == 0 || r->forced.items[0][0] != '/'))
		policy_text_tell(t, line,
		    "role %s: forced_command does not begin with a program's absolute path",
		    r->name);
}

static void read_grant(struct policy_text *t, struct policy *p)
{
	struct policy_grant *g =
	    grow(t, (void **)&p->grants, &p->n_grants, GRANTS_MAX, sizeof(*p->grants));
	unsigned line = t->line;

	policy_text_next(t);
	if (g == NULL || !take_title(t, "the grant's name", &g->name)) {
		skip_value(t);
		return;
	}
	g->line = line;
	check_name(t, "grant", g->name, line);
	for (size_t i = 0; i + 1 < p->n_grants; i++)
		if (p->grants[i].name != NULL && strcmp(p->grants[i].name, g->name) == 0)
			policy_text_tell(t, line, "grant %s is there already, in line %u", g->name,
			    p->grants[i].line);
	read_section(t, &grant_grammar, g);
	if (g->identities.n == 0 && !t->no_memory)
		policy_text_tell(t, line, "grant %s names no identities", g->name);
	if (g->roles.n == 0 && !t->no_memory)
		policy_text_tell(t, line, "grant %s names no roles", g->name);
}

static void read_file(struct policy_text *t, struct policy *p)
{
	static const char *const words[] = {"role", "grant"};

	policy_text_next(t);
	while (t->token != POLICY_TOKEN_END) {
		if (t->token == POLICY_TOKEN_WORD && strcmp(t->value, "role") == 0) {
			read_role(t, p);
		} else if (t->token == POLICY_TOKEN_WORD && strcmp(t->value, "grant") == 0) {
			read_grant(t, p);
		} else if (t->token == POLICY_TOKEN_WORD) {
			tell_unknown(t, "key", words, 2);
			policy_text_next(t);
			if (t->token == POLICY_TOKEN_WORD) /* a title without quotes */
				policy_text_next(t);
			skip_value(t);
		} else {
			policy_text_tell(t, t->line, "a role or a grant is expected here");
			policy_text_next(t);
			skip_value(t);
		}
	}
}

static bool find_role(const struct policy *p, const char *name, size_t *at)
{
	for (*at = 0; *at < p->n_roles; ++*at)
		if (p->roles[*at].name != NULL && strcmp(p->roles[*at].name, name) == 0)
			return true;
	return false;
}

/* Finds each grant's roles. */
static void link_grant(struct policy_text *t, const struct policy *p, struct policy_grant *g)
{
	const char *words[ROLES_MAX];
	const char *near;

	g->role_at = calloc(g->roles.n + 1, sizeof(*g->role_at));
	if (g->role_at == NULL) {
		t->no_memory = true;
		return;
	}
	for (size_t i = 0; i < p->n_roles; i++)
		words[i] = p->roles[i].name;
	for (size_t i = 0; i < g->roles.n; i++) {
		if (find_role(p, g->roles.items[i], &g->role_at[i]))
			continue;
		near = nearest_word(g->roles.items[i], words, p->n_roles);
		policy_text_tell(t, g->line,
		    near != NULL ? "grant %s: there is no role '%s'; did you mean '%s'?"
		                 : "grant %s: there is no role '%s'",
		    g->name, g->roles.items[i], near);
	}
}

/* For people: the words of a command line, with spaces between. */
static void describe_forced(struct policy_text *t, struct policy_role *r)
{
	size_t len = 1;

	for (size_t i = 0; i < r->forced.n; i++)
		len += strlen(r->forced.items[i]) + 1;
	r->forced_text = calloc(1, len);
	if (r->forced_text == NULL) {
		t->no_memory = true;
		return;
	}
	for (size_t i = 0; i < r->forced.n; i++) {
		strcat(r->forced_text, i > 0 ? " " : "");
		strcat(r->forced_text, r->forced.items[i]);
	}
}

int policy_parse(struct policy **out, const char *text, size_t len, const char *name,
    policy_problem problem, void *arg)
{
	struct policy_text t = {
	    .at = text,
	    .end = text + len,
	    .name = name,
	    .next_line = 1,
	    .problem = problem,
	    .arg = arg,
	};
	struct policy *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return TX_ENOMEM;
	if (len > POLICY_MAX_BYTES)
		policy_text_tell(&t, 0, "it is larger than 1 MiB");
	else
		read_file(&t, p);
	for (size_t i = 0; i < p->n_grants && !t.no_memory; i++)
		if (p->grants[i].name != NULL)
			link_grant(&t, p, &p->grants[i]);
	for (size_t i = 0; i < p->n_roles && !t.no_memory; i++)
		if (p->roles[i].forced.n > 0)
			describe_forced(&t, &p->roles[i]);
	if (t.problems == 0 && !t.no_memory && p->n_grants == 0)
		policy_text_tell(&t, 0,
		    "it grants nothing to anybody; `telex policy init` writes one to begin with");
	policy_text_free(&t);
	if (t.problems == 0 && !t.no_memory) {
		*out = p;
		return 0;
	}
	policy_free(p);
	return t.no_memory ? TX_ENOMEM : TX_EINVAL;
}

size_t policy_role_count(const struct policy *p)
{
	return p->n_roles;
}

size_t policy_grant_count(const struct policy *p)
{
	return p->n_grants;
}

static void free_role(struct policy_role *r)
{
	struct policy_list *const lists[] = {&r->methods, &r->users, &r->environment,
	    &r->directories, &r->read, &r->write, &r->watch, &r->forced};

	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		policy_list_free(lists[i]);
	for (size_t i = 0; i < r->n_commands; i++) {
		free(r->commands[i].path);
		policy_list_free(&r->commands[i].arguments);
	}
	free(r->commands);
	free(r->forced_text);
	free(r->name);
}

void policy_free(struct policy *p)
{
	if (p == NULL)
		return;
	for (size_t i = 0; i < p->n_roles; i++)
		free_role(&p->roles[i]);
	for (size_t i = 0; i < p->n_grants; i++) {
		policy_list_free(&p->grants[i].identities);
		policy_list_free(&p->grants[i].roles);
		free(p->grants[i].role_at);
		free(p->grants[i].name);
	}
	free(p->roles);
	free(p->grants);
	free(p);
}
