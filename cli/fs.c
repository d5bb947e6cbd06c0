/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/fs.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/end.h"
#include "cli/fs_words.h"
#include "cli/output.h"
#include "cli/say.h"

bool fs_args(struct fs *f, struct cli *cli, const struct cli_verb *verb, size_t least,
    const char *usage, int argc, char **argv)
{
	return fs_args_but(f, cli, verb, least, usage, NULL, NULL, argc, argv);
}

bool fs_args_but(struct fs *f, struct cli *cli, const struct cli_verb *verb, size_t least,
    const char *usage, bool (*take)(const char *arg, void *take_arg), void *take_arg, int argc,
    char **argv)
{
	int n = 0;
	const char *value;
	int id;

	memset(f, 0, sizeof(*f));
	f->word = verb->name + strlen("fs ");
	f->terminal = isatty(STDOUT_FILENO) != 0;
	options_start(&f->o, cli, verb, verb->specs, argc, argv);
	f->o.take = take;
	f->o.take_arg = take_arg;
	while ((id = options_next(&f->o, &value)) > 0) {
		f->on[id & 127] = true;
		f->nth[id & 127] = ++n;
		f->value[id & 127] = value;
	}
	if (id == 0 && f->o.n_operands < least)
		id = options_usage(&f->o, "%s", usage);
	f->status = id == 0 ? CLI_OK : f->o.status;
	return id == 0;
}

int fs_last(const struct fs *f, const char *ids)
{
	int last = 0;

	for (; *ids; ids++)
		if (f->on[(int)*ids] && (last == 0 || f->nth[(int)*ids] > f->nth[last]))
			last = *ids;
	return last;
}

bool fs_open(struct fs *f)
{
	f->status = session_open(&f->session, f->o.cli);
	f->opened = f->status == CLI_OK;
	return f->opened;
}

int fs_end(struct fs *f)
{
	if (f->opened)
		session_close(&f->session);
	options_end(&f->o);
	return f->status;
}

const char *fs_user(const struct fs *f)
{
	return f->value['u'];
}

static void note(struct fs *f, const char *path, const struct telex_error *error)
{
	const bool telex = error->kind != TELEX_ERROR_STATUS && error->kind != TELEX_ERROR_USAGE;
	json_t *o;

	f->status = telex ? CLI_TELEX : CLI_FAILED;
	if (!f->session.json)
		return;
	o = json_object();
	fs_words_path_json(o, "path", path);
	json_object_set_new(o, "error", end_error_json(error));
	output_json(o);
}

/* The agent's sentence names the path, escaped. */
static bool names_it(const char *message, const char *path)
{
	char *name = fs_words_name(path, true);
	const bool names = strstr(message, name) != NULL;

	free(name);
	return names;
}

void fs_fail(struct fs *f, const char *path, const struct telex_error *error)
{
	char verb[32] = "fs ";

	strncat(verb, f->word, sizeof(verb) - sizeof("fs "));
	if (names_it(error->message, path))
		session_say_of(&f->session, "fs", f->word, error);
	else
		session_say_of(&f->session, verb, path, error);
	note(f, path, error);
}

void fs_refuse(struct fs *f, const char *path, const char *why)
{
	struct telex_error error = {.kind = TELEX_ERROR_USAGE};

	strncat(error.message, why, sizeof(error.message) - 1);
	fs_fail(f, path, &error);
}

int fs_wait(struct fs *f, const char *path, int asked)
{
	if (session_wait(&f->session, asked) == 0)
		return 0;
	fs_fail(f, path, &f->session.error);
	return -1;
}

bool fs_stops(const struct fs *f)
{
	return f->status == CLI_TELEX;
}

/* ---- where to ---- */

struct looking {
	struct fs *fs;
	bool folder;
};

static void on_file(const struct telex_file *file, void *arg)
{
	struct looking *l = arg;

	l->folder = file->type == TELEX_FILE_DIRECTORY;
}

static void on_looked(const struct telex_error *error, void *arg)
{
	const struct looking *l = arg;

	session_done(error, &l->fs->session);
}

int fs_is_folder(struct fs *f, const char *path)
{
	const struct telex_stat_options options = {.follow = !f->itself};
	struct session *s = &f->session;
	struct looking l = {.fs = f};

	if (session_wait(s, telex_file_stat(s->client, fs_user(f), path, &options, 0, on_file,
	                        on_looked, &l, &s->error)) == 0)
		return l.folder;
	if (s->error.kind == TELEX_ERROR_STATUS && strcmp(s->error.reason, "NO_SUCH_FILE") == 0)
		return 0;
	fs_fail(f, path, &s->error);
	return -1;
}

void fs_into(struct fs *f, void (*each)(struct fs *f, const char *source, const char *target))
{
	const size_t n = f->o.n_operands - 1;
	const char *last = f->o.operands[n];
	const int folder = fs_is_folder(f, last);

	if (folder < 0)
		return;
	if (!folder && (n > 1 || last[strlen(last) - 1] == '/')) {
		fs_refuse(f, last, "it is no folder that is there");
		return;
	}
	for (size_t i = 0; i < n && !fs_stops(f); i++) {
		char *base = fs_words_base(f->o.operands[i]);
		char *target = fs_words_join(last, folder ? base : "");

		each(f, f->o.operands[i], target);
		free(base);
		free(target);
	}
}

int fs_check_one_target(struct fs *f)
{
	if (!f->on['T'] || f->o.n_operands == 2)
		return 0;
	f->status = options_usage(&f->o, "-T is for one source and one target");
	return -1;
}
