/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log of the long-running programs: one line an event, on stderr.
 *
 * Text:  2026-01-31T12:00:00.123Z info worker[812]: listening on 127.0.0.1:8359
 * JSON:  {"time":"…","level":"info","component":"worker","pid":812,"message":"…"}
 * Control characters and bytes that are not UTF-8 are escaped, so that a peer's words can forge no
 * line. A line is written with one write(2), never split, and cut at LOG_LINE_MAX bytes.
 */
#ifndef TX_COMMON_LOG_H
#define TX_COMMON_LOG_H

#include <stdbool.h>

#define LOG_LINE_MAX 2048

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* `component` must live as long as the program. fd is not closed. Default: INFO, text, "telex",
 * fd 2. */
void log_open(const char *component, enum log_level level, bool json, int fd);

/* "error", "warn", "info", "debug" -> 0 and *level; else TX_EINVAL. */
int log_level_parse(const char *name, enum log_level *level);

bool log_enabled(enum log_level level);

void log_at(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_at(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...)  log_at(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...)  log_at(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_at(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
