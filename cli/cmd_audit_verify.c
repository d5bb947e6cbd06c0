/* SPDX-License-Identifier: Apache-2.0 */
/* `telex audit verify`: whether a log is whole. */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cmd_audit.h"
#include "cli/output.h"
#include "cli/say.h"
#include "common/audit.h"
#include "common/mem.h"

enum { OPT_EXEC_LOG = 1, OPT_EXPECT, OPT_RUNNING };

static const struct options_spec specs[] = {
    {OPT_EXEC_LOG, '\0', "exec-log", true},
    {OPT_EXPECT, '\0', "expect", true},
    {OPT_RUNNING, '\0', "running", false},
    {0},
};

struct job {
	const struct cli *cli;
	struct audit_source *logs, *execs;
	size_t n_logs, n_execs;
	const char *expect;
	bool running;
};

/* The keeper's file beside a log: audit.log.1 -> exec.log.1. NULL: it is not named so, or not
 * there. */
static char *beside(const char *log)
{
	const char *slash = strrchr(log, '/');
	const char *base = slash ? slash + 1 : log;
	char *path;

	if (strncmp(base, "audit", 5) != 0)
		return NULL;
	path = xasprintf("%.*sexec%s", (int)(base - log), log, base + 5);
	if (access(path, F_OK) == 0)
		return path;
	free(path);
	return NULL;
}

/* The note of the log's end beside it, where there is one: "64 digits\n". */
static void read_head(struct audit_source *s)
{
	char *path = xasprintf("%s" AUDIT_HEAD_SUFFIX, s->name);
	FILE *f = fopen(path, "re");

	free(path);
	if (!f)
		return;
	if (fread(s->head, 1, sizeof(s->head), f) != sizeof(s->head) ||
	    strspn(s->head, "0123456789abcdef") != sizeof(s->head) - 1)
		s->head[0] = '\0';
	s->head[sizeof(s->head) - 1] = '\0';
	fclose(f);
}

static int add(struct audit_source **list, size_t *n, const char *path, struct err *e)
{
	struct audit_source s = {.file = fopen(path, "re")};

	if (!s.file)
		return err_sys(e, errno, "%s", path);
	s.name = xstrdup(path);
	/* Before anything is read: what was noted then has to be there, and who ended before has
	 * written its end. */
	s.running = audit_locked(fileno(s.file));
	read_head(&s);
	*list = xreallocarray(*list, *n + 1, sizeof(**list));
	(*list)[(*n)++] = s;
	return 0;
}

static void drop(struct audit_source *list, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free((char *)(uintptr_t)list[i].name);
		fclose(list[i].file);
	}
	free(list);
}

static void on_found(const struct audit_finding *f, void *arg)
{
	const struct job *j = arg;
	json_t *o;

	if (!j->cli->json) {
		if (f->line > 0)
			printf("%s:%" PRIu64 ": %s\n", f->file, f->line, f->text);
		else
			printf("%s: %s\n", f->file, f->text);
		return;
	}
	o = json_object();
	json_object_set_new(o, "file", output_json_text(f->file));
	json_object_set_new(o, "line", json_integer((json_int_t)f->line));
	json_object_set_new(o, "writer", json_integer((json_int_t)f->writer));
	json_object_set_new(o, "seq", json_integer((json_int_t)f->seq));
	json_object_set_new(o, "finding", output_json_text(f->what));
	json_object_set_new(o, "text", output_json_text(f->text));
	output_json(o);
}

static void say_result(const struct job *j, const struct audit_result *r)
{
	printf("%" PRIu64 " records of %" PRIu64 " writers, %" PRIu64
	       " of which have not ended (they run, or were killed)\n",
	    r->records, r->writers, r->open_writers);
	if (r->lost > 0)
		printf("%" PRIu64 " more could not be written, as the records say\n", r->lost);
	if (r->torn > 0)
		printf("%" PRIu64 " pieces of records that were not written whole\n", r->torn);
	if (r->older > 0)
		printf("%" PRIu64 " writers are of an older format, which tied no writer to "
		       "others: that one of them is missing is not found\n",
		    r->older);
	if (r->earlier)
		printf("there were records before these, in an older file\n");
	/* An authority's log has a note of its own end. */
	if (j->n_execs == 0 && j->logs[j->n_logs - 1].head[0] == '\0')
		printf(
		    "not held against the keeper's exec.log, which is not there: what is cut off "
		    "the end is not missed\n");
	if (r->head[0])
		printf("last record: %" PRIu64 " of writer %" PRIu64 ", hash %s\n", r->head_seq,
		    r->head_writer, r->head);
	if (j->expect)
		printf("the hash %s is %s\n", j->expect, r->expected ? "there" : "NOT there");
	if (r->findings == 0)
		printf("whole\n");
	else
		printf("NOT whole: %" PRIu64 " findings\n", r->findings);
}

static void json_result(const struct job *j, const struct audit_result *r, bool whole)
{
	json_t *o = json_object();

	json_object_set_new(o, "whole", json_boolean(whole));
	json_object_set_new(o, "records", json_integer((json_int_t)r->records));
	json_object_set_new(o, "writers", json_integer((json_int_t)r->writers));
	json_object_set_new(o, "open_writers", json_integer((json_int_t)r->open_writers));
	json_object_set_new(o, "lost", json_integer((json_int_t)r->lost));
	json_object_set_new(o, "older", json_integer((json_int_t)r->older));
	json_object_set_new(o, "earlier", json_boolean(r->earlier));
	json_object_set_new(o, "torn", json_integer((json_int_t)r->torn));
	json_object_set_new(o, "findings", json_integer((json_int_t)r->findings));
	json_object_set_new(o, "exec_log", json_boolean(j->n_execs > 0));
	json_object_set_new(o, "head", output_json_text(r->head));
	if (j->expect)
		json_object_set_new(o, "expected", json_boolean(r->expected));
	output_json(o);
}

static int verify(struct job *j)
{
	const struct audit_check c = {.logs = j->logs,
	    .n_logs = j->n_logs,
	    .exec_logs = j->execs,
	    .n_exec_logs = j->n_execs,
	    .expect = j->expect};
	struct audit_result r;
	struct err e;
	bool whole;

	for (size_t i = 0; i < j->n_execs; i++)
		j->execs[i].running |= j->running;
	if (audit_verify(&c, &r, on_found, j, &e) != 0)
		return cmd_audit_fail(&e);
	whole = r.findings == 0 && (!j->expect || r.expected);
	if (j->cli->json)
		json_result(j, &r, whole);
	else
		say_result(j, &r);
	return output_finish(whole ? CLI_OK : CLI_FAILED);
}

/* The keeper's files that belong to the logs, where none were named. */
static int find_execs(struct job *j, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; i < j->n_logs && rc == 0; i++) {
		char *path = beside(j->logs[i].name);

		if (path)
			rc = add(&j->execs, &j->n_execs, path, e);
		free(path);
	}
	return rc;
}

static bool is_hash(const char *text)
{
	return strlen(text) == 2 * AUDIT_HASH_SIZE &&
	       strspn(text, "0123456789abcdef") == 2 * AUDIT_HASH_SIZE;
}

static int run(struct cli *cli, int argc, char **argv)
{
	struct job j = {.cli = cli};
	struct options o;
	const char *value;
	char **files = NULL;
	struct err e;
	size_t n = 0;
	int id, rc = 0, status;

	options_start(&o, cli, &cmd_audit_verify, specs, argc, argv);
	while ((id = options_next(&o, &value)) > 0) {
		if (id == OPT_EXEC_LOG && rc == 0)
			rc = add(&j.execs, &j.n_execs, value, &e);
		else if (id == OPT_EXPECT)
			j.expect = value;
		else if (id == OPT_RUNNING)
			j.running = true;
	}
	if (id < 0) {
		drop(j.execs, j.n_execs);
		return options_end(&o);
	}
	if (j.expect && !is_hash(j.expect))
		rc = err_set(&e, TX_EINVAL, "--expect takes the 64 digits of a hash");
	if (rc == 0)
		rc = cmd_audit_files(&o, &files, &n, &e);
	for (size_t i = 0; i < n && rc == 0; i++)
		rc = add(&j.logs, &j.n_logs, files[i], &e);
	if (rc == 0 && j.n_execs == 0)
		rc = find_execs(&j, &e);
	status = rc == 0 ? verify(&j) : cmd_audit_fail(&e);
	cmd_audit_files_free(&o, files);
	drop(j.logs, j.n_logs);
	drop(j.execs, j.n_execs);
	options_end(&o);
	return status;
}

const struct cli_verb cmd_audit_verify = {
    .name = "audit verify",
    .summary = "whether an audit log is whole",
    .help =
        "Examples:\n"
        "  telex audit verify\n"
        "  telex audit verify /var/lib/telexd/audit.log\n"
        "  telex audit verify audit.log.2 audit.log.1 audit.log\n"
        "  telex audit verify --expect \"$(cat noted-elsewhere)\" audit.log\n"
        "\n"
        "Usage: telex audit verify [--exec-log FILE]... [--expect HASH] [--running] [FILE]...\n"
        "\n"
        "Each record has the hash of the one that its writer wrote before, and each run of an\n"
        "agent that of the run before. So a record, or all of a run, that was changed, left out,\n"
        "put in, moved or doubled is found; and what was cut off the end by what the keeper noted\n"
        "in its own file and beside it (FILE.head). Who has not ended in order must run, or have\n"
        "been killed as the keeper says. Several files are given oldest first.\n"
        "\n"
        "      --exec-log FILE  the keeper's file; without: exec… beside each audit…\n"
        "      --expect HASH    a record with this hash must be there, whole; what was said as\n"
        "                       the last record's and noted elsewhere\n"
        "      --running        the files are copies, and their agent runs\n"
        "\n"
        "The exit status is 0 when it is whole, 1 when it is not.\n",
    .specs = specs,
    .run = run,
};
