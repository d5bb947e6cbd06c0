/* SPDX-License-Identifier: Apache-2.0 */
/* How processes and groups are told. */
#include "cli/process_words.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "cli/end.h"
#include "cli/output.h"
#include "common/mem.h"

const char *process_words_state(enum telex_state state)
{
	switch (state) {
	case TELEX_STATE_RUNNING:
		return "running";
	case TELEX_STATE_ENDING:
		return "ending";
	case TELEX_STATE_ENDED:
		return "ended";
	case TELEX_STATE_QUEUED:
		return "queued";
	}
	return "unknown";
}

static bool is_plain(const char *word)
{
	return word[0] &&
	       strspn(word, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	                    "@%+=:,./_-") == strlen(word);
}

/* 'it'\''s' */
static char *quoted(const char *word)
{
	char *out = xmalloc(strlen(word) * 4 + 3), *p = out;

	*p++ = '\'';
	for (; *word; word++) {
		if (*word == '\'')
			p = stpcpy(p, "'\\''");
		else
			*p++ = *word;
	}
	*p++ = '\'';
	*p = '\0';
	return out;
}

/* As a shell would read it. */
char *process_words_command(const struct telex_process *process)
{
	char *line = xstrdup("");

	for (size_t i = 0; i < process->argc; i++) {
		char *word = is_plain(process->argv[i]) ? xstrdup(process->argv[i])
		                                        : quoted(process->argv[i]);
		char *longer = xasprintf("%s%s%s", line, i > 0 ? " " : "", word);

		free(word);
		free(line);
		line = longer;
	}
	return line;
}

/* "user/ann" of one whose trust domain is the agent's own; others whole. */
const char *process_words_owner(const char *owner, const char *agent)
{
	static const char scheme[] = "spiffe://";
	size_t len;

	if (!agent || strncmp(agent, scheme, sizeof(scheme) - 1) != 0)
		return owner;
	len = sizeof(scheme) - 1 + strcspn(agent + sizeof(scheme) - 1, "/") + 1;
	return strncmp(owner, agent, len) == 0 && owner[len] ? owner + len : owner;
}

static void set(json_t *o, const char *name, json_t *value)
{
	json_object_set_new(o, name, value);
}

static json_t *range(uint64_t oldest, uint64_t newest)
{
	return json_pack("{s:I,s:I}", "oldest", (json_int_t)oldest, "newest", (json_int_t)newest);
}

static void set_usage(json_t *o, const struct telex_process *p)
{
	json_t *usage = json_object();

	set(usage, "cpu_us", json_integer(p->cpu_us));
	set(usage, "memory_bytes", json_integer((json_int_t)p->memory_bytes));
	set(usage, "tree", json_boolean(p->usage_tree));
	set(o, "usage", usage);
}

static void set_disconnect(json_t *o, const struct telex_process *p)
{
	static const char *const names[] = {NULL, "hangup", "keep", "kill"};
	const size_t i = (size_t)p->on_disconnect;

	if (i < 1 || i >= sizeof(names) / sizeof(names[0]))
		return;
	set(o, "on_disconnect", json_string(names[i]));
	if (p->on_disconnect == TELEX_DISCONNECT_HANGUP)
		set(o, "disconnect_wait_ms", json_integer(p->disconnect_wait_ms));
}

json_t *process_words_json(const struct telex_process *p)
{
	char time[40];
	json_t *o = json_object(), *argv = json_array();

	for (size_t i = 0; i < p->argc; i++)
		json_array_append_new(argv, output_json_text(p->argv[i]));
	set(o, "process_id", output_json_text(p->process_id));
	set(o, "owner", output_json_text(p->owner));
	if (p->user && p->user[0])
		set(o, "user", output_json_text(p->user));
	if (p->group && p->group[0])
		set(o, "group", output_json_text(p->group));
	set(o, "state", json_string(process_words_state(p->state)));
	set(o, "pid", json_integer(p->pid));
	set(o, "attached", json_integer(p->attached));
	set(o, "terminal", json_boolean(p->terminal));
	set_disconnect(o, p);
	if (p->start_ns > 0)
		set(o, "start_time", json_string(output_time(time, sizeof(time), p->start_ns)));
	set(o, "argv", argv);
	set(o, "stdout", range(p->stdout_oldest, p->stdout_newest));
	set(o, "stderr", range(p->stderr_oldest, p->stderr_newest));
	if (p->has_usage)
		set_usage(o, p);
	if (p->exit)
		set(o, "exit", end_json(p->exit));
	if (p->expire_ns > 0)
		set(o, "expire_time", json_string(output_time(time, sizeof(time), p->expire_ns)));
	return o;
}

json_t *process_words_group_json(const struct telex_group *group)
{
	json_t *o = json_object();

	set(o, "name", output_json_text(group->name));
	set(o, "maximum", json_integer(group->maximum));
	set(o, "queued", json_integer(group->queued));
	set(o, "running", json_integer(group->running));
	set(o, "ended", json_integer(group->ended));
	return o;
}
