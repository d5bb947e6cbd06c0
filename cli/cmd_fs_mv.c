/* SPDX-License-Identifier: Apache-2.0 */
/* `telex fs mv`: renames and moves. */
#include "cli/fs.h"

static const struct options_spec specs[] = {
    {'n', 'n', "no-clobber", false},
    {'f', 'f', "force", false},
    {'T', 'T', "no-target-directory", false},
    {'x', '\0', "exchange", false},
    FS_USER,
    {0},
};

static void one(struct fs *f, const char *source, const char *target)
{
	const enum telex_replace replace = f->on['x']                ? TELEX_REPLACE_EXCHANGE
	                                   : fs_last(f, "nf") == 'n' ? TELEX_REPLACE_NEVER
	                                                             : TELEX_REPLACE_ALWAYS;
	struct session *s = &f->session;

	fs_wait(f, source,
	    telex_file_move(
	        s->client, fs_user(f), source, target, replace, 0, session_done, s, &s->error));
}

/* 0, or it was said what is wrong. */
static int check_options(struct fs *f)
{
	if (f->on['x'] && f->on['n'])
		f->status = options_usage(
		    &f->o, "--exchange replaces nothing, and needs both: leave -n out");
	else if ((f->on['x'] || f->on['T']) && f->o.n_operands != 2)
		f->status = options_usage(
		    &f->o, "%s is for one SOURCE and one TARGET", f->on['x'] ? "--exchange" : "-T");
	return f->status == CLI_OK ? 0 : -1;
}

static int run(struct cli *cli, int argc, char **argv)
{
	struct fs f;

	if (!fs_args(&f, cli, &cmd_fs_mv, 2, "what, and where to? telex fs mv SOURCE… TARGET", argc,
	        argv) ||
	    check_options(&f) < 0 || !fs_open(&f))
		return fs_end(&f);
	if (f.on['x'] || f.on['T'])
		one(&f, f.o.operands[0], f.o.operands[1]);
	else
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
        "  telex fs mv --exchange current next\n"
        "\n"
        "Usage: telex fs mv [-n | -f] [-T | --exchange] [-u USER] SOURCE… TARGET\n"
        "\n"
        "Where TARGET is a folder, each SOURCE goes into it; else the one SOURCE becomes TARGET, "
        "at once.\n"
        "On another file system a whole copy is made first: at every moment there is one.\n"
        "\n"
        "  -n, --no-clobber  what is there already is not replaced, and is an error\n"
        "  -f, --force       it is replaced, as without this; of -n and -f the last one counts\n"
        "  -T, --no-target-directory\n"
        "                    TARGET is the new name itself, also where it is a folder\n"
        "      --exchange    SOURCE and TARGET change places, at once; TARGET as with "
        "-T\n" FS_USER_HELP "\n"
        "Exit status: 1 when one of them failed (the others were done), 125 when the agent could "
        "not\n"
        "be asked.\n",
    .run = run,
};
