/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/tail.h"

#include <stdlib.h>
#include <string.h>

#include "common/mem.h"

void tail_init(struct tail *t, size_t lines)
{
	*t = (struct tail){.lines = lines};
	t->starts = xcalloc(lines + 1, sizeof(*t->starts));
}

void tail_clear(struct tail *t)
{
	free(t->starts);
	*t = (struct tail){0};
}

static void begin_line(struct tail *t, uint64_t offset)
{
	if (t->lines == 0)
		return;
	t->starts[t->at] = offset;
	t->at = (t->at + 1) % t->lines;
	if (t->used < t->lines)
		t->used++;
}

void tail_feed(struct tail *t, uint64_t offset, const void *data, size_t len)
{
	const char *const bytes = data;

	for (size_t i = 0; i < len;) {
		const char *newline = memchr(bytes + i, '\n', len - i);

		if (!t->in_line)
			begin_line(t, offset + i);
		t->in_line = !newline;
		i = newline ? (size_t)(newline - bytes) + 1 : len;
	}
	t->end = offset + len;
}

uint64_t tail_start(const struct tail *t, uint64_t offset)
{
	if (t->used > 0)
		return t->starts[t->used < t->lines ? 0 : t->at];
	return t->end > offset ? t->end : offset;
}
