/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/subverbs.h"

#include <stdio.h>
#include <string.h>

#include "cli/options.h"

static size_t count(const char *const *words)
{
	size_t n = 0;

	while (words[n] != NULL)
		n++;
	return n;
}

static void say_words(struct options *o, const char *const *words, size_t n)
{
	char text[200] = "";
	size_t used = 0;

	for (size_t i = 0; i < n && used < sizeof(text); i++)
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s",
		    i == 0       ? ""
		    : i + 1 == n ? " or "
		                 : ", ",
		    words[i]);
	options_usage(o, "say what to do: %s", text);
}

int subverbs_run(struct cli *cli, const struct cli_verb *verb,
    const struct cli_verb *const *subverbs, int argc, char **argv)
{
	const size_t n = count(verb->words);
	struct options o;
	const char *value;
	int at;

	options_start(&o, cli, verb, NULL, argc, argv);
	o.stop_at_operand = true;
	if (options_next(&o, &value) < 0)
		return options_end(&o);
	if (o.n_operands == 0) {
		say_words(&o, verb->words, n);
		return options_end(&o);
	}
	at = argc - (int)o.n_operands;
	for (size_t i = 0; i < n; i++)
		if (strcmp(verb->words[i], o.operands[0]) == 0) {
			options_end(&o);
			return subverbs[i]->run(cli, argc - at, argv + at);
		}
	options_usage(&o, "unknown word '%s'%s", o.operands[0],
	    options_nearest(o.operands[0], verb->words, n));
	return options_end(&o);
}
