/* SPDX-License-Identifier: Apache-2.0 */
#include "common/policy_text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/escape.h"

void policy_text_tell(struct policy_text *t, unsigned line, const char *fmt, ...)
{
	char words[512], text[800];
	va_list ap;

	t->problems++;
	if (t->problems > POLICY_PROBLEMS_MAX)
		return;
	if (t->problems == POLICY_PROBLEMS_MAX) {
		snprintf(text, sizeof(text), "%s: there are more problems", t->name);
		t->problem(text, t->arg);
		return;
	}
	va_start(ap, fmt);
	vsnprintf(words, sizeof(words), fmt, ap);
	va_end(ap);
	if (line != 0)
		snprintf(text, sizeof(text), "%s:%u: %s", t->name, line, words);
	else
		snprintf(text, sizeof(text), "%s: %s", t->name, words);
	t->problem(text, t->arg);
}

static bool is_word(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c != '\0' && strchr("_.+-", c) != NULL);
}

static void skip_blank(struct policy_text *t)
{
	for (; t->at < t->end; t->at++) {
		if (*t->at == '#') {
			while (t->at < t->end && *t->at != '\n')
				t->at++;
			if (t->at == t->end)
				return;
		}
		if (*t->at == '\n')
			t->next_line++;
		else if (*t->at != ' ' && *t->at != '\t' && *t->at != '\r')
			return;
	}
}

/* Room for a value of `len` characters. */
static bool make_room(struct policy_text *t, size_t len)
{
	char *more;

	if (len < t->room)
		return true;
	more = realloc(t->value, len + 64);
	if (more == NULL) {
		t->no_memory = true;
		return false;
	}
	t->value = more;
	t->room = len + 64;
	return true;
}

static void take_word(struct policy_text *t)
{
	const char *from = t->at;
	size_t len;

	while (t->at < t->end && is_word(*t->at))
		t->at++;
	len = (size_t)(t->at - from);
	if (!make_room(t, len))
		return;
	memcpy(t->value, from, len);
	t->value[len] = '\0';
	t->token = POLICY_TOKEN_WORD;
}

/* One character of a quoted text into *c. False: it is none that may be there. */
static bool take_character(struct policy_text *t, char quote, char *c)
{
	*c = *t->at++;
	if (quote == '\'' || *c != '\\')
		return (unsigned char)*c >= ' ' && *c != 0x7f;
	if (t->at == t->end || (*t->at != '"' && *t->at != '\\'))
		return false;
	*c = *t->at++;
	return true;
}

/* The opening quote is passed. Without its closing one, it is told and ends with the line. */
static void take_text(struct policy_text *t, char quote)
{
	const char *close = t->at;
	size_t len = 0;
	bool good = true;
	char c;

	while (close < t->end && *close != '\n')
		close++;
	if (!make_room(t, (size_t)(close - t->at)))
		return;
	while (t->at < close && *t->at != quote) {
		if (!take_character(t, quote, &c))
			good = false;
		t->value[len++] = c;
	}
	t->value[len] = '\0';
	t->token = POLICY_TOKEN_TEXT;
	if (t->at >= close)
		policy_text_tell(t, t->line, "a text has no closing %c on its line", quote);
	else
		t->at++;
	if (!good)
		policy_text_tell(t, t->line,
		    "a text holds a control character, or a \\ that is followed by neither \" nor "
		    "\\ (in single quotes \\ is itself)");
}

static void refuse_character(struct policy_text *t)
{
	char safe[16];

	escape_text(safe, sizeof(safe), t->at, 1);
	policy_text_tell(t, t->line,
	    *t->at == '/' || *t->at == '*'
	        ? "'%s' outside of quotes; write paths and patterns as \"/usr/bin/*\""
	        : "'%s' is not expected outside of quotes",
	    safe);
	/* Told once for all of it. */
	do
		t->at++;
	while (t->at < t->end && strchr("\n \t\r{}=,#\"'", *t->at) == NULL);
}

void policy_text_next(struct policy_text *t)
{
	for (;;) {
		skip_blank(t);
		t->line = t->next_line;
		t->token = POLICY_TOKEN_END;
		if (t->no_memory || t->at >= t->end || !make_room(t, 1))
			return;
		if (is_word(*t->at)) {
			take_word(t);
		} else if (*t->at == '"' || *t->at == '\'') {
			t->at++;
			take_text(t, t->at[-1]);
		} else if (*t->at != '\0' && strchr("{}=,", *t->at) != NULL) {
			t->value[0] = *t->at++;
			t->value[1] = '\0';
			t->token = POLICY_TOKEN_MARK;
		} else {
			refuse_character(t);
			continue;
		}
		return;
	}
}

bool policy_text_is(const struct policy_text *t, char mark)
{
	return t->token == POLICY_TOKEN_MARK && t->value[0] == mark;
}

void policy_text_free(struct policy_text *t)
{
	free(t->value);
	t->value = NULL;
	t->room = 0;
}
