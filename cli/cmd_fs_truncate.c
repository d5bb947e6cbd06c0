/* SPDX-License-Identifier: Apache-2.0 */
/* `telex fs truncate`: the sizes of files. */
#include "cli/fs.h"
#include "cli/fs_words.h"

static const struct options_spec specs[] = {
    {'s', 's', "size", true},
    FS_USER,
    {0},
};

static void one(struct fs *f, const char *path, uint64_t size)
{
	struct session *s = &f->session;

	fs_wait(f, path,
	    telex_file_truncate(s->client, fs_user(f), path, size, 0, session_done, s, &s->error));
}

static int size_of(struct fs *f, uint64_t *size)
{
	struct err e;

	*size = 0;
	if (!f->on['s'])
		f->status = options_usage(&f->o, "how large? -s SIZE");
	else if (fs_words_bytes(f->value['s'], size, &e) < 0)
		f->status = options_wrong(&f->o, 's', &e);
	else
		return 0;
	return -1;
}

static int run(struct cli *cli, int argc, char **argv)
{
	uint64_t size;
	struct fs f;

	if (fs_args(&f, cli, &cmd_fs_truncate, 1, "which file?", argc, argv) &&
	    size_of(&f, &size) == 0 && fs_open(&f))
		for (size_t i = 0; i < f.o.n_operands && !fs_stops(&f); i++)
			one(&f, f.o.operands[i], size);
	return fs_end(&f);
}

const struct cli_verb cmd_fs_truncate = {
    .name = "fs truncate",
    .summary = "cut files off, or extend them, on the agent",
    .specs = specs,
    .help = "Examples:\n"
            "  telex fs truncate -s 0 app.log\n"
            "  telex fs truncate -s 10G disk.img\n"
            "\n"
            "Usage: telex fs truncate -s SIZE [-u USER] PATH…\n"
            "\n"
            "A file that gets longer gets a hole at its end.\n"
            "\n"
            "  -s, --size SIZE   in bytes, or with K, M, G, T of 1024\n" FS_USER_HELP "\n"
            "Exit status: 1 when one of them failed (the others were done), 125 when the agent "
            "could not\n"
            "be asked.\n",
    .run = run,
};
