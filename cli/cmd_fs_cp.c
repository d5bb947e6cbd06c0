/* SPDX-License-Identifier: Apache-2.0 */
/* `telex fs cp`: copies on the agent. */
#include "cli/fs.h"

static const struct options_spec specs[] = {
    {'a', 'a', "archive", false},
    {'r', 'r', "recursive", false},
    {'R', 'R', NULL, false},
    {'p', 'p', "preserve", false},
    {'L', 'L', "dereference", false},
    {'P', 'P', "no-dereference", false},
    {'d', 'd', NULL, false},
    {'n', 'n', "no-clobber", false},
    {'f', 'f', "force", false},
    {'T', 'T', "no-target-directory", false},
    FS_USER,
    {0},
};

/* Of the options that say so the last one counts; without any, links stay links in a tree. */
static bool follows(const struct fs *f)
{
	const int last = fs_last(f, "LPda");

	return last != 0 ? last == 'L' : !f->on['r'] && !f->on['R'];
}

static void one(struct fs *f, const char *source, const char *target)
{
	const struct telex_copy_options options = {
	    .replace = f->on['n'] ? TELEX_REPLACE_NEVER : TELEX_REPLACE_ALWAYS,
	    .recursive = f->on['a'] || f->on['r'] || f->on['R'],
	    .preserve = f->on['a'],
	    .preserve_attributes = f->on['p'],
	    .preserve_links = f->on['d'],
	    .follow = follows(f),
	};
	struct session *s = &f->session;

	fs_wait(f, source,
	    telex_file_copy(s->client, fs_user(f), source, target, &options, 0, NULL, session_done,
	        s, &s->error));
}

static int run(struct cli *cli, int argc, char **argv)
{
	struct fs f;

	if (!fs_args(&f, cli, &cmd_fs_cp, 2, "what, and where to? telex fs cp SOURCE… TARGET", argc,
	        argv) ||
	    fs_check_one_target(&f) < 0 || !fs_open(&f))
		return fs_end(&f);
	if (f.on['T'])
		one(&f, f.o.operands[0], f.o.operands[1]);
	else
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
        "  telex fs cp -rpT site.new site\n"
        "\n"
        "Usage: telex fs cp [-a | -r] [-pd] [-L | -P] [-fn] [-T] [-u USER] SOURCE… TARGET\n"
        "\n"
        "Where TARGET is a folder, each SOURCE goes into it; else the one SOURCE becomes TARGET. "
        "Blocks are\n"
        "shared where the file system can, holes stay holes, and each file is whole or not there.\n"
        "\n"
        "  -a, --archive     folders with all in them; owners, modes, times, links are kept\n"
        "  -r, --recursive   folders with all in them; links stay links\n"
        "  -p, --preserve    owners, modes (with ACLs) and times are kept\n"
        "  -L, --dereference what symbolic links lead to is copied, also within folders\n"
        "  -P, --no-dereference\n"
        "                    links themselves: as with -r, for a SOURCE that is one, too\n"
        "  -d                as -P, and hard links within a SOURCE stay hard links\n"
        "  -n, --no-clobber  what is there already is not replaced, and is an error\n"
        "  -f, --force       for scripts: what is there is replaced in any case\n"
        "  -T, --no-target-directory\n"
        "                    TARGET is the copy's name itself, also where it is a "
        "folder\n" FS_USER_HELP "\n"
        "There is no -H, -i, -l, -s, -u, -x, --parents, --backup and --preserve=LIST.\n"
        "\n"
        "Exit status: 1 when one of them failed (the others were done), 125 when the agent could "
        "not\n"
        "be asked.\n",
    .run = run,
};
