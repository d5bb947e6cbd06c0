/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packed: a version, the flags, the counts, and then each string with its NUL. A request's user
 * is compared as text, and a uid in it as a number; what uid a name has is for the keeper to look
 * up.
 */
#include "common/ceiling.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/glob.h"
#include "common/loader_name.h"

#define PACKED_VERSION 4
#define NAME_SIZE      64
#define VARIABLE_SIZE  256

struct packed_head {
	uint8_t version, root, any_process, files;
	uint32_t n_users, n_programs, n_groups, n_folders, n_environment;
};

void ceiling_init(struct ceiling *c)
{
	*c = (struct ceiling){.root = true, .any_process = true, .files = true};
}

bool ceiling_is_open(const struct ceiling *c)
{
	return c->root && c->any_process && c->files && c->n_users == 0 && c->n_programs == 0 &&
	       c->n_groups == 0 && c->n_folders == 0 && c->n_environment == 0;
}

void ceiling_describe(const struct ceiling *c, char *out, size_t size)
{
	const struct {
		bool bounded;
		const char *word;
	} all[] = {{!c->root, "no root"}, {c->n_users > 0, "users"}, {c->n_groups > 0, "groups"},
	    {c->n_programs > 0, "programs"}, {c->n_environment > 0, "environment"},
	    {!c->any_process, "own processes"}, {!c->files, "no files"},
	    {c->n_folders > 0, "folders"}};
	size_t used = 0;

	snprintf(
	    out, size, "telexd.conf has none, so what the policy allows is bounded by nothing");
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (all[i].bounded && used < size)
			used += (size_t)snprintf(
			    out + used, size - used, "%s%s", used > 0 ? ", " : "", all[i].word);
}

static void free_list(char **list, size_t n)
{
	for (size_t i = 0; list != NULL && i < n; i++)
		free(list[i]);
	free(list);
}

void ceiling_clear(struct ceiling *c)
{
	free_list(c->users, c->n_users);
	free_list(c->programs, c->n_programs);
	free_list(c->groups, c->n_groups);
	free_list(c->folders, c->n_folders);
	free_list(c->environment, c->n_environment);
	ceiling_init(c);
}

/* ---- users ---- */

/* A whole text of digits, without a sign or a leading zero. */
static bool read_uid(const char *text, size_t len, uint32_t *uid)
{
	uint64_t n = 0;

	if (len == 0 || len > 10 || (len > 1 && text[0] == '0'))
		return false;
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		n = n * 10 + (uint64_t)(text[i] - '0');
	}
	/* The highest one means "none" to the kernel. */
	if (n >= UINT32_MAX)
		return false;
	*uid = (uint32_t)n;
	return true;
}

/* "1000" or "1000-1999". */
static bool read_range(const char *entry, uint32_t *from, uint32_t *to)
{
	const char *dash = strchr(entry, '-');

	if (dash == NULL)
		return read_uid(entry, strlen(entry), from) && ((*to = *from), true);
	return read_uid(entry, (size_t)(dash - entry), from) &&
	       read_uid(dash + 1, strlen(dash + 1), to) && *from <= *to;
}

bool ceiling_user_valid(const char *entry)
{
	uint32_t from, to;

	if (entry[0] >= '0' && entry[0] <= '9')
		return read_range(entry, &from, &to);
	return entry[0] != '\0' && strlen(entry) < NAME_SIZE && strpbrk(entry, " \t:/,") == NULL &&
	       entry[0] != '-';
}

static bool in_ranges(char *const *list, size_t n, uint32_t id)
{
	uint32_t from, to;

	for (size_t i = 0; i < n; i++)
		if (read_range(list[i], &from, &to) && id >= from && id <= to)
			return true;
	return false;
}

static bool in_names(char *const *list, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(list[i], name) == 0)
			return true;
	return false;
}

static bool has_uid(const struct ceiling *c, uint32_t uid)
{
	return in_ranges(c->users, c->n_users, uid);
}

static bool has_name(const struct ceiling *c, const char *name)
{
	return in_names(c->users, c->n_users, name);
}

/* Whether a name may still turn out to have a uid that is allowed. */
static bool has_ranges(const struct ceiling *c)
{
	uint32_t from, to;

	for (size_t i = 0; i < c->n_users; i++)
		if (read_range(c->users[i], &from, &to))
			return true;
	return false;
}

static int refuse_user(const char *user, struct err *e)
{
	return err_set(e, TX_EPERM,
	    "nothing may run as the user %s on this agent: its ceiling names other users", user);
}

static int refuse_root(struct err *e)
{
	return err_set(e, TX_EPERM, "nothing may run as root on this agent: its ceiling says so");
}

/* Just the user of "USER:GROUP". */
static bool user_part(const char *text, char out[NAME_SIZE])
{
	size_t len = strcspn(text, ":");

	if (len == 0 || len >= NAME_SIZE)
		return false;
	memcpy(out, text, len);
	out[len] = '\0';
	return true;
}

/* Whether `groups` has it, by its name or its number. */
static bool has_group(const struct ceiling *c, const char *group, uint32_t gid)
{
	return in_names(c->groups, c->n_groups, group) || in_ranges(c->groups, c->n_groups, gid);
}

int ceiling_check_gid(
    const struct ceiling *c, const char *group, uint32_t gid, bool own, struct err *e)
{
	const bool open = c->root && c->n_users == 0 && c->n_groups == 0;

	if (open || has_group(c, group, gid) || (own && (c->root || gid != 0)))
		return 0;
	return err_set(e, TX_EPERM,
	    "nothing may run in the group %s on this agent: it is %s, and the ceiling's groups do "
	    "not name it",
	    group, own ? "root's" : "none of the user's own");
}

/* Of a group's text nothing can be known but that it is root's. */
static int check_group(const struct ceiling *c, const char *text, struct err *e)
{
	const char *colon = strchr(text, ':');

	if (colon == NULL || (strcmp(colon + 1, "root") != 0 && strcmp(colon + 1, "0") != 0))
		return 0;
	return ceiling_check_gid(c, colon + 1, 0, true, e);
}

static int check_user(const struct ceiling *c, const char *text, struct err *e)
{
	char user[NAME_SIZE];
	bool number;
	uint32_t uid = 0;

	if (!user_part(text, user))
		return refuse_user(text, e);
	number = read_uid(user, strlen(user), &uid);
	if (!c->root && (strcmp(user, "root") == 0 || (number && uid == 0)))
		return refuse_root(e);
	/* Only root itself is root by the key of that name. */
	if (c->n_users == 0 || has_name(c, user) || (number ? has_uid(c, uid) : has_ranges(c)))
		return check_group(c, text, e);
	return refuse_user(user, e);
}

int ceiling_check_uid(const struct ceiling *c, const char *text, uint32_t uid, struct err *e)
{
	char user[NAME_SIZE];

	if (!c->root && uid == 0)
		return refuse_root(e);
	if (c->n_users == 0 || has_uid(c, uid))
		return 0;
	if (user_part(text, user) && has_name(c, user))
		return 0;
	return refuse_user(text, e);
}

/* ---- programs ---- */

static int check_program(const struct ceiling *c, const char *program, struct err *e)
{
	if (c->n_programs == 0)
		return 0;
	if (!glob_path_plain(program))
		return err_set(e, TX_EPERM,
		    "this agent's ceiling names the programs that may run: give %s by its absolute "
		    "path",
		    program);
	for (size_t i = 0; i < c->n_programs; i++)
		if (glob_match(c->programs[i], program))
			return 0;
	return err_set(
	    e, TX_EPERM, "%s may not run on this agent: its ceiling names other programs", program);
}

/* ---- variables ---- */

bool ceiling_variable_valid(const char *entry)
{
	return entry[0] != '\0' && strlen(entry) < VARIABLE_SIZE &&
	       strpbrk(entry, "= \t") == NULL && glob_valid(entry);
}

static bool is_named(const struct ceiling *c, const char *variable, size_t len)
{
	const bool literal = loader_name(variable, len);
	char name[VARIABLE_SIZE];

	if (len == 0 || len >= sizeof(name))
		return false;
	memcpy(name, variable, len);
	name[len] = '\0';
	for (size_t i = 0; i < c->n_environment; i++)
		if (literal ? strcmp(c->environment[i], name) == 0
		            : glob_match(c->environment[i], name))
			return true;
	return false;
}

static bool is_of_a_forced_command(const char *variable, size_t len)
{
	static const char name[] = "TELEX_ORIGINAL_COMMAND";

	return len == sizeof(name) - 1 && memcmp(variable, name, len) == 0;
}

static int check_variable(const struct ceiling *c, const char *variable, struct err *e)
{
	size_t len = strcspn(variable, "=");
	const int shown = (int)(len < NAME_SIZE ? len : NAME_SIZE);

	if (c->n_programs > 0 && program_name(variable, len))
		return err_set(e, TX_EPERM,
		    "%.*s may not be set on this agent: its ceiling names the programs that may "
		    "run, and by this variable they may run others",
		    shown, variable);
	if (c->n_environment == 0 || is_named(c, variable, len) ||
	    is_of_a_forced_command(variable, len))
		return 0;
	return err_set(e, TX_EPERM,
	    "%.*s may not be set on this agent: its ceiling names other variables", shown,
	    variable);
}

int ceiling_check_environment(const struct ceiling *c, char *const *env, size_t n, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; i < n && rc == 0; i++)
		rc = check_variable(c, env[i], e);
	return rc;
}

int ceiling_check(const struct ceiling *c, const char *user, const char *program, struct err *e)
{
	int rc = check_user(c, user, e);

	return rc != 0 ? rc : check_program(c, program, e);
}

/* ---- files ---- */

bool ceiling_folder_valid(const char *entry)
{
	return glob_path_plain(entry) && strlen(entry) < 4096;
}

int ceiling_check_files(const struct ceiling *c, const char *user, struct err *e)
{
	if (!c->files)
		return err_set(e, TX_EPERM,
		    "nothing may be done with files on this agent: its ceiling says so");
	return check_user(c, user, e);
}

int ceiling_check_path(const struct ceiling *c, const char *path, struct err *e)
{
	for (size_t i = 0; i < c->n_folders; i++) {
		size_t len = strcmp(c->folders[i], "/") == 0 ? 0 : strlen(c->folders[i]);

		if (strncmp(path, c->folders[i], len) == 0 &&
		    (path[len] == '/' || path[len] == '\0'))
			return 0;
	}
	if (c->n_folders == 0)
		return 0;
	return err_set(
	    e, TX_EPERM, "%s is out of reach on this agent: its ceiling names other folders", path);
}

/* ---- packing ---- */

static size_t list_size(char *const *list, size_t n)
{
	size_t size = 0;

	for (size_t i = 0; i < n; i++)
		size += strlen(list[i]) + 1;
	return size;
}

static uint8_t *put_list(uint8_t *at, char *const *list, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		size_t len = strlen(list[i]) + 1;

		memcpy(at, list[i], len);
		at += len;
	}
	return at;
}

int ceiling_pack(const struct ceiling *c, uint8_t **data, size_t *len, struct err *e)
{
	const struct packed_head head = {.version = PACKED_VERSION,
	    .root = c->root,
	    .any_process = c->any_process,
	    .files = c->files,
	    .n_users = (uint32_t)c->n_users,
	    .n_programs = (uint32_t)c->n_programs,
	    .n_groups = (uint32_t)c->n_groups,
	    .n_folders = (uint32_t)c->n_folders,
	    .n_environment = (uint32_t)c->n_environment};
	size_t size = sizeof(head) + list_size(c->users, c->n_users) +
	              list_size(c->programs, c->n_programs) + list_size(c->groups, c->n_groups) +
	              list_size(c->folders, c->n_folders) +
	              list_size(c->environment, c->n_environment);
	uint8_t *out, *at;

	if (c->n_users > CEILING_ENTRIES_MAX || c->n_programs > CEILING_ENTRIES_MAX ||
	    c->n_groups > CEILING_ENTRIES_MAX || c->n_folders > CEILING_ENTRIES_MAX ||
	    c->n_environment > CEILING_ENTRIES_MAX || size > CEILING_PACKED_MAX)
		return err_set(e, TX_ETOOBIG, "the ceiling has too many entries");
	out = malloc(size);
	if (out == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	memcpy(out, &head, sizeof(head));
	at = put_list(out + sizeof(head), c->users, c->n_users);
	at = put_list(at, c->programs, c->n_programs);
	at = put_list(at, c->groups, c->n_groups);
	at = put_list(at, c->folders, c->n_folders);
	put_list(at, c->environment, c->n_environment);
	*data = out;
	*len = size;
	return 0;
}

/* Takes n strings from the front of data[*at..len). */
static int take_list(
    char ***list, size_t *n, size_t count, const uint8_t *data, size_t len, size_t *at)
{
	if (count > CEILING_ENTRIES_MAX)
		return TX_EPROTO;
	if (count == 0)
		return 0;
	*list = calloc(count, sizeof(**list));
	if (*list == NULL)
		return TX_ENOMEM;
	for (size_t i = 0; i < count; i++) {
		const uint8_t *end = memchr(data + *at, '\0', len - *at);

		if (end == NULL)
			return TX_EPROTO;
		(*list)[i] = strdup((const char *)data + *at);
		if ((*list)[i] == NULL)
			return TX_ENOMEM;
		*n = i + 1;
		*at = (size_t)(end - data) + 1;
	}
	return 0;
}

static int unpack(struct ceiling *c, const uint8_t *data, size_t len)
{
	struct packed_head head;
	size_t at = sizeof(head);
	int rc;

	if (len < sizeof(head) || len > CEILING_PACKED_MAX)
		return TX_EPROTO;
	memcpy(&head, data, sizeof(head));
	if (head.version != PACKED_VERSION || head.root > 1 || head.any_process > 1 ||
	    head.files > 1)
		return TX_EPROTO;
	c->root = head.root != 0;
	c->any_process = head.any_process != 0;
	c->files = head.files != 0;
	rc = take_list(&c->users, &c->n_users, head.n_users, data, len, &at);
	if (rc == 0)
		rc = take_list(&c->programs, &c->n_programs, head.n_programs, data, len, &at);
	if (rc == 0)
		rc = take_list(&c->groups, &c->n_groups, head.n_groups, data, len, &at);
	if (rc == 0)
		rc = take_list(&c->folders, &c->n_folders, head.n_folders, data, len, &at);
	if (rc == 0)
		rc = take_list(
		    &c->environment, &c->n_environment, head.n_environment, data, len, &at);
	return rc == 0 && at != len ? TX_EPROTO : rc;
}

int ceiling_unpack(struct ceiling *c, const uint8_t *data, size_t len, struct err *e)
{
	int rc;

	ceiling_init(c);
	rc = unpack(c, data, len);
	if (rc == 0)
		return 0;
	ceiling_clear(c);
	return err_set(e, rc, rc == TX_ENOMEM ? "out of memory" : "that is no ceiling");
}
