/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/field_words.h"

#include <string.h>

/* Of a ProcessSpec; what is within a field is its option's, too. */
static const struct {
	const char *field, *option;
} fields[] = {
    {"argv", "the command"},
    {"blocked_signals", "--block-signal"},
    {"control_limits", "--limit"},
    {"environment", "--env"},
    {"group", "--group"},
    {"group_maximum", "--group-max"},
    {"ignored_signals", "--ignore-signal"},
    {"keep", "--keep"},
    {"limits", "--limit"},
    {"nice", "--nice"},
    {"on_disconnect", "--on-disconnect"},
    {"output.buffer_bytes", "--output-buffer"},
    {"output.policy", "--output-policy"},
    {"output.spool_bytes", "--spool"},
    {"process_id", "--id"},
    {"run_timeout", "--timeout"},
    {"stop_grace", "--grace"},
    {"stop_signal", "--signal"},
    {"terminal", "--tty"},
    {"umask", "--umask"},
    {"user", "--user"},
    {"working_directory", "--directory"},
};

const char *field_words(const char *message, const char **rest)
{
	static const char spec[] = "spec.";
	const size_t skip = strncmp(message, spec, sizeof(spec) - 1) == 0 ? sizeof(spec) - 1 : 0;
	const char *const path = message + skip;
	const size_t len = strcspn(path, ": ");

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]) && path[len] == ':'; i++) {
		const size_t n = strlen(fields[i].field);

		if (n > len || memcmp(path, fields[i].field, n) != 0 || !strchr(":.[", path[n]))
			continue;
		*rest = path + len;
		return fields[i].option;
	}
	return NULL;
}
