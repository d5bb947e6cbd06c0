/* SPDX-License-Identifier: Apache-2.0 */
/* The keeper's table as a worker reads it: how many records it says, and the table. */
#include <string.h>
#include <unistd.h>

#include "common/job_record.h"
#include "common/memfile.h"
#include "tests/fuzz/fuzz.h"

static void each(const struct job_record *r, void *arg)
{
	size_t *total = arg;

	*total += strlen(r->id) + strlen(r->owner) + strlen(r->user) + strlen(r->group);
	fuzz_require(memchr(r->exit.by, '\0', sizeof(r->exit.by)) != NULL);
	fuzz_require(memchr(r->exit.text, '\0', sizeof(r->exit.text)) != NULL);
	for (size_t i = 0; i < r->argc; i++)
		*total += strlen(r->argv[i]);
}

/* As it travels. */
static void check_travel(const uint8_t *data, size_t len, uint32_t count)
{
	size_t total = 0;
	int memfd;

	fuzz_require(memfile_freeze("fuzz", data, len, &memfd, NULL) == 0);
	fuzz_require(job_records_read(memfd, len, count, each, &total, NULL) == 0);
	fuzz_require(job_records_read(memfd, len + 1, count, each, &total, NULL) == TX_EPROTO);
	close(memfd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	uint32_t count = (uint32_t)fuzz_number(&in, 2);
	struct err e = {0};
	size_t total = 0;
	int rc = job_records_parse(in.at, in.left, count, each, &total, &e);

	fuzz_require(rc == 0 || (rc == TX_EPROTO && e.message[0] != '\0'));
	fuzz_require(total <= size);
	if (rc == 0)
		check_travel(in.at, in.left, count);
	return 0;
}
