/* SPDX-License-Identifier: Apache-2.0 */
/* `telex ps`: the processes that the agent holds. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/end.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/process_words.h"
#include "cli/say.h"
#include "cli/session.h"
#include "cli/verbs.h"
#include "common/duration.h"

static const char *const headings[] = {"ID", "OWNER", "STATE", "AGE", "CPU", "MEMORY", "COMMAND"};
#define COLUMNS (sizeof(headings) / sizeof(headings[0]))

enum { OPT_GROUP = 256 };

static const struct options_spec specs[] = {
    {'a', 'a', "all", false},
    {'q', 'q', "quiet", false},
    {OPT_GROUP, '\0', "group", true},
    {0},
};

struct ps {
	struct telex_filter filter;
	struct output_table *table; /* NULL: JSON, or ids alone */
};

/* "12ms", "3.4s", "2m10s", "1h05m". size >= 24. */
static void cpu_time(char *out, size_t size, int64_t us)
{
	const int64_t ms = us / 1000, s = ms / 1000;

	if (ms < 1000)
		snprintf(out, size, "%" PRId64 "ms", ms);
	else if (s < 60)
		snprintf(out, size, "%" PRId64 ".%" PRId64 "s", s, ms % 1000 / 100);
	else if (s < 3600)
		snprintf(out, size, "%" PRId64 "m%02" PRId64 "s", s / 60, s % 60);
	else
		snprintf(out, size, "%" PRId64 "h%02" PRId64 "m", s / 3600, s % 3600 / 60);
}

/* What it uses, or used in all. */
static void usage_of(
    const struct telex_process *p, char *cpu, size_t cpu_size, char *memory, size_t memory_size)
{
	if (p->has_usage) {
		cpu_time(cpu, cpu_size, p->cpu_us);
		output_bytes(memory, memory_size, p->memory_bytes);
	} else if (p->exit && p->exit->end != TELEX_END_NOT_STARTED) {
		cpu_time(cpu, cpu_size, p->exit->user_us + p->exit->system_us);
		output_bytes(memory, memory_size, p->exit->max_resident_kib << 10);
	} else {
		snprintf(cpu, cpu_size, "-");
		snprintf(memory, memory_size, "-");
	}
}

static void add_row(struct ps *ps, const struct telex_process *process, const char *agent)
{
	char age[24] = "-", cpu[24], memory[24], state[48], end[END_TEXT];
	char *command = process_words_command(process);
	const char *cells[COLUMNS] = {process->process_id,
	    process_words_owner(process->owner, agent), state, age, cpu, memory, command};

	if (process->start_ns > 0)
		output_age(age, sizeof(age), process->start_ns, clock_realtime_ns());
	usage_of(process, cpu, sizeof(cpu), memory, sizeof(memory));
	snprintf(state, sizeof(state), "%s",
	    process->exit ? end_text(end, sizeof(end), process->exit)
	                  : process_words_state(process->state));
	output_table_row(ps->table, cells);
	free(command);
}

static void each(const struct telex_process *process, void *arg)
{
	struct session *s = arg;
	struct ps *ps = s->data;

	if (ps->table)
		add_row(ps, process, telex_client_agent(s->client));
	else if (s->json)
		output_json(process_words_json(process));
	else
		puts(process->process_id);
}

static void on_summary(const struct telex_list_summary *summary, void *arg)
{
	const struct session *s = arg;
	const struct ps *ps = s->data;

	if (!ps->filter.include_ended)
		return;
	if (s->json)
		output_json(
		    json_pack("{s:{s:I,s:I}}", "summary", "dropped", (json_int_t)summary->dropped,
		        "held_maximum", (json_int_t)summary->held_maximum));
	else if (summary->dropped > 0)
		say_note("%" PRIu64
		         " that had ended were dropped before anybody saw their end; the "
		         "agent holds %u at most",
		    summary->dropped, summary->held_maximum);
}

static void on_group(const struct telex_group *group, void *arg)
{
	const struct session *s = arg;
	char maximum[32] = "no maximum";

	if (s->json) {
		output_json(json_pack("{s:o}", "group", process_words_group_json(group)));
		return;
	}
	if (group->maximum)
		snprintf(maximum, sizeof(maximum), "at most %u", group->maximum);
	say_note("group %s: %u running (%s), %u queued, %u ended", group->name, group->running,
	    maximum, group->queued, group->ended);
}

static int list(struct cli *cli, struct ps *ps)
{
	const char *const group = ps->filter.group;
	struct session s;
	int asked, status = session_open(&s, cli);

	if (status != CLI_OK)
		return status;
	if (!cli->json && ps->filter.usage)
		ps->table = output_table_new(headings, COLUMNS);
	s.data = ps;
	asked = telex_list(s.client, &ps->filter, 0, each, on_summary, session_done, &s, &s.error);
	status =
	    group ? session_answer_of(&s, "ps --group", group, asked) : session_answer(&s, asked);
	if (ps->table && status == CLI_OK)
		output_table_print(ps->table);
	else
		output_table_free(ps->table);
	if (status == CLI_OK && group)
		status = session_answer_of(&s, "ps --group", group,
		    telex_group_get(s.client, group, 0, on_group, session_done, &s, &s.error));
	session_close(&s);
	return status;
}

static int run(struct cli *cli, int argc, char **argv)
{
	struct ps ps = {.filter.usage = true};
	struct options o;
	struct err e;
	const char *value;
	int id;

	options_start(&o, cli, &cmd_ps, specs, argc, argv);
	while ((id = options_next(&o, &value)) > 0) {
		if (id == 'a' || id == 'q') {
			ps.filter.include_ended |= id == 'a';
			ps.filter.usage &= id != 'q';
			continue;
		}
		ps.filter.group = value;
		if (options_check_id(value, &e) < 0) {
			options_wrong(&o, id, &e);
			return options_end(&o);
		}
	}
	if (id == 0 && o.n_operands > 0) {
		options_usage(&o, "takes no arguments, but was given '%s'", o.operands[0]);
		id = -1;
	}
	options_end(&o);
	return id < 0 ? o.status : list(cli, &ps);
}

const struct cli_verb cmd_ps = {
    .name = "ps",
    .summary = "the processes that the agent holds",
    .specs = specs,
    .help =
        "Examples:\n"
        "  telex ps\n"
        "  telex ps -a                 also those that have ended\n"
        "  telex ps --group tests      and how many run, wait and have ended\n"
        "  telex kill $(telex ps -q)   ends all that runs\n"
        "  telex --json ps | jq .process_id\n"
        "\n"
        "Usage: telex ps [-aq] [--group NAME]\n"
        "\n"
        "  -a, --all         also those that have ended and are still held\n"
        "  -q, --quiet       ids alone\n"
        "      --group NAME  of this group alone, and its counts (on stderr)\n"
        "\n"
        "Oldest first. STATE is queued, running, ending, or how it ended: exit 3, SIGTERM, not\n"
        "started, unknown. CPU and MEMORY are what it uses now, with its descendants where the\n"
        "agent has a control group for them; of one that has ended, what it used. On a terminal\n"
        "a long command is cut to fit; --json has all, and the OWNER with its domain.\n"
        "--json ends with an object \"summary\" with -a, and \"group\" with --group.\n",
    .run = run,
};
