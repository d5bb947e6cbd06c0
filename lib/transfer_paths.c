/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/transfer_paths.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/tree_receive.h"
#include "lib/error.h"

#define FOLDER_FLAGS (O_RDONLY | O_DIRECTORY | O_CLOEXEC)

static int failed(struct telex_error *error, int sys_errno, const char *path, const char *more)
{
	error_set(error, TELEX_ERROR_SYSTEM, "%s: %s%s", path, strerror(sys_errno), more);
	if (error != NULL)
		error->sys_errno = sys_errno;
	return -1;
}

char *transfer_last(const char *path)
{
	size_t len = strlen(path), at;

	while (len > 0 && path[len - 1] == '/')
		len--;
	for (at = len; at > 0 && path[at - 1] != '/'; at--)
		;
	if ((len - at == 1 && path[at] == '.') ||
	    (len - at == 2 && path[at] == '.' && path[at + 1] == '.'))
		at = len;
	return strndup(path + at, len - at);
}

/* Cuts a path, malloc'd, at its last component; *name points into it. "/" becomes "/" and ".". */
static const char *cut(char *path, const char **name)
{
	char *slash = strrchr(path, '/');

	if (slash == NULL) {
		*name = path;
		return ".";
	}
	*name = slash[1] != '\0' ? slash + 1 : ".";
	if (slash == path)
		return "/";
	*slash = '\0';
	return path;
}

/* ---- put ---- */

/* What it really is, so that a link that is named is followed, once. 0, or an errno. */
static int open_source(struct tree_source *s, const char *path)
{
	char *real = realpath(path, NULL);
	const char *folder, *name;
	int saved;

	if (real == NULL)
		return errno;
	folder = cut(real, &name);
	s->name = strdup(name);
	s->dir_fd = open(folder, FOLDER_FLAGS);
	saved = errno;
	/* A folder that may be searched, but not read, does for one file. */
	if (s->dir_fd < 0 && saved == EACCES)
		s->dir_fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	free(real);
	if (s->name == NULL)
		return ENOMEM;
	return s->dir_fd < 0 ? saved : 0;
}

/* What it is called in the tree. False: out of memory. */
static bool name_source(struct tree_source *s, const char *path, bool beside)
{
	if (s->name == NULL)
		s->name = strdup("."); /* it could not be opened */
	s->path = beside ? transfer_last(path) : strdup("");
	/* "." and "..": by what they are called where they are. */
	if (beside && s->name != NULL && s->path != NULL && s->path[0] == '\0') {
		free((char *)(uintptr_t)s->path);
		s->path = strdup(strcmp(s->name, ".") != 0 ? s->name : "root");
	}
	return s->name != NULL && s->path != NULL;
}

int transfer_open_sources(struct transfer_paths *p, const struct telex_transfer_options *o,
    bool beside, struct telex_error *error)
{
	size_t n = 0, opened = 0;

	while (o->sources[n] != NULL)
		n++;
	p->sources = calloc(n, sizeof(*p->sources));
	if (p->sources == NULL)
		return error_no_memory(error);
	for (size_t i = 0; i < n; i++)
		p->sources[i].dir_fd = -1;
	p->n_sources = n;
	for (size_t i = 0; i < n; i++) {
		struct tree_source *s = &p->sources[i];

		s->sys_errno = open_source(s, o->sources[i]);
		opened += s->sys_errno == 0;
		if (s->sys_errno == ENOMEM || !name_source(s, o->sources[i], beside))
			return error_no_memory(error);
	}
	/* One of several that is not there is told with the others' files. */
	return opened > 0 ? 0 : failed(error, p->sources[0].sys_errno, o->sources[0], "");
}

/* ---- get ---- */

/* "." and "/" have none. */
static bool has_name(const char *source)
{
	char *last = transfer_last(source);
	bool has = last == NULL || last[0] != '\0';

	free(last);
	return has;
}

static int set_only(struct transfer_paths *p, const struct telex_transfer_options *o)
{
	size_t n = 0;

	while (o->sources[n] != NULL)
		n++;
	p->only = calloc(n + 1, sizeof(*p->only));
	if (p->only == NULL)
		return -1;
	for (size_t i = 0; i < n; i++) {
		p->only[i] = transfer_last(o->sources[i]);
		if (p->only[i] == NULL)
			return -1;
	}
	return 0;
}

static int make_parents(const char *folder)
{
	char *copy = strdup(folder);
	int rc = 0;

	if (copy == NULL)
		return -1;
	for (char *at = copy + 1; rc == 0 && *at != '\0'; at++) {
		if (*at != '/')
			continue;
		*at = '\0';
		rc = mkdir(copy, 0777) != 0 && errno != EEXIST ? -1 : 0;
		*at = '/';
	}
	if (rc == 0 && mkdir(copy, 0777) != 0 && errno != EEXIST)
		rc = -1;
	free(copy);
	return rc;
}

/* The first folder of a path that is not there: the path is cut behind it. */
static void cut_missing(char *path)
{
	struct stat st;

	for (char *at = path + 1; at[-1] != '\0' && *at != '\0'; at++) {
		if (*at != '/')
			continue;
		*at = '\0';
		if (stat(path, &st) != 0)
			return;
		*at = '/';
	}
}

/* That the target has no folder to be in, and what to do. A dry run makes none, whatever it is
 * told. */
static int missing(
    struct telex_error *error, const struct telex_transfer_options *o, const char *folder)
{
	char *copy = strdup(folder);

	if (copy == NULL)
		return error_no_memory(error);
	cut_missing(copy);
	error_set(error, TELEX_ERROR_SYSTEM, "cannot write %s: the folder %s is not there%s",
	    o->target, copy, o->parents ? "" : "; make it first, or add --parents");
	if (error != NULL)
		error->sys_errno = ENOENT;
	free(copy);
	return -1;
}

/* The target is not there: what it will be in. */
static int open_parent(
    struct transfer_paths *p, const struct telex_transfer_options *o, struct telex_error *error)
{
	char *copy = strdup(o->target);
	size_t len = copy != NULL ? strlen(copy) : 0;
	const char *folder, *name;
	int rc = 0;

	if (copy == NULL)
		return error_no_memory(error);
	while (len > 1 && copy[len - 1] == '/')
		copy[--len] = '\0';
	folder = cut(copy, &name);
	p->name = strdup(name);
	if (p->name == NULL)
		rc = error_no_memory(error);
	else if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || name[0] == '\0')
		rc = error_set(error, TELEX_ERROR_USAGE, "'%s' names no file", o->target);
	if (rc == 0 && o->parents && !o->dry_run && make_parents(folder) != 0)
		rc = failed(error, errno, folder, "");
	if (rc == 0) {
		p->parent_fd = open(folder, FOLDER_FLAGS);
		if (p->parent_fd < 0)
			rc = errno == ENOENT ? missing(error, o, folder)
			                     : failed(error, errno, folder, "");
	}
	free(copy);
	return rc;
}

static int id_of(char id[33], EVP_MD_CTX *sha)
{
	uint8_t digest[EVP_MAX_MD_SIZE];
	int ok = EVP_DigestFinal_ex(sha, digest, NULL);

	EVP_MD_CTX_free(sha);
	for (size_t i = 0; ok == 1 && i < 16; i++)
		snprintf(id + 2 * i, 3, "%02x", digest[i]);
	return ok == 1 ? 0 : -1;
}

static EVP_MD_CTX *begin_id(const struct telex_transfer_options *o, const char *target)
{
	EVP_MD_CTX *sha = EVP_MD_CTX_new();

	if (sha == NULL || EVP_DigestInit_ex(sha, EVP_sha256(), NULL) != 1) {
		EVP_MD_CTX_free(sha);
		return NULL;
	}
	EVP_DigestUpdate(sha, target, strlen(target) + 1);
	if (o->user != NULL)
		EVP_DigestUpdate(sha, o->user, strlen(o->user));
	return sha;
}

int transfer_put_id(
    char id[33], const struct transfer_paths *p, const struct telex_transfer_options *o)
{
	EVP_MD_CTX *sha = begin_id(o, o->target);

	for (size_t i = 0; sha != NULL && i < p->n_sources; i++) {
		struct stat st = {0};
		uint64_t what[2];

		(void)fstatat(p->sources[i].dir_fd, p->sources[i].name, &st, AT_SYMLINK_NOFOLLOW);
		what[0] = st.st_dev;
		what[1] = st.st_ino;
		EVP_DigestUpdate(sha, what, sizeof(what));
	}
	return sha != NULL ? id_of(id, sha) : -1;
}

int transfer_get_id(char id[33], const struct telex_transfer_options *o)
{
	EVP_MD_CTX *sha = begin_id(o, "");

	for (size_t i = 0; sha != NULL && o->sources[i] != NULL; i++)
		EVP_DigestUpdate(sha, o->sources[i], strlen(o->sources[i]) + 1);
	return sha != NULL ? id_of(id, sha) : -1;
}

int transfer_open_target(struct transfer_paths *p, const struct telex_transfer_options *o,
    const char *id, bool *contents, struct telex_error *error)
{
	size_t len = strlen(o->target);
	bool several = o->sources[0] != NULL && o->sources[1] != NULL;
	bool folder = several || o->into || (len > 0 && o->target[len - 1] == '/' && !o->contents);

	*contents = o->contents;
	for (size_t i = 0; o->sources[i] != NULL; i++) {
		if (has_name(o->sources[i]))
			continue;
		/* As cp -r has it, what is in it is meant: nobody here knows what it is called. */
		*contents = !several;
		if (several) {
			error_set(error, TELEX_ERROR_SYSTEM,
			    "%s has no name of its own here: get it alone, or type its path",
			    o->sources[i]);
			return -1;
		}
	}
	if (folder && o->parents && !o->dry_run && make_parents(o->target) != 0)
		return failed(error, errno, o->target, "");
	p->target_fd = open(o->target, FOLDER_FLAGS);
	if (p->target_fd >= 0) {
		/* What an earlier try began to make is gone on with. */
		if (!several && tree_marked(p->target_fd, id))
			*contents = true;
		if (*contents)
			return open_parent(p, o, NULL), 0; /* where it has one */
		return set_only(p, o) < 0 ? error_no_memory(error) : 0;
	}
	if (folder)
		return errno == ENOENT ? missing(error, o, o->target)
		                       : failed(error, errno, o->target, "");
	if (errno != ENOENT && errno != ENOTDIR)
		return failed(error, errno, o->target, "");
	*contents = true;
	return open_parent(p, o, error);
}

void transfer_paths_close(struct transfer_paths *p)
{
	for (size_t i = 0; i < p->n_sources; i++) {
		if (p->sources[i].dir_fd >= 0)
			close(p->sources[i].dir_fd);
		free((char *)(uintptr_t)p->sources[i].name);
		free((char *)(uintptr_t)p->sources[i].path);
	}
	free(p->sources);
	for (size_t i = 0; p->only != NULL && p->only[i] != NULL; i++)
		free(p->only[i]);
	free(p->only);
	free(p->name);
	if (p->parent_fd >= 0)
		close(p->parent_fd);
	if (p->target_fd >= 0)
		close(p->target_fd);
	*p = (struct transfer_paths){.parent_fd = -1, .target_fd = -1};
}
