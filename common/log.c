/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A line is made whole in a buffer on the stack and written with one write(2): lines of several
 * processes on one fd do not mix. What cannot be written is lost; a log that blocks or fails stops
 * nobody. errno is left as it was.
 */
#include "common/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/duration.h"
#include "common/err.h"
#include "common/escape.h"

static struct {
	const char *component;
	enum log_level level;
	bool json;
	int fd;
} logger = {"telex", LOG_LEVEL_INFO, false, STDERR_FILENO};

static const char *const level_names[] = {
    [LOG_LEVEL_ERROR] = "error",
    [LOG_LEVEL_WARN] = "warn",
    [LOG_LEVEL_INFO] = "info",
    [LOG_LEVEL_DEBUG] = "debug",
};

void log_open(const char *component, enum log_level level, bool json, int fd)
{
	logger.component = component;
	logger.level = level;
	logger.json = json;
	logger.fd = fd;
}

int log_level_parse(const char *name, enum log_level *level)
{
	for (size_t i = 0; i < sizeof(level_names) / sizeof(level_names[0]); i++)
		if (strcmp(name, level_names[i]) == 0) {
			*level = (enum log_level)i;
			return 0;
		}
	return TX_EINVAL;
}

bool log_enabled(enum log_level level)
{
	return level <= logger.level;
}

/* "2026-01-31T12:00:00.123Z" */
static void format_time(char *out, size_t size)
{
	int64_t now = clock_realtime_ns();
	time_t seconds = (time_t)(now / NS_PER_S);
	struct tm tm;
	size_t n;

	gmtime_r(&seconds, &tm);
	n = strftime(out, size, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(out + n, size - n, ".%03dZ", (int)(now % NS_PER_S / NS_PER_MS));
}

/* What stands before the message. Returns its length, less than `size`. */
static size_t format_head(char *out, size_t size, enum log_level level)
{
	const char *fmt = logger.json ? "{\"time\":\"%s\",\"level\":\"%s\",\"component\":\"%s\","
	                                "\"pid\":%d,\"message\":\""
	                              : "%s %s %s[%d]: ";
	char when[40];
	int n;

	format_time(when, sizeof(when));
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	n = snprintf(out, size, fmt, when, level_names[level], logger.component, (int)getpid());
#pragma GCC diagnostic pop
	return (size_t)n < size ? (size_t)n : size - 1;
}

void log_at(enum log_level level, const char *fmt, ...)
{
	const char *tail = logger.json ? "\"}\n" : "\n";
	char message[LOG_LINE_MAX];
	char line[LOG_LINE_MAX + 1];
	const int saved = errno;
	size_t len, room, used;
	va_list ap;
	int n;

	if (!log_enabled(level))
		return;
	va_start(ap, fmt);
	errno = saved; /* for %m */
	n = vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	len = n < 0 ? 0 : strlen(message);
	used = format_head(line, sizeof(line) / 2, level);
	room = sizeof(line) - used - strlen(tail);
	if (logger.json)
		escape_json(line + used, room, message, len);
	else
		escape_text(line + used, room, message, len);
	used += strlen(line + used);
	memcpy(line + used, tail, strlen(tail));
	used += strlen(tail);
	while (write(logger.fd, line, used) < 0 && errno == EINTR)
		continue;
	errno = saved;
}
