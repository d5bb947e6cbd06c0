/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes by the beginning of their ids. What was typed is asked for as it is; only when the
 * agent knows no such process, and exactly one of the ids that it holds begins so, that one is
 * meant. Ids that were chosen (run --id) are typed in full: who wants job1 shall not get job10.
 */
#ifndef TX_CLI_FIND_H
#define TX_CLI_FIND_H

#include <stdbool.h>
#include <stddef.h>

#include "cli/session.h"
#include "lib/telex.h"

#define FIND_ID    65
#define FIND_SHOWN 3

struct find {
	const char *word;
	size_t n; /* so many begin with it; the first ones are: */
	char ids[FIND_SHOWN][FIND_ID];
};

/* Whether an id may be meant by it that is not it. */
bool find_may(const char *word);
/* Another process that there is. */
void find_note(struct find *f, const char *process_id);
/* All were noted. True: ids[0] is it. False: *error, which says that there is no such process, says
 * instead which there are when there are several. */
bool find_result(const struct find *f, struct telex_error *error);

/* Asks and waits, with word and, when it is not known, with the id that is meant. ask as in
 * each_id.h. 0 and the id, or -1 and s->error; the id is what was asked for last. */
int find_ask(struct session *s, const char *word, char id[FIND_ID],
    int (*ask)(struct session *s, const char *id, const void *arg), const void *arg);

#endif
