/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/error.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/duration.h"

int error_set(struct telex_error *error, enum telex_error_kind kind, const char *fmt, ...)
{
	va_list ap;

	if (error == NULL)
		return -1;
	memset(error, 0, sizeof(*error));
	error->kind = kind;
	va_start(ap, fmt);
	vsnprintf(error->message, sizeof(error->message), fmt, ap);
	va_end(ap);
	return -1;
}

int error_no_memory(struct telex_error *error)
{
	return error_set(error, TELEX_ERROR_NO_MEMORY, "out of memory");
}

static enum telex_error_kind kind_of(int code, enum telex_error_kind fallback)
{
	switch (code) {
	case TX_EINVAL:
		return TELEX_ERROR_USAGE;
	case TX_ENOMEM:
		return TELEX_ERROR_NO_MEMORY;
	case TX_ECERT:
		return TELEX_ERROR_CERTIFICATE;
	default:
		return fallback;
	}
}

int error_from_err(struct telex_error *error, enum telex_error_kind fallback, const struct err *e)
{
	const char *text = e->message[0] != '\0' ? e->message : err_name(e->code);

	error_set(error, kind_of(e->code, fallback), "%s", text);
	if (error != NULL && e->code == TX_ESYS)
		error->sys_errno = e->sys_errno;
	return -1;
}

void error_certificate_hint(struct telex_error *error, const char *hint)
{
	size_t used = strlen(error->message);

	if (error->kind == TELEX_ERROR_CERTIFICATE)
		snprintf(error->message + used, sizeof(error->message) - used, "; %s", hint);
}

void error_given_up(struct telex_error *error, int64_t tried_ns)
{
	size_t used = strlen(error->message);

	if (error->kind == TELEX_ERROR_CONNECT || error->kind == TELEX_ERROR_RESOLVE)
		error->kind = TELEX_ERROR_LOST;
	snprintf(error->message + used, sizeof(error->message) - used,
	    "; the connection was lost, and coming back was tried for %.3g s",
	    (double)tried_ns / (double)NS_PER_S);
}

/* A number in the agent's metadata, or 0. */
static int meta_number(const struct rpc_status *status, const char *key)
{
	const char *text = rpc_status_get(status, key);
	char *end;
	long n;

	if (text == NULL || *text == '\0')
		return 0;
	errno = 0;
	n = strtol(text, &end, 10);
	if (errno != 0 || *end != '\0' || n < 0 || n > INT_MAX)
		return 0;
	return (int)n;
}

int error_from_status(struct telex_error *error, const struct rpc_status *status)
{
	const char *stage;

	if (status->message[0] != '\0')
		error_set(error, TELEX_ERROR_STATUS, "%s", status->message);
	else
		error_set(error, TELEX_ERROR_STATUS, "the agent answered %s and said no more",
		    rpc_code_name(status->code));
	if (error == NULL)
		return -1;
	error->code = status->code;
	snprintf(error->reason, sizeof(error->reason), "%s", status->reason);
	if (rpc_status_get(status, "request_id") != NULL)
		snprintf(error->request_id, sizeof(error->request_id), "%.*s",
		    (int)sizeof(error->request_id) - 1, rpc_status_get(status, "request_id"));
	stage = rpc_status_get(status, "stage");
	if (stage != NULL) {
		snprintf(error->stage, sizeof(error->stage), "%s", stage);
		error->sys_errno = meta_number(status, "errno");
	}
	return -1;
}
