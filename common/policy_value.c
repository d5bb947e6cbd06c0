/* SPDX-License-Identifier: Apache-2.0 */
#include "common/policy_value.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/duration.h"
#include "common/escape.h"
#include "common/glob.h"
#include "common/job_spec.h"
#include "common/nearest.h"
#include "common/signame.h"

#define ITEMS_MAX 1024 /* of a list */
#define SHOWN     96   /* of a wrong value */

void policy_list_free(struct policy_list *list)
{
	for (size_t i = 0; i < list->n; i++)
		free(list->items[i]);
	free(list->items);
	*list = (struct policy_list){0};
}

/* ---- one item of a list: NULL, or what is wrong with it ---- */

/* Whether a component between slashes is one that no plain path has. */
static bool never_in_a_path(const char *from, size_t len)
{
	return len == 0 || (len == 1 && from[0] == '.') ||
	       (len == 2 && from[0] == '.' && from[1] == '.');
}

static const char *wrong_path(const char *pattern)
{
	const char *at = pattern;

	if (strcmp(pattern, "**") == 0 || strcmp(pattern, "/") == 0)
		return NULL;
	if (pattern[0] != '/')
		return "is not an absolute path (or \"**\", for every one)";
	while (*at == '/') {
		size_t len = strcspn(++at, "/");

		if (never_in_a_path(at, len))
			return "matches nothing: a path has no //, no . or .. in it and no / at "
			       "its end";
		at += len;
	}
	return NULL;
}

const char *policy_value_program(const char *pattern)
{
	if (!glob_valid(pattern))
		return "is no pattern";
	return wrong_path(pattern);
}

static const char *wrong_method(const char *pattern)
{
	for (const char *const *m = policy_methods; *m != NULL; m++)
		if (glob_match(pattern, *m))
			return NULL;
	return "matches no method of this version";
}

static const char *wrong_user(const char *pattern)
{
	const char *colon = strchr(pattern, ':');

	if (pattern[0] == ':' || (colon != NULL && (colon[1] == '\0' || strchr(colon + 1, ':'))))
		return "is not USER or USER:GROUP";
	if (strchr(pattern, '/') != NULL)
		return "matches nobody: no user's name has a / in it";
	return strlen(pattern) > 255 ? "is too long" : NULL;
}

static const char *wrong_variable(const char *pattern)
{
	if (strchr(pattern, '=') != NULL)
		return "is not a variable's name; its value is the client's to choose";
	return NULL;
}

/* What an identity begins with, as far as the pattern says it. */
static const char *wrong_identity(const char *pattern)
{
	static const char scheme[] = "spiffe://";
	size_t len = strcspn(pattern, "*?\\");

	if (strncmp(pattern, "**", 2) == 0)
		return NULL;
	if (len > sizeof(scheme) - 1)
		len = sizeof(scheme) - 1;
	if (strncmp(pattern, scheme, len) != 0 ||
	    (len < sizeof(scheme) - 1 && strncmp(pattern + len, "**", 2) != 0))
		return "matches nobody: an identity begins with spiffe://DOMAIN/ (and * ends at a "
		       "/; ** does not)";
	return NULL;
}

static const char *wrong_item(enum policy_kind kind, const char *text)
{
	if (kind == POLICY_KIND_FORCED)
		return NULL;
	if (kind == POLICY_KIND_ARGUMENTS)
		return text[0] == '\0' || glob_valid(text) ? NULL : "ends with a lone \\";
	if (kind == POLICY_KIND_WORDS)
		return job_id_valid(text, strlen(text)) ? NULL : "is no role's name";
	if (!glob_valid(text))
		return text[0] == '\0' ? "is empty" : "ends with a lone \\";
	switch (kind) {
	case POLICY_KIND_METHODS:
		return wrong_method(text);
	case POLICY_KIND_USERS:
		return wrong_user(text);
	case POLICY_KIND_NAMES:
		return wrong_variable(text);
	case POLICY_KIND_PATHS:
		return wrong_path(text);
	default:
		return wrong_identity(text);
	}
}

/* "; did you mean 'x'?" for what is nearly a method or a signal, else "". */
static const char *hint(enum policy_kind kind, const char *text, const char **near)
{
	static const char *const signals[] = {"HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS",
	    "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM", "CHLD", "CONT", "STOP",
	    "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR",
	    "SYS"};
	size_t n = 0;

	*near = NULL;
	while (policy_methods[n] != NULL)
		n++;
	if (kind == POLICY_KIND_METHODS)
		*near = nearest_word(text, policy_methods, n);
	else if (kind == POLICY_KIND_SIGNALS)
		*near = nearest_word(text, signals, sizeof(signals) / sizeof(signals[0]));
	return *near != NULL ? "; did you mean '" : "";
}

static void tell_item(struct policy_text *t, const struct policy_key *key, const char *wrong)
{
	char safe[SHOWN];
	const char *near;
	const char *before = hint(key->kind, t->value, &near);

	escape_text(safe, sizeof(safe), t->value, strlen(t->value));
	policy_text_tell(t, t->line, "%s: '%s' %s%s%s%s", key->name, safe, wrong, before,
	    near != NULL ? near : "", near != NULL ? "'?" : "");
}

/* ---- lists ---- */

static bool add(struct policy_text *t, struct policy_list *list)
{
	char **more = realloc(list->items, (list->n + 2) * sizeof(*more));

	if (more == NULL) {
		t->no_memory = true;
		return false;
	}
	list->items = more;
	more[list->n] = strdup(t->value);
	if (more[list->n] == NULL) {
		t->no_memory = true;
		return false;
	}
	more[++list->n] = NULL;
	return true;
}

static void add_signal(struct policy_text *t, const struct policy_key *key, uint64_t *mask)
{
	int signo = signame_parse(t->value);

	if (strcmp(t->value, "*") == 0)
		*mask = UINT64_MAX;
	else if (signo > 0)
		*mask |= UINT64_C(1) << (signo - 1);
	else
		tell_item(t, key, "is no signal");
}

static int parse_size(const char *text, uint64_t *bytes)
{
	static const struct {
		const char *unit;
		unsigned shift;
	} units[] = {{"", 0}, {"B", 0}, {"K", 10}, {"KiB", 10}, {"M", 20}, {"MiB", 20}, {"G", 30},
	    {"GiB", 30}, {"T", 40}, {"TiB", 40}};
	unsigned long long n;
	char *end;

	if (text[0] < '0' || text[0] > '9')
		return TX_EINVAL;
	errno = 0;
	n = strtoull(text, &end, 10);
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (strcmp(end, units[i].unit) != 0)
			continue;
		if (errno != 0 || n > UINT64_MAX >> units[i].shift)
			return TX_ETOOBIG;
		*bytes = (uint64_t)n << units[i].shift;
		return 0;
	}
	return TX_EINVAL;
}

/* "*", "NAME", "NAME=MAXIMUM". */
static void add_rlimit(struct policy_text *t, const struct policy_key *key, uint64_t *limits)
{
	char name[32];
	size_t len = strcspn(t->value, "=");
	uint64_t max = UINT64_MAX;
	int resource = -1;

	if (strcmp(t->value, "*") == 0) {
		for (int i = 0; i < POLICY_RESOURCES; i++)
			limits[i] = UINT64_MAX;
		return;
	}
	if (len < sizeof(name)) {
		memcpy(name, t->value, len);
		name[len] = '\0';
		resource = job_rlimit_by_name(name);
	}
	if (resource < 0 || resource >= POLICY_RESOURCES)
		tell_item(t, key, "is no resource limit, as NAME or NAME=MAXIMUM");
	else if (t->value[len] == '=' && (parse_size(t->value + len + 1, &max) != 0 || max == 0))
		tell_item(t, key, "has no number above 0 behind its =");
	else
		limits[resource] = max;
}

static void add_item(struct policy_text *t, const struct policy_key *key, void *where)
{
	struct policy_list *list = where;
	const char *wrong;

	if (key->kind == POLICY_KIND_SIGNALS) {
		add_signal(t, key, where);
		return;
	}
	if (key->kind == POLICY_KIND_RLIMITS) {
		add_rlimit(t, key, where);
		return;
	}
	wrong = wrong_item(key->kind, t->value);
	if (wrong != NULL)
		tell_item(t, key, wrong);
	else if (list->n == ITEMS_MAX)
		tell_item(t, key, "is one too many");
	else
		add(t, list);
}

static bool is_value(const struct policy_text *t)
{
	return t->token == POLICY_TOKEN_WORD || t->token == POLICY_TOKEN_TEXT;
}

static void read_list(struct policy_text *t, const struct policy_key *key, void *where)
{
	if (is_value(t)) {
		add_item(t, key, where);
		policy_text_next(t);
		return;
	}
	if (!policy_text_is(t, '{')) {
		policy_text_tell(t, t->line,
		    "%s: a value, or {\"ONE\", \"AND\", \"ANOTHER\"}, is missing", key->name);
		return;
	}
	policy_text_next(t);
	while (is_value(t)) {
		add_item(t, key, where);
		policy_text_next(t);
		if (policy_text_is(t, ','))
			policy_text_next(t);
		else if (is_value(t))
			policy_text_tell(t, t->line, "%s: a comma is missing", key->name);
	}
	if (policy_text_is(t, '}'))
		policy_text_next(t);
	else
		policy_text_tell(t, t->line, "%s: the list has no closing }", key->name);
}

/* ---- single values: NULL, or what is wrong ---- */

static const char *take_number(const struct policy_key *key, uint64_t n, uint64_t *out)
{
	if (n < key->min)
		return "is too small";
	if (n > key->max)
		return "is too large";
	*out = n;
	return NULL;
}

static const char *take_size(const struct policy_key *key, const char *text, uint64_t *out)
{
	uint64_t n;
	int rc = parse_size(text, &n);

	if (rc == TX_EINVAL)
		return "is not a size (such as 64KiB or 1GiB)";
	return rc < 0 ? "is too large" : take_number(key, n, out);
}

static const char *take_count(const struct policy_key *key, const char *text, uint64_t *out)
{
	char *end;
	unsigned long long n;

	if (text[0] < '0' || text[0] > '9')
		return "is not a number";
	errno = 0;
	n = strtoull(text, &end, 10);
	if (*end != '\0')
		return "is not a number";
	return errno != 0 ? "is too large" : take_number(key, n, out);
}

/* "2", "1.5": processors, as thousandths. */
static const char *take_cpu(const struct policy_key *key, const char *text, uint64_t *out)
{
	static const uint64_t scale[] = {1000, 100, 10, 1};
	size_t whole = strspn(text, "0123456789"), part = 0;
	uint64_t n;

	if (text[whole] == '.')
		part = strspn(text + whole + 1, "0123456789");
	if (whole == 0 || whole > 6 || part > 3 ||
	    text[whole + part + (text[whole] == '.' ? 1 : 0)] != '\0')
		return "is not a number of processors (such as 2 or 1.5)";
	n = strtoull(text, NULL, 10) * 1000;
	if (part > 0)
		n += strtoull(text + whole + 1, NULL, 10) * scale[part];
	return take_number(key, n, out);
}

static const char *take_duration(const struct policy_key *key, const char *text, int64_t *out)
{
	int64_t ns;
	int rc = duration_parse(text, &ns);

	if (rc == TX_EINVAL)
		return "is not a duration (such as 10s or 1h30m)";
	if (rc < 0 || (uint64_t)ns > key->max)
		return "is too long";
	if ((uint64_t)ns < key->min)
		return "is too short";
	*out = ns;
	return NULL;
}

static const char *take_bool(const char *text, bool *out)
{
	*out = strcmp(text, "true") == 0;
	return *out || strcmp(text, "false") == 0 ? NULL : "is neither true nor false";
}

static const char *take_nice(const char *text, int64_t *out)
{
	char *end;
	long n = strtol(text, &end, 10);

	if (text[0] == '\0' || *end != '\0' || strchr(" \t+", text[0]) != NULL)
		return "is not a number";
	*out = n;
	return n < -20 || n > 19 ? "must be -20 to 19" : NULL;
}

static const char *take(const struct policy_key *key, const char *text, void *where)
{
	switch (key->kind) {
	case POLICY_KIND_BOOL:
		return take_bool(text, where);
	case POLICY_KIND_SIZE:
		return take_size(key, text, where);
	case POLICY_KIND_COUNT:
		return take_count(key, text, where);
	case POLICY_KIND_CPU:
		return take_cpu(key, text, where);
	case POLICY_KIND_DURATION:
		return take_duration(key, text, where);
	default:
		return take_nice(text, where);
	}
}

static bool is_list(enum policy_kind kind)
{
	return kind < POLICY_KIND_SIGNALS;
}

void policy_value_read(struct policy_text *t, const struct policy_key *key, void *section)
{
	void *where = (char *)section + key->offset;
	const char *wrong;

	if (is_list(key->kind))
		((struct policy_list *)where)->set = true;
	if (key->kind == POLICY_KIND_SIGNALS)
		*(uint64_t *)where = 0; /* the default */
	if (key->kind <= POLICY_KIND_RLIMITS) {
		read_list(t, key, where);
		return;
	}
	if (!is_value(t)) {
		policy_text_tell(t, t->line, "%s: its value is missing", key->name);
		return;
	}
	wrong = take(key, t->value, where);
	if (wrong != NULL)
		tell_item(t, key, wrong);
	policy_text_next(t);
}
