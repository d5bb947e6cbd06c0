/* SPDX-License-Identifier: Apache-2.0 */
/* `telex fs ls`: what folders hold. A folder is listed by one question; -R asks for one after the
 * other, so that what is held is one folder's at a time, and with --json all at once, unsorted. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/fs.h"
#include "cli/fs_list.h"
#include "cli/fs_words.h"
#include "cli/output.h"
#include "common/mem.h"

static const struct options_spec specs[] = {
    {'l', 'l', "long", false},
    {'a', 'a', "all", false},
    {'A', 'A', "almost-all", false},
    {'R', 'R', "recursive", false},
    {'d', 'd', "directory", false},
    {'1', '1', "one", false},
    {'h', 'h', "human-readable", false},
    {'n', 'n', "numeric-uid-gid", false},
    {'F', 'F', "classify", false},
    {'t', 't', NULL, false},
    {'S', 'S', NULL, false},
    {'U', 'U', NULL, false},
    {'o', '\0', "sort", true},
    {'r', 'r', "reverse", false},
    FS_USER,
    {0},
};

#define FOLDERS_HELD ((size_t)64 << 20) /* bytes of names that wait to be listed, with -R */

struct folder {
	char *name;
	struct telex_file_identity identity;
};

/* Folders that wait to be listed. */
struct folders {
	struct folder *all;
	size_t n, room, bytes;
};

struct ls {
	struct fs fs;
	struct fs_list list;
	struct fs_list tops;    /* folders that were named */
	struct folders folders; /* of what is listed */
	size_t waiting;         /* bytes of those of the folders above */
	const char *path;       /* what is asked about */
	bool named;             /* its name goes before its list */
	bool follow;            /* what is looked at, where it is a link */
	bool leads;             /* to a folder: so it is looked at once more */
	bool too_long;          /* to be sorted */
	bool printed;           /* something was: a blank line goes before the next folder */
};

static void on_done(const struct telex_error *error, void *arg)
{
	struct ls *l = arg;

	session_done(error, &l->fs.session);
}

static void on_failure(struct ls *l, const char *path, const struct telex_file_failure *failure)
{
	struct telex_error error = {.kind = TELEX_ERROR_STATUS, .code = failure->code};

	snprintf(error.reason, sizeof(error.reason), "%s", failure->reason);
	snprintf(error.message, sizeof(error.message), "%s", failure->message);
	fs_fail(&l->fs, path, &error);
}

/* The folders among what is held, before it is dropped. */
static void keep_folders(struct ls *l)
{
	struct folders *f = &l->folders;

	for (size_t i = 0; l->fs.on['R'] && i < l->list.n; i++) {
		struct telex_file_identity identity;
		const char *name = fs_list_folder(&l->list, i, &identity);

		if (!name)
			continue;
		if (f->n == f->room) {
			f->room = f->room ? 2 * f->room : 64;
			f->all = xreallocarray(f->all, f->room, sizeof(*f->all));
		}
		f->all[f->n++] = (struct folder){xstrdup(name), identity};
		f->bytes += strlen(name) + 64;
	}
}

/* More than can be kept in mind. */
static bool too_many(const struct ls *l)
{
	return l->waiting + l->folders.bytes > FOLDERS_HELD;
}

static void add(struct ls *l, const struct telex_file *file)
{
	if (too_many(l) || l->too_long)
		return; /* it is told at the end */
	fs_list_add(&l->list, file, file->path);
	if (fs_list_sorts(&l->list)) {
		l->too_long = l->list.bytes > FS_LIST_SORTED;
		return;
	}
	if (l->list.bytes < FS_LIST_HELD)
		return;
	keep_folders(l);
	(void)fs_list_print_part(&l->list, l->named ? l->path : NULL, l->printed);
}

static void on_entry(
    const struct telex_file *file, const struct telex_file_failure *failure, void *arg)
{
	struct ls *l = arg;
	char *path = fs_words_join(l->path, file->path);

	if (failure)
		on_failure(l, path, failure);
	else if (l->fs.session.json)
		output_json(fs_words_json(file, path));
	else
		add(l, file);
	free(path);
}

static void list_folder(
    struct ls *l, const char *path, bool named, const struct telex_file_identity *only);

/* The folders of the list that was printed, one after the other. */
static void descend(struct ls *l, const char *path)
{
	struct folders folders = l->folders;

	if (too_many(l))
		fs_refuse(&l->fs, path,
		    "there are more folders in it than are kept in mind; list parts of it, or with "
		    "--json");
	l->folders = (struct folders){0};
	l->waiting += folders.bytes;
	for (size_t i = 0; i < folders.n; i++) {
		char *below = fs_words_join(path, folders.all[i].name);

		if (!fs_stops(&l->fs))
			list_folder(l, below, true, &folders.all[i].identity);
		free(below);
		free(folders.all[i].name);
	}
	free(folders.all);
	l->waiting -= folders.bytes;
}

static void print_folder(struct ls *l, const char *name)
{
	if (fs_list_sorts(&l->list))
		fs_list_sort(&l->list);
	fs_list_print_folder(&l->list, name, l->printed);
}

/* only: which one it must be, whatever has its name by now; NULL: any. */
static void list_folder(
    struct ls *l, const char *path, bool named, const struct telex_file_identity *only)
{
	const bool json = l->fs.session.json, all = l->fs.on['R'];
	const struct telex_list_options options = {
	    .hidden = l->fs.on['a'] || l->fs.on['A'],
	    .depth = all && json ? UINT32_MAX : 1,
	    .sorted = !(all && json) && l->list.order != FS_LIST_NONE,
	    .targets = l->list.is_long && l->list.marks,
	    .only = only ? *only : (struct telex_file_identity){0},
	};
	struct session *s = &l->fs.session;
	bool listed;

	l->path = path;
	l->named = named;
	l->too_long = false;
	listed = fs_wait(&l->fs, path,
	             telex_file_list(s->client, fs_user(&l->fs), path, &options, 0, on_entry,
	                 on_done, l, &s->error)) == 0;
	if (l->too_long)
		fs_refuse(&l->fs, path,
		    "it holds too much to be sorted; list it by name, or with --sort=none");
	if (!listed || l->too_long)
		fs_list_clear(&l->list);
	else if (!json)
		print_folder(l, named ? path : NULL);
	l->printed = true;
	keep_folders(l);
	fs_list_clear(&l->list);
	if (all && !json)
		descend(l, path);
}

/* ---- the operands ---- */

static void on_file(const struct telex_file *file, void *arg)
{
	struct ls *l = arg;
	const bool folder = file->type == TELEX_FILE_DIRECTORY && !l->fs.on['d'];

	l->leads = l->follow && file->type == TELEX_FILE_SYMLINK &&
	           file->target_type == TELEX_FILE_DIRECTORY;
	if (l->leads)
		return;
	if (folder)
		fs_list_add(&l->tops, file, l->path);
	else if (l->fs.session.json)
		output_json(fs_words_json(file, l->path));
	else
		fs_list_add(&l->list, file, l->path);
}

static void ask_about(struct ls *l, bool follow)
{
	const struct telex_stat_options options = {.follow = follow, .target = true};
	struct session *s = &l->fs.session;

	fs_wait(&l->fs, l->path,
	    telex_file_stat(
	        s->client, fs_user(&l->fs), l->path, &options, 0, on_file, on_done, l, &s->error));
}

/* What is no folder is listed by its own name, before all folders. A link that was named leads to
 * its folder, unless something is to be told of itself. */
static void look(struct ls *l, const char *path)
{
	l->path = path;
	l->follow = !l->fs.on['d'] && !l->list.is_long && !l->list.marks;
	l->leads = false;
	ask_about(l, false);
	if (!l->leads)
		return;
	l->follow = false;
	ask_about(l, true);
}

static void list_all(struct ls *l, const char *const *paths, size_t n)
{
	for (size_t i = 0; i < n && !fs_stops(&l->fs); i++)
		look(l, paths[i]);
	l->printed = l->list.n > 0;
	if (!l->fs.session.json) {
		fs_list_sort(&l->list);
		fs_list_sort(&l->tops);
	}
	fs_list_print(&l->list);
	fs_list_clear(&l->list);
	for (size_t i = 0; i < l->tops.n && !fs_stops(&l->fs); i++) {
		struct telex_file_identity any;

		list_folder(l, fs_list_folder(&l->tops, i, &any), n > 1 || l->fs.on['R'], NULL);
	}
	fs_list_clear(&l->tops);
}

/* ---- options ---- */

static int read_order(struct ls *l)
{
	static const char *const words[] = {"name", "time", "size", "none"};
	const int last = fs_last(&l->fs, "tSUo");
	const char *word = l->fs.value['o'];

	l->list.order = last == 't'   ? FS_LIST_TIME
	                : last == 'S' ? FS_LIST_SIZE
	                : last == 'U' ? FS_LIST_NONE
	                              : FS_LIST_NAME;
	for (size_t i = 0; last == 'o' && i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcmp(word, words[i]) == 0) {
			l->list.order = (enum fs_list_order)i;
			return 0;
		}
	}
	if (last != 'o')
		return 0;
	l->fs.status =
	    options_usage(&l->fs.o, "--sort: '%s' is none of name, time, size and none", word);
	return -1;
}

static int read_options(struct ls *l)
{
	l->list.numeric = l->fs.on['n'];
	l->list.is_long = l->fs.on['l'] || l->fs.on['n'];
	l->list.human = l->fs.on['h'];
	l->list.marks = l->fs.on['F'];
	l->list.reverse = l->fs.on['r'];
	l->list.terminal = l->fs.terminal;
	l->list.columns = l->fs.terminal && !l->fs.on['1'];
	if (read_order(l) < 0)
		return -1;
	l->tops = l->list;
	if (!l->fs.o.cli->json || !fs_list_sorts(&l->list))
		return 0;
	l->fs.status = options_usage(
	    &l->fs.o, "--json is not sorted by -t, -S, -r and --sort; jq(1) does that");
	return -1;
}

static int run(struct cli *cli, int argc, char **argv)
{
	static const char *const here[] = {"."};
	struct ls l = {0};

	if (fs_args(&l.fs, cli, &cmd_fs_ls, 0, "", argc, argv) && read_options(&l) == 0 &&
	    fs_open(&l.fs)) {
		if (l.fs.o.n_operands == 0)
			list_all(&l, here, 1);
		else
			list_all(&l, l.fs.o.operands, l.fs.o.n_operands);
	}
	return fs_end(&l.fs);
}

const struct cli_verb cmd_fs_ls = {
    .name = "fs ls",
    .summary = "what folders of the agent hold",
    .specs = specs,
    .help =
        "Examples:\n"
        "  telex fs ls\n"
        "  telex fs ls -lah /var/log\n"
        "  telex fs ls -ltr /srv/in\n"
        "  telex --json fs ls -aR src | jq -r .path\n"
        "\n"
        "Usage: telex fs ls [-laARd1hnFtSUr] [--sort=WORD] [-u USER] [PATH…]\n"
        "\n"
        "Without a PATH: the home folder there. Sorted by name, byte by byte. On a terminal names\n"
        "are escaped, and in columns; elsewhere they are as they are, one a line. --json: an\n"
        "object a line with all that is known; with -R unsorted, as they are found.\n"
        "\n"
        "  -l, --long             mode, links, owner, group, size, time, name, a link's target\n"
        "  -a, --all, -A          also names that begin with a dot (but not . and ..)\n"
        "  -R, --recursive        and what is below\n"
        "  -d, --directory        folders themselves, and not what they hold\n"
        "  -1, --one              one a line, also on a terminal\n"
        "  -h, --human-readable   sizes as 1.5K\n"
        "  -n, --numeric-uid-gid  as -l, owners and groups by number\n"
        "  -F, --classify         marks names: / folder, * program, @ link, | FIFO, = socket\n"
        "  -t, -S, -U, --sort=WORD\n"
        "                         newest, largest first, as found; WORD: time, size, none, name.\n"
        "                         Of these the last one counts. Not with --json\n"
        "  -r, --reverse          in the opposite order\n" FS_USER_HELP "\n"
        "Exit status: 1 when one of them failed (the others were listed), 125 when the agent "
        "could\n"
        "not be asked.\n",
    .run = run,
};
