/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/progress.h"

#include <event2/event.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/output.h"
#include "cli/say.h"
#include "cli/term.h"
#include "common/duration.h"
#include "common/escape.h"
#include "common/mem.h"

#define EVERY_NS       (NS_PER_S / 10)
#define PATH_MAX_SHOWN 512
#define BAR            20

struct progress {
	enum progress_kind kind;
	struct event *timer;
	char path[PATH_MAX_SHOWN];
	struct progress_state state;
	int64_t begun_ns;
	/* The rate: of about the last three seconds. */
	uint64_t mark_bytes;
	int64_t mark_ns;
	double rate;
	bool changed, drawn;
};

/* ---- a line ---- */

static void add(char *out, size_t size, const char *text)
{
	size_t len = strlen(out);

	if (len + 1 < size)
		snprintf(out + len, size - len, "%s", text);
}

static void add_bar(char *out, size_t size, uint64_t done, uint64_t all)
{
	char bar[BAR + 16];
	unsigned full = all == 0 ? 0 : (unsigned)((double)done / (double)all * BAR);

	if (full > BAR)
		full = BAR;
	snprintf(bar, sizeof(bar), "[%.*s%.*s] %3u%%", (int)full, "####################",
	    (int)(BAR - full), "                    ",
	    all == 0 ? 0 : (unsigned)((double)done * 100 / (double)all));
	add(out, size, bar);
}

static void add_left(char *out, size_t size, const struct progress_state *s)
{
	uint64_t all = s->all_bytes != 0 ? s->all_bytes : s->size;
	uint64_t done = s->all_bytes != 0 ? s->bytes : s->done, seconds;
	char text[40];

	if (s->rate == 0 || all <= done)
		return;
	seconds = (all - done) / s->rate;
	if (seconds >= 3600)
		snprintf(text, sizeof(text), "  %llu:%02llu:%02llu left",
		    (unsigned long long)(seconds / 3600), (unsigned long long)(seconds / 60 % 60),
		    (unsigned long long)(seconds % 60));
	else
		snprintf(text, sizeof(text), "  %llu:%02llu left",
		    (unsigned long long)(seconds / 60), (unsigned long long)(seconds % 60));
	add(out, size, text);
}

/* What is cut is the path, from its left. */
static void add_path(char *out, size_t size, const char *path, size_t room)
{
	size_t len = strlen(path);
	const char *from = path;

	if (room < 4)
		return;
	if (len > room) {
		from = path + (len - (room - 3));
		/* Not within a character. */
		while ((*from & 0xc0) == 0x80)
			from++;
		add(out, size, "...");
	}
	add(out, size, from);
}

void progress_line(char *out, size_t size, const struct progress_state *s, unsigned columns)
{
	char tail[160] = "", number[24], line[64];

	if (s->size > 0) {
		add(tail, sizeof(tail), "  ");
		add_bar(tail, sizeof(tail), s->done, s->size);
	}
	snprintf(line, sizeof(line), "  %llu", (unsigned long long)s->files);
	add(tail, sizeof(tail), line);
	if (s->all_files > 0) {
		snprintf(line, sizeof(line), "/%llu", (unsigned long long)s->all_files);
		add(tail, sizeof(tail), line);
	}
	add(tail, sizeof(tail), " files  ");
	add(tail, sizeof(tail), output_bytes(number, sizeof(number), s->bytes));
	if (s->rate > 0) {
		add(tail, sizeof(tail), "  ");
		add(tail, sizeof(tail), output_bytes(number, sizeof(number), s->rate));
		add(tail, sizeof(tail), "/s");
	}
	add_left(tail, sizeof(tail), s);
	out[0] = '\0';
	if (strlen(tail) + 4 < columns)
		add_path(out, size, s->path, columns - 1 - strlen(tail));
	add(out, size, tail);
	if (strlen(out) >= columns && columns > 0 && columns < size)
		out[columns - 1] = '\0';
}

/* ---- showing it ---- */

/* A write that fails, as to a terminal that went away, is nothing to end a transfer for. */
static void put(const char *text)
{
	if (write(STDERR_FILENO, text, strlen(text)) < 0)
		return;
}

static void wipe(struct progress *p)
{
	if (p->drawn)
		put("\r\x1b[K");
	p->drawn = false;
}

static void take_rate(struct progress *p)
{
	int64_t now = clock_monotonic_ns();
	double seconds = (double)(now - p->mark_ns) / (double)NS_PER_S;
	double fresh;

	if (seconds < 0.05)
		return;
	fresh = (double)(p->state.bytes - p->mark_bytes) / seconds;
	p->rate = p->rate == 0 ? fresh : p->rate * 0.8 + fresh * 0.2;
	p->mark_ns = now;
	p->mark_bytes = p->state.bytes;
	p->state.rate = (uint64_t)p->rate;
}

static void draw(struct progress *p)
{
	char line[1024], all[1100];
	uint16_t rows, columns;

	term_size(&rows, &columns);
	progress_line(line, sizeof(line), &p->state, columns);
	snprintf(all, sizeof(all), "\r%s\x1b[K", line);
	put(all);
	p->drawn = true;
}

static void write_json(struct progress *p)
{
	const struct progress_state *s = &p->state;
	json_t *o = json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I}", "event", "progress", "path",
	    p->path, "file_bytes", (json_int_t)s->done, "file_size", (json_int_t)s->size, "files",
	    (json_int_t)s->files, "bytes", (json_int_t)s->bytes, "bytes_per_second",
	    (json_int_t)s->rate);
	char *text;

	if (o == NULL)
		return;
	if (s->all_bytes > 0)
		json_object_set_new(o, "total_bytes", json_integer((json_int_t)s->all_bytes));
	if (s->all_files > 0)
		json_object_set_new(o, "total_files", json_integer((json_int_t)s->all_files));
	text = json_dumps(o, JSON_COMPACT | JSON_ENSURE_ASCII);
	if (text != NULL) {
		put(text);
		put("\n");
	}
	free(text);
	json_decref(o);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct progress *p = arg;

	(void)fd;
	(void)what;
	take_rate(p);
	if (!p->changed && p->kind == PROGRESS_JSON)
		return;
	p->changed = false;
	if (p->kind == PROGRESS_BAR)
		draw(p);
	else
		write_json(p);
}

/* A line of telex's own: the bar goes, and comes again with the next turn. */
static void say_line(const void *text, size_t len, void *arg)
{
	wipe(arg);
	if (write(STDERR_FILENO, text, len) < 0)
		return;
}

/* ---- its life ---- */

static bool can_draw(void)
{
	const char *term = getenv("TERM");

	return isatty(STDERR_FILENO) && term != NULL && strcmp(term, "dumb") != 0;
}

struct progress *progress_new(
    struct event_base *base, enum progress_kind kind, uint64_t total_files, uint64_t total_bytes)
{
	struct progress *p = xcalloc(1, sizeof(*p));
	const struct timeval tv = duration_timeval(EVERY_NS);

	if (kind == PROGRESS_AUTO)
		kind = can_draw() ? PROGRESS_BAR : PROGRESS_NONE;
	p->kind = kind;
	p->state.path = p->path;
	p->state.all_files = total_files;
	p->state.all_bytes = total_bytes;
	p->begun_ns = p->mark_ns = clock_monotonic_ns();
	if (kind == PROGRESS_NONE)
		return p;
	p->timer = event_new(base, -1, EV_PERSIST, on_timer, p);
	if (p->timer != NULL)
		event_add(p->timer, &tv);
	if (kind == PROGRESS_BAR)
		say_through(say_line, p);
	return p;
}

void progress_note(struct progress *p, const struct telex_transfer_note *note)
{
	p->changed = true;
	switch (note->event) {
	case TELEX_TRANSFER_FILE:
		escape_text(p->path, sizeof(p->path), note->path, strlen(note->path));
		p->state.done = 0;
		p->state.size = note->size;
		break;
	case TELEX_TRANSFER_BYTES:
		p->state.done += note->bytes;
		p->state.bytes += note->bytes;
		break;
	case TELEX_TRANSFER_DONE:
	case TELEX_TRANSFER_UNCHANGED:
		p->state.files += !note->folder;
		if (note->event == TELEX_TRANSFER_UNCHANGED && !note->folder)
			p->state.all_bytes -=
			    note->size < p->state.all_bytes ? note->size : p->state.all_bytes;
		break;
	case TELEX_TRANSFER_TOTALS:
		p->state.all_files = note->files;
		p->state.all_bytes = note->bytes;
		break;
	default:
		break;
	}
}

void progress_free(struct progress *p)
{
	if (p == NULL)
		return;
	if (p->kind == PROGRESS_BAR) {
		wipe(p);
		say_through(NULL, NULL);
	}
	if (p->timer != NULL)
		event_free(p->timer);
	free(p);
}
