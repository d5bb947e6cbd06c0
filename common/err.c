/* SPDX-License-Identifier: Apache-2.0 */
#include "common/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Appends ": " and text, as far as there is room. */
static void append(struct err *e, const char *text)
{
	size_t used = strlen(e->message);
	size_t room = sizeof(e->message) - 1 - used;
	size_t len = strlen(text);

	if (room < 2)
		return;
	memcpy(e->message + used, ": ", 2);
	if (len > room - 2)
		len = room - 2;
	memcpy(e->message + used + 2, text, len);
	e->message[used + 2 + len] = '\0';
}

int err_set(struct err *e, int code, const char *fmt, ...)
{
	va_list ap;

	if (e == NULL)
		return code;
	e->code = code;
	e->sys_errno = 0;
	va_start(ap, fmt);
	vsnprintf(e->message, sizeof(e->message), fmt, ap);
	va_end(ap);
	return code;
}

int err_sys(struct err *e, int sys_errno, const char *fmt, ...)
{
	va_list ap;

	if (e == NULL)
		return TX_ESYS;
	e->code = TX_ESYS;
	e->sys_errno = sys_errno;
	va_start(ap, fmt);
	vsnprintf(e->message, sizeof(e->message), fmt, ap);
	va_end(ap);
	append(e, strerror(sys_errno));
	return TX_ESYS;
}

int err_wrap(struct err *e, const char *fmt, ...)
{
	char context[sizeof(e->message)];
	char cause[sizeof(e->message)];
	va_list ap;
	size_t used;

	if (e == NULL)
		return TX_OK;
	memcpy(cause, e->message, sizeof(cause));
	va_start(ap, fmt);
	vsnprintf(context, sizeof(context), fmt, ap);
	va_end(ap);
	used = strlen(context);
	/* Keep at least half for the cause. */
	if (used > sizeof(context) / 2)
		used = sizeof(context) / 2;
	memcpy(e->message, context, used);
	e->message[used] = '\0';
	append(e, cause);
	return e->code;
}

void err_clear(struct err *e)
{
	if (e == NULL)
		return;
	e->code = TX_OK;
	e->sys_errno = 0;
	e->message[0] = '\0';
}

const char *err_name(int code)
{
	static const char *const names[] = {
	    "no error",
	    "invalid argument",
	    "out of memory",
	    "system call failed",
	    "not now",
	    "connection closed",
	    "protocol broken",
	    "too big",
	    "no such thing",
	    "exists already",
	    "not allowed",
	    "timed out",
	    "over the limit",
	    "not supported here",
	    "not in this state",
	    "certificate not usable",
	    "TLS failed",
	};

	if (code > 0 || (size_t)-code >= sizeof(names) / sizeof(names[0]))
		return "unknown error";
	return names[-code];
}
