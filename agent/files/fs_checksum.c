/* SPDX-License-Identifier: Apache-2.0 */
/* Checksum. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
#include <xxhash.h>

#include "agent/files/failure.h"
#include "agent/files/methods.h"
#include "agent/files/open_file.h"
#include "agent/files/request.h"
#include "common/digest.h"
#include "common/file_range.h"
#include "telex/v1/file.pb-c.h"

#define GONE (-1)

/* One of the two. */
struct summing {
	struct call *call;
	struct digest *sha256;
	XXH3_state_t *xxh3;
};

static int add(const void *data, size_t len, void *arg)
{
	struct summing *s = arg;

	if (call_gone(s->call))
		return GONE;
	if (s->sha256 != NULL)
		return digest_add(s->sha256, data, len) == 0 ? 0 : ENOMEM;
	return XXH3_128bits_update(s->xxh3, data, len) == XXH_OK ? 0 : EIO;
}

static int begin(struct summing *s, bool xxh3)
{
	if (!xxh3)
		s->sha256 = digest_new();
	else if ((s->xxh3 = XXH3_createState()) != NULL)
		(void)XXH3_128bits_reset(s->xxh3);
	return s->sha256 != NULL || s->xxh3 != NULL ? 0 : ENOMEM;
}

static int finish(struct summing *s, uint8_t out[DIGEST_SIZE], size_t *len)
{
	XXH128_canonical_t canonical;

	*len = s->sha256 != NULL ? DIGEST_SIZE : sizeof(canonical.digest);
	if (s->sha256 != NULL)
		return digest_end(s->sha256, out) == 0 ? 0 : ENOMEM;
	XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(s->xxh3));
	for (size_t i = 0; i < *len; i++)
		out[i] = canonical.digest[i];
	return 0;
}

void fs_checksum(struct call *c, const ProtobufCMessage *request, struct rpc_status *status)
{
	const Telex__V1__ChecksumRequest *r = (const Telex__V1__ChecksumRequest *)request;
	Telex__V1__ChecksumResponse response = TELEX__V1__CHECKSUM_RESPONSE__INIT;
	struct summing s = {.call = c};
	char path[REQUEST_PATH_SIZE];
	uint8_t digest[DIGEST_SIZE];
	struct stat st;
	int fd, error;

	if (!request_path(path, &r->path, status))
		return;
	if (r->algorithm > TELEX__V1__CHECKSUM_ALGORITHM__CHECKSUM_ALGORITHM_XXH3) {
		rpc_status_set(status, RPC_INVALID_ARGUMENT, "BAD_REQUEST",
		    "checksum algorithm %u is not known", (unsigned)r->algorithm);
		return;
	}
	fd = open_file(call_roots(c), ROOTS_READ, path, O_RDONLY, "sum", &st, status);
	if (fd < 0)
		return;
	(void)posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	error = begin(&s, r->algorithm == TELEX__V1__CHECKSUM_ALGORITHM__CHECKSUM_ALGORITHM_XXH3);
	if (error == 0)
		error = file_range_read(fd, r->offset, r->length, add, &s, &response.length);
	if (error == 0)
		error = finish(&s, digest, &response.digest.len);
	close(fd);
	digest_free(s.sha256);
	XXH3_freeState(s.xxh3);
	response.digest.data = digest;
	if (error > 0)
		failure_errno(status, error, "sum", path);
	else if (error == 0)
		(void)call_send(c, &response.base);
}
