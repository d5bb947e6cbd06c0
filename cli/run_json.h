/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `telex --json run`: the run as lines of JSON, one an event, for a sink.
 *
 *     {"event":"started","process_id":"…","pid":812,"created":true}
 *     {"event":"output","stream":"stdout","offset":0,"data":"out\n"}   not UTF-8: "data_base64"
 *     {"event":"eof","stream":"stdout","offset":4}
 *     {"event":"exit","code":3,…}     {"event":"exit","signal":15,"signal_name":"SIGTERM",…}
 *     {"event":"error","kind":"connect","message":"…"}
 *     {"event":"left","process_id":"…"}
 *     {"event":"running","process_id":"…","pid":12}             after "queued":true
 *     {"event":"interrupted","error":{…}}     {"event":"resumed","process_id":"…"}
 *     {"event":"skipped","stream":"stdout","offset":0,"next_offset":4096}
 */
#ifndef TX_CLI_RUN_JSON_H
#define TX_CLI_RUN_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/telex.h"

/* Each returns an object for the caller to free. */
json_t *run_json_started(const struct telex_started *started);
json_t *run_json_output(
    enum telex_stream stream, uint64_t offset, const void *data, size_t len, bool eof);
json_t *run_json_exit(const char *process_id, const struct telex_exit *exit);
json_t *run_json_error(const struct telex_error *error);
json_t *run_json_left(const char *process_id);
json_t *run_json_running(const char *process_id, uint32_t pid);
json_t *run_json_interrupted(const struct telex_error *why);
json_t *run_json_resumed(const char *process_id);
/* Bytes [from, to) are lost. */
json_t *run_json_skipped(enum telex_stream stream, uint64_t from, uint64_t to);

#endif
