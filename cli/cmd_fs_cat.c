/* SPDX-License-Identifier: Apache-2.0 */
/* `telex fs cat`: files to standard output. */
#include "cli/file_out.h"
#include "cli/fs.h"

static const struct options_spec specs[] = {
    FS_USER,
    {0},
};

static void one(struct fs *f, const char *path)
{
	static const struct file_out_options plain = {.progress = PROGRESS_NONE};
	const int r = file_out(&f->session, fs_user(f), path, &plain);

	if (r < 0)
		fs_fail(f, path, &f->session.error);
	else if (r > 0)
		f->status = CLI_TELEX;
}

static int run(struct cli *cli, int argc, char **argv)
{
	struct fs f;

	if (fs_args(&f, cli, &cmd_fs_cat, 1, "which file?", argc, argv) && fs_open(&f))
		for (size_t i = 0; i < f.o.n_operands && !fs_stops(&f); i++)
			one(&f, f.o.operands[i]);
	return fs_end(&f);
}

const struct cli_verb cmd_fs_cat = {
    .name = "fs cat",
    .summary = "files of the agent to standard output",
    .specs = specs,
    .help = "Examples:\n"
            "  telex fs cat /etc/hostname\n"
            "  telex fs cat -u deploy app/log | grep error\n"
            "\n"
            "Usage: telex fs cat [-u USER] PATH…\n"
            "\n"
            "The bytes as they are, one file after the other, in constant memory.\n"
            "\n" FS_USER_HELP "\n"
            "Exit status: 1 when one of them failed (the others were done), 125 when the agent "
            "could not\n"
            "be asked.\n",
    .run = run,
};
