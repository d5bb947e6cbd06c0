/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads telexd.conf with libconfuse. To libconfuse every key is a string or a list of strings: the
 * values are checked by us (config_value.c), by the rows of config_sections, so that each mistake
 * is told with its line and the right word, and the reading goes on. An unknown key would end
 * libconfuse's parse; it is told, added as a dummy to its section, and the file is parsed again.
 */
#include <confuse.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/keeper/config_internal.h"
#include "common/nearest.h"

#define DUMMIES_MAX 32
#define KEYS_MAX    64 /* of a section */

struct dummy {
	char *name;
	size_t section; /* which of config_sections */
};

struct reader {
	struct config *c;
	config_problem problem;
	void *arg;
	unsigned n_problems;
	/* Of the last "no such option" of libconfuse. */
	char unknown[64];
	size_t unknown_section;
	int seen_line; /* problems up to this line were told by an earlier parse */
	/* libconfuse asks once for each string of a list, and once more at its end. */
	const char *checked;
	unsigned n_checked;
};

static void tell(struct reader *rd, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void tell(struct reader *rd, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	rd->n_problems++;
	rd->problem(text, rd->arg);
}

static bool is_list(enum config_kind kind)
{
	return kind == KIND_ADDRESSES || kind == KIND_USERS || kind == KIND_PROGRAMS ||
	       kind == KIND_FOLDERS || kind == KIND_VARIABLES;
}

/* Which of config_sections this is; the top one's name is libconfuse's. */
static size_t section_of(const cfg_t *cfg)
{
	for (size_t i = 1; i < CONFIG_SECTIONS; i++)
		if (strcmp(config_sections[i].name, cfg->name) == 0)
			return i;
	return 0;
}

static const struct config_key *key_of(const cfg_t *cfg, const char *name)
{
	const struct config_section *s = &config_sections[section_of(cfg)];

	for (size_t i = 0; i < s->n_keys; i++)
		if (strcmp(s->keys[i].name, name) == 0)
			return &s->keys[i];
	return NULL;
}

static const char *nearest_key(const char *word, size_t section)
{
	const struct config_section *s = &config_sections[section];
	const char *words[KEYS_MAX + CONFIG_SECTIONS];
	size_t n = 0;

	for (size_t i = 0; i < s->n_keys; i++)
		words[n++] = s->keys[i].name;
	for (size_t i = 1; i < CONFIG_SECTIONS && section == 0; i++)
		words[n++] = config_sections[i].name;
	return nearest_word(word, words, n);
}

/* ---- libconfuse's callbacks: it passes no argument, but the cfg_t can be looked up ---- */

static struct reader *reading;

static int check_value(cfg_t *cfg, cfg_opt_t *opt)
{
	const struct config_key *k = key_of(cfg, opt->name);
	const char *dot = section_of(cfg) != 0 ? "." : "";
	const char *section = section_of(cfg) != 0 ? cfg->name : "";
	unsigned n = cfg_opt_size(opt);
	const char *value = n > 0 ? cfg_opt_getnstr(opt, n - 1) : NULL;
	const char *wrong;
	char hint[96];

	if (cfg->line <= reading->seen_line || k == NULL || value == NULL)
		return 0;
	if (is_list(k->kind) && reading->checked == value && reading->n_checked == n)
		return 0;
	reading->checked = value;
	reading->n_checked = n;
	if (is_list(k->kind) && n == k->max + 1)
		tell(reading, "%s:%d: %s%s%s: more than %u of them", reading->c->file, cfg->line,
		    section, dot, k->name, (unsigned)k->max);
	wrong = is_list(k->kind) ? config_item_wrong(k, value) : config_take(reading->c, k, value);
	if (wrong == NULL)
		return 0;
	config_hint(k->kind, value, hint, sizeof(hint));
	tell(reading, "%s:%d: %s%s%s: '%s' %s%s", reading->c->file, cfg->line, section, dot,
	    k->name, value, wrong, hint);
	return 0;
}

static void parse_error(cfg_t *cfg, const char *fmt, va_list ap)
    __attribute__((format(printf, 2, 0)));

static void parse_error(cfg_t *cfg, const char *fmt, va_list ap)
{
	static const char unknown[] = "no such option '";
	char text[512];
	const char *at, *near;
	size_t section = section_of(cfg);

	vsnprintf(text, sizeof(text), fmt, ap);
	at = strstr(text, unknown);
	if (at == NULL) {
		tell(reading, "%s:%d: %s", reading->c->file, cfg->line, text);
		return;
	}
	snprintf(reading->unknown, sizeof(reading->unknown), "%s", at + sizeof(unknown) - 1);
	reading->unknown[strcspn(reading->unknown, "'")] = '\0';
	reading->unknown_section = section;
	near = nearest_key(reading->unknown, section);
	tell(reading, "%s:%d: %s%sunknown key '%s'%s%s%s", reading->c->file, cfg->line,
	    section != 0 ? cfg->name : "", section != 0 ? ": " : "", reading->unknown,
	    near != NULL ? "; did you mean '" : "", near != NULL ? near : "",
	    near != NULL ? "'?" : "");
	reading->seen_line = cfg->line;
}

/* ---- one parse ---- */

struct options {
	cfg_opt_t section[CONFIG_SECTIONS][KEYS_MAX + CONFIG_SECTIONS + DUMMIES_MAX];
};

static size_t add_keys(
    cfg_opt_t *opts, size_t section, const struct dummy *dummies, size_t n_dummies)
{
	const struct config_section *s = &config_sections[section];
	size_t n = 0;

	for (size_t i = 0; i < s->n_keys; i++) {
		if (is_list(s->keys[i].kind))
			opts[n++] = (cfg_opt_t)CFG_STR_LIST(s->keys[i].name, NULL, CFGF_NODEFAULT);
		else
			opts[n++] = (cfg_opt_t)CFG_STR(s->keys[i].name, NULL, CFGF_NODEFAULT);
	}
	for (size_t i = 0; i < n_dummies; i++)
		if (dummies[i].section == section)
			opts[n++] = (cfg_opt_t)CFG_STR_LIST(dummies[i].name, NULL, CFGF_NODEFAULT);
	return n;
}

static void fill_options(struct options *o, const struct dummy *dummies, size_t n_dummies)
{
	const cfg_opt_t end = CFG_END();
	size_t n;

	for (size_t s = 1; s < CONFIG_SECTIONS; s++) {
		n = add_keys(o->section[s], s, dummies, n_dummies);
		o->section[s][n] = end;
	}
	n = add_keys(o->section[0], 0, dummies, n_dummies);
	for (size_t s = 1; s < CONFIG_SECTIONS; s++)
		o->section[0][n++] =
		    (cfg_opt_t)CFG_SEC(config_sections[s].name, o->section[s], CFGF_NODEFAULT);
	o->section[0][n] = end;
}

static void watch_values(cfg_t *cfg)
{
	char path[128];

	for (size_t s = 0; s < CONFIG_SECTIONS; s++)
		for (size_t i = 0; i < config_sections[s].n_keys; i++) {
			snprintf(path, sizeof(path), "%s%s%s", config_sections[s].name,
			    s != 0 ? "|" : "", config_sections[s].keys[i].name);
			cfg_set_validate_func(cfg, path, check_value);
		}
}

/* With `dummies` allowed besides. 0; TX_EAGAIN: rd->unknown is another unknown key; TX_EINVAL. */
static int parse_once(struct reader *rd, const struct dummy *dummies, size_t n_dummies, cfg_t **out)
{
	struct options *o = calloc(1, sizeof(*o));
	cfg_t *cfg;
	int rc;

	if (o == NULL)
		return TX_ENOMEM;
	fill_options(o, dummies, n_dummies);
	cfg = cfg_init(o->section[0], CFGF_NONE);
	free(o);
	if (cfg == NULL)
		return TX_ENOMEM;
	cfg_set_error_function(cfg, parse_error);
	watch_values(cfg);
	rd->unknown[0] = '\0';
	rc = cfg_parse(cfg, rd->c->file);
	if (rc == CFG_SUCCESS) {
		*out = cfg;
		return 0;
	}
	if (rc == CFG_FILE_ERROR)
		tell(rd, "%s: %s", rd->c->file, strerror(errno));
	cfg_free(cfg);
	return rd->unknown[0] != '\0' ? TX_EAGAIN : TX_EINVAL;
}

static int parse(struct reader *rd, cfg_t **out)
{
	struct dummy dummies[DUMMIES_MAX];
	size_t n = 0;
	int rc;

	do {
		rc = parse_once(rd, dummies, n, out);
		if (rc != TX_EAGAIN || n == DUMMIES_MAX)
			break;
		dummies[n].section = rd->unknown_section;
		dummies[n].name = strdup(rd->unknown);
		if (dummies[n].name == NULL)
			rc = TX_ENOMEM;
		else
			n++;
	} while (rc == TX_EAGAIN);
	while (n > 0)
		free(dummies[--n].name);
	return rc;
}

/* ---- the lists ---- */

static int copy_list(char **to, size_t *n, size_t max, cfg_t *cfg, const char *name)
{
	unsigned size = cfg_size(cfg, name);

	for (unsigned i = 0; i < size && *n < max; i++) {
		to[*n] = strdup(cfg_getnstr(cfg, name, i));
		if (to[*n] == NULL)
			return TX_ENOMEM;
		++*n;
	}
	return 0;
}

static int copy_new_list(char ***to, size_t *n, cfg_t *cfg, const char *name)
{
	unsigned size = cfg_size(cfg, name);

	if (size == 0)
		return 0;
	*to = calloc(size, sizeof(**to));
	return *to != NULL ? copy_list(*to, n, size, cfg, name) : TX_ENOMEM;
}

static int take_lists(struct config *c, cfg_t *cfg)
{
	cfg_t *ceiling = cfg_size(cfg, "ceiling") > 0 ? cfg_getsec(cfg, "ceiling") : NULL;
	cfg_t *authority = cfg_size(cfg, "authority") > 0 ? cfg_getsec(cfg, "authority") : NULL;
	int rc = copy_list(c->listen, &c->n_listen, KM_LISTEN_MAX, cfg, "listen");

	if (rc == 0 && ceiling != NULL)
		rc = copy_new_list(&c->ceiling.users, &c->ceiling.n_users, ceiling, "users");
	if (rc == 0 && ceiling != NULL)
		rc = copy_new_list(
		    &c->ceiling.programs, &c->ceiling.n_programs, ceiling, "programs");
	if (rc == 0 && ceiling != NULL)
		rc = copy_new_list(&c->ceiling.groups, &c->ceiling.n_groups, ceiling, "groups");
	if (rc == 0 && ceiling != NULL)
		rc = copy_new_list(
		    &c->ceiling.environment, &c->ceiling.n_environment, ceiling, "environment");
	if (rc == 0 && ceiling != NULL)
		rc = copy_new_list(&c->ceiling.folders, &c->ceiling.n_folders, ceiling, "folders");
	c->authority.given = authority != NULL;
	if (rc == 0 && authority != NULL)
		rc = copy_list(c->authority.listen, &c->authority.n_listen, KM_LISTEN_MAX,
		    authority, "listen");
	return rc;
}

/* Who writes an empty list means "none", and without the key it is "any". */
static void check_empty(struct reader *rd, cfg_t *cfg)
{
	for (size_t s = 1; s < CONFIG_SECTIONS; s++) {
		const struct config_section *section = &config_sections[s];
		cfg_t *in =
		    cfg_size(cfg, section->name) > 0 ? cfg_getsec(cfg, section->name) : NULL;

		for (size_t i = 0; in != NULL && i < section->n_keys; i++) {
			const cfg_opt_t *opt = cfg_getopt(in, section->keys[i].name);

			if (is_list(section->keys[i].kind) && opt->nvalues == 0 &&
			    (opt->flags & CFGF_MODIFIED) != 0)
				tell(rd,
				    "%s: %s.%s: is an empty list; leave the key out where it is to "
				    "bound nothing, or say what it is",
				    rd->c->file, section->name, section->keys[i].name);
		}
	}
}

int config_read(struct config *c, config_problem problem, void *arg)
{
	struct reader rd = {.c = c, .problem = problem, .arg = arg};
	cfg_t *cfg = NULL;
	int rc;

	reading = &rd;
	rc = parse(&rd, &cfg);
	reading = NULL;
	if (rc == 0)
		check_empty(&rd, cfg);
	if (rc == 0 && rd.n_problems > 0)
		rc = TX_EINVAL;
	if (rc == 0)
		rc = take_lists(c, cfg);
	if (cfg != NULL)
		cfg_free(cfg);
	return rc == TX_EAGAIN ? TX_EINVAL : rc;
}
