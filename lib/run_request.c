/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/run_request.h"

#include <stdlib.h>
#include <string.h>

#include "lib/error.h"
#include "lib/spec_request.h"
#include "telex/v1/process.pb-c.h"

/* 128 random bits in base 32: 26 letters and digits. */
static int random_id(char out[RUN_ID_SIZE], struct telex_error *error)
{
	static const char digits[] = "abcdefghijklmnopqrstuvwxyz234567";
	uint8_t bits[17] = {0};

	if (request_random(bits, 16, error) < 0)
		return -1;
	for (size_t i = 0; i < 26; i++) {
		unsigned two = (unsigned)bits[i * 5 / 8] << 8 | bits[i * 5 / 8 + 1];

		out[i] = digits[two >> (11 - i * 5 % 8) & 31];
	}
	out[26] = '\0';
	return 0;
}

int run_request_id(char out[RUN_ID_SIZE], const char *wanted, struct telex_error *error)
{
	if (wanted == NULL)
		return random_id(out, error);
	if (request_check_id("process id", wanted, error) < 0)
		return -1;
	memcpy(out, wanted, strlen(wanted) + 1);
	return 0;
}

int run_request_key(uint64_t *out, struct telex_error *error)
{
	if (request_random(out, sizeof(*out), error) < 0)
		return -1;
	*out |= *out == 0;
	return 0;
}

static int pack(
    uint8_t **out, size_t *len, const Telex__V1__RunRequest *request, struct telex_error *error)
{
	*out = malloc(telex__v1__run_request__get_packed_size(request));
	if (*out == NULL)
		return error_no_memory(error);
	*len = telex__v1__run_request__pack(request, *out);
	return 0;
}

int run_request_start(uint8_t **out, size_t *len, const struct telex_command *command,
    const struct run_request *common, struct telex_error *error)
{
	Telex__V1__RunRequest request = TELEX__V1__RUN_REQUEST__INIT;
	Telex__V1__RunStart start = TELEX__V1__RUN_START__INIT;
	Google__Protobuf__Duration heartbeat;
	struct spec_request spec;
	int rc = -1;

	if (spec_request(&spec, command, error) == 0) {
		start.process_id = request_text(common->process_id);
		start.spec = &spec.spec;
		start.attachment_key = common->key;
		start.acknowledge_exit = true;
		if (common->heartbeat_ms > 0)
			start.heartbeat_interval =
			    request_duration(&heartbeat, common->heartbeat_ms);
		request.request_case = TELEX__V1__RUN_REQUEST__REQUEST_START;
		request.start = &start;
		rc = pack(out, len, &request, error);
	}
	spec_request_free(&spec);
	return rc;
}

int run_request_attach(
    uint8_t **out, size_t *len, const struct run_request_attach *a, struct telex_error *error)
{
	Telex__V1__RunRequest request = TELEX__V1__RUN_REQUEST__INIT;
	Telex__V1__RunAttach attach = TELEX__V1__RUN_ATTACH__INIT;
	Telex__V1__Resume resume = TELEX__V1__RESUME__INIT;
	Google__Protobuf__Duration heartbeat;

	attach.process_id = request_text(a->common.process_id);
	attach.stdin = a->stdin_pipe;
	attach.lossy = a->lossy;
	attach.attachment_key = a->common.key;
	attach.acknowledge_exit = true;
	if (a->common.heartbeat_ms > 0)
		attach.heartbeat_interval = request_duration(&heartbeat, a->common.heartbeat_ms);
	resume.stdout_offset = a->stdout_offset;
	resume.stderr_offset = a->stderr_offset;
	if (a->from == TELEX_FROM_OFFSET)
		attach.resume = &resume;
	else
		attach.from = a->from == TELEX_FROM_NEWEST
		                  ? TELEX__V1__ATTACH_FROM__ATTACH_FROM_NEWEST
		                  : TELEX__V1__ATTACH_FROM__ATTACH_FROM_OLDEST;
	request.request_case = TELEX__V1__RUN_REQUEST__REQUEST_ATTACH;
	request.attach = &attach;
	return pack(out, len, &request, error);
}
