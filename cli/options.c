/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Options of a verb. Own code, not getopt: the global options are understood after the verb too,
 * and a mistyped word is answered with the nearest right one of both tables.
 */
#include "cli/options.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/say.h"
#include "cli/values.h"
#include "common/job_spec.h"
#include "common/mem.h"
#include "common/nearest.h"
#include "common/signame.h"

enum global {
	GLOBAL_ON = 10000,
	GLOBAL_CONTEXT,
	GLOBAL_JSON,
	GLOBAL_RECONNECT,
	GLOBAL_QUIET,
	GLOBAL_VERBOSE,
	GLOBAL_HELP,
	GLOBAL_VERSION
};

const struct options_spec options_globals[] = {
    {GLOBAL_ON, 'w', "on", true},
    {GLOBAL_CONTEXT, '\0', "context", true},
    {GLOBAL_JSON, '\0', "json", false},
    {GLOBAL_RECONNECT, '\0', "reconnect", true},
    {GLOBAL_QUIET, 'q', "quiet", false},
    {GLOBAL_VERBOSE, 'v', "verbose", false},
    {GLOBAL_HELP, 'h', "help", false},
    {GLOBAL_VERSION, 'V', "version", false},
    {0},
};

#define WORDS_MAX 64

void options_start(struct options *o, struct cli *cli, const struct cli_verb *verb,
    const struct options_spec *specs, int argc, char **argv)
{
	static const struct options_spec none[] = {{0}};

	*o = (struct options){.cli = cli,
	    .verb = verb,
	    .specs = specs ? specs : none,
	    .argc = argc,
	    .argv = argv,
	    .index = argc > 0 ? 1 : 0};
	o->operands = xcalloc((size_t)argc + 1, sizeof(*o->operands));
}

const char *options_nearest(const char *word, const char *const *words, size_t n)
{
	static char text[80];
	const char *near = nearest_word(word, words, n);

	text[0] = '\0';
	if (near)
		snprintf(text, sizeof(text), "; did you mean '%s'?", near);
	return text;
}

static const char *name_of(const struct options *o)
{
	return o->verb ? o->verb->name : NULL;
}

int options_usage(struct options *o, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (name_of(o))
		say_error("%s: %s (see `telex %s --help`)", name_of(o), text, name_of(o));
	else
		say_error("%s (see `telex help`)", text);
	return o->status = CLI_TELEX;
}

static const struct options_spec *by_id(const struct options_spec *specs, int id)
{
	while (specs->id && specs->id != id)
		specs++;
	return specs;
}

int options_wrong(struct options *o, int id, const struct err *e)
{
	const struct options_spec *spec = by_id(o->specs, id);

	return options_usage(o, "--%s: %s", spec->id ? spec->name : "?", e->message);
}

int options_check_id(const char *text, struct err *e)
{
	return job_id_valid(text, strlen(text))
	           ? 0
	           : err_set(e, TX_EINVAL,
	                 "'%s' must be 1 to 64 letters, digits, '.', '_' or '-', not beginning "
	                 "with '.' or '-'",
	                 text);
}

int options_end(struct options *o)
{
	free(o->operands);
	o->operands = NULL;
	return o->status;
}

static const struct options_spec *by_letter(const struct options_spec *specs, char letter)
{
	for (; specs->id; specs++)
		if (specs->letter == letter)
			return specs;
	return NULL;
}

static const struct options_spec *by_name(
    const struct options_spec *specs, const char *name, size_t len)
{
	for (; specs->id; specs++)
		if (specs->name && strlen(specs->name) == len &&
		    memcmp(specs->name, name, len) == 0)
			return specs;
	return NULL;
}

/* An unknown long option: the nearest of the verb's and the global ones, with its dashes. */
static int unknown_long(struct options *o, const char *arg, size_t len)
{
	const struct options_spec *const tables[] = {o->specs, options_globals};
	const char *words[WORDS_MAX], *near;
	char *word = xmemdup0(arg, len);
	size_t n = 0;

	for (size_t t = 0; t < 2; t++)
		for (const struct options_spec *s = tables[t]; s->id; s++)
			if (s->name && n < WORDS_MAX)
				words[n++] = s->name;
	near = nearest_word(word, words, n);
	if (near)
		options_usage(o, "unknown option '--%s'; did you mean '--%s'?", word, near);
	else
		options_usage(o, "unknown option '--%s'", word);
	free(word);
	return -1;
}

static int show_help(struct options *o)
{
	fputs(o->verb->help, stdout);
	o->status = CLI_OK;
	return -1;
}

static int set_reconnect(struct options *o, const char *value)
{
	struct err e;
	int64_t ms;

	if (values_duration(value, &ms, &e) < 0) {
		options_usage(o, "--reconnect: %s", e.message);
		return -1;
	}
	o->cli->reconnect_ms = ms ? ms : -1;
	return 0;
}

/* What a global option does: 0 to go on, negative to stop, or its id for the caller (help and
 * version before a verb). */
static int apply(struct options *o, int id, const char *value)
{
	switch (id) {
	case GLOBAL_ON:
		o->cli->on = value;
		return 0;
	case GLOBAL_CONTEXT:
		o->cli->context = value;
		return 0;
	case GLOBAL_JSON:
		o->cli->json = true;
		return 0;
	case GLOBAL_RECONNECT:
		return set_reconnect(o, value);
	case GLOBAL_QUIET:
		o->cli->verbosity = -1;
		break;
	case GLOBAL_VERBOSE:
		o->cli->verbosity = o->cli->verbosity < 0 ? 1 : o->cli->verbosity + 1;
		break;
	case GLOBAL_HELP:
		return o->verb ? show_help(o) : 'h';
	case GLOBAL_VERSION:
		if (!o->verb)
			return 'V';
		options_usage(o, "--version goes without a verb: `telex version`");
		return -1;
	}
	say_verbosity(o->cli->verbosity);
	return 0;
}

static int take_long(
    struct options *o, const char *arg, const struct options_spec **spec, const char **value)
{
	const char *equals = strchr(arg, '=');
	size_t len = equals ? (size_t)(equals - arg) : strlen(arg);

	*spec = by_name(o->specs, arg, len);
	if (!*spec)
		*spec = by_name(options_globals, arg, len);
	if (!*spec)
		return unknown_long(o, arg, len);
	if (!(*spec)->takes && equals) {
		options_usage(o, "option '--%s' takes no value", (*spec)->name);
		return -1;
	}
	*value = equals ? equals + 1 : NULL;
	return 0;
}

static int take_letter(struct options *o, const struct options_spec **spec, const char **value)
{
	char letter = *o->cluster++;

	*spec = by_letter(o->specs, letter);
	if (!*spec)
		*spec = by_letter(options_globals, letter);
	if (!*spec) {
		options_usage(o, "unknown option '-%c'", letter);
		return -1;
	}
	*value = NULL;
	if ((*spec)->takes && *o->cluster) {
		*value = o->cluster;
		o->cluster = NULL;
	} else if (!*o->cluster) {
		o->cluster = NULL;
	}
	return 0;
}

/* Moves on to the next option: 1 and its argument in *arg, or 0 when all that is left are operands.
 */
static int advance(struct options *o, const char **arg)
{
	while (o->index < o->argc) {
		const char *a = o->argv[o->index];
		bool ends = strcmp(a, "--") == 0;

		if (!ends && a[0] == '-' && a[1] && o->take && o->take(a, o->take_arg)) {
			o->index++;
			continue;
		}
		if (!ends && a[0] == '-' && a[1]) {
			o->index++;
			*arg = a;
			return 1;
		}
		if (!ends)
			o->operands[o->n_operands++] = a;
		o->index++;
		if (ends || o->stop_at_operand)
			while (o->index < o->argc)
				o->operands[o->n_operands++] = o->argv[o->index++];
	}
	return 0;
}

static int need_value(
    struct options *o, const struct options_spec *spec, bool is_long, const char **value)
{
	if (!spec->takes || *value)
		return 0;
	if (o->index < o->argc) {
		*value = o->argv[o->index++];
		return 0;
	}
	if (is_long)
		options_usage(o, "option '--%s' needs a value", spec->name);
	else
		options_usage(o, "option '-%c' needs a value", spec->letter);
	return -1;
}

static bool is_global(const struct options_spec *spec)
{
	return spec >= options_globals &&
	       spec < options_globals + sizeof(options_globals) / sizeof(options_globals[0]);
}

/* A name of one letter would be an option's. */
static bool is_signal(const char *word)
{
	return strcmp(word, "0") == 0 || signame_parse(word) > 0;
}

int options_next(struct options *o, const char **value)
{
	for (;;) {
		const struct options_spec *spec = NULL;
		const char *arg = NULL;
		bool is_long = false;
		int r;

		*value = NULL;
		if (!o->cluster) {
			if (!advance(o, &arg))
				return 0;
			is_long = arg[1] == '-';
			if (o->signal_id && is_signal(arg + 1)) {
				*value = arg + 1;
				return o->signal_id;
			}
			if (!is_long)
				o->cluster = arg + 1;
		}
		r = is_long ? take_long(o, arg + 2, &spec, value) : take_letter(o, &spec, value);
		if (r < 0 || need_value(o, spec, is_long, value) < 0)
			return -1;
		if (!is_global(spec))
			return spec->id;
		r = apply(o, spec->id, *value);
		if (r != 0)
			return r;
	}
}

int options_none(struct cli *cli, const struct cli_verb *verb, int argc, char **argv, bool *go)
{
	struct options o;
	const char *value;
	int r;

	*go = false;
	options_start(&o, cli, verb, NULL, argc, argv);
	r = options_next(&o, &value);
	if (r == 0 && o.n_operands > 0)
		options_usage(&o, "takes no arguments, but was given '%s'", o.operands[0]);
	else if (r == 0)
		*go = true;
	return options_end(&o);
}
