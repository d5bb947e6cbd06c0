/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names never become part of the shell's text: {} becomes "$@", and they are its arguments, so that
 * none of them can be taken for a command.
 */
#include "cli/watch_command.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cli/say.h"
#include "cli/watch_words.h"
#include "common/mem.h"

#define ARGV_HEAD 4  /* sh -c TEXT telex-watch */
#define SHOWN     60 /* bytes of a command */

static bool ends_word(char c)
{
	return c == '\0' || strchr(" \t\n;|&()<>", c) != NULL;
}

/* The text with each {} that is a word as "$@". Whether there was one. */
static bool replace(const char *text, char **out)
{
	static const char names[] = "\"$@\"";
	char *to = *out = xmalloc(2 * strlen(text) + 1);
	bool found = false, begins = true;

	while (*text) {
		if (begins && text[0] == '{' && text[1] == '}' && ends_word(text[2])) {
			memcpy(to, names, sizeof(names) - 1);
			to += sizeof(names) - 1;
			text += 2;
			found = true;
			begins = false;
			continue;
		}
		begins = ends_word(*text);
		*to++ = *text++;
	}
	*to = '\0';
	return found;
}

void watch_command_init(
    struct watch_command *c, const char *text, bool null, const char *const *roots)
{
	*c = (struct watch_command){.null = null, .roots = roots};
	c->arguments = replace(text, &c->text);
	c->names = watch_names_new();
}

void watch_command_clear(struct watch_command *c)
{
	free(c->text);
	watch_names_free(c->names);
}

size_t watch_command_add(struct watch_command *c, const struct telex_change *change)
{
	char *name = watch_words_path(change, c->roots);

	watch_names_add(c->names, name);
	free(name);
	return watch_names_bytes(c->names);
}

static void put_input(struct watch_command_run *run, char *const *names, size_t bytes, char end)
{
	char *to = run->input = xmalloc(bytes + 1);

	for (size_t i = 0; i < run->n; i++) {
		const size_t len = strlen(names[i]);

		memcpy(to, names[i], len);
		to[len] = end;
		to += len + 1;
	}
	run->input_len = bytes;
}

void watch_command_take(struct watch_command *c, struct watch_command_run *run, size_t argv_max,
    const char *clock, bool overflow)
{
	const size_t bytes = watch_names_bytes(c->names);
	char **names;
	size_t n = ARGV_HEAD;

	*run = (struct watch_command_run){.n = 0};
	names = watch_names_take(c->names, c->arguments ? argv_max : SIZE_MAX, &run->n);
	run->more = watch_names_count(c->names) > 0;
	run->env[0] = xasprintf("TELEX_CLOCK=%s", clock);
	run->env[1] = xasprintf("TELEX_OVERFLOW=%d", overflow);
	run->argv = xcalloc(ARGV_HEAD + run->n + 1, sizeof(*run->argv));
	run->argv[0] = xstrdup("sh");
	run->argv[1] = xstrdup("-c");
	run->argv[2] = xstrdup(c->text);
	run->argv[3] = xstrdup("telex-watch");
	if (!c->arguments)
		put_input(run, names, bytes, c->null ? '\0' : '\n');
	for (size_t i = 0; i < run->n; i++) {
		if (c->arguments)
			run->argv[n++] = names[i];
		else
			free(names[i]);
	}
	free(names);
}

void watch_command_run_clear(struct watch_command_run *run)
{
	for (char **arg = run->argv; arg && *arg; arg++)
		free(*arg);
	free(run->argv);
	free(run->input);
	free(run->env[0]);
	free(run->env[1]);
	*run = (struct watch_command_run){.n = 0};
}

void watch_command_say(const struct watch_command *c, const char *how, bool well, bool goes_on)
{
	const char *cut = strlen(c->text) > SHOWN ? "…" : "";

	if (well)
		say_detail("%.*s%s: %s", SHOWN, c->text, cut, how);
	else
		say_note("%.*s%s: %s%s", SHOWN, c->text, cut, how,
		    goes_on ? "; waiting for the next change" : "");
}
