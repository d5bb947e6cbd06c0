/* SPDX-License-Identifier: Apache-2.0 */
/* The events of a run as JSON. Bytes that are UTF-8 are a string, others base64: nothing is
 * replaced. */
#include "cli/run_json.h"

#include <stdlib.h>

#include "cli/end.h"
#include "cli/output.h"

static json_t *event(const char *name)
{
	json_t *o = json_object();

	json_object_set_new(o, "event", json_string(name));
	return o;
}

json_t *run_json_started(const struct telex_started *started)
{
	json_t *o = event("started");

	json_object_set_new(o, "process_id", output_json_text(started->process_id));
	json_object_set_new(o, "pid", json_integer(started->pid));
	json_object_set_new(o, "created", json_boolean(started->created));
	json_object_set_new(o, "queued", json_boolean(started->queued));
	json_object_set_new(o, "terminal", json_boolean(started->terminal));
	return o;
}

json_t *run_json_running(const char *process_id, uint32_t pid)
{
	json_t *o = event("running");

	json_object_set_new(o, "process_id", output_json_text(process_id));
	json_object_set_new(o, "pid", json_integer(pid));
	return o;
}

json_t *run_json_interrupted(const struct telex_error *why)
{
	json_t *o = event("interrupted");

	json_object_set_new(o, "error", end_error_json(why));
	return o;
}

json_t *run_json_resumed(const char *process_id)
{
	json_t *o = event("resumed");

	json_object_set_new(o, "process_id", output_json_text(process_id));
	return o;
}

json_t *run_json_skipped(enum telex_stream stream, uint64_t from, uint64_t to)
{
	json_t *o = event("skipped");

	json_object_set_new(o, "stream", json_string(stream == TELEX_STDOUT ? "stdout" : "stderr"));
	json_object_set_new(o, "offset", json_integer((json_int_t)from));
	json_object_set_new(o, "next_offset", json_integer((json_int_t)to));
	return o;
}

json_t *run_json_output(
    enum telex_stream stream, uint64_t offset, const void *data, size_t len, bool eof)
{
	json_t *o = event(eof ? "eof" : "output"), *text;
	char *base64;

	json_object_set_new(o, "stream", json_string(stream == TELEX_STDOUT ? "stdout" : "stderr"));
	json_object_set_new(o, "offset", json_integer((json_int_t)offset));
	if (eof)
		return o;
	text = json_stringn(data, len);
	if (text) {
		json_object_set_new(o, "data", text);
		return o;
	}
	base64 = output_base64(data, len);
	json_object_set_new(o, "data_base64", json_string(base64));
	free(base64);
	return o;
}

json_t *run_json_exit(const char *process_id, const struct telex_exit *exit)
{
	json_t *o = event("exit"), *end = end_json(exit);

	json_object_set_new(o, "process_id", output_json_text(process_id));
	json_object_update(o, end);
	json_decref(end);
	return o;
}

json_t *run_json_error(const struct telex_error *error)
{
	json_t *o = event("error"), *end = end_error_json(error);

	json_object_update(o, end);
	json_decref(end);
	return o;
}

json_t *run_json_left(const char *process_id)
{
	json_t *o = event("left");

	json_object_set_new(o, "process_id", output_json_text(process_id));
	return o;
}
