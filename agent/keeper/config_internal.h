/* SPDX-License-Identifier: Apache-2.0 */
/* What config.c (the file) and config_value.c (a value of it) share. */
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
	KIND_FULL, /* enum km_audit_full */
	KIND_STALE /* enum km_stale */
};

struct config_key {
	const char *name;
	enum config_kind kind;
	size_t offset; /* into struct config */
	uint64_t min, max;
};

/* Replaces *where by a copy. 0 or TX_ENOMEM. */
int config_set_string(char **where, const char *value);
/* The sentence for a value that is not one; NULL when it was taken. */
const char *config_take(struct config *c, const struct config_key *k, const char *value);
/* "; did you mean 'json'?" for the kinds that take words. */
void config_hint(enum config_kind kind, const char *value, char *out, size_t size);

#endif
