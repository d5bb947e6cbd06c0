/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Statuses, their names, the table from errno, and their packed form.
 *
 * Texts are kept as valid UTF-8: they end up in protobuf strings, which other languages refuse when
 * they are not. Bytes that are none, and a character cut at the end, become '?' or are dropped.
 */
#include "common/rpc_status.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "google/rpc/error_details.pb-c.h"
#include "google/rpc/status.pb-c.h"

#define ERROR_INFO_TYPE "type.googleapis.com/google.rpc.ErrorInfo"
/* Reason and domain, and of each of the metadata key and value, with their tags and lengths. */
#define ERROR_INFO_MAX (128 + 16 + RPC_STATUS_META_MAX * (32 + 256 + 16))

/* The length of the UTF-8 sequence that lead byte `c` begins; 0: it begins none. */
static size_t sequence_length(unsigned char c)
{
	if (c < 0x80)
		return 1;
	if (c >= 0xc2 && c <= 0xdf)
		return 2;
	if (c >= 0xe0 && c <= 0xef)
		return 3;
	if (c >= 0xf0 && c <= 0xf4)
		return 4;
	return 0;
}

/* Whether the `n` bytes at p, of that length, are one well-formed sequence (RFC 3629). */
static bool sequence_valid(const unsigned char *p, size_t n)
{
	for (size_t i = 1; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return false;
	switch (p[0]) {
	case 0xe0:
		return p[1] >= 0xa0;
	case 0xed:
		return p[1] < 0xa0;
	case 0xf0:
		return p[1] >= 0x90;
	case 0xf4:
		return p[1] < 0x90;
	default:
		return true;
	}
}

static void make_utf8(char *text)
{
	unsigned char *p = (unsigned char *)text;
	size_t left = strlen(text);

	while (left > 0) {
		size_t n = sequence_length(*p);

		if (n > left) {
			*p = '\0';
			return;
		}
		if (n == 0 || !sequence_valid(p, n)) {
			*p = '?';
			n = 1;
		}
		p += n;
		left -= n;
	}
}

static void put_text(char *out, size_t size, const char *text)
{
	snprintf(out, size, "%s", text);
	make_utf8(out);
}

int rpc_status_set(struct rpc_status *s, int code, const char *reason, const char *fmt, ...)
{
	va_list ap;

	s->code = code;
	s->n_meta = 0;
	put_text(s->reason, sizeof(s->reason), reason != NULL ? reason : "");
	put_text(s->domain, sizeof(s->domain), "telex");
	va_start(ap, fmt);
	if (vsnprintf(s->message, sizeof(s->message), fmt, ap) < 0)
		s->message[0] = '\0';
	va_end(ap);
	make_utf8(s->message);
	return code;
}

void rpc_status_add(struct rpc_status *s, const char *fmt, ...)
{
	const size_t used = strlen(s->message);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(s->message + used, sizeof(s->message) - used, fmt, ap);
	va_end(ap);
}

void rpc_status_meta(struct rpc_status *s, const char *key, const char *fmt, ...)
{
	va_list ap;
	size_t i = s->n_meta;

	if (i >= RPC_STATUS_META_MAX)
		return;
	put_text(s->meta[i].key, sizeof(s->meta[i].key), key);
	va_start(ap, fmt);
	if (vsnprintf(s->meta[i].value, sizeof(s->meta[i].value), fmt, ap) < 0)
		s->meta[i].value[0] = '\0';
	va_end(ap);
	make_utf8(s->meta[i].value);
	s->n_meta++;
}

const char *rpc_status_get(const struct rpc_status *s, const char *key)
{
	for (size_t i = 0; i < s->n_meta; i++)
		if (strcmp(s->meta[i].key, key) == 0)
			return s->meta[i].value;
	return NULL;
}

const char *rpc_code_name(int code)
{
	static const char *const names[] = {
	    [RPC_OK] = "OK",
	    [RPC_CANCELLED] = "CANCELLED",
	    [RPC_UNKNOWN] = "UNKNOWN",
	    [RPC_INVALID_ARGUMENT] = "INVALID_ARGUMENT",
	    [RPC_DEADLINE_EXCEEDED] = "DEADLINE_EXCEEDED",
	    [RPC_NOT_FOUND] = "NOT_FOUND",
	    [RPC_ALREADY_EXISTS] = "ALREADY_EXISTS",
	    [RPC_PERMISSION_DENIED] = "PERMISSION_DENIED",
	    [RPC_RESOURCE_EXHAUSTED] = "RESOURCE_EXHAUSTED",
	    [RPC_FAILED_PRECONDITION] = "FAILED_PRECONDITION",
	    [RPC_ABORTED] = "ABORTED",
	    [RPC_OUT_OF_RANGE] = "OUT_OF_RANGE",
	    [RPC_UNIMPLEMENTED] = "UNIMPLEMENTED",
	    [RPC_INTERNAL] = "INTERNAL",
	    [RPC_UNAVAILABLE] = "UNAVAILABLE",
	    [RPC_DATA_LOSS] = "DATA_LOSS",
	    [RPC_UNAUTHENTICATED] = "UNAUTHENTICATED",
	};

	if (code < 0 || (size_t)code >= sizeof(names) / sizeof(names[0]))
		return "UNKNOWN";
	return names[code];
}

static const struct {
	int sys_errno, code;
} errno_codes[] = {
    {0, RPC_OK},
    {ENOENT, RPC_NOT_FOUND},
    {ESRCH, RPC_NOT_FOUND},
    {ENODEV, RPC_NOT_FOUND},
    {ENXIO, RPC_NOT_FOUND},
    {ENODATA, RPC_NOT_FOUND},
    {EEXIST, RPC_ALREADY_EXISTS},
    {EPERM, RPC_PERMISSION_DENIED},
    {EACCES, RPC_PERMISSION_DENIED},
    {EROFS, RPC_PERMISSION_DENIED},
    {EINVAL, RPC_INVALID_ARGUMENT},
    {E2BIG, RPC_INVALID_ARGUMENT},
    {ENAMETOOLONG, RPC_INVALID_ARGUMENT},
    {EDOM, RPC_INVALID_ARGUMENT},
    {EILSEQ, RPC_INVALID_ARGUMENT},
    {EBADF, RPC_INVALID_ARGUMENT},
    {ERANGE, RPC_OUT_OF_RANGE},
    {EOVERFLOW, RPC_OUT_OF_RANGE},
    {EFBIG, RPC_OUT_OF_RANGE},
    {ENOSPC, RPC_RESOURCE_EXHAUSTED},
    {EDQUOT, RPC_RESOURCE_EXHAUSTED},
    {ENOMEM, RPC_RESOURCE_EXHAUSTED},
    {EMFILE, RPC_RESOURCE_EXHAUSTED},
    {ENFILE, RPC_RESOURCE_EXHAUSTED},
    {EMLINK, RPC_RESOURCE_EXHAUSTED},
    {EAGAIN, RPC_RESOURCE_EXHAUSTED},
    {ENOBUFS, RPC_RESOURCE_EXHAUSTED},
    {EUSERS, RPC_RESOURCE_EXHAUSTED},
    {ENOTDIR, RPC_FAILED_PRECONDITION},
    {EISDIR, RPC_FAILED_PRECONDITION},
    {ENOTEMPTY, RPC_FAILED_PRECONDITION},
    {ENOTBLK, RPC_FAILED_PRECONDITION},
    {ENOEXEC, RPC_FAILED_PRECONDITION},
    {ELOOP, RPC_FAILED_PRECONDITION},
    {EXDEV, RPC_FAILED_PRECONDITION},
    {EPIPE, RPC_FAILED_PRECONDITION},
    {ESPIPE, RPC_FAILED_PRECONDITION},
    {EBUSY, RPC_FAILED_PRECONDITION},
    {ETXTBSY, RPC_FAILED_PRECONDITION},
    {ECHILD, RPC_FAILED_PRECONDITION},
    {EADDRINUSE, RPC_FAILED_PRECONDITION},
    {ESTALE, RPC_ABORTED},
    {EDEADLK, RPC_ABORTED},
    {ETIMEDOUT, RPC_DEADLINE_EXCEEDED},
    {ECANCELED, RPC_CANCELLED},
    {ENOSYS, RPC_UNIMPLEMENTED},
    {EOPNOTSUPP, RPC_UNIMPLEMENTED},
    {EAFNOSUPPORT, RPC_UNIMPLEMENTED},
    {EPROTONOSUPPORT, RPC_UNIMPLEMENTED},
    {ECONNREFUSED, RPC_UNAVAILABLE},
    {ECONNRESET, RPC_UNAVAILABLE},
    {ECONNABORTED, RPC_UNAVAILABLE},
    {ENOTCONN, RPC_UNAVAILABLE},
    {EHOSTUNREACH, RPC_UNAVAILABLE},
    {EHOSTDOWN, RPC_UNAVAILABLE},
    {ENETUNREACH, RPC_UNAVAILABLE},
    {ENETDOWN, RPC_UNAVAILABLE},
    {EINTR, RPC_UNAVAILABLE},
    {EIO, RPC_DATA_LOSS},
    {EUCLEAN, RPC_DATA_LOSS},
};

int rpc_code_from_errno(int sys_errno)
{
	for (size_t i = 0; i < sizeof(errno_codes) / sizeof(errno_codes[0]); i++)
		if (errno_codes[i].sys_errno == sys_errno)
			return errno_codes[i].code;
	return RPC_UNKNOWN;
}

/* Packs the ErrorInfo into out[ERROR_INFO_MAX]; returns its length. */
static size_t pack_error_info(const struct rpc_status *s, uint8_t out[ERROR_INFO_MAX])
{
	Google__Rpc__ErrorInfo info = GOOGLE__RPC__ERROR_INFO__INIT;
	Google__Rpc__ErrorInfo__MetadataEntry entries[RPC_STATUS_META_MAX];
	Google__Rpc__ErrorInfo__MetadataEntry *list[RPC_STATUS_META_MAX];

	for (size_t i = 0; i < s->n_meta; i++) {
		google__rpc__error_info__metadata_entry__init(&entries[i]);
		entries[i].key = (char *)s->meta[i].key;
		entries[i].value = (char *)s->meta[i].value;
		list[i] = &entries[i];
	}
	info.reason = (char *)s->reason;
	info.domain = (char *)s->domain;
	info.n_metadata = s->n_meta;
	info.metadata = list;
	return google__rpc__error_info__pack(&info, out);
}

int rpc_status_pack(const struct rpc_status *s, uint8_t **out, size_t *len)
{
	Google__Rpc__Status status = GOOGLE__RPC__STATUS__INIT;
	Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT;
	Google__Protobuf__Any *details[1] = {&any};
	uint8_t info[ERROR_INFO_MAX], *packed;
	size_t size;

	status.code = s->code;
	status.message = (char *)s->message;
	if (s->reason[0] != '\0') {
		any.type_url = (char *)ERROR_INFO_TYPE;
		any.value.data = info;
		any.value.len = pack_error_info(s, info);
		status.n_details = 1;
		status.details = details;
	}
	size = google__rpc__status__get_packed_size(&status);
	packed = malloc(size > 0 ? size : 1);
	if (packed == NULL)
		return TX_ENOMEM;
	*len = google__rpc__status__pack(&status, packed);
	*out = packed;
	return 0;
}

static void take_error_info(struct rpc_status *s, const ProtobufCBinaryData *packed)
{
	Google__Rpc__ErrorInfo *info =
	    google__rpc__error_info__unpack(NULL, packed->len, packed->data);

	if (info == NULL)
		return;
	put_text(s->reason, sizeof(s->reason), info->reason);
	put_text(s->domain, sizeof(s->domain), info->domain);
	s->n_meta = 0;
	for (size_t i = 0; i < info->n_metadata; i++)
		rpc_status_meta(s, info->metadata[i]->key, "%s", info->metadata[i]->value);
	google__rpc__error_info__free_unpacked(info, NULL);
}

void rpc_status_unpack_details(struct rpc_status *s, const uint8_t *data, size_t len)
{
	Google__Rpc__Status *status = google__rpc__status__unpack(NULL, len, data);

	if (status == NULL)
		return;
	for (size_t i = 0; i < status->n_details; i++) {
		if (strcmp(status->details[i]->type_url, ERROR_INFO_TYPE) != 0)
			continue;
		take_error_info(s, &status->details[i]->value);
		break;
	}
	google__rpc__status__free_unpacked(status, NULL);
}
