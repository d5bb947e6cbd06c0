/* SPDX-License-Identifier: Apache-2.0 */
/* `telex fs`: work on the agent's files, one verb a word. */
#include "cli/fs.h"
#include "cli/subverbs.h"
#include "cli/verbs.h"

static const struct cli_verb *const words[] = {&cmd_fs_ls, &cmd_fs_stat, &cmd_fs_cat, &cmd_fs_mkdir,
    &cmd_fs_mv, &cmd_fs_cp, &cmd_fs_rm, &cmd_fs_chmod, &cmd_fs_chown, &cmd_fs_ln, &cmd_fs_readlink,
    &cmd_fs_df, &cmd_fs_sum, &cmd_fs_truncate, &cmd_fs_write};
static const char *const names[] = {"ls", "stat", "cat", "mkdir", "mv", "cp", "rm", "chmod",
    "chown", "ln", "readlink", "df", "sum", "truncate", "write", NULL};
_Static_assert(
    sizeof(names) / sizeof(names[0]) == sizeof(words) / sizeof(words[0]) + 1, "a name for each");

static int run(struct cli *cli, int argc, char **argv)
{
	return subverbs_run(cli, &cmd_fs, words, argc, argv);
}

const struct cli_verb cmd_fs = {
    .name = "fs",
    .summary = "look at files on the agent, and change them",
    .words = names,
    .help = "Examples:\n"
            "  telex fs ls -l /srv\n"
            "  telex fs cat /etc/hostname\n"
            "  telex fs mkdir -p -u deploy releases/42\n"
            "  telex fs ls --help\n"
            "\n"
            "Usage: telex fs VERB [OPTIONS] PATH…\n"
            "\n"
            "  ls, stat, readlink, df, sum   look\n"
            "  cat, write                    to standard output, and from standard input\n"
            "  mkdir, ln, truncate           make and cut\n"
            "  mv, cp, rm                    move, copy, remove\n"
            "  chmod, chown                  modes and owners\n"
            "\n"
            "Their options are those of the commands of these names. A PATH that does not begin\n"
            "with / is in the home folder of the user there. `telex put`, `get` and `sync` move\n"
            "files between here and there.\n",
    .run = run,
};
