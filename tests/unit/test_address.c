/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "lib/address.h"
#include "lib/resolve.h"

static void expect(const char *text, const char *host, unsigned port, const char *authority)
{
	struct address a;
	struct err e;

	err_clear(&e);
	assert_int_equal(address_parse(&a, text, &e), 0);
	assert_string_equal(a.host, host);
	assert_int_equal(a.port, port);
	assert_string_equal(a.authority, authority);
}

static void refuse(const char *text, const char *words)
{
	struct address a;
	struct err e;

	err_clear(&e);
	memset(&a, 'x', sizeof(a));
	assert_int_equal(address_parse(&a, text, &e), TX_EINVAL);
	assert_non_null(strstr(e.message, words));
	assert_int_equal(a.host[0], 'x');
}

static void a_host_takes_the_default_port(void **state)
{
	(void)state;
	expect("build7", "build7", 8359, "build7:8359");
	expect("a-b_c.example.org", "a-b_c.example.org", 8359, "a-b_c.example.org:8359");
	expect("10.0.0.7", "10.0.0.7", 8359, "10.0.0.7:8359");
}

static void a_port_is_read(void **state)
{
	(void)state;
	expect("build7:1", "build7", 1, "build7:1");
	expect("10.0.0.7:65535", "10.0.0.7", 65535, "10.0.0.7:65535");
	expect("h:00080", "h", 80, "h:80");
}

static void ipv6_with_and_without_brackets(void **state)
{
	(void)state;
	expect("::1", "::1", 8359, "[::1]:8359");
	expect("[::1]", "::1", 8359, "[::1]:8359");
	expect("[2001:db8::7]:99", "2001:db8::7", 99, "[2001:db8::7]:99");
	expect("[fe80::1%eth0]:99", "fe80::1%eth0", 99, "[fe80::1%eth0]:99");
}

static void a_zone_is_no_part_of_the_tls_name(void **state)
{
	char name[ADDRESS_HOST_SIZE];
	struct address a;

	(void)state;
	assert_int_equal(address_parse(&a, "fe80::1%eth0", NULL), 0);
	address_tls_name(&a, name);
	assert_string_equal(name, "fe80::1");
}

static void bad_ports_are_named(void **state)
{
	(void)state;
	refuse("h:", "\"h:\": the port");
	refuse("h:0", "1 to 65535");
	refuse("h:65536", "1 to 65535");
	refuse("h:99999999999999999999", "1 to 65535");
	refuse("h:80x", "1 to 65535");
	refuse("h:-1", "1 to 65535");
	refuse("h: 80", "1 to 65535");
	refuse("[::1]:", "1 to 65535");
}

static void bad_hosts_are_refused(void **state)
{
	char big[600];

	(void)state;
	refuse("", "names no host");
	refuse(":80", "names no host");
	refuse("a b", "is not a host");
	refuse("user@host", "is not a host");
	refuse("http://host", "the port");
	refuse("a:b:c", "is not a host");
	refuse("host%zone", "is not a host");
	refuse("h\nx:1", "is not a host");
	refuse("[::1", "']' is missing");
	refuse("[::1]x", "may follow");
	refuse("[host]:1", "no IPv6 address");
	refuse("[]:1", "no IPv6 address");
	memset(big, 'a', sizeof(big));
	big[sizeof(big) - 1] = '\0';
	refuse(big, "too long");
}

static void addresses_need_no_asking(void **state)
{
	struct resolve_list list;

	(void)state;
	assert_int_equal(resolve_now(&list, "127.0.0.1", 99), 0);
	assert_int_equal(list.n, 1);
	assert_int_equal(list.at[0].addr.ss_family, AF_INET);
	assert_int_equal(resolve_now(&list, "::1", 99), 0);
	assert_int_equal(list.n, 1);
	assert_int_equal(list.at[0].addr.ss_family, AF_INET6);
	assert_int_equal(resolve_now(&list, "LocalHost", 99), 0);
	assert_int_equal(list.n, 2);
	assert_int_equal(resolve_now(&list, "build7.invalid", 99), TX_EAGAIN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_host_takes_the_default_port),
	    cmocka_unit_test(a_port_is_read),
	    cmocka_unit_test(ipv6_with_and_without_brackets),
	    cmocka_unit_test(a_zone_is_no_part_of_the_tls_name),
	    cmocka_unit_test(bad_ports_are_named),
	    cmocka_unit_test(bad_hosts_are_refused),
	    cmocka_unit_test(addresses_need_no_asking),
	};

	return cmocka_run_group_tests_name("address", tests, NULL, NULL);
}
