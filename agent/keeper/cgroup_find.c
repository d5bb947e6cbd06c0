/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/keeper/cgroup_find.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/err.h"

/* ---- the texts ---- */

/* A file of /proc, whose size is not known before. NULL: not readable, or no memory. */
static char *read_all(const char *path, int *rc)
{
	size_t len = 0, size = 16384;
	char *text = malloc(size);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = -1;

	*rc = text == NULL ? TX_ENOMEM : TX_ESYS;
	while (text != NULL && fd >= 0 && (n = read(fd, text + len, size - len - 1)) > 0) {
		len += (size_t)n;
		if (size - len > 1)
			continue;
		size *= 2;
		char *more = realloc(text, size);

		if (more == NULL) {
			*rc = TX_ENOMEM;
			n = -1;
			break;
		}
		text = more;
	}
	if (fd >= 0)
		close(fd);
	if (n != 0) {
		free(text);
		return NULL;
	}
	text[len] = '\0';
	*rc = 0;
	return text;
}

int cgroup_texts_read(struct cgroup_texts *t)
{
	int rc = 0;

	t->own = NULL;
	t->mounts = read_all("/proc/self/mountinfo", &rc);
	if (rc == 0)
		t->own = read_all("/proc/self/cgroup", &rc);
	if (rc != 0)
		cgroup_texts_free(t);
	return rc;
}

void cgroup_texts_free(struct cgroup_texts *t)
{
	free(t->mounts);
	free(t->own);
	t->mounts = t->own = NULL;
}

/* ---- lines and words ---- */

struct word {
	const char *at;
	size_t len;
};

static bool word_is(const struct word *w, const char *text)
{
	return strlen(text) == w->len && memcmp(w->at, text, w->len) == 0;
}

/* The n-th word (from 0) of a line, between single spaces. */
static bool nth_word(const char *line, const char *end, unsigned n, struct word *w)
{
	for (;; n--) {
		const char *space = memchr(line, ' ', (size_t)(end - line));

		if (space == NULL)
			space = end;
		if (n == 0) {
			*w = (struct word){line, (size_t)(space - line)};
			return true;
		}
		if (space == end)
			return false;
		line = space + 1;
	}
}

/* Whether the list "rw,freezer" has the item. */
static bool has_item(const struct word *list, const char *item)
{
	const char *at = list->at, *end = at + list->len;

	while (at <= end) {
		const char *comma = memchr(at, ',', (size_t)(end - at));
		struct word w = {at, (size_t)((comma != NULL ? comma : end) - at)};

		if (word_is(&w, item))
			return true;
		if (comma == NULL)
			break;
		at = comma + 1;
	}
	return false;
}

/* mountinfo writes space, tab, newline and backslash as \040 and so on. */
static int unescape(const struct word *w, char *out, size_t size)
{
	size_t n = 0;

	for (size_t i = 0; i < w->len; i++) {
		char c = w->at[i];

		if (n + 1 >= size)
			return TX_ETOOBIG;
		if (c == '\\' && i + 3 < w->len) {
			c = (char)((w->at[i + 1] - '0') * 64 + (w->at[i + 2] - '0') * 8 +
			           (w->at[i + 3] - '0'));
			i += 3;
		}
		out[n++] = c;
	}
	out[n] = '\0';
	return 0;
}

/* "ID:CONTROLLERS:PATH"; v2's has no controllers. */
static bool find_own_path(const char *own, const char *controller, struct word *path)
{
	while (*own != '\0') {
		const char *end = strchrnul(own, '\n');
		const char *first = memchr(own, ':', (size_t)(end - own));
		const char *second =
		    first == NULL ? NULL : memchr(first + 1, ':', (size_t)(end - first - 1));

		if (second != NULL && second[1] == '/') {
			struct word list = {first + 1, (size_t)(second - first - 1)};

			if (controller == NULL ? list.len == 0 : has_item(&list, controller)) {
				*path = (struct word){second + 1, (size_t)(end - second - 1)};
				return true;
			}
		}
		own = *end == '\0' ? end : end + 1;
	}
	return false;
}

/* ID PARENT DEV ROOT POINT OPTIONS [TAGS…] - TYPE SOURCE SUPER-OPTIONS */
static bool is_mount_of(const char *line, const char *end, const char *controller)
{
	struct word w, type, super;
	unsigned n = 6;

	while (nth_word(line, end, n, &w) && !word_is(&w, "-"))
		n++;
	if (!nth_word(line, end, n + 1, &type) || !nth_word(line, end, n + 3, &super))
		return false;
	if (controller == NULL)
		return word_is(&type, "cgroup2");
	return word_is(&type, "cgroup") && has_item(&super, controller);
}

/* Our path below the mount's root. What lies outside of it (another container's view) is not ours
 * to see: the mount point itself then. */
static const char *below_root(const char *path, const char *root)
{
	size_t n = strlen(root);

	if (strcmp(root, "/") == 0)
		return path;
	if (strncmp(path, root, n) == 0 && (path[n] == '/' || path[n] == '\0'))
		return path + n;
	return "/";
}

int cgroup_find(const struct cgroup_texts *t, const char *controller, char *out, size_t size)
{
	char path[4096], root[4096], point[4096];
	const char *line, *end, *below;
	struct word own, w;

	if (!find_own_path(t->own, controller, &own) || own.len >= sizeof(path))
		return TX_ENOENT;
	memcpy(path, own.at, own.len);
	path[own.len] = '\0';
	if (strncmp(path, "/..", 3) == 0)
		return TX_ENOENT;
	for (line = t->mounts; *line != '\0'; line = *end == '\0' ? end : end + 1) {
		end = strchrnul(line, '\n');
		if (!is_mount_of(line, end, controller))
			continue;
		if (!nth_word(line, end, 3, &w) || unescape(&w, root, sizeof(root)) != 0 ||
		    !nth_word(line, end, 4, &w) || unescape(&w, point, sizeof(point)) != 0)
			continue;
		below = below_root(path, root);
		if (strcmp(below, "/") == 0)
			below = "";
		return (size_t)snprintf(out, size, "%s%s", point, below) < size ? 0 : TX_ETOOBIG;
	}
	return TX_ENOENT;
}
