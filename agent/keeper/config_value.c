/* SPDX-License-Identifier: Apache-2.0 */
/* The values of telexd.conf. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/keeper/config_internal.h"
#include "common/ceiling.h"
#include "common/duration.h"
#include "common/glob.h"
#include "common/nearest.h"

int config_parse_size(const char *text, uint64_t *bytes)
{
	static const struct {
		const char *unit;
		unsigned shift;
	} units[] = {{"", 0}, {"B", 0}, {"KiB", 10}, {"K", 10}, {"MiB", 20}, {"M", 20}, {"GiB", 30},
	    {"G", 30}};
	unsigned long long n;
	char *end;

	if (!isdigit((unsigned char)text[0]))
		return TX_EINVAL;
	errno = 0;
	n = strtoull(text, &end, 10);
	if (errno != 0)
		return TX_ETOOBIG;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (strcmp(end, units[i].unit) != 0)
			continue;
		if (n > UINT64_MAX >> units[i].shift)
			return TX_ETOOBIG;
		*bytes = (uint64_t)n << units[i].shift;
		return 0;
	}
	return TX_EINVAL;
}

int config_split_address(const char *text, char *buf, const char **host, const char **port)
{
	char *colon;
	unsigned long n;
	char *end;

	if (snprintf(buf, KM_TEXT_SIZE, "%s", text) >= KM_TEXT_SIZE)
		return TX_EINVAL;
	colon = strrchr(buf, ':');
	if (colon == NULL || !isdigit((unsigned char)colon[1]))
		return TX_EINVAL;
	n = strtoul(colon + 1, &end, 10);
	if (*end != '\0' || n > 65535)
		return TX_EINVAL;
	*colon = '\0';
	if (buf[0] == '[') {
		if (colon - buf < 3 || colon[-1] != ']')
			return TX_EINVAL;
		colon[-1] = '\0';
		*host = buf + 1;
	} else {
		if (buf[0] == '\0' || strchr(buf, ':') != NULL)
			return TX_EINVAL;
		*host = buf;
	}
	*port = colon + 1;
	return 0;
}

int config_set_string(char **where, const char *value)
{
	char *copy = strdup(value);

	if (copy == NULL)
		return TX_ENOMEM;
	free(*where);
	*where = copy;
	return 0;
}

/* The sentence for a value that is not one; NULL when it was taken. */
static const char *take_count(const struct config_key *k, const char *value, uint32_t *out)
{
	unsigned long long n;
	char *end;

	if (!isdigit((unsigned char)value[0]))
		return "is not a number";
	errno = 0;
	n = strtoull(value, &end, 10);
	if (*end != '\0')
		return "is not a number";
	if (errno != 0 || n > k->max)
		return "is too large";
	if (n < k->min)
		return "is too small";
	*out = (uint32_t)n;
	return NULL;
}

static const char *take_size(const struct config_key *k, const char *value, uint64_t *out)
{
	uint64_t n;
	int rc = config_parse_size(value, &n);

	if (rc == TX_EINVAL)
		return "is not a size (such as 64KiB or 1MiB)";
	if (rc != 0 || n > k->max)
		return "is too large";
	if (n < k->min)
		return "is too small";
	*out = n;
	return NULL;
}

static const char *take_duration(const struct config_key *k, const char *value, int64_t *out)
{
	int64_t ns;
	int rc = duration_parse(value, &ns);

	if (rc == TX_EINVAL)
		return "is not a duration (such as 10s or 500ms)";
	if (rc != 0 || (uint64_t)ns > k->max)
		return "is too long";
	if ((uint64_t)ns < k->min)
		return "is too short";
	*out = ns;
	return NULL;
}

static const char *take_word(const struct config_key *k, const char *value, void *where)
{
	if (k->kind == KIND_LEVEL)
		return log_level_parse(value, where) == 0 ? NULL : "is no log level";
	if (strcmp(value, "text") != 0 && strcmp(value, "json") != 0)
		return "is no log format";
	*(bool *)where = value[0] == 'j';
	return NULL;
}

/* Words whose place in the list is their value. */
struct choice {
	enum config_kind kind;
	const char *words[2];
	const char *wrong, *hint;
};

static const struct choice choices[] = {
    {KIND_BOOL, {"false", "true"}, "is neither true nor false", ""},
    {KIND_FULL, {"stop-serving", "drop-and-count"}, "is no way to go on without an audit log",
        "; it is stop-serving or drop-and-count"},
    {KIND_STALE, {"fail-closed", "warn"}, "is no way to take revocations that are too old",
        "; it is fail-closed or warn"},
};

static const struct choice *choice_of(enum config_kind kind)
{
	for (size_t i = 0; i < sizeof(choices) / sizeof(choices[0]); i++)
		if (choices[i].kind == kind)
			return &choices[i];
	return NULL;
}

static const char *take_choice(const struct choice *c, const char *value, void *where)
{
	for (uint32_t i = 0; i < 2; i++) {
		if (strcmp(value, c->words[i]) != 0)
			continue;
		if (c->kind == KIND_BOOL)
			*(bool *)where = i != 0;
		else
			*(uint32_t *)where = i;
		return NULL;
	}
	return c->wrong;
}

static const char *take_text(const struct config_key *k, const char *value, char **where)
{
	if (value[0] == '\0')
		return "is empty";
	if (k->kind == KIND_PATH && value[0] != '/')
		return "is not an absolute path";
	if (k->kind == KIND_CGROUP && value[0] != '/' && strcmp(value, "auto") != 0 &&
	    strcmp(value, "off") != 0)
		return "is none of auto, off and the absolute path of a control group";
	return config_set_string(where, value) == 0 ? NULL : "does not fit in memory";
}

void config_hint(enum config_kind kind, const char *value, char *out, size_t size)
{
	static const char *const levels[] = {"error", "warn", "info", "debug"};
	static const char *const formats[] = {"text", "json"};
	const struct choice *choice = choice_of(kind);
	const char *near = NULL;

	out[0] = '\0';
	if (choice != NULL) {
		near = nearest_word(value, choice->words, 2);
		snprintf(out, size, near != NULL ? "; did you mean '%s'?" : "%s",
		    near != NULL ? near : choice->hint);
		return;
	}
	if (kind == KIND_LEVEL) {
		near = nearest_word(value, levels, 4);
		snprintf(out, size, near != NULL ? "; did you mean '%s'?" : "%s",
		    near != NULL ? near : "; it is one of error, warn, info, debug");
	} else if (kind == KIND_FORMAT) {
		near = nearest_word(value, formats, 2);
		snprintf(out, size, near != NULL ? "; did you mean '%s'?" : "%s",
		    near != NULL ? near : "; it is text or json");
	}
}

const char *config_take(struct config *c, const struct config_key *k, const char *value)
{
	void *where = (char *)c + k->offset;

	switch (k->kind) {
	case KIND_COUNT:
		return take_count(k, value, where);
	case KIND_SIZE:
		return take_size(k, value, where);
	case KIND_DURATION:
		return take_duration(k, value, where);
	case KIND_LEVEL:
	case KIND_FORMAT:
		return take_word(k, value, where);
	case KIND_BOOL:
	case KIND_FULL:
	case KIND_STALE:
		return take_choice(choice_of(k->kind), value, where);
	case KIND_ADDRESSES:
	case KIND_USERS:
	case KIND_PROGRAMS:
	case KIND_VARIABLES:
	case KIND_FOLDERS:
	case KIND_PATH:
	case KIND_NAME:
	case KIND_CGROUP:
		break;
	}
	return take_text(k, value, where);
}

const char *config_item_wrong(const struct config_key *k, const char *value)
{
	char buf[KM_TEXT_SIZE];
	const char *host, *port;

	switch (k->kind) {
	case KIND_ADDRESSES:
		return config_split_address(value, buf, &host, &port) == 0
		           ? NULL
		           : "is not HOST:PORT (such as 0.0.0.0:8359 or [::]:8359)";
	case KIND_USERS:
		return ceiling_user_valid(value) ? NULL
		       : k->name[0] == 'g'
		           ? "is no group name, gid or range of gids (such as 1000-1999)"
		           : "is no user name, uid or range of uids (such as 1000-1999)";
	case KIND_VARIABLES:
		return ceiling_variable_valid(value)
		           ? NULL
		           : "is no name of a variable (* stands for any, as in LC_*)";
	case KIND_FOLDERS:
		return ceiling_folder_valid(value)
		           ? NULL
		           : "is not the absolute path of a folder (without .., // and a / at its "
		             "end)";
	default:
		return value[0] == '/' && glob_valid(value)
		           ? NULL
		           : "is not the absolute path of a program (* and ** stand for any)";
	}
}
