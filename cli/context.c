/* SPDX-License-Identifier: Apache-2.0 */
/* Contexts on disk. A file is believed only when all it must say is there and in range. */
#include "cli/context.h"

#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/options.h"
#include "cli/paths.h"
#include "cli/target.h"
#include "common/mem.h"

#define FILE_MAX ((size_t)64 * 1024)

void context_clear(struct context *c)
{
	free(c->name);
	free(c->host);
	free(c->certificate);
	free(c->key);
	free(c->ca);
	free(c->server_name);
	free(c->renew_from);
	free(c->revocations);
	*c = (struct context){0};
}

bool context_name_valid(const char *name)
{
	size_t len = strlen(name);

	return len >= 1 && len <= 64 && name[0] != '.' && name[0] != '-' &&
	       strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") ==
	           len;
}

static int check_name(const char *name, struct err *e)
{
	if (context_name_valid(name))
		return 0;
	return err_set(e, TX_EINVAL,
	    "'%s' is not a context's name: 1 to 64 letters, digits, '.', '_' or '-', "
	    "beginning with a letter, digit or '_'",
	    name);
}

/* "CONFIG/contexts", or with a name the file. */
static int place(const char *name, char **out, struct err *e)
{
	char *config;
	int r = paths_config(&config, e);

	if (r < 0)
		return r;
	*out = name ? xasprintf("%s/contexts/%s.json", config, name)
	            : xasprintf("%s/contexts", config);
	free(config);
	return 0;
}

static int current_file(char **out, struct err *e)
{
	char *config;
	int r = paths_config(&config, e);

	if (r < 0)
		return r;
	*out = xasprintf("%s/current", config);
	free(config);
	return 0;
}

/* NULL: it is left out. */
static int add(json_t *root, const char *name, const char *text)
{
	return text ? json_object_set_new(root, name, json_string(text)) : 0;
}

/* Paths that are not UTF-8 cannot be said in JSON. */
static json_t *pack(const struct context *c)
{
	json_t *root = json_pack("{s:s, s:s, s:s, s:s}", "host", c->host, "certificate",
	    c->certificate, "key", c->key, "ca", c->ca);

	if (root && add(root, "server_name", c->server_name) == 0 &&
	    add(root, "renew_from", c->renew_from) == 0 &&
	    add(root, "revocations", c->revocations) == 0)
		return root;
	json_decref(root);
	return NULL;
}

int context_save(const struct context *c, bool replace, struct err *e)
{
	char *folder = NULL, *path = NULL, *text = NULL, *with_newline = NULL, checked[TARGET_MAX];
	json_t *root = NULL;
	int r;

	if ((r = check_name(c->name, e)) < 0 || (r = target_parse(c->host, checked, e)) < 0 ||
	    (r = place(NULL, &folder, e)) < 0 || (r = place(c->name, &path, e)) < 0 ||
	    (r = paths_make_folder(folder, e)) < 0)
		goto out;
	if (!replace && access(path, F_OK) == 0) {
		r = err_set(e, TX_EEXIST,
		    "there is a context '%s' already; remove it with `telex context rm %s` or "
		    "give --force",
		    c->name, c->name);
		goto out;
	}
	root = pack(c);
	text = root ? json_dumps(root, JSON_INDENT(2) | JSON_PRESERVE_ORDER) : NULL;
	if (!text) {
		r = err_set(e, TX_EINVAL, "context '%s': a path is not UTF-8", c->name);
		goto out;
	}
	with_newline = xasprintf("%s\n", text);
	r = paths_write(path, with_newline, strlen(with_newline), e);
out:
	json_decref(root);
	free(with_newline);
	free(text);
	free(path);
	free(folder);
	return r;
}

int context_path(const char *name, char **path, struct err *e)
{
	int r = check_name(name, e);

	return r < 0 ? r : place(name, path, e);
}

/* A string member that must be there and not be empty. */
static int member(json_t *root, const char *path, const char *name, char **out, struct err *e)
{
	json_t *value = json_object_get(root, name);

	if (!json_is_string(value) || json_string_length(value) == 0)
		return err_set(e, TX_EINVAL, "%s: \"%s\" is missing or no string", path, name);
	*out = xstrdup(json_string_value(value));
	return 0;
}

static int unpack(const char *path, const char *text, struct context *c, struct err *e)
{
	json_error_t at;
	json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, &at);
	char checked[TARGET_MAX];
	int r;

	if (!json_is_object(root)) {
		if (root)
			r = err_set(e, TX_EINVAL, "%s: not a JSON object", path);
		else
			r = err_set(e, TX_EINVAL, "%s:%d: %s", path, at.line, at.text);
		goto out;
	}
	if ((r = member(root, path, "host", &c->host, e)) < 0 ||
	    (r = member(root, path, "certificate", &c->certificate, e)) < 0 ||
	    (r = member(root, path, "key", &c->key, e)) < 0 ||
	    (r = member(root, path, "ca", &c->ca, e)) < 0)
		goto out;
	if (json_object_get(root, "server_name"))
		r = member(root, path, "server_name", &c->server_name, e);
	if (r == 0 && json_object_get(root, "renew_from"))
		r = member(root, path, "renew_from", &c->renew_from, e);
	if (r == 0 && json_object_get(root, "revocations"))
		r = member(root, path, "revocations", &c->revocations, e);
	if (r == 0 && (r = target_parse(c->host, checked, e)) < 0)
		err_wrap(e, "%s", path);
out:
	json_decref(root);
	return r;
}

static int no_such_context(const char *name, struct err *e)
{
	char **names = NULL;
	size_t n = 0;

	context_names(&names, &n, NULL);
	if (n == 0)
		err_set(e, TX_ENOENT,
		    "there is no context '%s', nor any other; `telex dev --detach` or `telex "
		    "context create` makes one",
		    name);
	else
		err_set(e, TX_ENOENT, "there is no context '%s'%s (`telex context ls` shows them)",
		    name, options_nearest(name, (const char *const *)names, n));
	context_names_free(names);
	return TX_ENOENT;
}

int context_load(const char *name, struct context *out, struct err *e)
{
	struct context c = {0};
	char *path = NULL, *text = NULL;
	int r;

	if ((r = check_name(name, e)) < 0 || (r = place(name, &path, e)) < 0)
		goto out;
	r = paths_read(path, FILE_MAX, &text, e);
	if (r == TX_ENOENT)
		r = no_such_context(name, e);
	if (r == 0)
		r = unpack(path, text, &c, e);
	if (r < 0)
		goto out;
	c.name = xstrdup(name);
	*out = c;
	c = (struct context){0};
out:
	context_clear(&c);
	free(text);
	free(path);
	return r;
}

int context_current(char **name, struct err *e)
{
	char *path, *text = NULL;
	int r = current_file(&path, e);

	if (r < 0)
		return r;
	r = paths_read(path, 256, &text, e);
	if (r == TX_ENOENT)
		err_set(e, TX_ENOENT, "no context was chosen");
	if (r == 0) {
		text[strcspn(text, "\n")] = '\0';
		if (context_name_valid(text))
			*name = xstrdup(text);
		else
			r = err_set(e, TX_EINVAL, "%s does not hold a context's name", path);
	}
	free(text);
	free(path);
	return r;
}

int context_use(const char *name, struct err *e)
{
	struct context c = {0};
	char *path = NULL, *line = NULL;
	int r = context_load(name, &c, e);

	if (r < 0 || (r = current_file(&path, e)) < 0)
		goto out;
	line = xasprintf("%s\n", name);
	r = paths_write(path, line, strlen(line), e);
out:
	free(line);
	free(path);
	context_clear(&c);
	return r;
}

int context_remove(const char *name, struct err *e)
{
	char *path = NULL, *current = NULL, *current_path = NULL;
	int r;

	if ((r = check_name(name, e)) < 0 || (r = place(name, &path, e)) < 0)
		return r;
	if (unlink(path) < 0)
		r = errno == ENOENT ? no_such_context(name, e)
		                    : err_sys(e, errno, "cannot remove %s", path);
	else if (context_current(&current, NULL) == 0 && strcmp(current, name) == 0 &&
	         current_file(&current_path, NULL) == 0)
		unlink(current_path);
	free(current_path);
	free(current);
	free(path);
	return r;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* "dev.json" -> "dev", or NULL when this is no context's file. */
static char *name_of_file(const char *file)
{
	size_t len = strlen(file);
	char *name;

	if (len < 6 || strcmp(file + len - 5, ".json") != 0)
		return NULL;
	name = xmemdup0(file, len - 5);
	if (context_name_valid(name))
		return name;
	free(name);
	return NULL;
}

int context_names(char ***names, size_t *n, struct err *e)
{
	char *folder, **list = xcalloc(1, sizeof(*list)), *name;
	const struct dirent *entry;
	size_t count = 0;
	DIR *dir;
	int r = place(NULL, &folder, e);

	if (r < 0) {
		free(list);
		return r;
	}
	dir = opendir(folder);
	if (!dir && errno != ENOENT)
		r = err_sys(e, errno, "cannot read %s", folder);
	while (dir && (entry = readdir(dir))) {
		name = name_of_file(entry->d_name);
		if (!name)
			continue;
		list = xreallocarray(list, count + 2, sizeof(*list));
		list[count++] = name;
		list[count] = NULL;
	}
	if (dir)
		closedir(dir);
	free(folder);
	if (r < 0) {
		context_names_free(list);
		return r;
	}
	qsort(list, count, sizeof(*list), by_text);
	*names = list;
	*n = count;
	return 0;
}

void context_names_free(char **names)
{
	for (char **name = names; name && *name; name++)
		free(*name);
	free(names);
}
