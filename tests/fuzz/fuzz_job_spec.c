/* SPDX-License-Identifier: Apache-2.0 */
/* What a worker wants to be run, as the keeper reads it. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/job_spec.h"
#include "tests/fuzz/fuzz.h"

static void check(const struct job_spec *s, const uint8_t *data, size_t size)
{
	struct job_spec *again = NULL, *opened = NULL;
	const uint8_t *bytes;
	uint8_t *packed;
	size_t len;
	int memfd;

	fuzz_require(s->argc > 0 && s->argv[0][0] != '\0' && s->argv[s->argc] == NULL);
	fuzz_require(s->user == NULL || (s->user[0] != '\0' && s->user[0] != ':'));
	fuzz_require(s->cwd == NULL || s->cwd[0] == '/');
	bytes = job_spec_bytes(s, &len);
	fuzz_require(len == size && memcmp(bytes, data, size) == 0);
	/* There is one way to write it. */
	fuzz_require(job_spec_pack(s, &packed, &len, NULL) == 0);
	fuzz_require(len == size && memcmp(packed, data, size) == 0);
	fuzz_require(job_spec_parse(&again, packed, len, NULL) == 0);
	fuzz_require(job_spec_equal(s, again) && job_spec_memory(s) >= size);
	job_spec_hold(again);
	job_spec_free(again);
	free(packed);
	/* As it travels. */
	fuzz_require(job_spec_seal(again, &memfd, NULL) == 0);
	fuzz_require(job_spec_open(&opened, memfd, NULL) == 0 && job_spec_equal(opened, s));
	job_spec_free(opened);
	job_spec_free(again);
	close(memfd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct job_spec *s = NULL;
	struct err e = {0};
	int rc = job_spec_parse(&s, data, size, &e);

	if (rc != 0)
		fuzz_require((rc == TX_EPROTO || rc == TX_EINVAL) && e.message[0] != '\0');
	else
		check(s, data, size);
	job_spec_free(s);
	return 0;
}
