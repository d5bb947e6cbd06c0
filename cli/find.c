/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/find.h"

#include <stdio.h>
#include <string.h>

/* What libtelex makes when no id is given. */
#define MADE_LEN 26
static const char made_of[] = "abcdefghijklmnopqrstuvwxyz234567";

/* Shorter than this it may be anything. */
#define LEAST 4

bool find_may(const char *word)
{
	const size_t len = strlen(word);

	return len >= LEAST && len < MADE_LEN && strspn(word, made_of) == len;
}

void find_note(struct find *f, const char *process_id)
{
	if (strlen(process_id) != MADE_LEN || strspn(process_id, made_of) != MADE_LEN ||
	    strncmp(process_id, f->word, strlen(f->word)) != 0)
		return;
	if (f->n < FIND_SHOWN)
		snprintf(f->ids[f->n], FIND_ID, "%s", process_id);
	f->n++;
}

bool find_result(const struct find *f, struct telex_error *error)
{
	char more[40] = "";

	if (f->n < 2)
		return f->n == 1;
	if (f->n > FIND_SHOWN)
		snprintf(more, sizeof(more), " and %zu more", f->n - FIND_SHOWN);
	snprintf(error->reason, sizeof(error->reason), "AMBIGUOUS");
	snprintf(error->message, sizeof(error->message), "several ids begin so: %s, %s%s%s%s",
	    f->ids[0], f->ids[1], f->n > 2 ? ", " : "", f->n > 2 ? f->ids[2] : "", more);
	return false;
}

struct search {
	struct session *session;
	struct find find;
};

static void each(const struct telex_process *process, void *arg)
{
	struct search *search = arg;

	find_note(&search->find, process->process_id);
}

static void on_done(const struct telex_error *error, void *arg)
{
	const struct search *search = arg;

	session_done(error, search->session);
}

/* Changes s->error only when there are several, or the agent could not be asked. */
static bool search(struct session *s, const char *word, char id[FIND_ID])
{
	const struct telex_filter all = {.include_ended = true};
	struct search search = {.session = s, .find.word = word};
	struct telex_error unknown = s->error;

	if (session_wait(
	        s, telex_list(s->client, &all, 0, each, NULL, on_done, &search, &s->error)) < 0)
		return false;
	s->error = unknown;
	if (!find_result(&search.find, &s->error))
		return false;
	snprintf(id, FIND_ID, "%s", search.find.ids[0]);
	return true;
}

int find_ask(struct session *s, const char *word, char id[FIND_ID],
    int (*ask)(struct session *s, const char *id, const void *arg), const void *arg)
{
	int r = session_wait(s, ask(s, word, arg));

	snprintf(id, FIND_ID, "%s", word);
	if (r == 0 || strcmp(s->error.reason, "NO_SUCH_PROCESS") != 0 || !find_may(word))
		return r;
	return search(s, word, id) ? session_wait(s, ask(s, id, arg)) : -1;
}
