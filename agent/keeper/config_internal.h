/* SPDX-License-Identifier: Apache-2.0 */
/* What config.c (the tables), config_read.c (the file) and config_value.c (a value of it) share. */
#ifndef TX_KEEPER_CONFIG_INTERNAL_H
#define TX_KEEPER_CONFIG_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

#include "agent/keeper/config.h"

enum config_kind {
	KIND_PATH,
	KIND_NAME,
	KIND_CGROUP,
	KIND_COUNT,
	KIND_SIZE,
	KIND_DURATION,
	KIND_LEVEL,
	KIND_FORMAT,
	KIND_BOOL,
	KIND_FULL,  /* enum km_audit_full */
	KIND_STALE, /* enum km_stale */
	/* Lists of strings, at most `max` of them; config_read.c copies them. */
	KIND_ADDRESSES,
	KIND_USERS,
	KIND_PROGRAMS,
	KIND_VARIABLES,
	KIND_FOLDERS
};

struct config_key {
	const char *name;
	enum config_kind kind;
	size_t offset; /* into struct config */
	uint64_t min, max;
};

#define CONFIG_SECTIONS 3
struct config_section {
	const char *name; /* "": the file itself */
	const struct config_key *keys;
	size_t n_keys;
};
extern const struct config_section config_sections[CONFIG_SECTIONS];

/* Reads c->file into c. 0, TX_EINVAL after at least one problem(), TX_ENOMEM. */
int config_read(struct config *c, config_problem problem, void *arg);
/* The sentence for one string of a list that does not belong there; NULL: it does. */
const char *config_item_wrong(const struct config_key *k, const char *value);
/* Replaces *where by a copy. 0 or TX_ENOMEM. */
int config_set_string(char **where, const char *value);
/* The sentence for a value that is not one; NULL when it was taken. */
const char *config_take(struct config *c, const struct config_key *k, const char *value);
/* "; did you mean 'json'?" for the kinds that take words. */
void config_hint(enum config_kind kind, const char *value, char *out, size_t size);

#endif
