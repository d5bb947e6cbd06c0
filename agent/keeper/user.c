/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looks users up in the system's databases. An empty, unknown or odd name is never root: it is
 * refused. So is a number without an entry, unless a group comes with it: there is no group that
 * it could mean, and least of all group 0.
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

/* A uid or gid in decimal, as it is printed: no sign, no leading zero, and not the last number,
 * which the kernel takes for "none". */
static bool parse_id(const char *text, uint32_t *id)
{
	uint64_t n = 0;

	if (text[0] == '\0' || (text[0] == '0' && text[1] != '\0'))
		return false;
	for (const char *p = text; *p != '\0'; p++) {
		if (*p < '0' || *p > '9')
			return false;
		n = n * 10 + (uint64_t)(*p - '0');
		if (n >= UINT32_MAX)
			return false;
	}
	*id = (uint32_t)n;
	return true;
}

/* By name, else by number, whether it has an entry or not. */
static int find_group(const char *name, gid_t *gid, struct err *e)
{
	size_t size = 1024;
	uint32_t number;
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
		if (found != NULL || parse_id(name, &number)) {
			*gid = found != NULL ? gr.gr_gid : (gid_t)number;
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

	if (u->bare) {
		u->groups = malloc(sizeof(gid_t));
		if (u->groups == NULL)
			return err_set(e, TX_ENOMEM, "out of memory");
		u->groups[0] = u->gid;
		u->n_groups = 1;
		return 0;
	}
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

/* Before u->gid becomes the group that was asked for. */
static int find_own_group(struct user *u, gid_t wanted, struct err *e)
{
	int rc;

	u->own_group = !u->bare && wanted == u->gid;
	if (u->bare || u->own_group)
		return 0;
	rc = find_groups(u, e);
	for (size_t i = 0; rc == 0 && i < u->n_groups; i++)
		u->own_group = u->own_group || u->groups[i] == wanted;
	return rc;
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

/* A number that no user has; it owns nothing yet. */
static int take_number(struct user *u, const char *name, uid_t uid, bool has_group, struct err *e)
{
	if (!has_group)
		return err_set(e, TX_ENOENT,
		    "no user has the number %s; name a group, too: %s:GROUP", name, name);
	u->uid = uid;
	u->bare = true;
	u->name = strdup(name);
	u->home = strdup("/");
	u->shell = strdup("/bin/sh");
	if (u->name == NULL || u->home == NULL || u->shell == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	return 0;
}

/* By name, else by number. */
static int find_user(struct user *u, const char *name, bool has_group, struct err *e)
{
	struct passwd pw;
	char *buf = NULL;
	uint32_t id;
	int rc = find_passwd(name, 0, &pw, &buf, e);

	if (rc == TX_ENOENT && parse_id(name, &id)) {
		rc = find_passwd(NULL, (uid_t)id, &pw, &buf, e);
		if (rc == TX_ENOENT) {
			free(buf);
			return take_number(u, name, (uid_t)id, has_group, e);
		}
	}
	if (rc == 0)
		rc = take_passwd(u, &pw, e);
	free(buf);
	return rc;
}

static int named_user(struct user *u, const char *spec, struct err *e)
{
	const char *colon = strchr(spec, ':');
	char *name = colon != NULL ? strndup(spec, (size_t)(colon - spec)) : strdup(spec);
	int rc = TX_ENOMEM;
	gid_t wanted;

	u->group = colon != NULL ? strdup(colon + 1) : NULL;
	if (name == NULL || (colon != NULL && u->group == NULL)) {
		err_set(e, rc, "out of memory");
		goto out;
	}
	rc = find_user(u, name, colon != NULL, e);
	wanted = u->gid;
	if (rc == 0 && colon != NULL)
		rc = find_group(u->group, &wanted, e);
	if (rc == 0 && geteuid() == 0)
		rc = find_own_group(u, wanted, e);
	if (rc != 0)
		goto out;
	u->gid = wanted;
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
	free(u->group);
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
