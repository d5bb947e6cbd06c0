/* SPDX-License-Identifier: Apache-2.0 */
/* Words as values. Nothing is guessed: what is not wholly a value is refused. */
#include "cli/values.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "common/duration.h"
#include "common/mem.h"
#include "common/signame.h"

int values_duration(const char *text, int64_t *ms, struct err *e)
{
	int64_t ns;
	int r = duration_parse(text, &ns);

	if (r == TX_ETOOBIG)
		return err_set(e, TX_EINVAL, "'%s' is too long a time", text);
	if (r < 0)
		return err_set(
		    e, TX_EINVAL, "'%s' is not a time; write 90, 1.5s, 250ms, 5m or 1h30m", text);
	*ms = ns / NS_PER_MS + (ns % NS_PER_MS != 0);
	return 0;
}

int values_size(const char *text, uint64_t *bytes, struct err *e)
{
	static const char suffixes[] = "KMGT";
	const char *p = text, *suffix;
	uint64_t v = 0;

	for (; *p >= '0' && *p <= '9'; p++)
		if (__builtin_mul_overflow(v, 10u, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(*p - '0'), &v))
			goto too_big;
	suffix = *p ? strchr(suffixes, *p) : NULL;
	if (p == text || (*p && (!suffix || p[1])))
		return err_set(e, TX_EINVAL,
		    "'%s' is not a size; write a number of bytes, or one with K, M, G or T after "
		    "it",
		    text);
	for (ptrdiff_t times = suffix ? suffix - suffixes + 1 : 0; times > 0; times--)
		if (__builtin_mul_overflow(v, 1024u, &v))
			goto too_big;
	if (v == UINT64_MAX)
		goto too_big;
	if (v == 0)
		return err_set(e, TX_EINVAL, "'%s': a size must be more than 0", text);
	*bytes = v;
	return 0;
too_big:
	return err_set(e, TX_EINVAL, "'%s' is too large for a size", text);
}

int values_number(const char *text, int64_t least, int64_t most, int64_t *value, struct err *e)
{
	const char *p = text + (text[0] == '-');
	int64_t v = 0;
	bool out = false;

	if (!*p || strspn(p, "0123456789") != strlen(p))
		return err_set(e, TX_EINVAL, "'%s' is not a whole number", text);
	for (; *p; p++)
		out |= __builtin_mul_overflow(v, 10, &v) ||
		       __builtin_add_overflow(v, (int64_t)(*p - '0'), &v);
	if (text[0] == '-')
		v = -v;
	if (out || v < least || v > most)
		return err_set(e, TX_EINVAL, "'%s' is out of range: %lld to %lld", text,
		    (long long)least, (long long)most);
	*value = v;
	return 0;
}

int values_umask(const char *text, unsigned *mask, struct err *e)
{
	size_t len = strlen(text);

	if (len == 0 || len > 4 || strspn(text, "01234567") != len || strtoul(text, NULL, 8) > 0777)
		return err_set(
		    e, TX_EINVAL, "'%s' is not a mask; write octal digits, 0 to 777", text);
	*mask = (unsigned)strtoul(text, NULL, 8);
	return 0;
}

int values_signal(const char *text, int *signo, struct err *e)
{
	int n = signame_parse(text);

	if (n < 0)
		return err_set(
		    e, TX_EINVAL, "'%s' is not a signal; write TERM, SIGINT or 15", text);
	*signo = n;
	return 0;
}

int values_signals(const char *text, uint64_t *mask, struct err *e)
{
	char *words = xstrdup(text), *rest = words, *word;
	uint64_t m = 0;
	int signo = 0, r = 0;

	while (r == 0 && (word = strsep(&rest, ",")))
		if ((r = values_signal(word, &signo, e)) == 0)
			m |= VALUES_SIGNAL_BIT(signo);
	free(words);
	if (r == 0)
		*mask = m;
	return r;
}
