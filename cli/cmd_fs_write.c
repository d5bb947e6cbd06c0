/* SPDX-License-Identifier: Apache-2.0 */
/* `telex fs write`: standard input into a file. */
#include "cli/file_in.h"
#include "cli/fs.h"
#include "cli/fs_words.h"

static const struct options_spec specs[] = {
    {'a', 'a', "append", false},
    {'n', 'n', "no-clobber", false},
    {'m', 'm', "mode", true},
    FS_USER,
    {0},
};

/* 0, or it was said what is wrong. */
static int take_options(struct fs *f, struct telex_file_write *write)
{
	unsigned mode = 0;
	struct err e;

	write->path = f->o.operands[0];
	write->user = fs_user(f);
	write->set_mode = f->on['m'];
	write->append = f->on['a'];
	write->replace = f->on['n'] ? TELEX_REPLACE_NEVER : TELEX_REPLACE_ALWAYS;
	if (f->o.n_operands > 1)
		f->status = options_usage(&f->o, "standard input goes into one file");
	else if (f->on['a'] && f->on['n'])
		f->status = options_usage(
		    &f->o, "--append is for a file that is there, and --no-clobber for none");
	else if (write->set_mode && fs_words_octal(f->value['m'], &mode, &e) < 0)
		f->status = options_wrong(&f->o, 'm', &e);
	if (f->status != CLI_OK)
		return -1;
	write->mode = mode;
	return 0;
}

static int run(struct cli *cli, int argc, char **argv)
{
	struct file_in in = {.verb = "fs write",
	    .progress = PROGRESS_NONE,
	    .if_missing = "; make it first (telex fs mkdir -p)"};
	struct fs f;

	if (fs_args(&f, cli, &cmd_fs_write, 1, "which file?", argc, argv) &&
	    take_options(&f, &in.write) == 0 && fs_open(&f))
		f.status = file_in(&f.session, &in);
	return fs_end(&f);
}

const struct cli_verb cmd_fs_write = {
    .name = "fs write",
    .summary = "standard input into a file of the agent",
    .specs = specs,
    .help =
        "Examples:\n"
        "  date | telex fs write /srv/app/started\n"
        "  telex fs write -n -m 600 secrets/key < key.pem\n"
        "  echo done | telex fs write -a log\n"
        "\n"
        "Usage: telex fs write [-a | -n] [-m MODE] [-u USER] PATH\n"
        "\n"
        "All of standard input, to its end, in constant memory. PATH changes at once when all\n"
        "of it is there and durable; until then, and when it fails, it is as it was.\n"
        "\n"
        "  -a, --append      to the end of the file instead, as >> does: others see it grow,\n"
        "                    and a connection that is lost ends it\n"
        "  -n, --no-clobber  fail where PATH is there, and write nothing\n"
        "  -m, --mode MODE   octal, as 640; else that of the file it replaces, or "
        "644\n" FS_USER_HELP "\n"
        "Exit status: 1 when it was refused, 125 when the agent could not be asked or standard\n"
        "input not be read, 128 + n after signal n.\n",
    .run = run,
};
