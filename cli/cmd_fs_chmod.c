/* SPDX-License-Identifier: Apache-2.0 */
/* `telex fs chmod`: modes of files. */
#include "cli/fs.h"
#include "cli/fs_words.h"

static const struct options_spec specs[] = {
    {'R', 'R', "recursive", false},
    FS_USER,
    {0},
};

static void one(struct fs *f, const char *path)
{
	struct telex_set_attributes a = {.follow = true, .recursive = f->on['R']};
	const char *text = f->o.operands[0];
	struct session *s = &f->session;
	unsigned mode;

	if (fs_words_octal(text, &mode, NULL) == 0) {
		a.set_mode = true;
		a.mode = mode;
	} else {
		a.mode_change = text;
	}
	fs_wait(f, path,
	    telex_file_set_attributes(
	        s->client, fs_user(f), path, &a, 0, NULL, session_done, s, &s->error));
}

static int run(struct cli *cli, int argc, char **argv)
{
	struct fs f;

	if (fs_args(&f, cli, &cmd_fs_chmod, 2,
	        "which mode, of which file? telex fs chmod MODE PATH…", argc, argv) &&
	    fs_open(&f))
		for (size_t i = 1; i < f.o.n_operands && !fs_stops(&f); i++)
			one(&f, f.o.operands[i]);
	return fs_end(&f);
}

const struct cli_verb cmd_fs_chmod = {
    .name = "fs chmod",
    .summary = "change the modes of files on the agent",
    .specs = specs,
    .help = "Examples:\n"
            "  telex fs chmod 640 app.conf\n"
            "  telex fs chmod -R u+rwX,go-w -- site\n"
            "\n"
            "Usage: telex fs chmod [-R] [-u USER] [--] MODE PATH…\n"
            "\n"
            "MODE is octal, or as of chmod(1); before one that begins with a dash goes --.\n"
            "\n"
            "  -R, --recursive   also all that is below a folder\n" FS_USER_HELP "\n"
            "Exit status: 1 when one of them failed (the others were done), 125 when the agent "
            "could not\n"
            "be asked.\n",
    .run = run,
};
