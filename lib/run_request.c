/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/run_request.h"

#include <errno.h>
#include <event2/buffer.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/pb_splice.h"
#include "common/rpc.h"
#include "lib/error.h"
#include "lib/stdin_queue.h"
#include "telex/v1/process.pb-c.h"

#define FIELD_STDIN      3 /* of RunRequest */
#define FIELD_STDIN_DATA 2 /* of StdinChunk */

/* ---- the id ---- */

static int check_id(const char *id, struct telex_error *error)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	                              "0123456789._-";
	size_t len = strlen(id);

	if (len < 1 || len >= RUN_ID_SIZE || strspn(id, allowed) != len || *id == '.' || *id == '-')
		return error_set(error, TELEX_ERROR_USAGE,
		    "the process id must be 1 to %d of A-Z a-z 0-9 . _ -, not beginning with . or "
		    "-",
		    RUN_ID_SIZE - 1);
	return 0;
}

/* 128 random bits in base 32: 26 letters and digits. */
static int random_id(char out[RUN_ID_SIZE], struct telex_error *error)
{
	static const char digits[] = "abcdefghijklmnopqrstuvwxyz234567";
	uint8_t bits[17] = {0};
	ssize_t n;

	do
		n = getrandom(bits, 16, 0);
	while (n < 0 && errno == EINTR);
	if (n != 16) {
		error_set(error, TELEX_ERROR_SYSTEM, "no random bits: %s", strerror(errno));
		if (error != NULL)
			error->sys_errno = errno;
		return -1;
	}
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
	if (check_id(wanted, error) < 0)
		return -1;
	memcpy(out, wanted, strlen(wanted) + 1);
	return 0;
}

/* ---- the start ---- */

/* What a ProcessSpec points to. */
struct parts {
	ProtobufCBinaryData *argv;
	Telex__V1__EnvironmentVariable *env, **env_list;
	Telex__V1__ResourceLimit *limits, **limit_list;
	Telex__V1__DisconnectPolicy disconnect;
	Google__Protobuf__Duration wait, grace, run, heartbeat;
};

static void parts_free(struct parts *p)
{
	free(p->argv);
	free(p->env);
	free(p->env_list);
	free(p->limits);
	free(p->limit_list);
}

/* protobuf-c's structs have no const; packing does not write. */
static ProtobufCBinaryData bytes(const char *s, size_t len)
{
	ProtobufCBinaryData b = {.len = len};

	memcpy(&b.data, &s, sizeof(s));
	return b;
}

static char *unconst(const char *s)
{
	return (char *)bytes(s, 0).data;
}

/* A negative time is sent as 0: at once. */
static Google__Protobuf__Duration *duration(Google__Protobuf__Duration *out, int64_t ms)
{
	google__protobuf__duration__init(out);
	if (ms < 0)
		ms = 0;
	out->seconds = ms / 1000;
	out->nanos = (int32_t)(ms % 1000) * 1000000;
	return out;
}

static size_t count(const char *const *list)
{
	size_t n = 0;

	while (list != NULL && list[n] != NULL)
		n++;
	return n;
}

static int set_argv(Telex__V1__ProcessSpec *spec, struct parts *p, const struct telex_command *c,
    struct telex_error *error)
{
	size_t n = count(c->argv);

	if (n == 0)
		return error_set(error, TELEX_ERROR_USAGE, "no command was given");
	p->argv = calloc(n, sizeof(*p->argv));
	if (p->argv == NULL)
		return error_no_memory(error);
	for (size_t i = 0; i < n; i++)
		p->argv[i] = bytes(c->argv[i], strlen(c->argv[i]));
	spec->n_argv = n;
	spec->argv = p->argv;
	return 0;
}

static int set_env(Telex__V1__ProcessSpec *spec, struct parts *p, const struct telex_command *c,
    struct telex_error *error)
{
	size_t n = count(c->env);

	if (n == 0)
		return 0;
	p->env = calloc(n, sizeof(*p->env));
	p->env_list = calloc(n, sizeof(*p->env_list));
	if (p->env == NULL || p->env_list == NULL)
		return error_no_memory(error);
	for (size_t i = 0; i < n; i++) {
		const char *name = c->env[i], *equals = strchr(name, '=');

		if (equals == NULL || equals == name)
			return error_set(error, TELEX_ERROR_USAGE,
			    "\"%.200s\" in the environment is not NAME=VALUE", name);
		telex__v1__environment_variable__init(&p->env[i]);
		p->env[i].name = bytes(name, (size_t)(equals - name));
		p->env[i].value = bytes(equals + 1, strlen(equals + 1));
		p->env_list[i] = &p->env[i];
	}
	spec->n_environment = n;
	spec->environment = p->env_list;
	return 0;
}

static int set_limits(Telex__V1__ProcessSpec *spec, struct parts *p, const struct telex_command *c,
    struct telex_error *error)
{
	if (c->n_limits == 0)
		return 0;
	p->limits = calloc(c->n_limits, sizeof(*p->limits));
	p->limit_list = calloc(c->n_limits, sizeof(*p->limit_list));
	if (p->limits == NULL || p->limit_list == NULL)
		return error_no_memory(error);
	for (size_t i = 0; i < c->n_limits; i++) {
		if (c->limits[i].name == NULL)
			return error_set(error, TELEX_ERROR_USAGE, "a limit has no name");
		telex__v1__resource_limit__init(&p->limits[i]);
		p->limits[i].name = unconst(c->limits[i].name);
		p->limits[i].soft = c->limits[i].soft;
		p->limits[i].hard = c->limits[i].hard;
		p->limit_list[i] = &p->limits[i];
	}
	spec->n_limits = c->n_limits;
	spec->limits = p->limit_list;
	return 0;
}

static void set_policy(Telex__V1__ProcessSpec *spec, struct parts *p, const struct telex_command *c)
{
	if (c->run_timeout_ms > 0)
		spec->run_timeout = duration(&p->run, c->run_timeout_ms);
	spec->stop_signal = (uint32_t)c->stop_signal;
	if (c->stop_grace_ms != 0)
		spec->stop_grace = duration(&p->grace, c->stop_grace_ms);
	if (c->on_disconnect == TELEX_DISCONNECT_DEFAULT && c->disconnect_wait_ms == 0)
		return;
	telex__v1__disconnect_policy__init(&p->disconnect);
	p->disconnect.action = (Telex__V1__DisconnectAction)c->on_disconnect;
	if (c->disconnect_wait_ms != 0)
		p->disconnect.wait = duration(&p->wait, c->disconnect_wait_ms);
	spec->on_disconnect = &p->disconnect;
}

static int set_spec(Telex__V1__ProcessSpec *spec, struct parts *p, const struct telex_command *c,
    struct telex_error *error)
{
	if (c->stop_signal < 0 || c->run_timeout_ms < 0)
		return error_set(
		    error, TELEX_ERROR_USAGE, "stop_signal and run_timeout_ms cannot be negative");
	if (set_argv(spec, p, c, error) < 0 || set_env(spec, p, c, error) < 0 ||
	    set_limits(spec, p, c, error) < 0)
		return -1;
	if (c->directory != NULL)
		spec->working_directory = bytes(c->directory, strlen(c->directory));
	if (c->user != NULL)
		spec->user = unconst(c->user);
	spec->stdin = c->stdin_pipe ? TELEX__V1__STDIN_MODE__STDIN_MODE_PIPE
	                            : TELEX__V1__STDIN_MODE__STDIN_MODE_NULL;
	set_policy(spec, p, c);
	return 0;
}

int run_request_start(uint8_t **out, size_t *len, const struct telex_command *command,
    const char *process_id, int64_t heartbeat_ms, struct telex_error *error)
{
	Telex__V1__RunRequest request = TELEX__V1__RUN_REQUEST__INIT;
	Telex__V1__RunStart start = TELEX__V1__RUN_START__INIT;
	Telex__V1__ProcessSpec spec = TELEX__V1__PROCESS_SPEC__INIT;
	struct parts p = {0};
	uint8_t *packed;
	int rc = -1;

	if (set_spec(&spec, &p, command, error) < 0)
		goto out;
	start.process_id = unconst(process_id);
	start.spec = &spec;
	if (heartbeat_ms > 0)
		start.heartbeat_interval = duration(&p.heartbeat, heartbeat_ms);
	request.request_case = TELEX__V1__RUN_REQUEST__REQUEST_START;
	request.start = &start;
	packed = malloc(telex__v1__run_request__get_packed_size(&request));
	if (packed == NULL) {
		error_no_memory(error);
		goto out;
	}
	*len = telex__v1__run_request__pack(&request, packed);
	*out = packed;
	rc = 0;
out:
	parts_free(&p);
	return rc;
}

/* ---- on the way ---- */

int run_request_signal(struct rpc_call *rpc, int signo, enum telex_target target)
{
	Telex__V1__RunRequest request = TELEX__V1__RUN_REQUEST__INIT;
	Telex__V1__RunSignal sig = TELEX__V1__RUN_SIGNAL__INIT;

	sig.signal = (uint32_t)signo;
	sig.target = (Telex__V1__SignalTarget)target;
	request.request_case = TELEX__V1__RUN_REQUEST__REQUEST_SIGNAL;
	request.signal = &sig;
	return rpc_send(rpc, &request.base);
}

int run_request_ack(struct rpc_call *rpc, enum telex_stream stream, uint64_t offset)
{
	Telex__V1__RunRequest request = TELEX__V1__RUN_REQUEST__INIT;
	Telex__V1__OutputAck ack = TELEX__V1__OUTPUT_ACK__INIT;

	ack.stream = (Telex__V1__OutputStream)stream;
	ack.offset = offset;
	request.request_case = TELEX__V1__RUN_REQUEST__REQUEST_ACK;
	request.ack = &ack;
	return rpc_send(rpc, &request.base);
}

int run_request_stdin(
    struct rpc_call *rpc, struct stdin_queue *q, size_t max, bool eof, bool *eof_sent)
{
	Telex__V1__StdinChunk chunk = TELEX__V1__STDIN_CHUNK__INIT;
	struct evbuffer *message = evbuffer_new();
	uint8_t head[PB_SPLICE_HEAD_MAX];
	int n, rc = TX_ENOMEM;

	if (message == NULL)
		return TX_ENOMEM;
	chunk.offset = stdin_queue_sent(q);
	n = stdin_queue_take(q, max, message);
	if (n < 0)
		goto out;
	chunk.eof = eof && stdin_queue_unsent(q) == 0;
	rc = pb_splice_head(head, FIELD_STDIN, &chunk.base, FIELD_STDIN_DATA, (size_t)n);
	if (rc < 0)
		goto out;
	if (evbuffer_prepend(message, head, (size_t)rc) < 0) {
		rc = TX_ENOMEM;
		goto out;
	}
	rc = rpc_send_encoded(rpc, message);
	if (rc == 0)
		*eof_sent = chunk.eof;
out:
	evbuffer_free(message);
	return rc;
}
