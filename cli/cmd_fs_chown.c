/* SPDX-License-Identifier: Apache-2.0 */
/* `telex fs chown`: owners of files. */
#include <stdlib.h>

#include "cli/fs.h"
#include "cli/fs_words.h"
#include "common/mem.h"

static const struct options_spec specs[] = {
    {'R', 'R', "recursive", false},
    {'h', 'h', "no-dereference", false},
    FS_USER,
    {0},
};

static void one(struct fs *f, const char *path, const struct telex_set_attributes *a)
{
	struct session *s = &f->session;

	fs_wait(f, path,
	    telex_file_set_attributes(
	        s->client, fs_user(f), path, a, 0, NULL, session_done, s, &s->error));
}

static int owners(struct fs *f, char **text, struct telex_set_attributes *a)
{
	struct err e;

	a->follow = !f->on['h'];
	a->recursive = f->on['R'];
	*text = xstrdup(f->o.operands[0]);
	if (fs_words_owners(*text, &a->owner, &a->group, &a->login_group, &e) == 0)
		return 0;
	f->status = options_usage(&f->o, "%s", e.message);
	return -1;
}

static int run(struct cli *cli, int argc, char **argv)
{
	struct telex_set_attributes a = {0};
	char *text = NULL;
	struct fs f;

	if (fs_args(&f, cli, &cmd_fs_chown, 2,
	        "whose, and which file? telex fs chown USER[:GROUP] PATH…", argc, argv) &&
	    owners(&f, &text, &a) == 0 && fs_open(&f))
		for (size_t i = 1; i < f.o.n_operands && !fs_stops(&f); i++)
			one(&f, f.o.operands[i], &a);
	free(text);
	return fs_end(&f);
}

const struct cli_verb cmd_fs_chown = {
    .name = "fs chown",
    .summary = "change the owners of files on the agent",
    .specs = specs,
    .help = "Examples:\n"
            "  telex fs chown deploy:www-data site\n"
            "  telex fs chown -R :staff shared\n"
            "  telex fs chown alice: notes\n"
            "\n"
            "Usage: telex fs chown [-R] [-h] [-u USER] USER[:[GROUP]]|:GROUP PATH…\n"
            "\n"
            "Names or numbers; USER: with nothing behind it means the login group of that user,\n"
            "by name. As a rule it takes -u root.\n"
            "\n"
            "  -R, --recursive       also all that is below a folder\n"
            "  -h, --no-dereference  a link itself, and not what it points to\n" FS_USER_HELP "\n"
            "Exit status: 1 when one of them failed (the others were done), 125 when the agent "
            "could not\n"
            "be asked.\n",
    .run = run,
};
