/* SPDX-License-Identifier: Apache-2.0 */
/* `telex fs rm`: removes files and folders. */
#include <string.h>

#include "cli/fs.h"

static const struct options_spec specs[] = {
    {'r', 'r', "recursive", false},
    {'R', 'R', NULL, false},
    {'f', 'f', "force", false},
    {'d', 'd', "dir", false},
    {'m', '\0', "across-mounts", false},
    FS_USER,
    {0},
};

static void on_file(const struct telex_file *file, void *arg)
{
	struct session *s = arg;

	*(bool *)s->data = file->type == TELEX_FILE_DIRECTORY;
}

/* rm(1) removes no folder unless it is told to; an empty one the agent would. 0 to go on. */
static int spare_folder(struct fs *f, const char *path)
{
	struct session *s = &f->session;
	bool folder = false;

	s->data = &folder;
	if (session_wait(s, telex_file_stat(s->client, fs_user(f), path, NULL, 0, on_file,
	                        session_done, s, &s->error)) < 0) {
		if (f->on['f'] && strcmp(s->error.reason, "NO_SUCH_FILE") == 0)
			return -1;
		fs_fail(f, path, &s->error);
		return -1;
	}
	if (folder)
		fs_refuse(
		    f, path, "it is a folder (-r removes it with all in it, -d when it is empty)");
	return folder ? -1 : 0;
}

/* rm(1) refuses these, too: of a relative path it would be the user's home folder. */
static bool is_no_name(const char *path)
{
	size_t len = strlen(path), from;

	while (len > 0 && path[len - 1] == '/')
		len--;
	for (from = len; from > 0 && path[from - 1] != '/'; from--)
		;
	return (len - from == 1 && path[from] == '.') ||
	       (len - from == 2 && path[from] == '.' && path[from + 1] == '.');
}

static void one(struct fs *f, const char *path)
{
	const struct telex_remove_options options = {.recursive = f->on['r'] || f->on['R'],
	    .force = f->on['f'],
	    .across_mounts = f->on['m']};
	struct session *s = &f->session;

	if (is_no_name(path)) {
		fs_refuse(f, path, "'.' and '..' are not removed: name the folder");
		return;
	}
	if (!options.recursive && !f->on['d'] && spare_folder(f, path) < 0)
		return;
	fs_wait(f, path,
	    telex_file_remove(
	        s->client, fs_user(f), path, &options, 0, NULL, session_done, s, &s->error));
}

static int run(struct cli *cli, int argc, char **argv)
{
	struct fs f;

	if (fs_args(&f, cli, &cmd_fs_rm, 1, "which file?", argc, argv) && fs_open(&f))
		for (size_t i = 0; i < f.o.n_operands && !fs_stops(&f); i++)
			one(&f, f.o.operands[i]);
	return fs_end(&f);
}

const struct cli_verb cmd_fs_rm = {
    .name = "fs rm",
    .summary = "remove files and folders on the agent",
    .specs = specs,
    .help =
        "Examples:\n"
        "  telex fs rm old.log\n"
        "  telex fs rm -rf build\n"
        "\n"
        "Usage: telex fs rm [-r] [-f] [-d] [--across-mounts] [-u USER] PATH…\n"
        "\n"
        "A relative PATH begins in the home folder of the user on the agent. A path that ends in\n"
        "'.' or '..' is refused.\n"
        "\n"
        "What is mounted below a folder is not removed, and then the folder is not either;\n"
        "with --across-mounts what is in it is removed, but what it is mounted on cannot be.\n"
        "\n"
        "  -r, --recursive   folders with all in them\n"
        "  -f, --force       what is not there is no error\n"
        "  -d, --dir         empty folders, too\n"
        "      --across-mounts\n"
        "                    also what is in file systems that are mounted below\n" FS_USER_HELP
        "\n"
        "Exit status: 1 when one of them failed (the others were done), 125 when the agent "
        "could not\n"
        "be asked.\n",
    .run = run,
};
