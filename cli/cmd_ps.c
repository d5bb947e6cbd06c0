/* SPDX-License-Identifier: Apache-2.0 */
/* `telex ps`: the processes that the agent holds. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/end.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/session.h"
#include "cli/verbs.h"
#include "common/duration.h"
#include "common/mem.h"

static const char *const headings[] = {"ID", "OWNER", "STATE", "PID", "AGE", "COMMAND"};
#define COLUMNS (sizeof(headings) / sizeof(headings[0]))

struct ps {
	bool json;
	struct output_table *table; /* NULL: JSON */
};

static const char *state_name(enum telex_state state)
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
static char *command_line(const struct telex_process *process)
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
static const char *short_owner(const char *owner, const char *agent)
{
	static const char scheme[] = "spiffe://";
	size_t len;

	if (!agent || strncmp(agent, scheme, sizeof(scheme) - 1) != 0)
		return owner;
	len = sizeof(scheme) - 1 + strcspn(agent + sizeof(scheme) - 1, "/") + 1;
	return strncmp(owner, agent, len) == 0 && owner[len] ? owner + len : owner;
}

static void add_row(struct ps *ps, const struct telex_process *process, const char *agent)
{
	char pid[16], age[24], state[48], end[32], *command = command_line(process);
	const char *cells[COLUMNS] = {
	    process->process_id, short_owner(process->owner, agent), state, pid, age, command};

	snprintf(pid, sizeof(pid), "%u", process->pid);
	output_age(age, sizeof(age), process->start_ns, clock_realtime_ns());
	if (process->exit)
		snprintf(state, sizeof(state), "%s", end_text(end, sizeof(end), process->exit));
	else
		snprintf(state, sizeof(state), "%s", state_name(process->state));
	output_table_row(ps->table, cells);
	free(command);
}

static void print_json(const struct telex_process *process)
{
	char time[40];
	json_t *o = json_object(), *argv = json_array();

	for (size_t i = 0; i < process->argc; i++)
		json_array_append_new(argv, output_json_text(process->argv[i]));
	json_object_set_new(o, "process_id", output_json_text(process->process_id));
	json_object_set_new(o, "owner", output_json_text(process->owner));
	json_object_set_new(o, "user", output_json_text(process->user));
	json_object_set_new(o, "state", json_string(state_name(process->state)));
	json_object_set_new(o, "pid", json_integer(process->pid));
	json_object_set_new(o, "attached", json_integer(process->attached));
	json_object_set_new(
	    o, "start_time", json_string(output_time(time, sizeof(time), process->start_ns)));
	json_object_set_new(o, "argv", argv);
	if (process->exit)
		json_object_set_new(o, "exit", end_json(process->exit));
	output_json(o);
}

static void each(const struct telex_process *process, void *arg)
{
	struct session *s = arg;
	struct ps *ps = s->data;

	if (ps->json)
		print_json(process);
	else
		add_row(ps, process, telex_client_agent(s->client));
}

static int list(struct cli *cli, bool all)
{
	struct session s;
	struct ps ps = {.json = cli->json};
	const struct telex_filter filter = {.include_ended = all};
	int status = session_open(&s, cli);

	if (status != CLI_OK)
		return status;
	if (!cli->json)
		ps.table = output_table_new(headings, COLUMNS);
	s.data = &ps;
	status = session_answer(
	    &s, telex_list(s.client, &filter, 0, each, NULL, session_done, &s, &s.error));
	if (ps.table && status == CLI_OK)
		output_table_print(ps.table);
	else
		output_table_free(ps.table);
	session_close(&s);
	return status;
}

static int run(struct cli *cli, int argc, char **argv)
{
	static const struct options_spec specs[] = {{'a', 'a', "all", false}, {0}};
	struct options o;
	const char *value;
	bool all = false;
	int id;

	options_start(&o, cli, &cmd_ps, specs, argc, argv);
	while ((id = options_next(&o, &value)) > 0)
		all = true;
	if (id == 0 && o.n_operands > 0) {
		options_usage(&o, "takes no arguments, but was given '%s'", o.operands[0]);
		id = -1;
	}
	options_end(&o);
	return id < 0 ? o.status : list(cli, all);
}

const struct cli_verb cmd_ps = {
    .name = "ps",
    .summary = "the processes that the agent holds",
    .help =
        "Examples:\n"
        "  telex ps\n"
        "  telex ps -a                 also those that have ended\n"
        "  telex --json ps | jq .process_id\n"
        "\n"
        "Usage: telex ps [-a]\n"
        "\n"
        "  -a, --all   also those that have ended and are still held\n"
        "\n"
        "Oldest first. STATE is running, ending, or how it ended: exit 3, SIGTERM, unknown. On a\n"
        "terminal a long command is cut to fit; --json has all, and the OWNER with its domain.\n",
    .run = run,
};
