/* SPDX-License-Identifier: Apache-2.0 */
/* `telex fs chmod`: modes of files. */
#include <stdlib.h>
#include <string.h>

#include "cli/fs.h"
#include "cli/fs_words.h"
#include "common/mem.h"

static const struct options_spec specs[] = {
    {'R', 'R', "recursive", false},
    FS_USER,
    {0},
};

/* What begins with a dash and is a mode all the same, as for chmod(1): "-x", "-rwx,g+w". Several
 * are one after the other. */
static bool take_mode(const char *arg, void *take_arg)
{
	char **mode = take_arg, *both;

	if (strspn(arg + 1, "rwxXst") == 0 ||
	    strspn(arg + 1, "rwxXstugoa,+-=01234567") != strlen(arg + 1))
		return false;
	both = xasprintf("%s%s%s", *mode ? *mode : "", *mode ? "," : "", arg);
	free(*mode);
	*mode = both;
	return true;
}

static void one(struct fs *f, const char *text, const char *path)
{
	struct telex_set_attributes a = {.follow = true, .recursive = f->on['R']};
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
	static const char usage[] = "which mode, of which file? telex fs chmod MODE PATH…";
	char *mode = NULL;
	struct fs f;
	size_t first;
	bool go = fs_args_but(&f, cli, &cmd_fs_chmod, 1, usage, take_mode, &mode, argc, argv);

	first = mode ? 0 : 1;
	if (go && f.o.n_operands == first) {
		f.status = options_usage(&f.o, "%s", usage);
		go = false;
	}
	if (go && fs_open(&f))
		for (size_t i = first; i < f.o.n_operands && !fs_stops(&f); i++)
			one(&f, mode ? mode : f.o.operands[0], f.o.operands[i]);
	free(mode);
	return fs_end(&f);
}

const struct cli_verb cmd_fs_chmod = {
    .name = "fs chmod",
    .summary = "change the modes of files on the agent",
    .specs = specs,
    .help = "Examples:\n"
            "  telex fs chmod 640 app.conf\n"
            "  telex fs chmod -R u+rwX,go-w site\n"
            "  telex fs chmod -x notes\n"
            "\n"
            "Usage: telex fs chmod [-R] [-u USER] [--] MODE PATH…\n"
            "\n"
            "MODE is octal, or as of chmod(1), also where it begins with a dash. So -w is a mode "
            "here:\n"
            "hosts are named before the verb, or with --on. Where a mode names nobody (-x, +w), "
            "the\n"
            "umask is 022.\n"
            "\n"
            "  -R, --recursive   also all that is below a folder\n" FS_USER_HELP "\n"
            "Exit status: 1 when one of them failed (the others were done), 125 when the agent "
            "could not\n"
            "be asked.\n",
    .run = run,
};
