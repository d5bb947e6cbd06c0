/* SPDX-License-Identifier: Apache-2.0 */
/* `telex fs mv`: renames and moves. */
#include "cli/fs.h"

static const struct options_spec specs[] = {
    {'n', 'n', "no-clobber", false},
    FS_USER,
    {0},
};

static void one(struct fs *f, const char *source, const char *target)
{
	const enum telex_replace replace = f->on['n'] ? TELEX_REPLACE_NEVER : TELEX_REPLACE_ALWAYS;
	struct session *s = &f->session;

	fs_wait(f, source,
	    telex_file_move(
	        s->client, fs_user(f), source, target, replace, 0, session_done, s, &s->error));
}

static int run(struct cli *cli, int argc, char **argv)
{
	struct fs f;

	if (fs_args(&f, cli, &cmd_fs_mv, 2, "what, and where to? telex fs mv SOURCE… TARGET", argc,
	        argv) &&
	    fs_open(&f))
		fs_into(&f, one);
	return fs_end(&f);
}

const struct cli_verb cmd_fs_mv = {
    .name = "fs mv",
    .summary = "rename and move files on the agent",
    .specs = specs,
    .help =
        "Examples:\n"
        "  telex fs mv app.conf.new app.conf\n"
        "  telex fs mv -n a b c /srv/in/\n"
        "\n"
        "Usage: telex fs mv [-n] [-u USER] SOURCE… TARGET\n"
        "\n"
        "Where TARGET is a folder, each SOURCE goes into it; else the one SOURCE becomes TARGET, "
        "at once.\n"
        "On another file system a whole copy is made first: at every moment there is one.\n"
        "\n"
        "  -n, --no-clobber  what is there already is not replaced, and is an error\n" FS_USER_HELP
        "\n"
        "Exit status: 1 when one of them failed (the others were done), 125 when the agent could "
        "not\n"
        "be asked.\n",
    .run = run,
};
