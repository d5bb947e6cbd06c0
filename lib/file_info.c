/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/file_info.h"

#include <stdlib.h>
#include <string.h>

#include "common/duration.h"
#include "common/err.h"
#include "lib/error.h"
#include "lib/request.h"

#define PATH_LENGTH_MAX 4095

int file_info_path(
    ProtobufCBinaryData *out, const char *what, const char *path, struct telex_error *error)
{
	size_t len = path != NULL ? strlen(path) : 0;

	if (len == 0)
		return error_set(error, TELEX_ERROR_USAGE, "no %s was given", what);
	if (len > PATH_LENGTH_MAX)
		return error_set(error, TELEX_ERROR_USAGE, "the %s is longer than %d bytes", what,
		    PATH_LENGTH_MAX);
	*out = request_bytes(path, len);
	return 0;
}

char *file_info_user(const char *user)
{
	return request_text(user != NULL ? user : "");
}

/* Times beyond the range of nanoseconds are its ends. */
static int64_t time_ns(const Google__Protobuf__Timestamp *t)
{
	int64_t ns;

	if (t == NULL)
		return 0;
	if (__builtin_mul_overflow(t->seconds, NS_PER_S, &ns) ||
	    __builtin_add_overflow(ns, t->nanos, &ns))
		return t->seconds < 0 ? INT64_MIN : INT64_MAX;
	return ns;
}

/* Copies bytes as text to *at, and moves that on. */
static const char *put_text(char **at, const ProtobufCBinaryData *bytes)
{
	char *text = *at;

	if (bytes->len > 0)
		memcpy(text, bytes->data, bytes->len);
	text[bytes->len] = '\0';
	*at += bytes->len + 1;
	return text;
}

static int fill_texts(struct file_info *out, const Telex__V1__FileInfo *in)
{
	size_t size = in->path.len + in->link_target.len + 2;
	char *at;

	for (size_t i = 0; i < in->n_extended_attributes; i++)
		size += in->extended_attributes[i]->name.len + 1;
	at = out->text = malloc(size);
	if (in->n_extended_attributes > 0)
		out->extended = calloc(in->n_extended_attributes, sizeof(*out->extended));
	if (at == NULL || (in->n_extended_attributes > 0 && out->extended == NULL))
		return TX_ENOMEM;
	out->file.path = put_text(&at, &in->path);
	out->file.link_target = put_text(&at, &in->link_target);
	for (size_t i = 0; i < in->n_extended_attributes; i++) {
		const Telex__V1__ExtendedAttribute *a = in->extended_attributes[i];

		out->extended[i].name = put_text(&at, &a->name);
		out->extended[i].value = a->value.data;
		out->extended[i].len = a->value.len;
	}
	out->file.n_extended = in->n_extended_attributes;
	out->file.extended = out->extended;
	return 0;
}

/* One that this library does not know yet is unknown. */
static enum telex_file_type type_of(Telex__V1__FileType type)
{
	return (unsigned)type > TELEX_FILE_BLOCK_DEVICE ? TELEX_FILE_UNKNOWN
	                                                : (enum telex_file_type)type;
}

int file_info(struct file_info *out, const Telex__V1__FileInfo *in)
{
	struct telex_file *f = &out->file;

	memset(out, 0, sizeof(*out));
	f->path = f->link_target = f->user = f->group = "";
	if (in == NULL)
		return 0;
	f->type = type_of(in->type);
	f->mode = in->mode & 07777;
	f->target_type = type_of(in->target_type);
	f->target_mode = in->target_mode & 07777;
	f->uid = in->uid;
	f->gid = in->gid;
	f->user = in->user;
	f->group = in->group;
	f->size = in->size;
	f->blocks = in->blocks;
	f->block_size = in->block_size;
	f->links = in->links;
	f->inode = in->inode;
	f->mount_id = in->mount_id;
	f->device_major = in->device_major;
	f->device_minor = in->device_minor;
	f->rdev_major = in->rdev_major;
	f->rdev_minor = in->rdev_minor;
	f->modified_ns = time_ns(in->modified);
	f->accessed_ns = time_ns(in->accessed);
	f->changed_ns = time_ns(in->changed);
	f->has_created = in->created != NULL;
	f->created_ns = time_ns(in->created);
	f->n_flags = in->n_attributes;
	f->flags = (const char *const *)in->attributes;
	return fill_texts(out, in);
}

void file_info_free(struct file_info *f)
{
	free(f->text);
	free(f->extended);
}
