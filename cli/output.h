/* SPDX-License-Identifier: Apache-2.0 */
/* Answers on stdout: tables for people, JSON lines for programs. */
#ifndef TX_CLI_OUTPUT_H
#define TX_CLI_OUTPUT_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

struct output_table;

/* headings[n] must live as long as the table. Cells are copied. */
struct output_table *output_table_new(const char *const *headings, size_t n);
/* n cells as the headings; NULL is "-". */
void output_table_row(struct output_table *t, const char *const *cells);
/* Writes it, padded in columns, control characters escaped; then frees it. Without rows nothing is
 * written but the headings. */
void output_table_print(struct output_table *t);
/* Without writing it. NULL is allowed. */
void output_table_free(struct output_table *t);

/* "name: value", the value escaped. */
void output_field(const char *name, const char *value);

/* How jansson writes to stdout: compact, and to a terminal in ASCII, which nothing can drive. */
size_t output_json_flags(void);
/* One compact line; takes the reference. */
void output_json(json_t *object);
/* A JSON string of bytes that need not be UTF-8: what is not becomes U+FFFD. Never NULL. */
json_t *output_json_text(const char *text);
/* RFC 3339 in UTC with milliseconds: "2026-01-31T12:00:00.123Z". size >= 32. Returns out. */
char *output_time(char *out, size_t size, int64_t epoch_ns);
/* How long ago, in its largest unit: "12s", "5m", "3h", "2d". size >= 24. Returns out. */
char *output_age(char *out, size_t size, int64_t since_ns, int64_t now_ns);
/* "3.9 GiB". size >= 24. Returns out. */
char *output_bytes(char *out, size_t size, uint64_t bytes);
/* Standard base64 with padding, NUL-terminated, of the caller to free. */
char *output_base64(const void *data, size_t len);

/* Flushes stdout at a verb's end: `status`, or CLI_TELEX when stdout could not be written (said; a
 * closed pipe: as SIGPIPE would). */
int output_finish(int status);

#endif
