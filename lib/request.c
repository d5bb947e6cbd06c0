/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/request.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "lib/error.h"

#define MEMORY_MIN     ((uint64_t)1 << 20)
#define CPU_MILLIS_MIN 10

ProtobufCBinaryData request_bytes(const void *data, size_t len)
{
	ProtobufCBinaryData b = {.len = len};

	memcpy(&b.data, &data, sizeof(data));
	return b;
}

char *request_text(const char *s)
{
	return (char *)request_bytes(s, 0).data;
}

Google__Protobuf__Duration *request_duration(Google__Protobuf__Duration *out, int64_t ms)
{
	google__protobuf__duration__init(out);
	if (ms < 0)
		ms = 0;
	out->seconds = ms / 1000;
	out->nanos = (int32_t)(ms % 1000) * 1000000;
	return out;
}

/* ---- checks ---- */

int request_check_id(const char *what, const char *id, struct telex_error *error)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	                              "0123456789._-";
	size_t len;

	if (id == NULL)
		return error_set(error, TELEX_ERROR_USAGE, "no %s was given", what);
	len = strlen(id);
	if (len < 1 || len >= REQUEST_ID_SIZE || strspn(id, allowed) != len || *id == '.' ||
	    *id == '-')
		return error_set(error, TELEX_ERROR_USAGE,
		    "the %s must be 1 to %d of A-Z a-z 0-9 . _ -, not beginning with . or -", what,
		    REQUEST_ID_SIZE - 1);
	return 0;
}

int request_check_signal(const char *what, int signo, struct telex_error *error)
{
	if (signo < 0 || signo > 64)
		return error_set(
		    error, TELEX_ERROR_USAGE, "%s: %d is no signal (1 to 64)", what, signo);
	return 0;
}

int request_check_sending(const struct telex_signal_options *o, struct telex_error *error)
{
	if (request_check_signal("signo", o->signo, error) < 0)
		return -1;
	if (o->target > TELEX_TARGET_TREE)
		return error_set(error, TELEX_ERROR_USAGE, "target is none of its values");
	if (o->has_value && o->target != 0 && o->target != TELEX_TARGET_PROCESS)
		return error_set(error, TELEX_ERROR_USAGE,
		    "a signal with a value goes to the process alone (TELEX_TARGET_PROCESS)");
	if (o->kills && (o->kill_after_ms < 0 || o->kill_after_ms > REQUEST_GRACE_MAX_MS))
		return error_set(
		    error, TELEX_ERROR_USAGE, "kill_after_ms must be between 0 and an hour");
	return 0;
}

int request_check_control(uint64_t memory_bytes, uint32_t cpu_millis, struct telex_error *error)
{
	if (memory_bytes != 0 && memory_bytes < MEMORY_MIN)
		return error_set(error, TELEX_ERROR_USAGE, "memory_bytes must be at least 1 MiB");
	if (cpu_millis != 0 && cpu_millis < CPU_MILLIS_MIN)
		return error_set(error, TELEX_ERROR_USAGE,
		    "cpu_millis must be at least %d: a hundredth of a processor", CPU_MILLIS_MIN);
	return 0;
}

int request_check_nice(int nice, struct telex_error *error)
{
	if (nice < -20 || nice > 19)
		return error_set(error, TELEX_ERROR_USAGE, "nice must be between -20 and 19");
	return 0;
}

/* ---- limits ---- */

int request_limits(struct request_limits *out, const struct telex_limit *limits, size_t n,
    struct telex_error *error)
{
	memset(out, 0, sizeof(*out));
	if (n == 0)
		return 0;
	out->messages = calloc(n, sizeof(*out->messages));
	out->list = calloc(n, sizeof(*out->list));
	if (out->messages == NULL || out->list == NULL)
		return error_no_memory(error);
	for (size_t i = 0; i < n; i++) {
		if (limits[i].name == NULL)
			return error_set(error, TELEX_ERROR_USAGE, "a limit has no name");
		if (limits[i].soft > limits[i].hard)
			return error_set(error, TELEX_ERROR_USAGE,
			    "the limit \"%.40s\" is above its own maximum", limits[i].name);
		telex__v1__resource_limit__init(&out->messages[i]);
		out->messages[i].name = request_text(limits[i].name);
		out->messages[i].soft = limits[i].soft;
		out->messages[i].hard = limits[i].hard;
		out->list[i] = &out->messages[i];
	}
	out->n = n;
	return 0;
}

void request_limits_free(struct request_limits *l)
{
	free(l->messages);
	free(l->list);
}

int request_random(void *out, size_t len, struct telex_error *error)
{
	ssize_t n;

	do
		n = getrandom(out, len, 0);
	while (n < 0 && errno == EINTR);
	if (n == (ssize_t)len)
		return 0;
	error_set(error, TELEX_ERROR_SYSTEM, "no random bits: %s", strerror(errno));
	if (error != NULL)
		error->sys_errno = errno;
	return -1;
}
