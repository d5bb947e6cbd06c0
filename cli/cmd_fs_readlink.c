/* SPDX-License-Identifier: Apache-2.0 */
/* `telex fs readlink`: where links lead. */
#include <stdio.h>
#include <stdlib.h>

#include "cli/fs.h"
#include "cli/fs_words.h"
#include "cli/output.h"

static const struct options_spec specs[] = {
    {'f', 'f', "canonicalize", false},
    FS_USER,
    {0},
};

struct reading {
	struct fs *fs;
	const char *path;
};

static void on_target(const char *target, void *arg)
{
	const struct reading *r = arg;
	char *name;

	if (r->fs->session.json) {
		json_t *o = json_object();

		fs_words_path_json(o, "path", r->path);
		fs_words_path_json(o, "target", target);
		output_json(o);
		return;
	}
	name = fs_words_name(target, r->fs->terminal);
	puts(name);
	free(name);
}

static void on_done(const struct telex_error *error, void *arg)
{
	const struct reading *r = arg;

	session_done(error, &r->fs->session);
}

static void one(struct fs *f, const char *path)
{
	struct reading r = {f, path};
	struct session *s = &f->session;

	fs_wait(f, path,
	    telex_file_read_link(
	        s->client, fs_user(f), path, f->on['f'], 0, on_target, on_done, &r, &s->error));
}

static int run(struct cli *cli, int argc, char **argv)
{
	struct fs f;

	if (fs_args(&f, cli, &cmd_fs_readlink, 1, "which link?", argc, argv) && fs_open(&f))
		for (size_t i = 0; i < f.o.n_operands && !fs_stops(&f); i++)
			one(&f, f.o.operands[i]);
	return fs_end(&f);
}

const struct cli_verb cmd_fs_readlink = {
    .name = "fs readlink",
    .summary = "where links on the agent lead",
    .specs = specs,
    .help = "Examples:\n"
            "  telex fs readlink current\n"
            "  telex fs readlink -f current/bin\n"
            "\n"
            "Usage: telex fs readlink [-f] [-u USER] PATH…\n"
            "\n"
            "  -f, --canonicalize  the path without any link in it, instead\n" FS_USER_HELP "\n"
            "Exit status: 1 when one of them failed (the others were done), 125 when the agent "
            "could not\n"
            "be asked.\n",
    .run = run,
};
