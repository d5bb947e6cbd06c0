/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Words for the person at the keyboard. Each is one line and one write(2), so that it is not torn
 * by what the remote program writes to the same terminal. Control characters are escaped always: a
 * file name or an agent's message can neither forge a line nor drive the terminal.
 */
#include "cli/say.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/escape.h"

#define SAY_MAX 2048

static int verbosity_now;
static void (*through)(const void *text, size_t len, void *arg);
static void *through_arg;
static bool terminal_raw;

void say_verbosity(int verbosity)
{
	verbosity_now = verbosity;
}

bool say_details(void)
{
	return verbosity_now > 0;
}

void say_through(void (*write_line)(const void *text, size_t len, void *arg), void *arg)
{
	through = write_line;
	through_arg = arg;
}

void say_raw(bool raw)
{
	terminal_raw = raw && isatty(STDERR_FILENO);
}

static void write_all(const char *text, size_t len)
{
	while (len > 0) {
		ssize_t n = write(STDERR_FILENO, text, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return; /* there is nowhere to say so */
		text += n;
		len -= (size_t)n;
	}
}

/* "\\\\" of escape_text is "\\" again: it drives no terminal, and what the agent has escaped
 * already is not doubled. */
static void single_backslashes(char *text)
{
	char *to = text;

	for (const char *from = text; *from; from++) {
		if (from[0] == '\\' && from[1] == '\\')
			from++;
		*to++ = *from;
	}
	*to = '\0';
}

__attribute__((format(printf, 1, 0))) static void say(const char *fmt, va_list ap)
{
	static const char name[] = "telex: ";
	char raw[SAY_MAX], line[sizeof(name) + SAY_MAX + 3];
	size_t len;

	vsnprintf(raw, sizeof(raw), fmt, ap);
	memcpy(line, name, sizeof(name));
	escape_text(line + sizeof(name) - 1, SAY_MAX, raw, strlen(raw));
	single_backslashes(line);
	len = strlen(line);
	if (terminal_raw)
		line[len++] = '\r';
	line[len++] = '\n';
	fflush(stdout);
	if (through)
		through(line, len, through_arg);
	else
		write_all(line, len);
}

void say_error(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(fmt, ap);
	va_end(ap);
}

void say_note(const char *fmt, ...)
{
	va_list ap;

	if (verbosity_now < 0)
		return;
	va_start(ap, fmt);
	say(fmt, ap);
	va_end(ap);
}

void say_detail(const char *fmt, ...)
{
	va_list ap;

	if (verbosity_now < 1)
		return;
	va_start(ap, fmt);
	say(fmt, ap);
	va_end(ap);
}
