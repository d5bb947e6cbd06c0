/* SPDX-License-Identifier: Apache-2.0 */
/* The options that more than one word of `telex cert` has. */
#include "certs/issue.h"
#include "cli/cmd_cert.h"
#include "common/duration.h"

static bool take_san(struct options *o, struct cert_options *c, const char *value)
{
	if (c->n_sans == SANS_MAX) {
		options_usage(o, "--san may be given %d times", SANS_MAX);
		return false;
	}
	if (!sans_valid(value)) {
		options_usage(o, "--san '%s' is neither a host name nor an IP address", value);
		return false;
	}
	c->sans[c->n_sans++] = value;
	return true;
}

static bool take_ttl(struct options *o, struct cert_options *c, const char *value)
{
	int64_t ns;

	if (duration_parse(value, &ns) != 0 || ns / NS_PER_S < ISSUE_TTL_MIN) {
		options_usage(o,
		    "--ttl takes a time of a minute or more, as 30m, 24h or 7d, not '%s'", value);
		return false;
	}
	c->ttl_s = ns / NS_PER_S;
	return true;
}

static bool take_key_type(struct options *o, struct cert_options *c, const char *value)
{
	static const char *const types[] = {"p256", "ed25519", "rsa"};

	if (key_type_parse(&c->key_type, value))
		return true;
	options_usage(o, "--key-type is p256, ed25519 or rsa, not '%s'%s", value,
	    options_nearest(value, types, 3));
	return false;
}

static bool take(struct options *o, struct cert_options *c, int id, const char *value)
{
	switch (id) {
	case CERT_DIR:
		c->dir = value;
		return true;
	case CERT_OUT:
		c->out = value;
		return true;
	case CERT_SAN:
		return take_san(o, c, value);
	case CERT_TTL:
		return take_ttl(o, c, value);
	case CERT_KEY_TYPE:
		return take_key_type(o, c, value);
	case CERT_PASSPHRASE:
		c->passphrase_file = value;
		return true;
	case CERT_FORCE:
		c->force = true;
		return true;
	default:
		return c->own(o, id, value, c->arg);
	}
}

bool cmd_cert_options(struct options *o, struct cert_options *c)
{
	const char *value;
	int id;

	while ((id = options_next(o, &value)) > 0) {
		if (!take(o, c, id, value))
			return false;
	}
	return id == 0;
}

bool cmd_cert_who(struct options *o, size_t at, enum identity_kind *kind, const char **name)
{
	static const char *const kinds[] = {"agent", "user"};

	if (!identity_kind_parse(kind, o->operands[at])) {
		options_usage(o, "a certificate is of an agent or a user, not of '%s'%s",
		    o->operands[at], options_nearest(o->operands[at], kinds, 2));
		return false;
	}
	*name = o->operands[at + 1];
	return true;
}
