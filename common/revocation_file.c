/* SPDX-License-Identifier: Apache-2.0 */
#include "common/revocation_file.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEAD      "# telex list "
#define HEAD_SIZE (sizeof(HEAD) - 1)
#define LINE_MAX_ 160

bool revocation_issuer_valid(const char issuer[REVOCATION_ISSUER_SIZE])
{
	return memchr(issuer, '\0', REVOCATION_ISSUER_SIZE) ==
	           issuer + REVOCATION_ISSUER_SIZE - 1 &&
	       strspn(issuer, "0123456789abcdef") == REVOCATION_ISSUER_SIZE - 1;
}

/* The line's length with its newline; 0: it is no such line, or says more than there is. */
static size_t read_head(const char *text, size_t len, struct revocation_record *out)
{
	char line[LINE_MAX_], issuer[REVOCATION_ISSUER_SIZE];
	const char *end = memchr(text, '\n', len < sizeof(line) ? len : sizeof(line) - 1);
	size_t size = end == NULL ? 0 : (size_t)(end - text) + 1, bytes;
	int64_t number;
	int used = 0;

	if (size == 0 || size < HEAD_SIZE || memcmp(text, HEAD, HEAD_SIZE) != 0)
		return 0;
	memcpy(line, text, size);
	line[size] = '\0';
	if (sscanf(line + HEAD_SIZE, "%64s %" SCNd64 " %zu%n", issuer, &number, &bytes, &used) !=
	        3 ||
	    HEAD_SIZE + (size_t)used + 1 != size || !revocation_issuer_valid(issuer) ||
	    number < 0 || bytes > len - size)
		return 0;
	memcpy(out->issuer, issuer, sizeof(out->issuer));
	out->number = number;
	out->pem = text + size;
	out->len = bytes;
	return size;
}

bool revocation_next(const char *text, size_t len, size_t *at, struct revocation_record *out)
{
	size_t head;

	if (*at >= len)
		return false;
	head = read_head(text + *at, len - *at, out);
	if (head == 0)
		*out =
		    (struct revocation_record){.number = -1, .pem = text + *at, .len = len - *at};
	*at += head + out->len;
	return true;
}

bool revocation_is_bare(const struct revocation_record *r)
{
	static const char begin[] = "-----BEGIN ";
	const char *first = memmem(r->pem, r->len, begin, sizeof(begin) - 1);
	const char *rest = first == NULL ? NULL : first + 1;

	return rest == NULL ||
	       memmem(rest, r->len - (size_t)(rest - r->pem), begin, sizeof(begin) - 1) == NULL;
}

static char *put_record(char *at, const struct revocation_record *r)
{
	if (r->issuer[0] != '\0')
		at += sprintf(at, HEAD "%s %" PRId64 " %zu\n", r->issuer, r->number, r->len);
	memcpy(at, r->pem, r->len);
	return at + r->len;
}

/* How many bytes of the file stay beside r: what r replaces is no part of the new one. */
static int measure(
    size_t *stays, const char *text, size_t len, const struct revocation_record *r, struct err *e)
{
	struct revocation_record other;
	size_t at = 0, n = 1;

	*stays = 0;
	for (size_t from = 0; revocation_next(text, len, &at, &other); from = at) {
		if (strcmp(other.issuer, r->issuer) != 0) {
			n++;
			*stays += at - from;
		} else if (other.number > r->number) {
			return err_set(e, TX_ESTATE,
			    "number %" PRId64 " of that authority's revocation list is kept, and "
			    "this is number %" PRId64,
			    other.number, r->number);
		} else if (revocation_is_bare(r) && !revocation_is_bare(&other)) {
			return err_set(e, TX_ESTATE,
			    "that authority's revocation list is kept with who signed it, and this "
			    "one is without");
		}
	}
	if (n > REVOCATION_ISSUERS_MAX || *stays + r->len + LINE_MAX_ > REVOCATION_FILE_MAX)
		return err_set(
		    e, TX_ELIMIT, "there are too many revocation lists, or too long ones");
	return 0;
}

int revocation_merge(char **out, size_t *out_len, const char *text, size_t len,
    const struct revocation_record *r, struct err *e)
{
	struct revocation_record other;
	size_t at = 0, stays;
	char *merged, *to;
	int rc = measure(&stays, text, len, r, e);

	if (rc != 0)
		return rc;
	merged = malloc(stays + r->len + LINE_MAX_);
	if (merged == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	to = put_record(merged, r);
	/* What nobody has dated comes last: it has no length. */
	while (revocation_next(text, len, &at, &other))
		if (strcmp(other.issuer, r->issuer) != 0)
			to = put_record(to, &other);
	*out = merged;
	*out_len = (size_t)(to - merged);
	return 0;
}
