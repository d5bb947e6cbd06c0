/* SPDX-License-Identifier: Apache-2.0 */
/* `telex fs ln`: makes links. */
#include "cli/fs.h"

static const struct options_spec specs[] = {
    {'s', 's', "symbolic", false},
    {'f', 'f', "force", false},
    {'n', 'n', "no-dereference", false},
    {'T', 'T', "no-target-directory", false},
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

	if (!fs_args(&f, cli, &cmd_fs_ln, 2, "to what, and where? telex fs ln TARGET… LINK", argc,
	        argv) ||
	    fs_check_one_target(&f) < 0 || !fs_open(&f))
		return fs_end(&f);
	f.itself = f.on['n'];
	if (f.on['T'])
		one(&f, f.o.operands[0], f.o.operands[1]);
	else
		fs_into(&f, one);
	return fs_end(&f);
}

const struct cli_verb cmd_fs_ln = {
    .name = "fs ln",
    .summary = "make links on the agent",
    .specs = specs,
    .help = "Examples:\n"
            "  telex fs ln -s releases/42 current\n"
            "  telex fs ln -sfn releases/43 current\n"
            "  telex fs ln data data.kept\n"
            "\n"
            "Usage: telex fs ln [-s] [-f] [-n | -T] [-u USER] TARGET… LINK\n"
            "\n"
            "Where LINK is a folder, the links are made in it, with their targets' names. A hard "
            "link's target\n"
            "is a path; a symbolic one's is any text.\n"
            "\n"
            "  -s, --symbolic    symbolic links, and not hard ones\n"
            "  -f, --force       in place of what is there, at once\n"
            "  -n, --no-dereference\n"
            "                    a LINK that is a symbolic link to a folder is no folder\n"
            "  -T, --no-target-directory\n"
            "                    LINK is the link's name itself, also where it is a "
            "folder\n" FS_USER_HELP "\n"
            "Exit status: 1 when one of them failed (the others were done), 125 when the agent "
            "could not\n"
            "be asked.\n",
    .run = run,
};
