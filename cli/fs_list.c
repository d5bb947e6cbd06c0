/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/fs_list.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/fs_words.h"
#include "common/duration.h"
#include "common/mem.h"

enum { MODE, LINKS, OWNER, GROUP, SIZE, DATE, CELLS };

struct fs_list_row {
	char *name;         /* as it is */
	char *shown;        /* as it is printed, a link's target with -l */
	char *cells[CELLS]; /* with -l */
	bool folder;
	uint64_t size;
	int64_t modified_ns;
	struct telex_file_identity identity;
};

static char *device_or_size(const struct fs_list *l, const struct telex_file *f)
{
	char text[32];

	if (f->type == TELEX_FILE_CHARACTER_DEVICE || f->type == TELEX_FILE_BLOCK_DEVICE)
		return xasprintf("%" PRIu32 ", %" PRIu32, f->rdev_major, f->rdev_minor);
	return xstrdup(fs_words_size(text, sizeof(text), f->size, l->human));
}

static char *owner_cell(const struct fs_list *l, const char *name, uint32_t number)
{
	char text[32];

	return fs_words_name(
	    fs_words_owner(text, sizeof(text), l->numeric ? "" : name, number), true);
}

static const char *mark_of(enum telex_file_type type, uint32_t mode)
{
	switch (type) {
	case TELEX_FILE_DIRECTORY:
		return "/";
	case TELEX_FILE_SYMLINK:
		return "@";
	case TELEX_FILE_FIFO:
		return "|";
	case TELEX_FILE_SOCKET:
		return "=";
	case TELEX_FILE_REGULAR:
		return (mode & 0111) != 0 ? "*" : "";
	default:
		return "";
	}
}

/* As it is printed: with -l a link's target, too, and then the mark is the target's. */
static char *shown_name(const struct fs_list *l, const struct telex_file *f, const char *name)
{
	char *shown = fs_words_name(name, l->terminal), *target, *all;

	if (!l->is_long || f->type != TELEX_FILE_SYMLINK) {
		all = xasprintf("%s%s", shown, l->marks ? mark_of(f->type, f->mode) : "");
	} else {
		target = fs_words_name(f->link_target, l->terminal);
		all = xasprintf("%s -> %s%s", shown, target,
		    l->marks ? mark_of(f->target_type, f->target_mode) : "");
		free(target);
	}
	free(shown);
	return all;
}

static void fill_long(const struct fs_list *l, struct fs_list_row *row, const struct telex_file *f)
{
	char text[32];

	row->cells[MODE] = xstrdup(fs_words_mode(text, f->type, f->mode));
	row->cells[LINKS] = xasprintf("%" PRIu64, f->links);
	row->cells[OWNER] = owner_cell(l, f->user, f->uid);
	row->cells[GROUP] = owner_cell(l, f->group, f->gid);
	row->cells[SIZE] = device_or_size(l, f);
	row->cells[DATE] =
	    xstrdup(fs_words_date(text, sizeof(text), f->modified_ns, clock_realtime_ns()));
}

/* About what it takes of memory. */
static size_t size_of(const struct fs_list_row *row)
{
	size_t size = sizeof(*row) + strlen(row->name) + strlen(row->shown) + 32;

	for (size_t c = 0; c < CELLS; c++)
		if (row->cells[c])
			size += strlen(row->cells[c]) + 16;
	return size;
}

void fs_list_add(struct fs_list *l, const struct telex_file *f, const char *name)
{
	struct fs_list_row *row;

	if (l->n == l->room) {
		l->room = l->room ? 2 * l->room : 64;
		l->rows = xreallocarray(l->rows, l->room, sizeof(*l->rows));
	}
	row = &l->rows[l->n++];
	memset(row, 0, sizeof(*row));
	row->name = xstrdup(name);
	row->shown = shown_name(l, f, name);
	row->size = f->size;
	row->modified_ns = f->modified_ns;
	row->folder = f->type == TELEX_FILE_DIRECTORY;
	row->identity = (struct telex_file_identity){f->inode, f->device_major, f->device_minor};
	l->blocks += f->blocks;
	if (l->is_long)
		fill_long(l, row, f);
	l->bytes += size_of(row);
}

static int by_name(const void *a, const void *b)
{
	const struct fs_list_row *x = a, *y = b;

	return strcmp(x->name, y->name);
}

static int by_time(const void *a, const void *b)
{
	const struct fs_list_row *x = a, *y = b;

	if (x->modified_ns != y->modified_ns)
		return x->modified_ns > y->modified_ns ? -1 : 1;
	return by_name(a, b);
}

static int by_size(const void *a, const void *b)
{
	const struct fs_list_row *x = a, *y = b;

	if (x->size != y->size)
		return x->size > y->size ? -1 : 1;
	return by_name(a, b);
}

bool fs_list_sorts(const struct fs_list *l)
{
	return l->order != FS_LIST_NONE && (l->order != FS_LIST_NAME || l->reverse);
}

void fs_list_sort(struct fs_list *l)
{
	static int (*const by[])(const void *, const void *) = {by_name, by_time, by_size};

	if (l->order == FS_LIST_NONE || l->n == 0)
		return;
	qsort(l->rows, l->n, sizeof(*l->rows), by[l->order]);
	for (size_t i = 0, k = l->n - 1; l->reverse && i < k; i++, k--) {
		const struct fs_list_row row = l->rows[i];

		l->rows[i] = l->rows[k];
		l->rows[k] = row;
	}
}

static void drop_rows(struct fs_list *l)
{
	for (size_t i = 0; i < l->n; i++) {
		free(l->rows[i].name);
		free(l->rows[i].shown);
		for (size_t c = 0; c < CELLS; c++)
			free(l->rows[i].cells[c]);
	}
	free(l->rows);
	l->rows = NULL;
	l->n = l->room = l->bytes = 0;
}

void fs_list_clear(struct fs_list *l)
{
	drop_rows(l);
	l->blocks = 0;
	l->begun = false;
}

/* Characters, each of one column. */
static size_t width(const char *text)
{
	size_t n = 0;

	for (; *text; text++)
		n += ((unsigned char)*text & 0xc0) != 0x80;
	return n;
}

static void pad(size_t n)
{
	while (n-- > 0)
		putchar(' ');
}

static void print_long(const struct fs_list *l)
{
	size_t widths[CELLS] = {0};

	for (size_t i = 0; i < l->n; i++)
		for (size_t c = 0; c < CELLS; c++) {
			const size_t w = width(l->rows[i].cells[c]);

			widths[c] = w > widths[c] ? w : widths[c];
		}
	for (size_t i = 0; i < l->n; i++) {
		for (size_t c = 0; c < CELLS; c++) {
			const char *text = l->rows[i].cells[c];
			const size_t rest = widths[c] - width(text);
			const bool right =
			    c == LINKS || c == SIZE || (l->numeric && (c == OWNER || c == GROUP));

			pad(right ? rest : 0);
			fputs(text, stdout);
			pad(1 + (right ? 0 : rest));
		}
		puts(l->rows[i].shown);
	}
}

static size_t terminal_width(void)
{
	struct winsize size;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_col == 0)
		return 80;
	return size.ws_col;
}

/* Column after column, all as wide as the widest name. */
static void print_columns(const struct fs_list *l)
{
	size_t widest = 0, across, down;

	for (size_t i = 0; i < l->n; i++) {
		const size_t w = width(l->rows[i].shown);

		widest = w > widest ? w : widest;
	}
	across = (terminal_width() + 2) / (widest + 2);
	if (across == 0)
		across = 1;
	down = (l->n + across - 1) / across;
	for (size_t y = 0; y < down; y++) {
		for (size_t i = y; i < l->n; i += down) {
			fputs(l->rows[i].shown, stdout);
			if (i + down < l->n)
				pad(widest + 2 - width(l->rows[i].shown));
		}
		putchar('\n');
	}
}

void fs_list_print(const struct fs_list *l)
{
	if (l->n == 0)
		return;
	if (l->is_long)
		print_long(l);
	else if (l->columns)
		print_columns(l);
	else
		for (size_t i = 0; i < l->n; i++)
			puts(l->rows[i].shown);
}

static void print_name(const struct fs_list *l, const char *name, bool blank)
{
	char *shown;

	if (blank)
		putchar('\n');
	if (!name)
		return;
	shown = fs_words_name(name, l->terminal);
	printf("%s:\n", shown);
	free(shown);
}

void fs_list_print_folder(const struct fs_list *l, const char *name, bool blank)
{
	char text[32];

	if (!l->begun)
		print_name(l, name, blank);
	if (l->is_long && !l->begun)
		printf("total %s\n", fs_words_size(text, sizeof(text),
		                         l->human ? l->blocks * 512 : l->blocks / 2, l->human));
	fs_list_print(l);
}

bool fs_list_print_part(struct fs_list *l, const char *name, bool blank)
{
	if (l->bytes < FS_LIST_HELD)
		return false;
	if (!l->begun)
		print_name(l, name, blank);
	fs_list_print(l);
	drop_rows(l);
	l->begun = true;
	return true;
}

const char *fs_list_folder(const struct fs_list *l, size_t n, struct telex_file_identity *identity)
{
	*identity = l->rows[n].identity;
	return l->rows[n].folder ? l->rows[n].name : NULL;
}
