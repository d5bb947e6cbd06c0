/* SPDX-License-Identifier: Apache-2.0 */
/* `telex fs mkdir`: makes folders. */
#include "cli/fs.h"
#include "cli/fs_words.h"

static const struct options_spec specs[] = {
    {'p', 'p', "parents", false},
    {'m', 'm', "mode", true},
    FS_USER,
    {0},
};

static int mode_of(struct fs *f, int *mode)
{
	unsigned value;
	struct err e;

	*mode = -1;
	if (!f->on['m'])
		return 0;
	if (fs_words_octal(f->value['m'], &value, &e) < 0) {
		f->status = options_wrong(&f->o, 'm', &e);
		return -1;
	}
	*mode = (int)value;
	return 0;
}

static void one(struct fs *f, const char *path, int mode)
{
	struct session *s = &f->session;

	fs_wait(f, path,
	    telex_file_make_directory(
	        s->client, fs_user(f), path, mode, f->on['p'], 0, session_done, s, &s->error));
}

static int run(struct cli *cli, int argc, char **argv)
{
	struct fs f;
	int mode;

	if (fs_args(&f, cli, &cmd_fs_mkdir, 1, "which folder?", argc, argv) &&
	    mode_of(&f, &mode) == 0 && fs_open(&f))
		for (size_t i = 0; i < f.o.n_operands && !fs_stops(&f); i++)
			one(&f, f.o.operands[i], mode);
	return fs_end(&f);
}

const struct cli_verb cmd_fs_mkdir = {
    .name = "fs mkdir",
    .summary = "make folders on the agent",
    .specs = specs,
    .help = "Examples:\n"
            "  telex fs mkdir new\n"
            "  telex fs mkdir -p -m 750 /srv/app/releases\n"
            "\n"
            "Usage: telex fs mkdir [-p] [-m MODE] [-u USER] PATH…\n"
            "\n"
            "  -p, --parents     missing folders above it, too; one that is there is no error\n"
            "  -m, --mode MODE   octal, as 750; else 755\n" FS_USER_HELP "\n"
            "Exit status: 1 when one of them failed (the others were done), 125 when the agent "
            "could not\n"
            "be asked.\n",
    .run = run,
};
