/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/alloc_fail.h"

#include <errno.h>
#include <stddef.h>

static bool armed, keep_failing, happened;
static long count, fail_at;

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
char *__real_strdup(const char *s);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);
char *__wrap_strdup(const char *s);

void alloc_fail_at(long n, bool keep)
{
	fail_at = n;
	keep_failing = keep;
	count = 0;
	happened = false;
	armed = true;
}

void alloc_fail_stop(void)
{
	armed = false;
}

long alloc_fail_count(void)
{
	return count;
}

bool alloc_fail_happened(void)
{
	return happened;
}

static bool fails(void)
{
	bool now;

	if (!armed)
		return false;
	count++;
	now = count == fail_at || (keep_failing && fail_at > 0 && count > fail_at);
	happened |= now;
	if (now)
		errno = ENOMEM;
	return now;
}

void *__wrap_malloc(size_t size)
{
	return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t size)
{
	return fails() ? NULL : __real_realloc(p, size);
}

char *__wrap_strdup(const char *s)
{
	return fails() ? NULL : __real_strdup(s);
}
