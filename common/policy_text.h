/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The words of a policy file, one at a time, and the telling of what is wrong in it.
 *
 * Not libconfuse, which reads telexd.conf: it puts the environment's variables into texts, takes a
 * second section of one name for the first one again, and ends at the first mistake. The look of
 * the file is the same but for comments, which begin with '#' alone: patterns may hold the others.
 *
 *     words      A-Z a-z 0-9 _ . + - and nothing else
 *     "texts"    on one line; \" and \\ stand for " and \
 *     'texts'    on one line; nothing is special in them
 *     { } = ,
 */
#ifndef TX_COMMON_POLICY_TEXT_H
#define TX_COMMON_POLICY_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "common/policy.h"

enum policy_token {
	POLICY_TOKEN_END,
	POLICY_TOKEN_WORD,
	POLICY_TOKEN_TEXT, /* in quotes */
	POLICY_TOKEN_MARK, /* value[0] is one of { } = , */
};

#define POLICY_PROBLEMS_MAX 100

/* A reader of text[0..len). `value` belongs to it until the next token. */
struct policy_text {
	const char *at, *end;
	const char *name; /* of the file */
	unsigned line;    /* of the token */
	enum policy_token token;
	char *value; /* without quotes and escapes */
	size_t room;
	unsigned next_line; /* of what comes after the token */
	policy_problem problem;
	void *arg;
	unsigned problems;
	bool no_memory;
};

/* Reads the next token; what is none is told and passed over. Out of memory: no_memory and END. */
void policy_text_next(struct policy_text *t);
bool policy_text_is(const struct policy_text *t, char mark);
void policy_text_free(struct policy_text *t);

/* "NAME:LINE: …", counted; after POLICY_PROBLEMS_MAX only counted. */
void policy_text_tell(struct policy_text *t, unsigned line, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
