/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Follows every writer's chain through the files, and holds the workers' ends against what the
 * keeper noted of them. The exec logs are read first, so that what they say of a log that is being
 * written is in it by then; and once more to their end after it, for workers that began meanwhile.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/audit_verify_internal.h"

/* A line that is being written may be seen in part, in a file. */
#define PATIENCE_TIMES 5
#define PATIENCE_NS    20000000

#define tell audit_verify_tell

/* ---- findings ---- */

void audit_verify_tell(struct verifier *v, uint64_t line, uint64_t writer, uint64_t seq,
    const char *what, const char *fmt, ...)
{
	struct audit_finding f = {
	    .file = v->name, .line = line, .writer = writer, .seq = seq, .what = what};
	va_list ap;

	++*v->findings;
	if (v->found == NULL)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(f.text, sizeof(f.text), fmt, ap);
	va_end(ap);
	v->found(&f, v->arg);
}

/* ---- chains ---- */

struct chain *audit_verify_chain(struct verifier *v, uint64_t writer)
{
	struct chain *c;

	TAILQ_FOREACH(c, &v->chains, link)
	{
		if (c->writer != writer)
			continue;
		if (c != TAILQ_FIRST(&v->chains)) {
			TAILQ_REMOVE(&v->chains, c, link);
			TAILQ_INSERT_HEAD(&v->chains, c, link);
		}
		return c;
	}
	return NULL;
}

static struct chain *new_chain(struct verifier *v, uint64_t writer)
{
	struct chain *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return NULL;
	c->writer = writer;
	memset(c->hash, '0', sizeof(c->hash));
	if (v->from != NULL)
		c->anchors = audit_anchors_of(v->from, writer, &c->n_anchors);
	TAILQ_INSERT_HEAD(&v->chains, c, link);
	v->result->writers++;
	return c;
}

static void free_chains(struct verifier *v)
{
	struct chain *c;

	while ((c = TAILQ_FIRST(&v->chains)) != NULL) {
		TAILQ_REMOVE(&v->chains, c, link);
		free(c);
	}
}

/* What the keeper noted of this record. */
static void meet_anchors(struct verifier *v, struct chain *c, const struct audit_line *l)
{
	bool other = false;

	while (c->n_anchors > 0 && c->anchors->seq <= l->seq) {
		if (c->anchors->seq == l->seq)
			other |= memcmp(c->anchors->hash, l->hash, AUDIT_HEX) != 0;
		c->anchors++;
		c->n_anchors--;
	}
	if (other)
		tell(v, v->line, l->writer, l->seq, "a record was changed",
		    "record %llu of writer %llu is not the one that the keeper noted", (ull)l->seq,
		    (ull)l->writer);
}

static void check_place(struct verifier *v, struct chain *c, const struct audit_line *l)
{
	if (c->ended)
		tell(v, v->line, l->writer, l->seq, "a record is doubled",
		    "record %llu of writer %llu comes after its end", (ull)l->seq, (ull)l->writer);
	else if (c->last == 0 && l->seq > 1)
		tell(v, v->line, l->writer, 1, "a record is missing",
		    "the beginning of writer %llu is missing: its first record here is %llu",
		    (ull)l->writer, (ull)l->seq);
	else if (l->seq > c->last + 1)
		tell(v, v->line, l->writer, c->last + 1, "a record is missing",
		    "records %llu to %llu of writer %llu are missing", (ull)c->last + 1,
		    (ull)l->seq - 1, (ull)l->writer);
	else if (!c->unsure && memcmp(l->prev, c->hash, AUDIT_HEX) != 0)
		tell(v, v->line, l->writer, l->seq, "a record was changed",
		    "record %llu of writer %llu does not follow the one before it: that one was "
		    "changed, or is another",
		    (ull)l->seq, (ull)l->writer);
	if (l->seq > c->last + 1) {
		c->gap_from = c->last + 1;
		c->gap_to = l->seq - 1;
	}
}

/* What it says was before it has to be the record before it here. */
static void check_after(struct verifier *v, const struct audit_line *l)
{
	const char *after = audit_scan_hash(l, "after");

	if (after == NULL)
		return;
	if (v->result->head[0] == '\0')
		v->result->earlier = strspn(after, "0") < AUDIT_HEX;
	else if (memcmp(after, v->result->head, AUDIT_HEX) != 0)
		tell(v, v->line, l->writer, l->seq, "a record is missing",
		    "record %llu of writer %llu follows another one than that before it here: what "
		    "was between was left out, or this one was put in or moved",
		    (ull)l->seq, (ull)l->writer);
}

/* Whether the chain is tied to others. */
static void check_tie(struct verifier *v, struct chain *c, const struct audit_line *l)
{
	const char *begun = audit_scan_hash(l, "begun");

	if (begun != NULL)
		memcpy(c->begun, begun, AUDIT_HEX);
	c->tied = begun != NULL || audit_scan_hash(l, "after") != NULL;
	if (c->tied)
		v->tied = true;
	else if (!v->tied)
		v->result->older++;
	else
		tell(v, v->line, l->writer, 1, "a writer is not tied",
		    "writer %llu is of the older format and comes after newer ones: it was put in, "
		    "or an older telex wrote it",
		    (ull)l->writer);
}

static void check_event(struct verifier *v, struct chain *c, const struct audit_line *l)
{
	uint64_t lost = 0;

	if (audit_scan_number(l, "lost", &lost))
		v->result->lost += lost;
	if (c->torn != 0 && lost == 0)
		tell(v, v->line, l->writer, c->torn, "a record was changed",
		    "a piece of record %llu of writer %llu is there, and that it could not be "
		    "written is not said",
		    (ull)c->torn, (ull)l->writer);
	c->torn = 0;
	check_after(v, l);
	if (l->seq == 1)
		check_tie(v, c, l);
	if (l->seq == 1 && !audit_scan_is(l, "begin"))
		tell(v, v->line, l->writer, 1, "a record was changed",
		    "the first record of writer %llu is no begin", (ull)l->writer);
	c->ended = audit_scan_is(l, "end");
}

static int take_record(struct verifier *v, const struct audit_line *l)
{
	struct chain *c = audit_verify_chain(v, l->writer);
	bool whole = audit_scan_whole(l);

	if (c == NULL && (c = new_chain(v, l->writer)) == NULL)
		return TX_ENOMEM;
	v->result->records++;
	if (!whole)
		tell(v, v->line, l->writer, l->seq, "a record was changed",
		    "record %llu of writer %llu was changed", (ull)l->seq, (ull)l->writer);
	if (v->expect != NULL && memcmp(v->expect, l->hash, AUDIT_HEX) == 0)
		v->result->expected |= whole;
	if (memcmp(v->file->head, l->hash, AUDIT_HEX) == 0)
		v->noted |= whole;
	if (c->last != 0 && l->seq <= c->last) {
		bool late = l->seq >= c->gap_from && l->seq <= c->gap_to;

		tell(v, v->line, l->writer, l->seq,
		    late ? "a record is out of order" : "a record is doubled",
		    "record %llu of writer %llu is %s", (ull)l->seq, (ull)l->writer,
		    late ? "not where it was written" : "there twice");
		return 0;
	}
	check_place(v, c, l);
	check_event(v, c, l);
	meet_anchors(v, c, l);
	c->last = l->seq;
	c->unsure = !whole;
	memcpy(c->hash, l->hash, AUDIT_HEX);
	v->result->head_writer = l->writer;
	v->result->head_seq = l->seq;
	memcpy(v->result->head, l->hash, AUDIT_HEX);
	return v->into != NULL && whole ? audit_anchors_take(v->into, l) : 0;
}

/* ---- lines ---- */

static void tell_no_record(struct verifier *v)
{
	tell(v, v->line, 0, 0, "a record was changed",
	    "something that is no record, or was changed, is in line %llu", (ull)v->line);
}

/*
 * A piece without a newline, before another record or the file's end: of a write that was cut
 * short. More than the whole record, it is one that was tampered with.
 */
static void take_piece(struct verifier *v, const char *text, size_t len)
{
	const char *hash = memmem(text, len, LINE_HASH, sizeof(LINE_HASH) - 1);
	struct audit_line l;
	struct chain *c;

	if ((hash != NULL && (size_t)(text + len - hash) > sizeof(LINE_HASH) - 1 + AUDIT_HEX + 2) ||
	    memcmp(text, LINE_HEAD, len < sizeof(LINE_HEAD) - 1 ? len : sizeof(LINE_HEAD) - 1) !=
	        0) {
		tell_no_record(v);
		return;
	}
	v->result->torn++;
	if (!audit_scan_head(&l, text, len) || (c = audit_verify_chain(v, l.writer)) == NULL)
		return;
	if (l.seq == c->last + 1)
		c->torn = l.seq;
	else
		tell_no_record(v);
}

static int take_line(struct verifier *v, const char *text, size_t len)
{
	const size_t head = sizeof(LINE_HEAD) - 1;
	struct audit_line l;
	const char *next;

	v->line++;
	while (len > head && (next = memmem(text + 1, len - 1, LINE_HEAD, head)) != NULL) {
		take_piece(v, text, (size_t)(next - text));
		len -= (size_t)(next - text);
		text = next;
	}
	if (audit_scan(&l, text, len))
		return take_record(v, &l);
	tell_no_record(v);
	return 0;
}

static void take_cut(struct verifier *v, const char *text, size_t len)
{
	struct audit_line l;
	bool known;

	v->line++;
	v->result->torn++;
	known = audit_scan_head(&l, text, len);
	tell(v, v->line, known ? l.writer : 0, known ? l.seq : 0, "the end is cut off",
	    "the last line is not whole: it was cut, or the disk was full, or the machine or the "
	    "worker stopped while it was written");
}

struct buffer {
	char *text;
	size_t room;
};

/* One line, as far as it is there: its length, or -1 at the end. */
static ssize_t read_line(FILE *in, struct buffer *b)
{
	struct buffer more = {NULL, 0};
	ssize_t len = getline(&b->text, &b->room, in);

	for (int i = fileno(in) >= 0 ? 0 : PATIENCE_TIMES;
	     len > 0 && b->text[len - 1] != '\n' && i < PATIENCE_TIMES; i++) {
		static const struct timespec pause = {0, PATIENCE_NS};
		ssize_t n;

		clearerr(in);
		(void)nanosleep(&pause, NULL);
		n = getline(&more.text, &more.room, in);
		if (n <= 0)
			continue;
		if ((size_t)(len + n) + 1 > b->room) {
			char *text = realloc(b->text, (size_t)(len + n) + 1);

			if (text == NULL) {
				errno = ENOMEM;
				len = -1;
				break;
			}
			b->text = text;
			b->room = (size_t)(len + n) + 1;
		}
		memcpy(b->text + len, more.text, (size_t)n + 1);
		len += n;
	}
	free(more.text);
	return len;
}

static int read_file(struct verifier *v, const struct audit_source *s, struct err *e)
{
	struct buffer b = {NULL, 0};
	ssize_t len;
	int rc = 0;

	v->name = s->name;
	v->file = s;
	clearerr(s->file);
	while (rc == 0 && (errno = 0, len = read_line(s->file, &b)) >= 0) {
		if (b.text[len - 1] == '\n')
			rc = take_line(v, b.text, (size_t)len - 1);
		else
			take_cut(v, b.text, (size_t)len);
	}
	if (rc == 0 && errno == ENOMEM)
		rc = TX_ENOMEM;
	else if (rc == 0 && ferror(s->file))
		rc = err_sys(e, errno, "%s", s->name);
	free(b.text);
	return rc == TX_ENOMEM ? err_set(e, rc, "out of memory") : rc;
}

static int read_files(struct verifier *v, const struct audit_source *files, size_t n, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; i < n && rc == 0; i++) {
		v->line = 0;
		v->noted = files[i].head[0] == '\0';
		rc = read_file(v, &files[i], e);
		if (rc == 0 && !v->noted)
			tell(v, 0, 0, 0, "the end is cut off",
			    "the record that was noted as the last, with hash %.16s and so on, is "
			    "not "
			    "there",
			    files[i].head);
	}
	return rc;
}

/* ---- the whole ---- */

static void count_open(struct verifier *v)
{
	struct chain *c;

	TAILQ_FOREACH(c, &v->chains, link)
	v->result->open_writers += !c->ended;
}

/* The logs against the exec logs, which are read to their end again. */
static int compare_both(struct verifier *logs, struct verifier *execs, const struct audit_check *c,
    struct audit_anchors *as, struct err *e)
{
	const struct audit_source *last = &c->exec_logs[c->n_exec_logs - 1];
	const size_t before = as->n;
	size_t n = before;
	int rc = read_file(execs, last, e);

	logs->name = c->n_logs > 0 ? c->logs[c->n_logs - 1].name : "";
	/* Who has begun meanwhile counts; what is noted later may be of records later still. */
	for (size_t i = before; i < as->n; i++)
		if (as->list[i].seq == 0)
			as->list[n++] = as->list[i];
	as->n = n;
	audit_anchors_sort(as);
	if (rc == 0)
		audit_check(logs, execs, as, last->running);
	return rc;
}

int audit_verify(const struct audit_check *c, struct audit_result *result,
    void (*found)(const struct audit_finding *f, void *arg), void *arg, struct err *e)
{
	struct audit_result of_execs = {0};
	struct audit_anchors as = {0};
	struct verifier logs = {.result = result,
	    .findings = &result->findings,
	    .found = found,
	    .arg = arg,
	    .expect = c->expect};
	struct verifier execs = logs;
	int rc;

	*result = (struct audit_result){0};
	execs.result = &of_execs;
	execs.into = &as;
	TAILQ_INIT(&logs.chains);
	TAILQ_INIT(&execs.chains);
	rc = read_files(&execs, c->exec_logs, c->n_exec_logs, e);
	audit_anchors_sort(&as);
	logs.from = &as;
	if (rc == 0)
		rc = read_files(&logs, c->logs, c->n_logs, e);
	logs.from = NULL;
	if (rc == 0 && c->n_exec_logs > 0)
		rc = compare_both(&logs, &execs, c, &as, e);
	if (rc == 0)
		count_open(&logs);
	result->expected |= of_execs.expected;
	result->older += of_execs.older;
	result->lost += of_execs.lost;
	result->earlier |= of_execs.earlier;
	free_chains(&logs);
	free_chains(&execs);
	audit_anchors_clear(&as);
	return rc;
}
