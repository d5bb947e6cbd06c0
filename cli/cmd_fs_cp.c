/* SPDX-License-Identifier: Apache-2.0 */
/* `telex fs cp`: copies on the agent. */
#include "cli/fs.h"

static const struct options_spec specs[] = {
    {'a', 'a', "archive", false},
    {'r', 'r', "recursive", false},
    {'R', 'R', NULL, false},
    {'n', 'n', "no-clobber", false},
    FS_USER,
    {0},
};

static void one(struct fs *f, const char *source, const char *target)
{
	const struct telex_copy_options options = {
	    .replace = f->on['n'] ? TELEX_REPLACE_NEVER : TELEX_REPLACE_ALWAYS,
	    .recursive = f->on['a'] || f->on['r'] || f->on['R'],
	    .preserve = f->on['a'],
	    .follow = !f->on['a'] && !f->on['r'] && !f->on['R'],
	};
	struct session *s = &f->session;

	fs_wait(f, source,
	    telex_file_copy(s->client, fs_user(f), source, target, &options, 0, NULL, session_done,
	        s, &s->error));
}

static int run(struct cli *cli, int argc, char **argv)
{
	struct fs f;

	if (fs_args(&f, cli, &cmd_fs_cp, 2, "what, and where to? telex fs cp SOURCE… TARGET", argc,
	        argv) &&
	    fs_open(&f))
		fs_into(&f, one);
	return fs_end(&f);
}

const struct cli_verb cmd_fs_cp = {
    .name = "fs cp",
    .summary = "copy files on the agent",
    .specs = specs,
    .help =
        "Examples:\n"
        "  telex fs cp app.conf app.conf.old\n"
        "  telex fs cp -a /srv/app /srv/app.old\n"
        "  telex fs cp -n a b c /srv/in/\n"
        "\n"
        "Usage: telex fs cp [-a | -r] [-n] [-u USER] SOURCE… TARGET\n"
        "\n"
        "Where TARGET is a folder, each SOURCE goes into it; else the one SOURCE becomes TARGET. "
        "Blocks are\n"
        "shared where the file system can, holes stay holes, and each file is whole or not there.\n"
        "\n"
        "  -a, --archive     folders with all in them; owners, modes, times, links are kept\n"
        "  -r, --recursive   folders with all in them; links stay links\n"
        "  -n, --no-clobber  what is there already is not replaced, and is an error\n" FS_USER_HELP
        "\n"
        "Exit status: 1 when one of them failed (the others were done), 125 when the agent could "
        "not\n"
        "be asked.\n",
    .run = run,
};
