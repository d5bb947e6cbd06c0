/* SPDX-License-Identifier: Apache-2.0 */
/* `telex fs sum`: checksums, computed on the agent. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/fs.h"
#include "cli/fs_words.h"
#include "cli/output.h"

static const struct options_spec specs[] = {
    {'a', 'a', "algorithm", true},
    FS_USER,
    {0},
};

#define DIGEST_MAX 64

struct summing {
	struct fs *fs;
	const char *path, *name; /* of the algorithm */
};

static void on_digest(const void *digest, size_t len, uint64_t bytes, void *arg)
{
	const struct summing *m = arg;
	const unsigned char *in = digest;
	char hex[2 * DIGEST_MAX + 1] = "", *line, *text;

	for (size_t i = 0; i < len && i < DIGEST_MAX; i++)
		snprintf(hex + 2 * i, 3, "%02x", in[i]);
	if (m->fs->session.json) {
		json_t *o = json_object();

		fs_words_path_json(o, "path", m->path);
		json_object_set_new(o, "algorithm", json_string(m->name));
		json_object_set_new(o, "digest", json_string(hex));
		json_object_set_new(o, "size", json_integer((json_int_t)bytes));
		output_json(o);
		return;
	}
	line = fs_words_sum(hex, m->path);
	text = fs_words_name(line, m->fs->terminal);
	puts(text);
	free(text);
	free(line);
}

static void on_done(const struct telex_error *error, void *arg)
{
	const struct summing *m = arg;

	session_done(error, &m->fs->session);
}

static void one(struct fs *f, const char *path, enum telex_checksum algorithm)
{
	struct summing m = {f, path, algorithm == TELEX_CHECKSUM_XXH3 ? "xxh3" : "sha256"};
	struct session *s = &f->session;

	fs_wait(f, path,
	    telex_file_checksum(s->client, fs_user(f), path, algorithm, 0, 0, 0, on_digest, on_done,
	        &m, &s->error));
}

static int algorithm_of(struct fs *f, enum telex_checksum *algorithm)
{
	const char *text = f->value['a'];

	*algorithm = TELEX_CHECKSUM_SHA256;
	if (!text || strcmp(text, "sha256") == 0)
		return 0;
	*algorithm = TELEX_CHECKSUM_XXH3;
	if (strcmp(text, "xxh3") == 0)
		return 0;
	f->status = options_usage(&f->o, "--algorithm: '%s' is neither sha256 nor xxh3", text);
	return -1;
}

static int run(struct cli *cli, int argc, char **argv)
{
	enum telex_checksum algorithm;
	struct fs f;

	if (fs_args(&f, cli, &cmd_fs_sum, 1, "which file?", argc, argv) &&
	    algorithm_of(&f, &algorithm) == 0 && fs_open(&f))
		for (size_t i = 0; i < f.o.n_operands && !fs_stops(&f); i++)
			one(&f, f.o.operands[i], algorithm);
	return fs_end(&f);
}

const struct cli_verb cmd_fs_sum = {
    .name = "fs sum",
    .summary = "checksums of files, computed on the agent",
    .specs = specs,
    .help = "Examples:\n"
            "  telex fs sum disk.img\n"
            "  telex fs sum -a xxh3 a b c\n"
            "  telex fs sum app.tar | sha256sum -c\n"
            "\n"
            "Usage: telex fs sum [-a ALGORITHM] [-u USER] PATH…\n"
            "\n"
            "The lines are those of sha256sum(1).\n"
            "\n"
            "  -a, --algorithm ALGORITHM  sha256, or xxh3: of 128 bits, fast, no protection "
            "against intent\n" FS_USER_HELP "\n"
            "Exit status: 1 when one of them failed (the others were done), 125 when the agent "
            "could not\n"
            "be asked.\n",
    .run = run,
};
