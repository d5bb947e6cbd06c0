/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/watch/watch_mounts.h"

#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "common/mem.h"

#define FILE_NAME "/proc/self/mountinfo"
#define READ_SIZE ((size_t)64 << 10)

/* What is mounted on a point. */
struct mounted {
	char *point; /* in the table's text */
	uint64_t what;
	size_t line; /* of several on one point the last one is seen */
};

struct table {
	char *text;
	struct mounted *list; /* by point, each once */
	size_t n, room;
};

struct watch_mounts {
	/* The kernel remembers of each descriptor what its owner was told. */
	int polled, own;
	struct table table;
};

static void table_clear(struct table *t)
{
	free(t->text);
	free(t->list);
	*t = (struct table){0};
}

/* ---- reading ---- */

/* All of it, terminated. */
static char *read_all(int fd)
{
	size_t room = READ_SIZE, len = 0;
	char *text = xmalloc(room + 1);

	(void)lseek(fd, 0, SEEK_SET);
	for (;;) {
		ssize_t n = read(fd, text + len, room - len);

		if (n <= 0)
			break;
		len += (size_t)n;
		if (len < room)
			continue;
		room *= 2;
		text = xreallocarray(text, room + 1, 1);
	}
	text[len] = '\0';
	return text;
}

/* Spaces and the like stand there as three octal digits. In place. */
static void unescape(char *s)
{
	char *out = s;

	for (; *s != '\0'; s++) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' &&
		    s[3] >= '0' && s[3] <= '7') {
			*out++ = (char)((s[1] - '0') * 64 + (s[2] - '0') * 8 + (s[3] - '0'));
			s += 3;
		} else {
			*out++ = *s;
		}
	}
	*out = '\0';
}

/* The next field, terminated; *line goes behind it. NULL: there is none. */
static char *field(char **line)
{
	char *text = *line;
	const size_t len = strcspn(text, " ");

	if (len == 0)
		return NULL;
	*line = text + len + (text[len] == ' ');
	text[len] = '\0';
	return text;
}

static uint64_t mix(uint64_t what, const char *text)
{
	return XXH3_64bits_withSeed(text, strlen(text) + 1, what);
}

/* "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw": the device, the folder of it,
 * the point; behind the dash its type and source. False: it is no such line. */
static bool read_line(char *line, struct mounted *out)
{
	char *f[6];

	for (size_t i = 0; i < sizeof(f) / sizeof(f[0]); i++)
		if ((f[i] = field(&line)) == NULL)
			return false;
	out->what = mix(mix(0, f[2]), f[3]);
	out->point = f[4];
	unescape(out->point);
	for (char *tag = field(&line); tag != NULL && strcmp(tag, "-") != 0;)
		tag = field(&line);
	for (int i = 0; i < 2; i++) {
		const char *of_it = field(&line);

		out->what = mix(out->what, of_it != NULL ? of_it : "");
	}
	return true;
}

static int by_point(const void *a, const void *b)
{
	const struct mounted *x = a, *y = b;
	const int order = strcmp(x->point, y->point);

	return order != 0 ? order : x->line < y->line ? -1 : x->line > y->line;
}

/* Of those on one point the last one stays, and is another one when those below it are. */
static void join_points(struct table *t)
{
	size_t kept = 0;

	for (size_t i = 0; i < t->n; i++) {
		if (kept > 0 && strcmp(t->list[kept - 1].point, t->list[i].point) == 0)
			t->list[kept - 1].what = t->list[i].what + 31 * t->list[kept - 1].what;
		else
			t->list[kept++] = t->list[i];
	}
	t->n = kept;
}

static void read_table(struct table *t, int fd)
{
	char *line, *next;

	*t = (struct table){.text = read_all(fd)};
	for (line = t->text; *line != '\0'; line = next) {
		struct mounted m = {.line = t->n};

		next = line + strcspn(line, "\n");
		if (*next != '\0')
			*next++ = '\0';
		if (!read_line(line, &m))
			continue;
		if (t->n == t->room) {
			t->room += t->room / 2 + 64;
			t->list = xreallocarray(t->list, t->room, sizeof(*t->list));
		}
		t->list[t->n++] = m;
	}
	if (t->n > 1)
		qsort(t->list, t->n, sizeof(*t->list), by_point);
	join_points(t);
}

/* ---- comparing ---- */

static void compare(
    const struct table *a, const struct table *b, watch_mounts_each *each, void *arg)
{
	size_t i = 0, k = 0;

	while (i < a->n || k < b->n) {
		const int order = i == a->n   ? 1
		                  : k == b->n ? -1
		                              : strcmp(a->list[i].point, b->list[k].point);

		each(order <= 0 ? a->list[i].point : b->list[k].point,
		    order != 0 || a->list[i].what != b->list[k].what, arg);
		i += order <= 0;
		k += order >= 0;
	}
}

/* ---- the module ---- */

struct watch_mounts *watch_mounts_new(void)
{
	struct watch_mounts *m = xcalloc(1, sizeof(*m));

	m->polled = open(FILE_NAME, O_RDONLY | O_CLOEXEC);
	m->own = open(FILE_NAME, O_RDONLY | O_CLOEXEC);
	if (m->polled < 0 || m->own < 0) {
		watch_mounts_free(m);
		return NULL;
	}
	read_table(&m->table, m->own);
	return m;
}

void watch_mounts_free(struct watch_mounts *m)
{
	if (m == NULL)
		return;
	if (m->polled >= 0)
		close(m->polled);
	if (m->own >= 0)
		close(m->own);
	table_clear(&m->table);
	free(m);
}

int watch_mounts_fd(const struct watch_mounts *m)
{
	return m->polled;
}

bool watch_mounts_changed(struct watch_mounts *m)
{
	struct pollfd p = {.fd = m->own, .events = POLLPRI};

	return poll(&p, 1, 0) == 1 && (p.revents & (POLLPRI | POLLERR)) != 0;
}

void watch_mounts_read(struct watch_mounts *m, watch_mounts_each *each, void *arg)
{
	struct table now;

	(void)watch_mounts_changed(m);
	read_table(&now, m->own);
	compare(&m->table, &now, each, arg);
	table_clear(&m->table);
	m->table = now;
}
