/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The streams of a run. As JSON, a line is longer than the bytes it carries, so credit is counted
 * apart (`held`) and goes back when the lines have left.
 */
#include "cli/run_streams.h"

#include <event2/event.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/output.h"
#include "cli/run_json.h"
#include "cli/say.h"
#include "cli/sink.h"
#include "cli/source.h"
#include "common/duration.h"
#include "common/mem.h"

#define KEYS_PIECE 4096

/* A terminal may be slow to answer to the last bytes of a replay. */
#define ANSWER_NS (300 * NS_PER_MS)

struct run_streams {
	const struct run_streams_ops *ops;
	void *arg;
	struct event_base *base;
	struct telex_run *run; /* NULL: not yet, or no more */
	struct sink *out, *err,
	    *words; /* words: our own, on stderr too, but no credit comes of them */
	struct source *in;
	struct keys keys;
	bool with_keys;
	/* Keys that go through and were not taken yet. */
	unsigned char held_keys[KEYS_PIECE + 1];
	size_t keys_at, keys_len;
	bool json, ended, flushed, stdin_failed;
	uint64_t replay;     /* offset of stdout */
	int64_t replayed_ns; /* when it was shown */
	uint64_t offset[3];  /* by enum telex_stream: of the next byte */
	size_t held[3];      /* JSON: bytes in lines not yet written */
};

static void consumed(struct run_streams *s, enum telex_stream stream, size_t n)
{
	if (n > 0 && s->ops->consumed)
		s->ops->consumed(stream, n, s->arg);
	else if (s->run && n > 0)
		telex_run_consumed(s->run, stream, n);
}

static void check_flushed(struct run_streams *s)
{
	if (!s->ended || s->flushed || sink_pending(s->out) > 0 || sink_pending(s->err) > 0 ||
	    sink_pending(s->words) > 0)
		return;
	s->flushed = true;
	s->ops->flushed(s->arg);
}

static void release_held(struct run_streams *s)
{
	for (enum telex_stream stream = TELEX_STDOUT; stream <= TELEX_STDERR; stream++) {
		size_t n = s->held[stream];

		s->held[stream] = 0;
		consumed(s, stream, n);
	}
}

static void on_written(struct sink *sink, size_t n, void *arg)
{
	struct run_streams *s = arg;

	if (!s->json && sink != s->words)
		consumed(s, sink == s->out ? TELEX_STDOUT : TELEX_STDERR, n);
	else if (s->json && sink == s->out && sink_pending(sink) == 0)
		release_held(s);
	check_flushed(s);
}

static void on_lost(struct sink *sink, int sys_errno, void *arg)
{
	struct run_streams *s = arg;

	if (sink == s->out)
		s->ops->stdout_lost(sys_errno, s->arg);
}

static const struct sink_ops sink_ops = {.written = on_written, .lost = on_lost};

/* Whether all keys that were held are gone. */
static bool pass_keys(struct run_streams *s)
{
	if (s->run && s->keys_at < s->keys_len)
		s->keys_at +=
		    telex_run_write(s->run, s->held_keys + s->keys_at, s->keys_len - s->keys_at);
	return s->keys_at == s->keys_len;
}

/* Whether what comes may be an answer to what somebody else was shown. */
static bool is_replaying(struct run_streams *s)
{
	if (s->replay == 0)
		return false;
	if (s->offset[TELEX_STDOUT] < s->replay)
		return true;
	return clock_monotonic_ns() - s->replayed_ns < ANSWER_NS;
}

static size_t take_keys(struct run_streams *s, const unsigned char *data, size_t len)
{
	size_t done = 0;

	s->ops->keys(s->arg);
	while (s->run && pass_keys(s) && done < len) {
		enum keys_event event;
		size_t piece = len - done < KEYS_PIECE ? len - done : KEYS_PIECE;

		done += keys_feed(&s->keys, data + done, piece, s->held_keys, &s->keys_len, &event);
		s->keys_at = 0;
		if (is_replaying(s))
			s->keys_len = 0;
		if (event != KEYS_NONE) {
			pass_keys(s);
			s->ops->escape(event, s->arg);
		}
	}
	return done;
}

static size_t on_take(struct source *source, const void *data, size_t len, void *arg)
{
	struct run_streams *s = arg;

	(void)source;
	if (s->with_keys)
		return take_keys(s, data, len);
	return s->run ? telex_run_write(s->run, data, len) : 0;
}

static void on_ended(struct source *source, int sys_errno, void *arg)
{
	struct run_streams *s = arg;

	(void)source;
	s->stdin_failed = sys_errno != 0;
	if (sys_errno)
		say_error("cannot read standard input: %s; the program's stdin ends here",
		    strerror(sys_errno));
	if (s->run)
		telex_run_write_eof(s->run);
}

static const struct source_ops source_ops = {.take = on_take, .ended = on_ended};

static void say_words(const void *text, size_t len, void *arg)
{
	struct run_streams *s = arg;

	sink_write(s->words, text, len);
}

struct run_streams *run_streams_new(
    struct event_base *base, bool json, const struct run_streams_ops *ops, void *arg)
{
	struct run_streams *s = xcalloc(1, sizeof(*s));

	s->ops = ops;
	s->arg = arg;
	s->base = base;
	s->json = json;
	s->out = sink_new(base, STDOUT_FILENO, &sink_ops, s);
	s->err = sink_new(base, STDERR_FILENO, &sink_ops, s);
	s->words = sink_new(base, STDERR_FILENO, &sink_ops, s);
	say_through(say_words, s);
	return s;
}

void run_streams_free(struct run_streams *s)
{
	if (!s)
		return;
	sink_free(s->out);
	sink_free(s->err);
	say_through(NULL, NULL);
	sink_free(s->words);
	source_free(s->in);
	free(s);
}

void run_streams_attach(struct run_streams *s, struct telex_run *run, enum run_streams_in in)
{
	s->run = run;
	s->with_keys = in == RUN_STREAMS_KEYS;
	if (in != RUN_STREAMS_NO_STDIN)
		s->in = source_new(s->base, STDIN_FILENO, &source_ops, s);
}

void run_streams_output(
    struct run_streams *s, enum telex_stream stream, const void *data, size_t len, bool eof)
{
	if (s->json && len > 0) {
		s->held[stream] += len;
		run_streams_json(s, run_json_output(stream, s->offset[stream], data, len, false));
	} else if (len > 0) {
		sink_write(stream == TELEX_STDOUT ? s->out : s->err, data, len);
	}
	s->offset[stream] += len;
	if (s->replay > 0 && s->replayed_ns == 0 && s->offset[TELEX_STDOUT] >= s->replay)
		s->replayed_ns = clock_monotonic_ns();
	if (s->json && eof)
		run_streams_json(s, run_json_output(stream, s->offset[stream], NULL, 0, true));
}

void run_streams_begin(struct run_streams *s, uint64_t stdout_offset, uint64_t stderr_offset)
{
	s->offset[TELEX_STDOUT] = stdout_offset;
	s->offset[TELEX_STDERR] = stderr_offset;
}

void run_streams_replay(struct run_streams *s, uint64_t until)
{
	s->replay = until;
}

void run_streams_skipped(struct run_streams *s, enum telex_stream stream, uint64_t to)
{
	s->offset[stream] = to;
}

void run_streams_stdin_room(struct run_streams *s)
{
	if (s->in && pass_keys(s))
		source_room(s->in);
}

bool run_streams_stdin_failed(const struct run_streams *s)
{
	return s->stdin_failed;
}

void run_streams_stdin_closed(struct run_streams *s)
{
	if (s->in)
		source_stop(s->in);
}

void run_streams_json(struct run_streams *s, json_t *object)
{
	char *text = json_dumps(object, output_json_flags());
	size_t len;

	if (!text)
		abort();
	len = strlen(text);
	text[len] = '\n'; /* in the place of the NUL */
	sink_write(s->out, text, len + 1);
	free(text);
	json_decref(object);
}

void run_streams_end(struct run_streams *s)
{
	s->run = NULL;
	s->ended = true;
	if (s->in)
		source_stop(s->in);
	check_flushed(s);
}

bool run_streams_flushed(const struct run_streams *s)
{
	return s->flushed;
}
