/* SPDX-License-Identifier: Apache-2.0 */
/* `telex fs rm`: removes files and folders. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/fs.h"
#include "cli/fs_words.h"

static const struct options_spec specs[] = {
    {'r', 'r', "recursive", false},
    {'R', 'R', NULL, false},
    {'f', 'f', "force", false},
    {'i', 'i', "interactive", false},
    {'d', 'd', "dir", false},
    {'m', '\0', "across-mounts", false},
    FS_USER,
    {0},
};

static void on_file(const struct telex_file *file, void *arg)
{
	const struct session *s = arg;

	*(enum telex_file_type *)s->data = file->type;
}

/* Of -f and -i the last one counts. */
static bool is_forced(const struct fs *f)
{
	return fs_last(f, "fi") == 'f';
}

/* On the terminal; anything but a yes is a no. */
static bool agree(const struct fs *f, const char *path, enum telex_file_type type)
{
	const bool all = type == TELEX_FILE_DIRECTORY && (f->on['r'] || f->on['R']);
	char *name = fs_words_name(path, true), *line = NULL;
	size_t size = 0;
	bool yes;

	fprintf(stderr, "telex: fs rm: remove %s '%s'%s? ", fs_words_type(type), name,
	    all ? " with all in it" : "");
	yes = getline(&line, &size, stdin) > 0 && (line[0] == 'y' || line[0] == 'Y');
	free(line);
	free(name);
	return yes;
}

/* rm(1) removes no folder unless it is told to; an empty one the agent would. And with -i, who is
 * asked must agree. 0 to go on. */
static int look(struct fs *f, const char *path)
{
	const bool folders = f->on['r'] || f->on['R'] || f->on['d'];
	struct session *s = &f->session;
	enum telex_file_type type = TELEX_FILE_UNKNOWN;

	s->data = &type;
	if (session_wait(s, telex_file_stat(s->client, fs_user(f), path, NULL, 0, on_file,
	                        session_done, s, &s->error)) < 0) {
		if (is_forced(f) && strcmp(s->error.reason, "NO_SUCH_FILE") == 0)
			return -1;
		fs_fail(f, path, &s->error);
		return -1;
	}
	if (type == TELEX_FILE_DIRECTORY && !folders) {
		fs_refuse(
		    f, path, "it is a folder (-r removes it with all in it, -d when it is empty)");
		return -1;
	}
	return fs_last(f, "fi") != 'i' || agree(f, path, type) ? 0 : -1;
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
	    .force = is_forced(f),
	    .across_mounts = f->on['m']};
	struct session *s = &f->session;

	if (is_no_name(path)) {
		fs_refuse(f, path, "'.' and '..' are not removed: name the folder");
		return;
	}
	if (((!options.recursive && !f->on['d']) || fs_last(f, "fi") == 'i') && look(f, path) < 0)
		return;
	fs_wait(f, path,
	    telex_file_remove(
	        s->client, fs_user(f), path, &options, 0, NULL, session_done, s, &s->error));
}

static bool can_ask(struct fs *f)
{
	if (fs_last(f, "fi") != 'i' || isatty(STDIN_FILENO))
		return true;
	f->status = options_usage(
	    &f->o, "-i asks on the terminal, and standard input is none; leave -i out");
	return false;
}

static int run(struct cli *cli, int argc, char **argv)
{
	struct fs f;

	if (fs_args(&f, cli, &cmd_fs_rm, 1, "which file?", argc, argv) && can_ask(&f) &&
	    fs_open(&f))
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
        "Usage: telex fs rm [-r] [-f | -i] [-d] [--across-mounts] [-u USER] PATH…\n"
        "\n"
        "A relative PATH begins in the home folder of the user on the agent. A path that ends in\n"
        "'.' or '..' is refused.\n"
        "\n"
        "What is mounted below a folder is not removed, and then the folder is not either;\n"
        "with --across-mounts what is in it is removed, but what it is mounted on cannot be.\n"
        "\n"
        "  -r, --recursive   folders with all in them\n"
        "  -f, --force       what is not there is no error\n"
        "  -i, --interactive asks on the terminal before it removes a PATH: a folder with all in "
        "it\n"
        "                    is one question; of -f and -i the last one counts\n"
        "  -d, --dir         empty folders, too\n"
        "      --across-mounts\n"
        "                    also what is in file systems that are mounted below\n" FS_USER_HELP
        "\n"
        "Exit status: 1 when one of them failed (the others were done), 125 when the agent "
        "could not\n"
        "be asked.\n",
    .run = run,
};
