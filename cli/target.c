/* SPDX-License-Identifier: Apache-2.0 */
/* Which agent: one host. Lists ("a,b", "web[01-20]", "@group") are recognised, and refused by name.
 */
#include "cli/target.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int check_port(const char *text, const char *port, struct err *e)
{
	size_t len = strlen(port);
	long n;

	if (len == 0 || len > 5 || strspn(port, "0123456789") != len)
		return err_set(e, TX_EINVAL, "'%s': the port must be a number, 1 to 65535", text);
	n = strtol(port, NULL, 10);
	if (n < 1 || n > 65535)
		return err_set(e, TX_EINVAL, "'%s': the port must be 1 to 65535", text);
	return 0;
}

static bool is_v6(const char *text, size_t len)
{
	char copy[INET6_ADDRSTRLEN];
	struct in6_addr address;

	if (len >= sizeof(copy))
		return false;
	memcpy(copy, text, len);
	copy[len] = '\0';
	return inet_pton(AF_INET6, copy, &address) == 1;
}

static int parse_v6(const char *text, char *out, struct err *e)
{
	const char *close = strchr(text, ']');
	int r;

	if (!close || !is_v6(text + 1, (size_t)(close - text - 1)))
		return err_set(e, TX_EINVAL, "'%s' holds no IPv6 address in its brackets", text);
	if (close[1] == ':') {
		if ((r = check_port(text, close + 2, e)) < 0)
			return r;
	} else if (close[1]) {
		return err_set(e, TX_EINVAL, "'%s': only :PORT may follow the brackets", text);
	}
	snprintf(out, TARGET_MAX, "%s", text);
	return 0;
}

static int parse_name(const char *text, char *out, struct err *e)
{
	const char *colon = strchr(text, ':');
	size_t len = colon ? (size_t)(colon - text) : strlen(text);
	int r;

	if (len == 0)
		return err_set(e, TX_EINVAL, "'%s' names no host", text);
	if (len > 253 || text[0] == '-' ||
	    strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") < len)
		return err_set(e, TX_EINVAL, "'%s' is not a host's name or address", text);
	if (colon && (r = check_port(text, colon + 1, e)) < 0)
		return r;
	snprintf(out, TARGET_MAX, "%s", text);
	return 0;
}

int target_parse(const char *text, char *out, struct err *e)
{
	if (text[0] == '[')
		return parse_v6(text, out, e);
	if (text[0] == '@' && text[1] && !strchr(text + 1, '@'))
		return err_set(e, TX_EUNSUPPORTED,
		    "'%s' is a group; this version talks to one host at a time: host or host:port",
		    text);
	if (strchr(text, ',') || strchr(text, '[') || strchr(text, ' '))
		return err_set(e, TX_EUNSUPPORTED,
		    "'%s' is a list of hosts; this version talks to one at a time: host or "
		    "host:port",
		    text);
	if (strchr(text, '@'))
		return err_set(e, TX_EINVAL,
		    "'%s': who you are is in the certificate, not before an '@'; give the host "
		    "alone "
		    "(and `run --user` for the user to run as)",
		    text);
	if (is_v6(text, strlen(text))) {
		snprintf(out, TARGET_MAX, "[%s]", text);
		return 0;
	}
	return parse_name(text, out, e);
}
