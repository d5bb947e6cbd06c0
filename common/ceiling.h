/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's ceiling: what no policy and no worker, hostile or not, gets beyond. It is a section
 * of the keeper's own, root-owned configuration:
 *
 *     ceiling {
 *             users = {"deploy", "www-data", "1000-1999"}
 *             root = false
 *             programs = {"/usr/bin/git", "/opt/app-*"}
 *             environment = {"LANG", "LC_*", "TERM", "APP_*"}
 *             groups = {"docker"}
 *             any_process = false
 *             files = true
 *             folders = {"/srv", "/home"}
 *     }
 *
 * The keeper checks every request against it. Workers get it, too, and refuse by the same function
 * what it forbids, with words and an audit record: so a request that the textual check forbids and
 * that reaches the keeper all the same comes from a worker that is not ours any more, and ends it.
 * Beyond the text the keeper checks the uid that the user's name turns out to have.
 */
#ifndef TX_COMMON_CEILING_H
#define TX_COMMON_CEILING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

#define CEILING_ENTRIES_MAX 256
#define CEILING_PACKED_MAX  ((size_t)64 << 10)

struct ceiling {
	/* Names, uids ("1000") and ranges of uids ("1000-1999"), as they were written. None: any
	 * user, but root by `root` alone. */
	char **users;
	size_t n_users;
	/* Absolute paths with glob.h's wildcards. None: any program. With some, a request must name
	 * its program by its absolute path, without "." and ".." and doubled slashes. */
	char **programs;
	size_t n_programs;
	/* Names of variables, with glob.h's wildcards, that a request may set. None: any. Those of
	 * loader_name.h are meant by their own names alone. */
	char **environment;
	size_t n_environment;
	/* Names, gids and ranges: in which groups beside the user's own something may run. None:
	 * in no other, unless everything is allowed (users none, and root). */
	char **groups;
	size_t n_groups;
	bool root;        /* whether anything may run as uid 0; default true */
	bool any_process; /* whether a worker may act on another identity's processes for a client
	                     whom policy lets; default true */
	/* Whether anything may be done with files; default true. And below which absolute folders;
	 * none: anywhere. */
	bool files;
	char **folders;
	size_t n_folders;
};

/* The default: everything is allowed. */
void ceiling_init(struct ceiling *c);
void ceiling_clear(struct ceiling *c);

/* Whether it bounds nothing. */
bool ceiling_is_open(const struct ceiling *c);
/* What it bounds, in a few words: "no root, users, programs"; or that it bounds nothing. */
void ceiling_describe(const struct ceiling *c, char *out, size_t size);

/* Whether it may stand in `users` and `groups`. */
bool ceiling_user_valid(const char *entry);

/* Whether it may stand in `environment`. */
bool ceiling_variable_valid(const char *entry);

/* Whether it may stand in `folders`. */
bool ceiling_folder_valid(const char *entry);

/* Into one allocation, the caller's to free; and back. TX_EPROTO for what is no packed ceiling. */
int ceiling_pack(const struct ceiling *c, uint8_t **data, size_t *len, struct err *e);
int ceiling_unpack(struct ceiling *c, const uint8_t *data, size_t len, struct err *e);

/*
 * The textual check: `user` as in a job_spec ("NAME", "NAME:GROUP" or a uid; the caller puts the
 * default user for none), `program` is argv[0]. 0, or TX_EPERM with a sentence that says what is
 * forbidden and what would be allowed.
 */
int ceiling_check(const struct ceiling *c, const char *user, const char *program, struct err *e);
/* The textual check of variables ("NAME=VALUE"): they are of `environment`; and where programs are
 * named, none may be given, whatever that says, by which a program runs another's code.
 * TELEX_ORIGINAL_COMMAND, which a forced command gets, is always allowed. */
int ceiling_check_environment(const struct ceiling *c, char *const *env, size_t n, struct err *e);
/* The same for work on files, as a user; and for one file of it (absolute and plain). */
int ceiling_check_files(const struct ceiling *c, const char *user, struct err *e);
int ceiling_check_path(const struct ceiling *c, const char *path, struct err *e);
/* The keeper's: the uid that the name has. */
int ceiling_check_uid(const struct ceiling *c, const char *text, uint32_t uid, struct err *e);
/* And the gid that the group of "USER:GROUP" has; `own`: the user database has the user in it. */
int ceiling_check_gid(
    const struct ceiling *c, const char *group, uint32_t gid, bool own, struct err *e);

#endif
