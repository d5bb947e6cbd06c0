/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the verbs of `telex fs` share: their arguments, and one question after another, where a
 * failure is said with its path and does not keep the others from being asked.
 */
#ifndef TX_CLI_FS_H
#define TX_CLI_FS_H

#include <stdbool.h>

#include "cli/cli.h"
#include "cli/options.h"
#include "cli/session.h"

extern const struct cli_verb cmd_fs_cat, cmd_fs_chmod, cmd_fs_chown, cmd_fs_cp, cmd_fs_df,
    cmd_fs_ln, cmd_fs_ls, cmd_fs_mkdir, cmd_fs_mv, cmd_fs_readlink, cmd_fs_rm, cmd_fs_stat,
    cmd_fs_sum, cmd_fs_truncate, cmd_fs_write;

#define FS_USER                                                                                    \
	{                                                                                          \
		'u', 'u', "user", true                                                             \
	}
#define FS_USER_HELP "  -u, --user USER   as this user on the agent\n"

/* Options by their ids, which are letters. */
struct fs {
	struct options o;
	bool on[128];
	int nth[128]; /* which it was, when it was given last: 1 is the first; 0: it was not */
	const char *value[128];
	struct session session; /* of fs_open; session.data is the verb's */
	const char *word;       /* "ls" */
	int status;
	bool opened, terminal; /* standard output is one */
	bool itself;           /* a link to a folder is none to go into (fs_into) */
};

/* Takes the arguments: true, or the verb is over, fs_end says with what. Fewer operands than
 * `least`: `usage` is said. */
bool fs_args(struct fs *f, struct cli *cli, const struct cli_verb *verb, size_t least,
    const char *usage, int argc, char **argv);
/* The same, but what options.take says is no option is given to that. */
bool fs_args_but(struct fs *f, struct cli *cli, const struct cli_verb *verb, size_t least,
    const char *usage, bool (*take)(const char *arg, void *take_arg), void *take_arg, int argc,
    char **argv);
/* The one of these options (letters) that was given last; 0: none was. */
int fs_last(const struct fs *f, const char *ids);
/* Connects, after the arguments are known to be right. Whether there is a session; if not it was
 * said why. */
bool fs_open(struct fs *f);
/* Closes, frees, and gives the exit status. */
int fs_end(struct fs *f);

/* Of this user; NULL: the agent's own. */
const char *fs_user(const struct fs *f);
/* Waits for session_done of a question about path; `asked` as in session_wait. 0; or -1, and it was
 * said. */
int fs_wait(struct fs *f, const char *path, int asked);
/* Says that it failed. */
void fs_fail(struct fs *f, const char *path, const struct telex_error *error);
/* The agent cannot be asked any more: leave the rest. */
bool fs_stops(const struct fs *f);
/* A sentence of our own about path; status 1. */
void fs_refuse(struct fs *f, const char *path, const char *why);

/* Whether path is a folder, or a link to one: 1, 0 (also: not there), -1 (said). */
int fs_is_folder(struct fs *f, const char *path);
/* The last operand is where to. NULL: said why not; else calls each(source, target) for every
 * other: the target is the last one itself, or in it. */
void fs_into(struct fs *f, void (*each)(struct fs *f, const char *source, const char *target));
/* With option -T: the last operand is the one target itself. A mistake is said. */
int fs_check_one_target(struct fs *f);

#endif
