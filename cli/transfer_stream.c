/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/transfer_stream.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/file_in.h"
#include "cli/file_out.h"
#include "cli/output.h"
#include "cli/say.h"
#include "cli/session.h"
#include "common/mem.h"

static bool is_stream(const char *operand)
{
	return strcmp(operand, "-") == 0;
}

bool transfer_stream_wanted(bool put, const struct options *o)
{
	if (!put)
		return is_stream(o->operands[o->n_operands - 1]);
	for (size_t i = 0; i + 1 < o->n_operands; i++)
		if (is_stream(o->operands[i]))
			return true;
	return false;
}

/* ---- what does not go with it ---- */

static const char *unfit(const struct transfer_options *t)
{
	if (t->o.dry_run)
		return "--dry-run";
	if (t->o.check == TELEX_CHECK_CHECKSUM)
		return "--checksum";
	if (t->o.compress)
		return "--compress";
	if (t->o.follow)
		return "--follow";
	if (t->o.n_filters > 0)
		return "--exclude and --include";
	if (t->o.specials)
		return "--specials";
	return NULL;
}

/* 0, or it was said. */
static int check(const struct transfer_options *t, bool put, struct options *o)
{
	const char *stream = put ? "standard input" : "standard output";
	const char *target = o->operands[o->n_operands - 1], *option = unfit(t);

	if (put && o->n_operands > 2)
		return options_usage(o,
		    "- is standard input and goes alone, not beside other sources (a file of that "
		    "name is ./-)");
	if (o->n_operands > 2)
		return options_usage(o,
		    "one file goes to standard output, and not %zu; `telex fs cat` writes several "
		    "(a file of the name - is ./-)",
		    o->n_operands - 1);
	if (put && transfer_is_folder(target))
		return options_usage(o,
		    "standard input has no name; say what the file in %s is to be called", target);
	if (option != NULL)
		return options_usage(o, "%s does not go with - (%s)", option, stream);
	if (!put && t->o.parents)
		return options_usage(o, "--parents does not go with - (%s)", stream);
	return 0;
}

/* ---- put ---- */

/* 0; or the status, and it was said. */
static int make_parents(struct session *s, const struct transfer_options *t, const char *target)
{
	const char *slash = strrchr(target, '/');
	char *parent;
	int status;

	if (!t->o.parents || slash == NULL || slash == target)
		return CLI_OK;
	parent = xstrdup(target);
	parent[slash - target] = '\0';
	status = session_answer_of(s, "put", target,
	    telex_file_make_directory(
	        s->client, t->o.user, parent, -1, true, 0, session_done, s, &s->error));
	free(parent);
	return status;
}

static int put_stream(struct session *s, const struct transfer_options *t, const char *target)
{
	const struct file_in in = {.verb = "put",
	    .write = {.user = t->o.user, .path = target},
	    .progress = t->progress,
	    .rate = t->o.rate,
	    .summary = true,
	    .if_missing = TRANSFER_IF_MISSING};
	int status = make_parents(s, t, target);

	return status == CLI_OK ? file_in(s, &in) : status;
}

/* ---- get ---- */

static int get_failed(const struct session *s, const char *path)
{
	const struct telex_error *e = &s->error;

	if (e->kind != TELEX_ERROR_STATUS) {
		session_say(s, e);
		return CLI_TELEX;
	}
	if (strcmp(e->reason, "IS_A_FOLDER") == 0)
		say_error("get: %s; only a file goes to standard output: `telex get %s .` fetches "
		          "the folder",
		    e->message, path);
	else
		say_error("get: %s", e->message);
	return CLI_FAILED;
}

static int get_stream(struct session *s, const struct transfer_options *t, const char *path)
{
	const struct file_out_options how = {
	    .progress = t->progress, .rate = t->o.rate, .summary = true};
	int r = file_out(s, t->o.user, path, &how);

	if (r < 0)
		return get_failed(s, path);
	return r > 0 ? CLI_TELEX : CLI_OK;
}

int transfer_stream(struct cli *cli, const struct transfer_options *t, bool put, struct options *o)
{
	const char *source = o->operands[0], *target = o->operands[o->n_operands - 1];
	struct session s;
	int status = check(t, put, o);

	if (status == 0)
		status = session_open(&s, cli);
	if (status != CLI_OK)
		return status;
	status = put ? put_stream(&s, t, target) : get_stream(&s, t, source);
	session_close(&s);
	return output_finish(status);
}
