/* SPDX-License-Identifier: Apache-2.0 */
/* Whether one thing that a request names fits one list of a role. */
#include <signal.h>
#include <string.h>

#include "common/glob.h"
#include "common/loader_name.h"
#include "common/policy_internal.h"

#define NAME_MAX_LEN 256

const char *const policy_default_environment[] = {
    "LANG", "LANGUAGE", "LC_*", "TERM", "COLORTERM", "NO_COLOR", "TZ", NULL};

const char *const policy_methods[] = {
    "telex.v1.ProcessService/Run",
    "telex.v1.ProcessService/Start",
    "telex.v1.ProcessService/ReadOutput",
    "telex.v1.ProcessService/WriteInput",
    "telex.v1.ProcessService/Wait",
    "telex.v1.ProcessService/Signal",
    "telex.v1.ProcessService/List",
    "telex.v1.ProcessService/Get",
    "telex.v1.ProcessService/Remove",
    "telex.v1.ProcessService/Update",
    "telex.v1.ProcessService/GetGroup",
    "telex.v1.ProcessService/WaitGroup",
    "telex.v1.ProcessService/SignalGroup",
    "telex.v1.ProcessService/UpdateGroup",
    "telex.v1.ProcessService/RemoveGroup",
    "telex.v1.FileService/Stat",
    "telex.v1.FileService/List",
    "telex.v1.FileService/MakeDirectory",
    "telex.v1.FileService/Remove",
    "telex.v1.FileService/Move",
    "telex.v1.FileService/Copy",
    "telex.v1.FileService/SetAttributes",
    "telex.v1.FileService/Link",
    "telex.v1.FileService/ReadLink",
    "telex.v1.FileService/StatFilesystem",
    "telex.v1.FileService/Checksum",
    "telex.v1.FileService/Read",
    "telex.v1.FileService/Write",
    "telex.v1.FileService/GetUpload",
    "telex.v1.FileService/Truncate",
    "telex.v1.FileService/PutTree",
    "telex.v1.FileService/GetTree",
    "telex.v1.WatchService/Watch",
    "telex.v1.SystemService/GetInfo",
    "telex.v1.CertificateService/Enroll",
    "telex.v1.CertificateService/Renew",
    "telex.v1.CertificateService/GetRevocations",
    "telex.v1.CertificateService/PutRevocations",
    "grpc.health.v1.Health/Check",
    "grpc.health.v1.Health/Watch",
    "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    NULL,
};

uint64_t policy_default_signals(void)
{
	static const int signals[] = {
	    SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGCONT, SIGKILL};
	uint64_t mask = 0;

	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		mask |= UINT64_C(1) << (signals[i] - 1);
	return mask;
}

bool policy_path_allowed(const struct policy_list *roots, const char *path)
{
	for (size_t i = 0; i < roots->n; i++)
		if (glob_path_match(roots->items[i], path))
			return true;
	return false;
}

/* ---- users ---- */

/* Numbers, and what a careless reader takes for one: never what a pattern means by chance. */
static bool is_number(const char *text)
{
	const char *at = text + strspn(text, " \t+-");

	return at[0] >= '0' && at[0] <= '9' && at[strspn(at, "0123456789xXabcdefABCDEF ")] == '\0';
}

static bool name_fits(const char *pattern, const char *name)
{
	if (name[0] == '\0')
		return false;
	if (is_number(name))
		return strcmp(pattern, "*") == 0 || strcmp(pattern, name) == 0;
	return glob_match(pattern, name);
}

/* Cuts text at its first colon. False: it is too long. */
static bool cut(char out[NAME_MAX_LEN], const char *text, const char **rest)
{
	const char *colon = strchr(text, ':');
	size_t len = colon != NULL ? (size_t)(colon - text) : strlen(text);

	if (len >= NAME_MAX_LEN)
		return false;
	memcpy(out, text, len);
	out[len] = '\0';
	*rest = colon != NULL ? colon + 1 : NULL;
	return true;
}

bool policy_user_allowed(const struct policy_list *users, const char *user)
{
	char name[NAME_MAX_LEN], pattern[NAME_MAX_LEN];
	const char *group, *group_pattern;

	if (!cut(name, user, &group))
		return false;
	for (size_t i = 0; i < users->n; i++) {
		if (!cut(pattern, users->items[i], &group_pattern) || !name_fits(pattern, name))
			continue;
		if (group == NULL ? group_pattern == NULL || strcmp(group_pattern, "*") == 0
		                  : group_pattern != NULL && name_fits(group_pattern, group))
			return true;
	}
	return false;
}

/* ---- environment ---- */

bool policy_variable_allowed(const char *const *names, const char *name)
{
	bool literal =
	    loader_name(name, strlen(name)) || strcmp(name, "TELEX_ORIGINAL_COMMAND") == 0;

	if (name[0] == '\0' || strchr(name, '=') != NULL)
		return false;
	for (; names != NULL && *names != NULL; names++)
		if (literal ? strcmp(*names, name) == 0 : glob_match(*names, name))
			return true;
	return false;
}

/* ---- commands ---- */

bool policy_program_allowed(const char *pattern, const char *program)
{
	if (strcmp(pattern, "**") == 0)
		return program[0] != '\0';
	return glob_path_plain(program) && glob_match(pattern, program);
}

static bool is_rest(const char *pattern)
{
	return strcmp(pattern, "**") == 0;
}

/* An option is allowed by what begins as it does, and not by a wildcard that happens to take it. */
static bool argument_fits(const char *pattern, const char *argument)
{
	if (argument[0] == '-' && (pattern[0] == '*' || pattern[0] == '?'))
		return false;
	return glob_match(pattern, argument);
}

bool policy_arguments_allowed(const struct policy_list *patterns, size_t argc, char *const *argv)
{
	size_t n = patterns->n;
	bool rest = n > 0 && is_rest(patterns->items[n - 1]);

	if (!patterns->set)
		return true;
	if (rest)
		n--;
	if (rest ? argc < n : argc != n)
		return false;
	for (size_t i = 0; i < n; i++)
		if (!argument_fits(patterns->items[i], argv[i]))
			return false;
	return true;
}
