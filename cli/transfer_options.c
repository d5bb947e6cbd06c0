/* SPDX-License-Identifier: Apache-2.0 */
/* The options of put, get and sync. */
#include <stdlib.h>
#include <string.h>

#include "cli/transfer_options.h"
#include "cli/values.h"
#include "common/mem.h"

void transfer_options_init(struct transfer_options *t)
{
	*t = (struct transfer_options){.o = {.owner = true,
	                                   .extended_attributes = true,
	                                   .hard_links = true,
	                                   .check = TELEX_CHECK_QUICK}};
}

void transfer_options_clear(struct transfer_options *t)
{
	free(t->filters);
	t->filters = NULL;
}

bool transfer_is_folder(const char *path)
{
	size_t len = strlen(path);

	return len > 0 && path[len - 1] == '/';
}

static void add_filter(struct transfer_options *t, const char *pattern, bool exclude)
{
	t->filters = xreallocarray(t->filters, t->o.n_filters + 1, sizeof(*t->filters));
	t->filters[t->o.n_filters++] = (struct telex_tree_filter){pattern, exclude};
	t->o.filters = t->filters;
}

static int set_progress(struct transfer_options *t, const char *value, struct err *e)
{
	static const char *const words[] = {"auto", "none", "bar", "json"};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcmp(value, words[i]) == 0) {
			t->progress = (enum progress_kind)i;
			return 0;
		}
	return err_set(e, TX_EINVAL, "'%s' is none of bar, json, none, auto", value);
}

static int wrong(struct options *o, int id, const struct err *e)
{
	options_wrong(o, id, e);
	return -1;
}

int transfer_option(struct transfer_options *t, struct options *o, int id, const char *value)
{
	struct err e;

	switch (id) {
	case 'u':
		t->o.user = value;
		return 0;
	case 'n':
		t->o.dry_run = true;
		return 0;
	case 'c':
		t->o.check = TELEX_CHECK_CHECKSUM;
		return 0;
	case 'I':
		t->o.check = TELEX_CHECK_NONE;
		return 0;
	case 'z':
		t->o.compress = true;
		return 0;
	case 'L':
		t->o.follow = true;
		return 0;
	case TRANSFER_EXCLUDE:
		add_filter(t, value, true);
		return 0;
	case TRANSFER_INCLUDE:
		add_filter(t, value, false);
		return 0;
	case TRANSFER_RATE:
		return values_size(value, &t->o.rate, &e) < 0 ? wrong(o, id, &e) : 0;
	case TRANSFER_PROGRESS:
		return set_progress(t, value, &e) < 0 ? wrong(o, id, &e) : 0;
	case TRANSFER_PARENTS:
		t->o.parents = true;
		return 0;
	case TRANSFER_SPECIALS:
		t->o.specials = true;
		return 0;
	case TRANSFER_NO_OWNER:
		t->o.owner = false;
		return 0;
	case TRANSFER_NO_MODES:
		t->o.no_modes = true;
		return 0;
	case TRANSFER_NO_TIMES:
		t->o.no_times = true;
		return 0;
	case TRANSFER_NO_XATTRS:
		t->o.extended_attributes = false;
		return 0;
	case TRANSFER_NO_HARD_LINKS:
		t->o.hard_links = false;
		return 0;
	case TRANSFER_SPECIAL_BITS:
		t->o.keep_special_bits = true;
		return 0;
	case TRANSFER_ANY_LINKS:
		t->o.any_links = true;
		return 0;
	default:
		return 1;
	}
}
