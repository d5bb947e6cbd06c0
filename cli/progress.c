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
#define BAR_WIDEST     20
#define PATH_LEAST     12 /* columns */

struct progress {
	enum progress_kind kind;
	struct event *timer;
	char path[PATH_MAX_SHOWN];
	struct progress_state state;
	int64_t begun_ns;
	uint64_t sent;       /* bytes of content that went */
	uint64_t made, same; /* of what is done: sizes of what was made, and was there */
	/* The rate: of about the last three seconds. */
	uint64_t mark_sent;
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

static void add_bar(char *out, size_t size, uint64_t done, uint64_t all, int width)
{
	double part = all == 0 ? 0 : (double)done / (double)all;
	char bar[BAR_WIDEST + 16];
	int full;

	if (part > 1)
		part = 1;
	full = (int)(part * width);
	snprintf(bar, sizeof(bar), "  [%.*s%*s] %3u%%", full, "####################", width - full,
	    "", (unsigned)(part * 100));
	add(out, size, bar);
}

static void add_left(char *out, size_t size, const struct progress_state *s)
{
	uint64_t seconds;
	char text[40];

	if (s->rate == 0 || s->counting || s->all_bytes <= s->bytes)
		return;
	seconds = (s->all_bytes - s->bytes) / s->rate;
	if (seconds >= 3600)
		snprintf(text, sizeof(text), "  %llu:%02llu:%02llu left",
		    (unsigned long long)(seconds / 3600), (unsigned long long)(seconds / 60 % 60),
		    (unsigned long long)(seconds % 60));
	else
		snprintf(text, sizeof(text), "  %llu:%02llu left",
		    (unsigned long long)(seconds / 60), (unsigned long long)(seconds % 60));
	add(out, size, text);
}

static void add_files(char *out, size_t size, const struct progress_state *s)
{
	char text[64];

	snprintf(text, sizeof(text), "  %llu", (unsigned long long)s->files);
	add(out, size, text);
	if (s->all_files > 0) {
		snprintf(text, sizeof(text), "/%llu%s", (unsigned long long)s->all_files,
		    s->counting ? "+" : "");
		add(out, size, text);
	}
	add(out, size, " files");
}

/* All but the path. width: of a bar; file: with that of the file, where there are several. */
static void tail_of(char *out, size_t size, const struct progress_state *s, int width, bool file)
{
	const bool several = s->all_files != 1;
	char number[24];

	out[0] = '\0';
	if (s->size > 0 && (file || !several))
		add_bar(out, size, s->done, s->size, width);
	if (several) {
		add_files(out, size, s);
		if (s->all_bytes > 0 && !s->counting)
			add_bar(out, size, s->bytes, s->all_bytes, width);
	}
	add(out, size, "  ");
	add(out, size, output_bytes(number, sizeof(number), s->bytes));
	if (s->rate > 0) {
		add(out, size, "  ");
		add(out, size, output_bytes(number, sizeof(number), s->rate));
		add(out, size, "/s");
	}
	add_left(out, size, s);
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
	static const struct {
		int width;
		bool file;
	} tries[] = {{BAR_WIDEST, true}, {10, true}, {6, true}, {10, false}, {6, false}};
	char tail[256];

	for (size_t i = 0; i < sizeof(tries) / sizeof(tries[0]); i++) {
		tail_of(tail, sizeof(tail), s, tries[i].width, tries[i].file);
		if (strlen(tail) + PATH_LEAST < columns)
			break;
	}
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
	fresh = (double)(p->sent - p->mark_sent) / seconds;
	p->rate = p->rate == 0 ? fresh : p->rate * 0.8 + fresh * 0.2;
	p->mark_ns = now;
	p->mark_sent = p->sent;
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
	if (s->all_files > 0) {
		json_object_set_new(o, "total_files", json_integer((json_int_t)s->all_files));
		json_object_set_new(o, "counting", json_boolean(s->counting));
	}
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

static enum progress_kind kind_of(enum progress_kind kind)
{
	if (kind != PROGRESS_AUTO)
		return kind;
	return can_draw() ? PROGRESS_BAR : PROGRESS_NONE;
}

bool progress_shows(enum progress_kind kind)
{
	return kind_of(kind) != PROGRESS_NONE;
}

struct progress *progress_new(
    struct event_base *base, enum progress_kind kind, uint64_t total_files, uint64_t total_bytes)
{
	struct progress *p = xcalloc(1, sizeof(*p));
	const struct timeval tv = duration_timeval(EVERY_NS);

	kind = kind_of(kind);
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

/* What is there by now: of what was made, more than was sent where only a difference was. */
static void count(struct progress *p)
{
	struct progress_state *s = &p->state;

	s->bytes = p->same + (p->sent > p->made ? p->sent : p->made);
	if (s->all_bytes > 0 && !s->counting && s->bytes > s->all_bytes)
		s->bytes = s->all_bytes; /* some of it went twice */
	if (s->all_files > 0 && !s->counting && s->files > s->all_files)
		s->all_files = s->files;
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
		p->sent += note->bytes;
		break;
	case TELEX_TRANSFER_DONE:
		p->state.files += !note->folder;
		p->made += note->folder ? 0 : note->size;
		break;
	case TELEX_TRANSFER_UNCHANGED:
		p->state.files += !note->folder;
		p->same += note->folder ? 0 : note->size;
		break;
	case TELEX_TRANSFER_TOTALS:
		p->state.all_files = note->files;
		p->state.all_bytes = note->bytes;
		p->state.counting = !note->complete;
		break;
	default:
		break;
	}
	count(p);
}

void progress_free(struct progress *p)
{
	if (p == NULL)
		return;
	if (p->kind == PROGRESS_BAR) {
		wipe(p);
		say_through(NULL, NULL);
	}
	/* Who reads it learns how far it came. */
	if (p->kind == PROGRESS_JSON && p->changed) {
		take_rate(p);
		write_json(p);
	}
	if (p->timer != NULL)
		event_free(p->timer);
	free(p);
}
