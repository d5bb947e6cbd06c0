/* SPDX-License-Identifier: Apache-2.0 */
/* The grammar is in the header. Foreign bytes get into a message only when they are of the
 * grammar's own alphabet. */
#include "common/identity.h"

#include <stdio.h>
#include <string.h>

#define SCHEME "spiffe://"

_Static_assert(
    sizeof(SCHEME) + IDENTITY_DOMAIN_MAX + sizeof("/agent/") + IDENTITY_NAME_MAX <= IDENTITY_SIZE,
    "an identity fits its text");

static const char domain_alphabet[] = "abcdefghijklmnopqrstuvwxyz0123456789.-_";
static const char name_alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_";

static bool made_of(const char *text, size_t len, const char *alphabet)
{
	for (size_t i = 0; i < len; i++) {
		if (text[i] == '\0' || strchr(alphabet, text[i]) == NULL)
			return false;
	}
	return true;
}

static int take_domain(char *out, const char *text, size_t len, struct err *e)
{
	if (len == 0)
		return err_set(e, TX_EINVAL, "the trust domain is empty");
	if (len > IDENTITY_DOMAIN_MAX)
		return err_set(e, TX_EINVAL, "the trust domain is longer than %d characters",
		    IDENTITY_DOMAIN_MAX);
	if (!made_of(text, len, domain_alphabet))
		return err_set(
		    e, TX_EINVAL, "the trust domain has a character other than a-z 0-9 . - _");
	memcpy(out, text, len);
	out[len] = '\0';
	return 0;
}

static int take_name(char *out, const char *text, size_t len, struct err *e)
{
	if (len == 0)
		return err_set(e, TX_EINVAL, "the name is empty");
	if (len > IDENTITY_NAME_MAX)
		return err_set(
		    e, TX_EINVAL, "the name is longer than %d characters", IDENTITY_NAME_MAX);
	if (!made_of(text, len, name_alphabet))
		return err_set(
		    e, TX_EINVAL, "the name has a character other than A-Z a-z 0-9 . - _");
	if ((len == 1 && text[0] == '.') || (len == 2 && memcmp(text, "..", 2) == 0))
		return err_set(e, TX_EINVAL, "the name may not be \".\" or \"..\"");
	memcpy(out, text, len);
	out[len] = '\0';
	return 0;
}

/* Passes over the scheme; NULL when it is not there. */
static const char *after_scheme(const char *text, size_t len)
{
	if (len < strlen(SCHEME) || memcmp(text, SCHEME, strlen(SCHEME)) != 0)
		return NULL;
	return text + strlen(SCHEME);
}

static int take_kind(enum identity_kind *out, const char *text, size_t len, struct err *e)
{
	for (int kind = IDENTITY_AGENT; kind <= IDENTITY_USER; kind++) {
		const char *name = identity_kind_name((enum identity_kind)kind);

		if (strlen(name) == len && memcmp(name, text, len) == 0) {
			*out = (enum identity_kind)kind;
			return 0;
		}
	}
	return err_set(e, TX_EINVAL, "after the trust domain comes neither /agent/ nor /user/");
}

int identity_parse(struct identity *out, const char *text, size_t len, struct err *e)
{
	struct identity id;
	const char *end = text + len;
	const char *domain = after_scheme(text, len);
	const char *kind, *name;
	int rc;

	if (domain == NULL)
		return err_set(e, TX_EINVAL, "it does not begin with " SCHEME);
	kind = memchr(domain, '/', (size_t)(end - domain));
	if (kind == NULL)
		return err_set(e, TX_EINVAL, "it has no /agent/NAME or /user/NAME");
	rc = take_domain(id.domain, domain, (size_t)(kind - domain), e);
	if (rc != 0)
		return rc;
	kind++;
	name = memchr(kind, '/', (size_t)(end - kind));
	if (name == NULL)
		name = end;
	rc = take_kind(&id.kind, kind, (size_t)(name - kind), e);
	if (rc != 0)
		return rc;
	if (name < end)
		name++;
	rc = take_name(id.name, name, (size_t)(end - name), e);
	if (rc == 0)
		*out = id;
	return rc;
}

int identity_make(struct identity *out, enum identity_kind kind, const char *domain,
    const char *name, struct err *e)
{
	struct identity id = {.kind = kind};
	int rc;

	if (kind != IDENTITY_AGENT && kind != IDENTITY_USER)
		return err_set(e, TX_EINVAL, "an identity is of an agent or of a user");
	rc = take_domain(id.domain, domain, strlen(domain), e);
	if (rc == 0)
		rc = take_name(id.name, name, strlen(name), e);
	if (rc == 0)
		*out = id;
	return rc;
}

char *identity_format(char out[IDENTITY_SIZE], const struct identity *id)
{
	snprintf(out, IDENTITY_SIZE, SCHEME "%s/%s/%s", id->domain, identity_kind_name(id->kind),
	    id->name);
	return out;
}

int identity_parse_domain(
    char out[IDENTITY_DOMAIN_MAX + 1], const char *text, size_t len, struct err *e)
{
	const char *domain = after_scheme(text, len);

	if (domain == NULL)
		return err_set(e, TX_EINVAL, "it does not begin with " SCHEME);
	return take_domain(out, domain, len - strlen(SCHEME), e);
}

bool identity_domain_valid(const char *domain)
{
	char copy[IDENTITY_DOMAIN_MAX + 1];

	return take_domain(copy, domain, strlen(domain), NULL) == 0;
}

const char *identity_kind_name(enum identity_kind kind)
{
	switch (kind) {
	case IDENTITY_AGENT:
		return "agent";
	case IDENTITY_USER:
		return "user";
	}
	return "";
}

bool identity_kind_parse(enum identity_kind *out, const char *text)
{
	return take_kind(out, text, strlen(text), NULL) == 0;
}
