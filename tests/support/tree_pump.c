/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/tree_pump.h"

#include <assert.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/err.h"

struct message {
	struct message *next;
	size_t len;
	uint8_t data[];
};

struct queue {
	struct message *first, **end;
	struct tree_pump_result *result;
	bool counted;
};

struct pumping {
	struct tree_pump *pump;
	struct queue down, up;
	struct tree_pump_result result;
};

static int put(struct queue *q, const struct tree_span *parts, size_t n)
{
	size_t len = 0;
	struct message *m;

	for (size_t i = 0; i < n; i++)
		len += parts[i].len;
	assert(len <= TREE_MESSAGE_MAX);
	m = malloc(sizeof(*m) + len);
	if (m == NULL)
		return TX_ENOMEM;
	m->next = NULL;
	m->len = 0;
	for (size_t i = 0; i < n; i++) {
		if (parts[i].len > 0)
			memcpy(m->data + m->len, parts[i].data, parts[i].len);
		m->len += parts[i].len;
	}
	q->result->wire += len;
	q->result->messages += q->counted;
	*q->end = m;
	q->end = &m->next;
	return 0;
}

static struct message *take(struct queue *q)
{
	struct message *m = q->first;

	if (m == NULL)
		return NULL;
	q->first = m->next;
	if (q->first == NULL)
		q->end = &q->first;
	return m;
}

static void on_totals(const struct tree_note *note, struct tree_pump_totals *t, size_t messages)
{
	if (note->kind != TREE_NOTE_TOTALS)
		return;
	assert(!t->complete && note->size >= t->files && note->bytes >= t->bytes);
	*t = (struct tree_pump_totals){
	    t->told + 1, note->size, note->bytes, note->complete, messages};
}

static void on_note(const struct tree_note *note, struct tree_pump_result *r)
{
	if (note->kind != TREE_NOTE_FAILED)
		return;
	r->failed++;
	snprintf(r->reason, sizeof(r->reason), "%s", note->error->reason);
	snprintf(r->last, sizeof(r->last), "%s", note->error->message);
}

static int emit_down(const struct tree_span *parts, size_t n, void *arg)
{
	return put(&((struct pumping *)arg)->down, parts, n);
}

static int emit_up(const struct tree_span *parts, size_t n, void *arg)
{
	return put(&((struct pumping *)arg)->up, parts, n);
}

static void note_sender(const struct tree_note *note, void *arg)
{
	struct tree_pump_result *r = &((struct pumping *)arg)->result;

	on_note(note, r);
	on_totals(note, &r->sender, r->messages);
}

static void note_receiver(const struct tree_note *note, void *arg)
{
	struct pumping *g = arg;

	on_totals(note, &g->result.receiver, g->result.messages);
	if (g->pump->receiver.note != NULL)
		g->pump->receiver.note(note, g->pump->receiver.arg);
}

void tree_pump_init(struct tree_pump *p, const char *source, const char *target)
{
	memset(p, 0, sizeof(*p));
	p->source = source;
	p->target = target;
	telex__v1__tree_options__init(&p->options);
	p->options.owner = p->options.extended_attributes = p->options.hard_links = true;
	p->options.specials = p->options.eager = true;
	p->receiver.special = 07000;
	p->receiver.umask = 022;
	p->receiver.any_owner = geteuid() == 0;
}

static int open_parent(const char *path, char name[256])
{
	char copy[4096];
	int fd;

	snprintf(copy, sizeof(copy), "%s", path);
	snprintf(name, 256, "%s", basename(copy));
	snprintf(copy, sizeof(copy), "%s", path);
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert(fd >= 0);
	return fd;
}

/* One turn of both sides. False: neither did anything. */
static bool turn(struct pumping *g, struct tree_sender *s, struct tree_receiver *r)
{
	struct tree_pump_result *result = &g->result;
	struct message *m;
	bool did = false;

	do {
		result->rc = tree_sender_step(s);
		did |= result->rc > 0;
	} while (g->pump->late && result->rc > 0);
	while (result->rc >= 0 && (m = take(&g->down)) != NULL) {
		did = true;
		result->rc = tree_receiver_take(r, m->data, m->len, &result->err);
		free(m);
		if (g->pump->between != NULL)
			g->pump->between(result->messages, g->pump->arg);
	}
	if (result->rc >= 0)
		result->rc = tree_receiver_flush(r);
	while (result->rc >= 0 && (m = take(&g->up)) != NULL) {
		did = true;
		result->rc = tree_sender_receive(s, m->data, m->len, &result->err);
		free(m);
	}
	return did && result->rc >= 0;
}

struct tree_pump_result tree_pump_run(struct tree_pump *p)
{
	char source_name[256], target_name[256];
	struct pumping g = {.pump = p};
	struct tree_source source = {.name = source_name, .path = ""};
	struct tree_sender_config sc = {.options = &p->options,
	    .sources = &source,
	    .n_sources = 1,
	    .salt = p->target,
	    .had = p->had,
	    .done = p->done,
	    .emit = emit_down,
	    .note = note_sender,
	    .arg = &g};
	struct tree_receiver_config rc = p->receiver;
	struct tree_sender *s;
	struct tree_receiver *r;
	struct message *m;

	g.down = (struct queue){.end = &g.down.first, .result = &g.result, .counted = true};
	g.up = (struct queue){.end = &g.up.first, .result = &g.result};
	source.dir_fd = open_parent(p->source, source_name);
	rc.parent_fd = open_parent(p->target, target_name);
	rc.name = target_name;
	rc.target_fd =
	    openat(rc.parent_fd, target_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	rc.options = &p->options;
	rc.emit = emit_up;
	rc.note = note_receiver;
	rc.arg = &g;
	assert(tree_sender_new(&s, &sc) == 0);
	assert(tree_receiver_new(&r, &rc) == 0);
	if (p->ready != NULL)
		p->ready(p->arg);
	while (turn(&g, s, r))
		if (p->cut_after != 0 && g.result.messages >= p->cut_after)
			break;
	if (tree_sender_summary(s) != NULL) {
		g.result.finished = true;
		g.result.removed = tree_sender_summary(s)->removed;
		g.result.unchanged = tree_sender_summary(s)->unchanged;
		g.result.files = tree_sender_summary(s)->files;
	}
	g.result.errors = tree_sender_errors(s);
	tree_sender_free(s);
	tree_receiver_free(r);
	while ((m = take(&g.down)) != NULL || (m = take(&g.up)) != NULL)
		free(m);
	close(source.dir_fd);
	close(rc.parent_fd);
	if (rc.target_fd >= 0)
		close(rc.target_fd);
	return g.result;
}
