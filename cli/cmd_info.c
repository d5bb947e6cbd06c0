/* SPDX-License-Identifier: Apache-2.0 */
/* `telex info`: the agent and its machine. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/options.h"
#include "cli/output.h"
#include "cli/session.h"
#include "cli/verbs.h"
#include "common/duration.h"
#include "common/mem.h"

/* A limit or amount in bytes; 0 is none. */
static void bytes_field(const char *name, uint64_t bytes)
{
	char text[24];

	output_field(name, bytes ? output_bytes(text, sizeof(text), bytes) : "none");
}

static void number_field(const char *name, uint32_t number)
{
	char text[16];

	snprintf(text, sizeof(text), "%" PRIu32, number);
	output_field(name, text);
}

static void joined_field(const char *name, const char *const *words, size_t n)
{
	char *line = xstrdup("");

	for (size_t i = 0; i < n; i++) {
		char *longer = xasprintf("%s%s%s", line, i > 0 ? ", " : "", words[i]);

		free(line);
		line = longer;
	}
	output_field(name, line);
	free(line);
}

/* What is in force, in one line, and then each that is not, with why. */
static void confinement_fields(const struct telex_info *i)
{
	const char *words[sizeof(i->confinements) / sizeof(i->confinements[0])];
	size_t n = 0;

	for (size_t c = 0; c < i->n_confinements; c++)
		if (i->confinements[c].in_force)
			words[n++] = i->confinements[c].name;
	if (i->n_confinements > 0)
		joined_field("locked in by", words, n);
	for (size_t c = 0; c < i->n_confinements; c++) {
		char *text;

		if (i->confinements[c].in_force)
			continue;
		text = xasprintf("no %s: %s", i->confinements[c].name, i->confinements[c].note);
		output_field("not by", text);
		free(text);
	}
}

static void security_fields(const struct telex_info *i)
{
	char time[40], *text;

	if (i->certificate_not_after_ns != 0)
		output_field("certificate until",
		    output_time(time, sizeof(time), i->certificate_not_after_ns));
	if (i->n_groups > 0)
		joined_field("key exchange", i->groups, i->n_groups);
	if (i->revocations_number > 0) {
		text = xasprintf("list %" PRId64 " of %s, %" PRIu32 " certificates%s%s",
		    i->revocations_number, output_time(time, sizeof(time), i->revocations_time_ns),
		    i->revocations_count, i->revocations_stale ? "; too old: " : "",
		    i->revocations_stale ? i->revocations_when_stale : "");
		output_field("revoked", text);
		free(text);
	} else {
		output_field("revoked", "no list");
	}
	if (i->audit_dropped > 0) {
		text = xasprintf("%" PRIu64 " records were lost", i->audit_dropped);
		output_field("audit", text);
		free(text);
	}
	confinement_fields(i);
}

static void print_text(const struct telex_info *i)
{
	const char *const system[] = {i->system, i->kernel, i->architecture};
	const char *const tls[] = {i->tls_version, i->tls_cipher, i->tls_group};
	char started[40], age[24], *text;

	output_field("host", i->hostname);
	joined_field("system", system, 3);
	number_field("processors", i->processors);
	bytes_field("memory", i->memory_bytes);
	output_field("telexd", i->version);
	output_age(age, sizeof(age), i->start_ns, clock_realtime_ns());
	text = xasprintf("%s (%s)", output_time(started, sizeof(started), i->start_ns), age);
	output_field("started", text);
	free(text);
	output_field("agent", i->agent_identity);
	output_field("you", i->client_identity);
	output_field("runs as", i->default_user);
	joined_field("tls", tls, 3);
	number_field("workers", i->workers);
	text = i->max_processes
	           ? xasprintf("%" PRIu32 " of %" PRIu32, i->processes, i->max_processes)
	           : xasprintf("%" PRIu32, i->processes);
	output_field("processes", text);
	free(text);
	bytes_field("output buffer", i->output_buffer_bytes);
	bytes_field("largest buffer", i->max_output_buffer_bytes);
	bytes_field("largest spool", i->max_spool_bytes);
	number_field("held ended", i->max_ended_processes);
	bytes_field("largest message", i->max_message_bytes);
	joined_field("capabilities", i->capabilities, i->n_capabilities);
	security_fields(i);
}

static void set_text(json_t *o, const char *name, const char *value)
{
	json_object_set_new(o, name, output_json_text(value ? value : ""));
}

static void set_number(json_t *o, const char *name, uint64_t value)
{
	json_object_set_new(o, name, json_integer((json_int_t)value));
}

static json_t *limits_json(const struct telex_info *i)
{
	json_t *o = json_object();

	set_number(o, "max_message_bytes", i->max_message_bytes);
	set_number(o, "max_concurrent_streams", i->max_streams);
	set_number(o, "max_processes", i->max_processes);
	set_number(o, "output_buffer_bytes", i->output_buffer_bytes);
	set_number(o, "max_output_buffer_bytes", i->max_output_buffer_bytes);
	set_number(o, "max_spool_bytes", i->max_spool_bytes);
	set_number(o, "max_ended_processes", i->max_ended_processes);
	return o;
}

static void set_time(json_t *o, const char *name, int64_t ns)
{
	char time[40];

	if (ns != 0)
		set_text(o, name, output_time(time, sizeof(time), ns));
}

static json_t *security_json(const struct telex_info *i)
{
	json_t *o = json_object(), *list = json_array(), *groups = json_array();

	for (size_t c = 0; c < i->n_confinements; c++) {
		json_t *one = json_object();

		set_text(one, "name", i->confinements[c].name);
		json_object_set_new(one, "in_force", json_boolean(i->confinements[c].in_force));
		set_text(one, "note", i->confinements[c].note);
		json_array_append_new(list, one);
	}
	json_object_set_new(o, "confinements", list);
	for (size_t g = 0; g < i->n_groups; g++)
		json_array_append_new(groups, output_json_text(i->groups[g]));
	json_object_set_new(o, "groups", groups);
	set_time(o, "certificate_not_after", i->certificate_not_after_ns);
	set_number(o, "revocations_number", (uint64_t)i->revocations_number);
	set_time(o, "revocations_time", i->revocations_time_ns);
	set_number(o, "revocations_count", i->revocations_count);
	json_object_set_new(o, "revocations_stale", json_boolean(i->revocations_stale));
	set_text(o, "revocations_when_stale", i->revocations_when_stale);
	set_number(o, "audit_dropped", i->audit_dropped);
	return o;
}

static void print_json(const struct telex_info *i)
{
	json_t *o = json_object(), *tls = json_object(), *capabilities = json_array();
	char time[40];

	set_text(o, "version", i->version);
	set_text(o, "agent_identity", i->agent_identity);
	set_text(o, "client_identity", i->client_identity);
	set_text(o, "hostname", i->hostname);
	set_text(o, "system", i->system);
	set_text(o, "kernel", i->kernel);
	set_text(o, "architecture", i->architecture);
	set_number(o, "processors", i->processors);
	set_number(o, "memory_bytes", i->memory_bytes);
	set_text(o, "default_user", i->default_user);
	set_text(o, "start_time", output_time(time, sizeof(time), i->start_ns));
	set_number(o, "workers", i->workers);
	set_number(o, "processes", i->processes);
	json_object_set_new(o, "limits", limits_json(i));
	set_text(tls, "version", i->tls_version);
	set_text(tls, "cipher", i->tls_cipher);
	set_text(tls, "group", i->tls_group);
	json_object_set_new(o, "tls", tls);
	for (size_t n = 0; n < i->n_capabilities; n++)
		json_array_append_new(capabilities, output_json_text(i->capabilities[n]));
	json_object_set_new(o, "capabilities", capabilities);
	json_object_set_new(o, "security", security_json(i));
	output_json(o);
}

static void each(const struct telex_info *info, void *arg)
{
	const struct session *s = arg;
	const bool *json = s->data;

	if (*json)
		print_json(info);
	else
		print_text(info);
}

static int run(struct cli *cli, int argc, char **argv)
{
	struct session s;
	bool go;
	int status = options_none(cli, &cmd_info, argc, argv, &go);

	if (!go)
		return status;
	status = session_open(&s, cli);
	if (status != CLI_OK)
		return status;
	s.data = &cli->json;
	status = session_answer(&s, telex_info(s.client, 0, each, session_done, &s, &s.error));
	session_close(&s);
	return status;
}

const struct cli_verb cmd_info = {
    .name = "info",
    .summary = "the agent and its machine",
    .help = "Examples:\n"
            "  telex info\n"
            "  telex --json info | jq -r .kernel\n"
            "\n"
            "Usage: telex info\n",
    .run = run,
};
