/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/tail_read.h"

#include <string.h>

#include "cli/tail.h"

/* How often a reader that was overtaken begins anew. */
#define TRIES 10

struct looking {
	struct session *session;
	struct tail tails[3];
};

static void on_output(struct telex_reader *reader, enum telex_stream stream, uint64_t offset,
    const void *data, size_t len, void *arg)
{
	struct looking *l = arg;

	tail_feed(&l->tails[stream], offset, data, len);
	telex_reader_consumed(reader, len);
}

static void on_done(const struct telex_error *error, void *arg)
{
	const struct looking *l = arg;

	session_done(error, l->session);
}

static int read_once(struct looking *l, const char *process_id, size_t lines, uint64_t start[3])
{
	const struct telex_read read = {.process_id = process_id, .from = TELEX_FROM_OLDEST};
	struct session *s = l->session;
	struct telex_reader *reader;
	int r;

	for (enum telex_stream i = TELEX_STDOUT; i <= TELEX_STDERR; i++)
		tail_init(&l->tails[i], lines);
	r = session_wait(
	    s, telex_read_output(s->client, &reader, &read, on_output, on_done, l, &s->error));
	for (enum telex_stream i = TELEX_STDOUT; i <= TELEX_STDERR; i++) {
		start[i] = tail_start(&l->tails[i], 0);
		tail_clear(&l->tails[i]);
	}
	return r;
}

int tail_read(struct session *s, const char *process_id, size_t lines, uint64_t start[3])
{
	struct looking l = {.session = s};
	int r = read_once(&l, process_id, lines, start);

	for (int i = 1; i < TRIES && r < 0 && strcmp(s->error.reason, "OFFSET_DROPPED") == 0; i++)
		r = read_once(&l, process_id, lines, start);
	return r;
}
