/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/address.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "lib/telex.h"

/* Decimal, 1 to 65535, to the end of the text; 0 when it is not. */
static uint16_t parse_port(const char *text)
{
	unsigned port = 0;

	if (*text == '\0')
		return 0;
	for (; *text != '\0'; text++) {
		if (*text < '0' || *text > '9')
			return 0;
		port = port * 10 + (unsigned)(*text - '0');
		if (port > UINT16_MAX)
			return 0;
	}
	return (uint16_t)port;
}

static bool is_v6(const char *host)
{
	char bare[ADDRESS_HOST_SIZE];
	struct in6_addr in6;

	snprintf(bare, sizeof(bare), "%s", host);
	bare[strcspn(bare, "%")] = '\0';
	return inet_pton(AF_INET6, bare, &in6) == 1;
}

/* A host's characters: what a name, an IPv4 address or an IPv6 address with a zone is made of. */
static bool host_ok(const char *host)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	                              "0123456789.-_:%";

	if (host[0] == '\0' || host[strspn(host, allowed)] != '\0')
		return false;
	return strpbrk(host, ":%") == NULL || is_v6(host);
}

/* Splits the text into host and port, which is NULL when there is none. */
static int split(const char *text, char host[ADDRESS_HOST_SIZE], const char **port, struct err *e)
{
	const char *start = text, *end, *colon = strchr(text, ':');
	size_t len;

	*port = NULL;
	if (*text == '[') {
		start++;
		end = strchr(text, ']');
		if (end == NULL)
			return err_set(e, TX_EINVAL, "\"%s\": the ']' is missing", text);
		if (end[1] == ':')
			*port = end + 2;
		else if (end[1] != '\0')
			return err_set(
			    e, TX_EINVAL, "\"%s\": only \":PORT\" may follow the ']'", text);
	} else if (colon != NULL && strchr(colon + 1, ':') == NULL) {
		end = colon;
		*port = colon + 1;
	} else {
		end = text + strlen(text);
	}
	len = (size_t)(end - start);
	if (len >= ADDRESS_HOST_SIZE)
		return err_set(e, TX_EINVAL, "the host in \"%.40s...\" is too long", text);
	memcpy(host, start, len);
	host[len] = '\0';
	if (*text == '[' && !is_v6(host))
		return err_set(e, TX_EINVAL, "\"%s\": no IPv6 address in the brackets", text);
	return 0;
}

int address_parse(struct address *out, const char *text, struct err *e)
{
	struct address a = {.port = TELEX_DEFAULT_PORT};
	const char *port;

	if (split(text, a.host, &port, e) < 0)
		return TX_EINVAL;
	if (a.host[0] == '\0')
		return err_set(e, TX_EINVAL, "\"%.300s\" names no host", text);
	if (!host_ok(a.host))
		return err_set(e, TX_EINVAL,
		    "\"%.300s\" is not a host; write HOST, HOST:PORT or [IPv6]:PORT", text);
	if (port != NULL)
		a.port = parse_port(port);
	if (a.port == 0)
		return err_set(
		    e, TX_EINVAL, "\"%.300s\": the port must be a number from 1 to 65535", text);
	snprintf(a.authority, sizeof(a.authority),
	    strchr(a.host, ':') != NULL ? "[%s]:%u" : "%s:%u", a.host, (unsigned)a.port);
	*out = a;
	return 0;
}

void address_tls_name(const struct address *a, char out[ADDRESS_HOST_SIZE])
{
	snprintf(out, ADDRESS_HOST_SIZE, "%s", a->host);
	out[strcspn(out, "%")] = '\0';
}
