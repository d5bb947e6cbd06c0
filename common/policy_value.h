/* SPDX-License-Identifier: Apache-2.0 */
/* The values of a policy file: what each key takes, and the sentence for what it does not. */
#ifndef TX_COMMON_POLICY_VALUE_H
#define TX_COMMON_POLICY_VALUE_H

#include <stddef.h>
#include <stdint.h>

#include "common/policy_internal.h"
#include "common/policy_text.h"

enum policy_kind {
	/* Lists; one value without braces is a list of one. */
	POLICY_KIND_METHODS,
	POLICY_KIND_USERS,
	POLICY_KIND_NAMES, /* of variables */
	POLICY_KIND_PATHS,
	POLICY_KIND_ARGUMENTS,
	POLICY_KIND_FORCED,
	POLICY_KIND_IDENTITIES,
	POLICY_KIND_WORDS, /* names of roles */
	POLICY_KIND_SIGNALS,
	POLICY_KIND_RLIMITS,
	/* One value. */
	POLICY_KIND_BOOL,
	POLICY_KIND_SIZE,
	POLICY_KIND_COUNT,
	POLICY_KIND_CPU,
	POLICY_KIND_DURATION,
	POLICY_KIND_NICE,
};

struct policy_key {
	const char *name;
	enum policy_kind kind;
	size_t offset; /* into the section's struct: policy_list, bool, uint64_t or int64_t */
	uint64_t min, max;
};

/* A program's pattern, the title of a command section: NULL, or what is wrong with it. */
const char *policy_value_program(const char *pattern);
/* Reads what stands behind `key` and its '=' into the section, telling what is wrong; the token is
 * the first of the value, and the one behind it afterwards. */
void policy_value_read(struct policy_text *t, const struct policy_key *key, void *section);
void policy_list_free(struct policy_list *list);

#endif
