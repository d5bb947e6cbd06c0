/* SPDX-License-Identifier: Apache-2.0 */
/* The file of revocation lists, and one more list for it: a digit that says whose, its number, a
 * line's end, and the file. */
#include <stdlib.h>
#include <string.h>

#include "common/revocation_file.h"
#include "tests/fuzz/fuzz.h"

#define ROUNDS_MAX 4096

static size_t count(const char *text, size_t len)
{
	struct revocation_record r;
	size_t at = 0, n = 0, before = 0;

	while (revocation_next(text, len, &at, &r)) {
		fuzz_require(at > before && at <= len && n++ < ROUNDS_MAX);
		fuzz_require(r.pem >= text && r.len <= len && r.pem + r.len <= text + len);
		fuzz_require((r.number >= 0) == (r.issuer[0] != '\0'));
		fuzz_require(r.issuer[0] == '\0' || revocation_issuer_valid(r.issuer));
		before = at;
	}
	fuzz_require(at == len);
	return n;
}

static bool has(const char *text, size_t len, const struct revocation_record *wanted)
{
	struct revocation_record r;
	size_t at = 0;

	while (revocation_next(text, len, &at, &r))
		if (strcmp(r.issuer, wanted->issuer) == 0 && r.number == wanted->number)
			return r.len == wanted->len;
	return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char pem[] = "-----BEGIN X509 CRL-----\n";
	struct fuzz_input in = {data, size};
	struct revocation_record r = {.pem = pem, .len = sizeof(pem) - 1};
	const char *text;
	char *merged = NULL, *number;
	size_t len, merged_len, n;
	int rc;

	memset(r.issuer, "0123456789abcdef"[fuzz_byte(&in) & 15], sizeof(r.issuer) - 1);
	number = fuzz_text(&in, '\n');
	r.number = (int64_t)(strtoull(number, NULL, 10) & INT64_MAX);
	free(number);
	text = (const char *)fuzz_bytes(&in, in.left, &len);
	n = count(text, len);
	rc = revocation_merge(&merged, &merged_len, text, len, &r, NULL);
	fuzz_require(
	    rc == 0 || rc == TX_ESTATE || (rc == TX_ELIMIT && n >= REVOCATION_ISSUERS_MAX));
	if (rc == 0) {
		fuzz_require(count(merged, merged_len) <= n + 1);
		fuzz_require(has(merged, merged_len, &r));
	}
	free(merged);
	return 0;
}
