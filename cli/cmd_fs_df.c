/* SPDX-License-Identifier: Apache-2.0 */
/* `telex fs df`: what is free on file systems. */
#include <inttypes.h>
#include <stdio.h>

#include "cli/fs.h"
#include "cli/fs_words.h"
#include "cli/output.h"

static const struct options_spec specs[] = {
    {'h', 'h', "human-readable", false},
    FS_USER,
    {0},
};

static const char *const headings[] = {"TYPE", "SIZE", "USED", "AVAILABLE", "USE%", "PATH"};
#define COLUMNS (sizeof(headings) / sizeof(headings[0]))

struct asking {
	struct fs *fs;
	const char *path;
	struct output_table *table; /* NULL: JSON */
};

static void size_text(char *out, size_t size, uint64_t bytes, bool human)
{
	fs_words_size(out, size, human ? bytes : bytes / 1024, human);
}

static void add_row(const struct asking *a, const struct telex_filesystem *fs)
{
	const bool human = a->fs->on['h'];
	const uint64_t used = fs->total > fs->free ? fs->total - fs->free : 0;
	const uint64_t of = used + fs->available;
	char total[24], taken[24], available[24], percent[24] = "-";
	const char *cells[COLUMNS] = {fs->type, total, taken, available, percent, a->path};

	size_text(total, sizeof(total), fs->total, human);
	size_text(taken, sizeof(taken), used, human);
	size_text(available, sizeof(available), fs->available, human);
	if (of > 0)
		snprintf(percent, sizeof(percent), "%" PRIu64 "%%",
		    (uint64_t)(((unsigned __int128)used * 100 + of - 1) / of));
	output_table_row(a->table, cells);
}

static void print_json(const struct asking *a, const struct telex_filesystem *fs)
{
	json_t *o = json_object();

	fs_words_path_json(o, "path", a->path);
	json_object_set_new(o, "type", output_json_text(fs->type));
	json_object_set_new(o, "total", json_integer((json_int_t)fs->total));
	json_object_set_new(o, "free", json_integer((json_int_t)fs->free));
	json_object_set_new(o, "available", json_integer((json_int_t)fs->available));
	json_object_set_new(o, "files", json_integer((json_int_t)fs->files));
	json_object_set_new(o, "files_free", json_integer((json_int_t)fs->files_free));
	json_object_set_new(o, "block_size", json_integer((json_int_t)fs->block_size));
	json_object_set_new(o, "name_max", json_integer((json_int_t)fs->name_max));
	json_object_set_new(o, "read_only", json_boolean(fs->read_only));
	output_json(o);
}

static void on_filesystem(const struct telex_filesystem *fs, void *arg)
{
	const struct asking *a = arg;

	if (a->table)
		add_row(a, fs);
	else
		print_json(a, fs);
}

static void on_done(const struct telex_error *error, void *arg)
{
	const struct asking *a = arg;

	session_done(error, &a->fs->session);
}

static void ask(struct asking *a, const char *path)
{
	struct session *s = &a->fs->session;

	a->path = path;
	fs_wait(a->fs, path,
	    telex_file_stat_filesystem(
	        s->client, fs_user(a->fs), path, 0, on_filesystem, on_done, a, &s->error));
}

static void all(struct fs *f)
{
	struct asking a = {.fs = f};
	const size_t n = f->o.n_operands;

	if (!f->session.json)
		a.table = output_table_new(headings, COLUMNS);
	if (n == 0)
		ask(&a, "/");
	for (size_t i = 0; i < n && !fs_stops(f); i++)
		ask(&a, f->o.operands[i]);
	if (a.table && f->status != CLI_TELEX)
		output_table_print(a.table);
	else
		output_table_free(a.table);
}

static int run(struct cli *cli, int argc, char **argv)
{
	struct fs f;

	if (fs_args(&f, cli, &cmd_fs_df, 0, "", argc, argv) && fs_open(&f))
		all(&f);
	return fs_end(&f);
}

const struct cli_verb cmd_fs_df = {
    .name = "fs df",
    .summary = "what is free on file systems of the agent",
    .specs = specs,
    .help = "Examples:\n"
            "  telex fs df\n"
            "  telex fs df -h /srv /var/tmp\n"
            "\n"
            "Usage: telex fs df [-h] [-u USER] [PATH…]\n"
            "\n"
            "The file systems that hold these paths; else the one of /. In KiB, rounded down. "
            "AVAILABLE is what\n"
            "users without privilege can have.\n"
            "\n"
            "  -h, --human-readable  1.5G and not 1572864\n" FS_USER_HELP "\n"
            "Exit status: 1 when one of them failed (the others were done), 125 when the agent "
            "could not\n"
            "be asked.\n",
    .run = run,
};
