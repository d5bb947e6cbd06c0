/* SPDX-License-Identifier: Apache-2.0 */
/* `telex fs ln`: makes links. */
#include "cli/fs.h"

static const struct options_spec specs[] = {
    {'s', 's', "symbolic", false},
    {'f', 'f', "force", false},
    FS_USER,
    {0},
};

static void one(struct fs *f, const char *target, const char *path)
{
	const enum telex_replace replace = f->on['f'] ? TELEX_REPLACE_ALWAYS : TELEX_REPLACE_NEVER;
	struct session *s = &f->session;

	fs_wait(f, path,
	    telex_file_link(s->client, fs_user(f), target, path, f->on['s'], replace, 0,
	        session_done, s, &s->error));
}

static int run(struct cli *cli, int argc, char **argv)
{
	struct fs f;

	if (fs_args(&f, cli, &cmd_fs_ln, 2, "to what, and where? telex fs ln TARGET… LINK", argc,
	        argv) &&
	    fs_open(&f))
		fs_into(&f, one);
	return fs_end(&f);
}

const struct cli_verb cmd_fs_ln = {
    .name = "fs ln",
    .summary = "make links on the agent",
    .specs = specs,
    .help = "Examples:\n"
            "  telex fs ln -s releases/42 current\n"
            "  telex fs ln -sf releases/43 next\n"
            "  telex fs ln data data.kept\n"
            "\n"
            "Usage: telex fs ln [-s] [-f] [-u USER] TARGET… LINK\n"
            "\n"
            "Where LINK is a folder, the links are made in it, with their targets' names. A hard "
            "link's target\n"
            "is a path; a symbolic one's is any text.\n"
            "\n"
            "  -s, --symbolic    symbolic links, and not hard ones\n"
            "  -f, --force       in place of what is there, at once\n" FS_USER_HELP "\n"
            "Exit status: 1 when one of them failed (the others were done), 125 when the agent "
            "could not\n"
            "be asked.\n",
    .run = run,
};
