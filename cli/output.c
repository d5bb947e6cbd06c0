/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers on stdout. Tables and fields are escaped wherever they go, so that a row is a line and a
 * terminal is not driven by a remote string; who wants the exact bytes asks for --json.
 */
#include "cli/output.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/say.h"
#include "common/duration.h"
#include "common/escape.h"
#include "common/mem.h"
#include "common/signals.h"

#define LAST_MIN 20 /* columns for a table's last cell, however narrow the terminal is */

struct output_table {
	const char *const *headings;
	size_t columns, rows;
	char **cells; /* rows x columns */
};

static char *escaped(const char *text)
{
	size_t len = strlen(text), need = escape_text(NULL, 0, text, len) + 1;
	char *out = xmalloc(need);

	escape_text(out, need, text, len);
	return out;
}

/* Characters, not bytes; every character counts one. */
static size_t width(const char *text)
{
	size_t n = 0;

	for (; *text; text++)
		n += ((unsigned char)*text & 0xc0) != 0x80;
	return n;
}

struct output_table *output_table_new(const char *const *headings, size_t n)
{
	struct output_table *t = xcalloc(1, sizeof(*t));

	t->headings = headings;
	t->columns = n;
	return t;
}

void output_table_row(struct output_table *t, const char *const *cells)
{
	char **row;

	t->cells = xreallocarray(t->cells, (t->rows + 1) * t->columns, sizeof(*t->cells));
	row = t->cells + t->rows * t->columns;
	for (size_t i = 0; i < t->columns; i++)
		row[i] = cells[i] && cells[i][0] ? escaped(cells[i]) : xstrdup("-");
	t->rows++;
}

/* How wide the last column may be: what is left of the terminal's line; elsewhere there is no end.
 */
static size_t last_width(const size_t *widths, size_t n)
{
	struct winsize size;
	size_t used = 0;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_col == 0)
		return SIZE_MAX;
	for (size_t i = 0; i + 1 < n; i++)
		used += widths[i] + 2;
	return used + LAST_MIN < size.ws_col ? size.ws_col - used : LAST_MIN;
}

static void print_last(const char *text, size_t max)
{
	const char *end = text;

	if (width(text) <= max) {
		fputs(text, stdout);
		return;
	}
	for (size_t w = 0; *end; end++)
		if (((unsigned char)*end & 0xc0) != 0x80 && ++w > max - 3)
			break;
	printf("%.*s...", (int)(end - text), text);
}

static void print_row(const char *const *cells, const size_t *widths, size_t n, size_t last)
{
	for (size_t i = 0; i + 1 < n; i++) {
		fputs(cells[i], stdout);
		for (size_t w = width(cells[i]); w < widths[i] + 2; w++)
			putchar(' ');
	}
	print_last(cells[n - 1], last);
	putchar('\n');
}

void output_table_print(struct output_table *t)
{
	size_t *widths = xcalloc(t->columns, sizeof(*widths)), last;

	for (size_t i = 0; i < t->columns; i++)
		widths[i] = width(t->headings[i]);
	for (size_t i = 0; i < t->rows * t->columns; i++) {
		size_t w = width(t->cells[i]);

		if (w > widths[i % t->columns])
			widths[i % t->columns] = w;
	}
	last = last_width(widths, t->columns);
	print_row(t->headings, widths, t->columns, last);
	for (size_t i = 0; i < t->rows; i++)
		print_row(
		    (const char *const *)(t->cells + i * t->columns), widths, t->columns, last);
	free(widths);
	output_table_free(t);
}

void output_table_free(struct output_table *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->rows * t->columns; i++)
		free(t->cells[i]);
	free(t->cells);
	free(t);
}

void output_field(const char *name, const char *value)
{
	char *text = escaped(value && value[0] ? value : "-");

	printf("%-18s %s\n", name, text);
	free(text);
}

/* JSON's own escapes leave the C1 controls and Unicode's direction marks as they are. */
size_t output_json_flags(void)
{
	return JSON_COMPACT | JSON_PRESERVE_ORDER | (isatty(STDOUT_FILENO) ? JSON_ENSURE_ASCII : 0);
}

void output_json(json_t *object)
{
	json_dumpf(object, stdout, output_json_flags());
	putchar('\n');
	json_decref(object);
}

json_t *output_json_text(const char *text)
{
	size_t len = strlen(text), need;
	json_t *json = json_stringn(text, len), *parsed;
	char *quoted;

	if (json)
		return json;
	/* Not UTF-8: through JSON's own text, which replaces what is not. */
	need = escape_json(NULL, 0, text, len) + 3;
	quoted = xmalloc(need);
	quoted[0] = '"';
	escape_json(quoted + 1, need - 2, text, len);
	strcat(quoted, "\"");
	parsed = json_loads(quoted, JSON_DECODE_ANY, NULL);
	free(quoted);
	return parsed ? parsed : json_string("");
}

char *output_time(char *out, size_t size, int64_t epoch_ns)
{
	time_t seconds = (time_t)(epoch_ns / NS_PER_S);
	char day[24];
	struct tm tm;

	if (epoch_ns < 0 || !gmtime_r(&seconds, &tm) ||
	    strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm) == 0)
		snprintf(out, size, "-");
	else
		snprintf(out, size, "%s.%03dZ", day, (int)(epoch_ns % NS_PER_S / NS_PER_MS));
	return out;
}

char *output_age(char *out, size_t size, int64_t since_ns, int64_t now_ns)
{
	int64_t s = now_ns > since_ns ? (now_ns - since_ns) / NS_PER_S : 0;

	if (s < 60)
		snprintf(out, size, "%llds", (long long)s);
	else if (s < 3600)
		snprintf(out, size, "%lldm", (long long)(s / 60));
	else if (s < 48 * 3600)
		snprintf(out, size, "%lldh", (long long)(s / 3600));
	else
		snprintf(out, size, "%lldd", (long long)(s / 86400));
	return out;
}

char *output_bytes(char *out, size_t size, uint64_t bytes)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	double value = (double)bytes;
	size_t unit = 0;

	while (value >= 1024 && unit + 1 < sizeof(units) / sizeof(units[0])) {
		value /= 1024;
		unit++;
	}
	snprintf(out, size, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
	return out;
}

char *output_base64(const void *data, size_t len)
{
	static const char digits[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const unsigned char *in = data;
	char *out = xmalloc((len + 2) / 3 * 4 + 1), *p = out;

	for (size_t i = 0; i < len; i += 3) {
		unsigned v = (unsigned)in[i] << 16;

		if (i + 1 < len)
			v |= (unsigned)in[i + 1] << 8;
		if (i + 2 < len)
			v |= in[i + 2];
		*p++ = digits[v >> 18 & 63];
		*p++ = digits[v >> 12 & 63];
		*p++ = i + 1 < len ? digits[v >> 6 & 63] : '=';
		*p++ = i + 2 < len ? digits[v & 63] : '=';
	}
	*p = '\0';
	return out;
}

int output_finish(int status)
{
	int failed = ferror(stdout);

	errno = 0;
	if (fflush(stdout) == 0 && !failed)
		return status;
	if (errno == EPIPE) {
		signals_default(SIGPIPE);
		raise(SIGPIPE);
	}
	say_error("cannot write the answer to standard output: %s",
	    errno ? strerror(errno) : "write error");
	return CLI_TELEX;
}
