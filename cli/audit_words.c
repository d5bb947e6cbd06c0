/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each event says first, as a sentence with the names of members in it; the members that it
 * does not name follow. A record's texts are in escape_text's form already; whoever wrote into the
 * file otherwise drives no terminal all the same.
 */
#include "cli/audit_words.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/escape.h"
#include "common/mem.h"

/* "$name": the member's value. A sentence is taken when its member `with` is there. */
static const struct {
	const char *event, *with, *sentence;
} sentences[] = {
    {"begin", NULL, "$program $pid begins to write as $writer"},
    {"end", NULL, "$writer has written its last"},
    {"handshake", "more", "$more more: $reason, since $since"},
    {"call", "more", "$more more: $reason, since $since"},
    {"cut", "more", "$more more: $reason, since $since"},
    {"certificate", "more", "$more more: $reason, since $since"},
    {"handshake", "reason", "connection refused: $reason"},
    {"handshake", NULL, "connected"},
    {"cut", NULL, "cut off: $reason"},
    {"call", "path", "call of $path: $decision"},
    {"call", NULL, "call of $method ($service): $decision"},
    {"denied", NULL, "denied $method"},
    {"call-end", NULL, "call ended: $code"},
    {"start", NULL, "start $id: $argv"},
    {"attach", NULL, "attach to $id"},
    {"signal", "id", "$signal to $id"},
    {"signal", NULL, "$signal to the group $process_group"},
    {"remove", "id", "remove $id"},
    {"remove", NULL, "remove what has ended of the group $process_group"},
    {"update", "id", "new limits for $id"},
    {"update", NULL, "new maximum of the group $process_group: $maximum"},
    {"exit", "code", "$id exited with $code"},
    {"exit", "signal", "$id died of $signal"},
    {"exec", NULL, "execute $id as $user: $argv"},
    {"started", NULL, "$id runs as pid $pid"},
    {"not-started", NULL, "$id does not run: $why"},
    {"ended", "code", "$id (pid $pid) exited with $code"},
    {"ended", "signal", "$id (pid $pid) died of $signal"},
    {"worker-begin", NULL, "worker $index is pid $pid and writes as $worker"},
    {"worker-end", NULL, "worker $worker (pid $pid) $how"},
    {"anchor", NULL, "worker $worker has written $worker_seq records"},
    {"refused", NULL, "refused $what: $why"},
};

/* Never told of one by one. */
static const char *const plain[] = {
    "writer", "seq", "time", "event", "identity", "owner", "peer", "prev", "hash", NULL};

static void put_safe(FILE *to, const char *text)
{
	size_t len = strlen(text), size = len * 8 + 1;
	char *safe = xmalloc(size);

	escape_text(safe, size, text, len);
	for (const char *c = safe; *c; c++) {
		/* Its own backslashes are escapes by now. */
		if (c[0] == '\\' && c[1] == '\\')
			c++;
		putc(*c, to);
	}
	free(safe);
}

static void put_value(FILE *to, const json_t *value)
{
	const json_t *item;
	size_t i;

	if (json_is_string(value))
		put_safe(to, json_string_value(value));
	else if (json_is_integer(value))
		fprintf(to, "%lld", (long long)json_integer_value(value));
	else if (json_is_boolean(value))
		fputs(json_is_true(value) ? "yes" : "no", to);
	else
		json_array_foreach(value, i, item)
		{
			if (i > 0)
				putc(' ', to);
			put_value(to, item);
		}
}

static const char *sentence_of(const json_t *r, const char *event)
{
	for (size_t i = 0; i < sizeof(sentences) / sizeof(sentences[0]); i++)
		if (strcmp(sentences[i].event, event) == 0 &&
		    (!sentences[i].with || json_object_get(r, sentences[i].with)))
			return sentences[i].sentence;
	return NULL;
}

/* Length of the name behind a '$'. */
static size_t name_len(const char *at)
{
	return strspn(at, "abcdefghijklmnopqrstuvwxyz_");
}

static void put_sentence(FILE *to, const json_t *r, const char *sentence)
{
	for (const char *c = sentence; *c; c++) {
		char name[32];
		size_t n;

		if (*c != '$') {
			putc(*c, to);
			continue;
		}
		n = name_len(c + 1);
		snprintf(name, sizeof(name), "%.*s", (int)n, c + 1);
		put_value(to, json_object_get(r, name));
		c += n;
	}
}

static bool is_named(const char *sentence, const char *key)
{
	const char *c = sentence;

	for (const char *const *p = plain; *p; p++)
		if (strcmp(*p, key) == 0)
			return true;
	while (c && (c = strchr(c, '$')) != NULL) {
		c++;
		if (name_len(c) == strlen(key) && strncmp(c, key, strlen(key)) == 0)
			return true;
	}
	return false;
}

static const char *text_of(const json_t *r, const char *key)
{
	const char *text = json_string_value(json_object_get(r, key));

	return text ? text : "";
}

static void put_who(FILE *to, const json_t *r)
{
	const char *who = text_of(r, "identity");

	if (!*who)
		who = text_of(r, "owner");
	if (*who) {
		put_safe(to, who);
		putc(' ', to);
	}
	if (*text_of(r, "peer")) {
		putc('[', to);
		put_safe(to, text_of(r, "peer"));
		fputs("] ", to);
	}
}

void audit_words_print(FILE *to, const json_t *record)
{
	const char *event = text_of(record, "event"), *key;
	const char *sentence = sentence_of(record, event);
	const json_t *value;

	put_safe(to, text_of(record, "time"));
	putc(' ', to);
	put_who(to, record);
	if (sentence)
		put_sentence(to, record, sentence);
	else
		put_safe(to, event);
	json_object_foreach((json_t *)(uintptr_t)record, key, value)
	{
		if (is_named(sentence, key) || (json_is_array(value) && !json_array_size(value)))
			continue;
		putc(' ', to);
		put_safe(to, key);
		putc('=', to);
		put_value(to, value);
	}
	putc('\n', to);
}
