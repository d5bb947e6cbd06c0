/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looks users up in the system's databases and builds environments. An empty, unknown or odd name
 * is never root: it is refused.
 */
#include "agent/keeper/user.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOOKUP_MAX ((size_t)1 << 20)
#define GROUPS_MAX 65536

static const char root_path[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
static const char user_path[] = "/usr/local/bin:/usr/bin:/bin";

/* By name, or by uid when name is NULL. *buf is what *pw points into. 0, TX_ENOENT, TX_ESYS,
 * TX_ENOMEM. */
static int find_passwd(const char *name, uid_t uid, struct passwd *pw, char **buf, struct err *e)
{
	size_t size = 1024;

	for (;;) {
		char *more = realloc(*buf, size);
		struct passwd *found = NULL;
		int rc;

		if (more == NULL)
			return err_set(e, TX_ENOMEM, "out of memory");
		*buf = more;
		rc = name != NULL ? getpwnam_r(name, pw, *buf, size, &found)
		                  : getpwuid_r(uid, pw, *buf, size, &found);
		if (rc == ERANGE && size < LOOKUP_MAX) {
			size *= 2;
			continue;
		}
		if (found != NULL)
			return 0;
		/* Databases answer these, too, for what they do not have. */
		if (rc == 0 || rc == ENOENT || rc == ESRCH || rc == EBADF || rc == EPERM)
			return err_set(e, TX_ENOENT, "no such user: %s", name != NULL ? name : "");
		if (rc != EINTR)
			return err_sys(e, rc, "cannot look up user %s", name != NULL ? name : "");
	}
}

static int find_group(const char *name, gid_t *gid, struct err *e)
{
	size_t size = 1024;
	char *buf = NULL;
	int rc;

	for (;;) {
		char *more = realloc(buf, size);
		struct group gr, *found = NULL;

		if (more == NULL) {
			rc = err_set(e, TX_ENOMEM, "out of memory");
			break;
		}
		buf = more;
		rc = getgrnam_r(name, &gr, buf, size, &found);
		if (rc == ERANGE && size < LOOKUP_MAX) {
			size *= 2;
			continue;
		}
		if (rc == EINTR)
			continue;
		if (found != NULL) {
			*gid = gr.gr_gid;
			rc = 0;
		} else {
			rc = err_set(e, TX_ENOENT, "no such group: %s", name);
		}
		break;
	}
	free(buf);
	return rc;
}

static int find_groups(struct user *u, struct err *e)
{
	int n = 32;

	for (;;) {
		gid_t *more = reallocarray(u->groups, (size_t)n, sizeof(gid_t));
		int want = n;

		if (more == NULL)
			return err_set(e, TX_ENOMEM, "out of memory");
		u->groups = more;
		if (getgrouplist(u->name, u->gid, u->groups, &want) >= 0) {
			u->n_groups = (size_t)want;
			return 0;
		}
		n = want > n ? want : n * 2;
		if (n > GROUPS_MAX)
			return err_set(e, TX_ESYS, "user %s is in too many groups", u->name);
	}
}

static int take_passwd(struct user *u, const struct passwd *pw, struct err *e)
{
	const char *shell = pw->pw_shell[0] != '\0' ? pw->pw_shell : "/bin/sh";

	u->uid = pw->pw_uid;
	u->gid = pw->pw_gid;
	u->name = strdup(pw->pw_name);
	u->home = strdup(pw->pw_dir[0] == '/' ? pw->pw_dir : "/");
	u->shell = strdup(shell);
	if (u->name == NULL || u->home == NULL || u->shell == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	return 0;
}

/* The agent's own user. One without an entry is allowed: containers have them. */
static int own_user(struct user *u, struct err *e)
{
	struct passwd pw;
	char *buf = NULL;
	char number[16];
	int rc = find_passwd(NULL, geteuid(), &pw, &buf, e);

	if (rc == 0) {
		rc = take_passwd(u, &pw, e);
	} else if (rc == TX_ENOENT || rc == TX_ESYS) {
		snprintf(number, sizeof(number), "%u", (unsigned)geteuid());
		pw = (struct passwd){.pw_name = number, .pw_dir = number, .pw_shell = number};
		pw.pw_dir = pw.pw_shell = number + strlen(number);
		rc = take_passwd(u, &pw, e);
	}
	u->uid = geteuid();
	u->gid = getegid();
	free(buf);
	return rc;
}

static int named_user(struct user *u, const char *spec, struct err *e)
{
	const char *colon = strchr(spec, ':');
	char *name = colon != NULL ? strndup(spec, (size_t)(colon - spec)) : strdup(spec);
	struct passwd pw;
	char *buf = NULL;
	int rc = TX_ENOMEM;

	if (name == NULL) {
		err_set(e, rc, "out of memory");
		goto out;
	}
	rc = find_passwd(name, 0, &pw, &buf, e);
	if (rc == 0)
		rc = take_passwd(u, &pw, e);
	if (rc == 0 && colon != NULL)
		rc = find_group(colon + 1, &u->gid, e);
	if (rc != 0)
		goto out;
	if (geteuid() == 0) {
		u->change = true;
		rc = find_groups(u, e);
	} else if (u->uid != geteuid() || (colon != NULL && u->gid != getegid())) {
		rc = err_set(e, TX_EPERM,
		    "the agent does not run as root: it can start processes only as its own user, "
		    "not as %s",
		    spec);
	} else {
		u->gid = getegid();
	}
out:
	free(name);
	free(buf);
	return rc;
}

int user_lookup(struct user **out, const char *spec, struct err *e)
{
	struct user *u = calloc(1, sizeof(*u));
	int rc;

	if (u == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	if (spec == NULL)
		rc = own_user(u, e);
	else if (spec[0] == '\0' || spec[0] == ':')
		rc = err_set(e, TX_ENOENT, "the user's name is empty");
	else
		rc = named_user(u, spec, e);
	if (rc == 0)
		*out = u;
	else
		user_free(u);
	return rc;
}

void user_free(struct user *u)
{
	if (u == NULL)
		return;
	free(u->groups);
	free(u->name);
	free(u->home);
	free(u->shell);
	free(u);
}

int user_ids(const char *name, uid_t *uid, gid_t *gid, struct err *e)
{
	struct passwd pw;
	char *buf = NULL;
	int rc = find_passwd(name, 0, &pw, &buf, e);

	if (rc == 0) {
		*uid = pw.pw_uid;
		*gid = pw.pw_gid;
	}
	free(buf);
	return rc;
}

/* ---- environment ---- */

static size_t name_length(const char *variable)
{
	return strcspn(variable, "=");
}

static int compare_names(const char *a, const char *b)
{
	size_t la = name_length(a), lb = name_length(b);
	int diff = memcmp(a, b, la < lb ? la : lb);

	return diff != 0 ? diff : la < lb ? -1 : la > lb;
}

/* Of pointers into the list: by name, and of one name in the list's order. */
static int compare_entries(const void *a, const void *b)
{
	char *const *x = *(char *const *const *)a;
	char *const *y = *(char *const *const *)b;
	int diff = compare_names(*x, *y);

	return diff != 0 ? diff : x < y ? -1 : x > y;
}

static bool named_in(const char *variable, char *const *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (compare_names(variable, list[i]) == 0)
			return true;
	return false;
}

/*
 * Appends to env[] what no later entry of the list overrides, in the list's order. By sorting: the
 * list is a peer's and may be long. 0 or TX_ENOMEM.
 */
static int put_extra(char **env, size_t *count, char *const *extra, size_t n)
{
	char *const **sorted = n > 0 ? reallocarray(NULL, n, sizeof(*sorted)) : NULL;
	bool *drop = n > 0 ? calloc(n, sizeof(*drop)) : NULL;
	int rc = n > 0 && (sorted == NULL || drop == NULL) ? TX_ENOMEM : 0;

	if (n == 0 || rc != 0)
		goto out;
	for (size_t i = 0; i < n; i++)
		sorted[i] = &extra[i];
	qsort(sorted, n, sizeof(*sorted), compare_entries);
	for (size_t i = 0; i + 1 < n; i++)
		drop[sorted[i] - extra] = compare_names(*sorted[i], *sorted[i + 1]) == 0;
	for (size_t i = 0; i < n; i++)
		if (!drop[i])
			env[(*count)++] = extra[i];
out:
	free(sorted);
	free(drop);
	return rc;
}

/* Appends "NAME=VALUE" at *text; returns the variable. */
static char *put_basic(char **text, const char *name, const char *value)
{
	char *variable = *text;
	size_t n = strlen(name), v = strlen(value);

	memcpy(variable, name, n);
	variable[n] = '=';
	memcpy(variable + n + 1, value, v + 1);
	*text = variable + n + v + 2;
	return variable;
}

#define BASICS 5

char **user_environment(const struct user *u, char *const *extra, size_t n)
{
	const char *const basic[BASICS][2] = {
	    {"HOME", u->home},
	    {"USER", u->name},
	    {"LOGNAME", u->name},
	    {"SHELL", u->shell},
	    {"PATH", u->uid == 0 ? root_path : user_path},
	};
	size_t pointers = (n + BASICS + 1) * sizeof(char *);
	size_t texts = 0;
	size_t count = 0;
	char **env;
	char *text;

	for (size_t i = 0; i < BASICS; i++)
		texts += strlen(basic[i][0]) + strlen(basic[i][1]) + 2;
	env = malloc(pointers + texts);
	if (env == NULL)
		return NULL;
	text = (char *)env + pointers;
	for (size_t i = 0; i < BASICS; i++) {
		char *variable = put_basic(&text, basic[i][0], basic[i][1]);

		if (!named_in(variable, extra, n))
			env[count++] = variable;
	}
	if (put_extra(env, &count, extra, n) != 0) {
		free(env);
		return NULL;
	}
	env[count] = NULL;
	return env;
}
