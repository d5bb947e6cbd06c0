/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "certs/ledger.h"
#include "common/tls_cert.h"
#include "tests/support/folder.h"

#define DOMAIN    "lab.example"
#define ALICE     "spiffe://lab.example/user/alice"
#define PROCESSES 10
#define USES      100

static struct ledger *open_in(const char *dir)
{
	struct ledger *l = NULL;
	struct err e;

	if (ledger_open(&l, dir, &e) != 0)
		fail_msg("%s", e.message);
	return l;
}

static struct ledger_certificate certificate(unsigned serial, const char *identity)
{
	struct ledger_certificate c = {.issued = (int64_t)time(NULL)};

	snprintf(c.serial, sizeof(c.serial), "%08X", serial);
	snprintf(c.identity, sizeof(c.identity), "%s", identity);
	c.not_before = c.issued - 300;
	c.not_after = c.issued + 86400;
	return c;
}

static void add(struct ledger *l, unsigned serial, const char *identity)
{
	struct ledger_certificate c = certificate(serial, identity);
	struct err e;

	if (ledger_add(l, &c, "PEM", &e) != 0)
		fail_msg("%s", e.message);
}

struct seen {
	size_t n, revoked, stop_at;
	char serials[8][LEDGER_SERIAL_SIZE];
	struct ledger_certificate last;
};

static bool see(const struct ledger_certificate *c, void *arg)
{
	struct seen *seen = arg;

	if (seen->n < 8)
		memcpy(seen->serials[seen->n], c->serial, sizeof(c->serial));
	seen->n++;
	seen->revoked += c->revoked != 0;
	seen->last = *c;
	return seen->n != seen->stop_at;
}

static struct seen look(struct ledger *l, size_t stop_at)
{
	struct seen seen = {.stop_at = stop_at};

	assert_int_equal(ledger_each(l, see, &seen, NULL), 0);
	return seen;
}

static void it_is_0600_and_remembers(void **state)
{
	struct ledger *l = open_in(*state);
	char *path = folder_path(*state, CA_LEDGER_FILE);
	struct ledger_certificate c;
	struct stat st;
	struct seen seen;

	add(l, 1, ALICE);
	add(l, 2, ALICE);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	ledger_close(l);
	l = open_in(*state);
	seen = look(l, 0);
	assert_int_equal(seen.n, 2);
	assert_string_equal(seen.serials[0], "00000002");
	assert_string_equal(seen.serials[1], "00000001");
	c = certificate(1, ALICE);
	assert_string_equal(seen.last.identity, ALICE);
	assert_true(seen.last.not_after - seen.last.not_before == c.not_after - c.not_before);
	assert_int_equal(look(l, 1).n, 1);
	assert_int_equal(ledger_add(l, &c, "PEM", NULL), TX_EEXIST);
	assert_int_equal(look(l, 0).n, 2);
	ledger_close(l);
	free(path);
}

static void a_serial_or_an_identity_is_revoked_once(void **state)
{
	struct ledger *l = open_in(*state);
	struct ledger_certificate old = certificate(0xab3, ALICE);
	struct ledger_revoked r = {.certificates = 9};
	struct err e;

	old.not_after = old.issued - 10;
	add(l, 0xab1, ALICE);
	add(l, 0xab2, ALICE);
	assert_int_equal(ledger_add(l, &old, "PEM", NULL), 0);
	add(l, 0xab4, "spiffe://lab.example/user/bob");
	assert_int_equal(ledger_revoke(l, DOMAIN, "00:00:0a:b1", 1, &r, NULL), 0);
	assert_int_equal(r.certificates, 1);
	assert_int_equal(ledger_revoke(l, DOMAIN, "00000AB1", 4, &r, NULL), 0);
	assert_int_equal(r.certificates, 0);
	/* Not the one that is over, not the one that is revoked. */
	assert_int_equal(ledger_revoke(l, DOMAIN, ALICE, 0, &r, NULL), 0);
	assert_int_equal(r.certificates, 1);
	assert_int_equal(look(l, 0).revoked, 2);
	assert_int_equal(
	    ledger_revoke(l, DOMAIN, "spiffe://lab.example/user/carol", 0, &r, &e), TX_ENOENT);
	assert_non_null(strstr(e.message, "carol"));
	/* SQL is data here. */
	assert_int_equal(ledger_revoke(l, DOMAIN, "' OR 1=1 --", 0, &r, &e), TX_ENOENT);
	assert_int_equal(look(l, 0).revoked, 2);
	ledger_close(l);
}

static void crl_numbers_only_grow(void **state)
{
	struct ledger *l = open_in(*state), *other = open_in(*state);
	int64_t last = 0, number = 0;

	for (int i = 0; i < 10; i++) {
		assert_int_equal(ledger_crl_number(i % 2 == 0 ? l : other, &number, NULL), 0);
		assert_true(number > last);
		last = number;
	}
	ledger_close(other);
	ledger_close(l);
}

static void hash_of(uint8_t out[LEDGER_HASH_SIZE], unsigned n)
{
	memset(out, 0x5a, LEDGER_HASH_SIZE);
	memcpy(out, &n, sizeof(n));
}

static void add_token(struct ledger *l, unsigned n, int64_t expires)
{
	struct ledger_token t = {.kind = IDENTITY_AGENT,
	    .name = "web1",
	    .sans = "10.0.0.7\nweb1.example",
	    .ttl_s = 3600,
	    .expires = expires};
	struct err e;

	hash_of(t.hash, n);
	if (ledger_add_token(l, &t, &e) != 0)
		fail_msg("%s", e.message);
}

static enum ledger_use look_at(struct ledger *l, unsigned token, unsigned csr, int64_t now)
{
	uint8_t hash[LEDGER_HASH_SIZE], csr_hash[LEDGER_HASH_SIZE];
	char *sans = NULL, *pem = NULL;
	enum ledger_use use;
	struct ledger_token t;

	hash_of(hash, token);
	hash_of(csr_hash, csr);
	assert_int_equal(ledger_look_token(l, hash, csr_hash, now, &use, &t, &sans, &pem, NULL), 0);
	if (use != LEDGER_USE_UNKNOWN) {
		assert_string_equal(t.name, "web1");
		assert_int_equal(t.kind, IDENTITY_AGENT);
		assert_int_equal(t.ttl_s, 3600);
		assert_string_equal(sans, "10.0.0.7\nweb1.example");
		assert_ptr_equal(t.sans, sans);
	}
	assert_true((pem != NULL) == (use == LEDGER_USE_AGAIN));
	free(sans);
	free(pem);
	return use;
}

static enum ledger_use redeem(
    struct ledger *l, unsigned token, unsigned csr, unsigned serial, int64_t now, char **pem)
{
	struct ledger_certificate c = certificate(serial, "spiffe://lab.example/agent/web1");
	uint8_t hash[LEDGER_HASH_SIZE], csr_hash[LEDGER_HASH_SIZE];
	enum ledger_use use = LEDGER_USE_UNKNOWN;
	struct err e;

	hash_of(hash, token);
	hash_of(csr_hash, csr);
	if (ledger_redeem(l, hash, csr_hash, &c, c.serial, now, &use, pem, &e) != 0)
		fail_msg("%s", e.message);
	return use;
}

static void a_token_is_good_once_and_for_its_csr_again(void **state)
{
	struct ledger *l = open_in(*state);
	char *pem = NULL;

	add_token(l, 1, 1000);
	assert_int_equal(look_at(l, 2, 70, 500), LEDGER_USE_UNKNOWN);
	assert_int_equal(look_at(l, 1, 70, 500), LEDGER_USE_NEW);
	assert_int_equal(look_at(l, 1, 70, 1000), LEDGER_USE_EXPIRED);
	assert_int_equal(redeem(l, 1, 70, 10, 1000, &pem), LEDGER_USE_EXPIRED);
	assert_int_equal(redeem(l, 2, 70, 10, 500, &pem), LEDGER_USE_UNKNOWN);
	assert_int_equal(look(l, 0).n, 0);
	assert_int_equal(redeem(l, 1, 70, 10, 500, &pem), LEDGER_USE_NEW);
	assert_null(pem);
	assert_int_equal(look_at(l, 1, 71, 500), LEDGER_USE_SPENT);
	assert_int_equal(redeem(l, 1, 71, 11, 500, &pem), LEDGER_USE_SPENT);
	assert_int_equal(look_at(l, 1, 70, 500), LEDGER_USE_AGAIN);
	/* Whose answer was lost may ask after the token is over. */
	assert_int_equal(redeem(l, 1, 70, 12, 5000, &pem), LEDGER_USE_AGAIN);
	assert_string_equal(pem, "0000000A");
	assert_int_equal(look(l, 0).n, 1);
	free(pem);
	ledger_close(l);
}

static void what_is_revoked_is_not_given_again(void **state)
{
	struct ledger *l = open_in(*state);
	struct ledger_certificate c = certificate(5, ALICE);
	struct ledger_revoked r;
	uint8_t csr[LEDGER_HASH_SIZE];
	char *pem = NULL;

	add_token(l, 1, 1000);
	assert_int_equal(redeem(l, 1, 70, 10, 500, &pem), LEDGER_USE_NEW);
	assert_int_equal(ledger_revoke(l, DOMAIN, "0000000A", 0, &r, NULL), 0);
	assert_int_equal(look_at(l, 1, 70, 500), LEDGER_USE_REVOKED);
	assert_int_equal(redeem(l, 1, 70, 12, 500, &pem), LEDGER_USE_REVOKED);
	assert_int_equal(look_at(l, 1, 71, 500), LEDGER_USE_SPENT);

	hash_of(csr, 3);
	add(l, 4, ALICE);
	assert_int_equal(ledger_add_renewal(l, csr, "00000004", &c, "first", NULL), 0);
	assert_int_equal(ledger_revoke(l, DOMAIN, "00000005", 0, &r, NULL), 0);
	assert_int_equal(ledger_renewal(l, csr, &pem, NULL), TX_EPERM);
	assert_null(pem);
	ledger_close(l);
}

static void a_certificate_that_cannot_be_recorded_spends_no_token(void **state)
{
	struct ledger *l = open_in(*state);
	struct ledger_certificate c = certificate(1, ALICE);
	uint8_t hash[LEDGER_HASH_SIZE];
	enum ledger_use use;
	char *pem = NULL;

	add(l, 1, ALICE);
	add_token(l, 7, 1000);
	hash_of(hash, 7);
	assert_int_equal(ledger_redeem(l, hash, hash, &c, "PEM", 500, &use, &pem, NULL), TX_EEXIST);
	assert_int_equal(look_at(l, 7, 8, 500), LEDGER_USE_NEW);
	ledger_close(l);
}

static void a_renewal_gives_the_same_again(void **state)
{
	struct ledger *l = open_in(*state);
	struct ledger_certificate c = certificate(5, ALICE), d = certificate(6, ALICE);
	uint8_t csr[LEDGER_HASH_SIZE];
	char *pem = NULL;

	hash_of(csr, 3);
	assert_int_equal(ledger_renewal(l, csr, &pem, NULL), 0);
	assert_null(pem);
	add(l, 4, ALICE);
	assert_int_equal(ledger_add_renewal(l, csr, "00000004", &c, "first", NULL), 0);
	assert_int_equal(ledger_add_renewal(l, csr, "00000004", &d, "second", NULL), TX_EEXIST);
	assert_int_equal(look(l, 0).n, 2);
	assert_int_equal(ledger_renewal(l, csr, &pem, NULL), 0);
	assert_string_equal(pem, "first");
	free(pem);
	ledger_close(l);
}

static void a_renewal_of_what_is_revoked_is_refused(void **state)
{
	struct ledger *l = open_in(*state);
	struct ledger_certificate c = certificate(5, ALICE);
	struct ledger_revoked r;
	uint8_t csr[LEDGER_HASH_SIZE];

	hash_of(csr, 3);
	add(l, 4, ALICE);
	assert_int_equal(ledger_revoke(l, DOMAIN, ALICE, 0, &r, NULL), 0);
	assert_int_equal(ledger_add_renewal(l, csr, "00000004", &c, "PEM", NULL), TX_EPERM);
	assert_int_equal(ledger_add_renewal(l, csr, "00000007", &c, "PEM", NULL), TX_EPERM);
	assert_int_equal(look(l, 0).n, 1);
	ledger_close(l);
}

/* `old` is renewed for the n-th time, at `now`. */
static int renew_for(
    struct ledger *l, const char *old, unsigned n, int64_t now, int64_t life_s, struct err *e)
{
	struct ledger_certificate c = certificate(n, ALICE);
	uint8_t csr[LEDGER_HASH_SIZE];

	c.issued = now;
	c.not_after = now + life_s;
	hash_of(csr, n);
	return ledger_add_renewal(l, csr, old, &c, "PEM", e);
}

static int renew_at(struct ledger *l, const char *old, unsigned n, int64_t now, struct err *e)
{
	return renew_for(l, old, n, now, 1000, e);
}

static void renewals_are_bounded(void **state)
{
	struct ledger *l = open_in(*state);
	struct ledger_certificate c = certificate(1, ALICE);
	int64_t now = c.issued;
	char old[LEDGER_SERIAL_SIZE];
	struct err e;
	unsigned n;

	c.not_after = now + 1000;
	assert_int_equal(ledger_add(l, &c, "PEM", NULL), 0);
	/* Some, at any time and of the same one; then no more. */
	for (n = 2; n <= LEDGER_LIVE_MAX; n++)
		assert_int_equal(renew_at(l, n == 2 ? "00000001" : "00000002", n, now, &e), 0);
	assert_int_equal(renew_at(l, "00000003", n, now + 499, &e), TX_ELIMIT);
	assert_non_null(strstr(e.message, "second half"));
	assert_int_equal(renew_at(l, "00000001", n, now + 499, &e), TX_ELIMIT);
	assert_non_null(strstr(e.message, "renewed before"));
	/* Another identity is not concerned. */
	add(l, 0x100, "spiffe://lab.example/user/bob");
	c = certificate(0x101, "spiffe://lab.example/user/bob");
	assert_int_equal(
	    ledger_add_renewal(l, (uint8_t[LEDGER_HASH_SIZE]){9}, "00000100", &c, "PEM", &e), 0);
	/* Whoever comes at two thirds gets the next one, for ever. */
	snprintf(old, sizeof(old), "00000003");
	for (int i = 0; i < 20; i++, n++) {
		now += 667;
		assert_int_equal(renew_at(l, old, n, now, &e), 0);
		snprintf(old, sizeof(old), "%08X", n);
	}
	ledger_close(l);
}

#define LIFE INT64_C(16000)

/* The first, and of it as many as are given at once. The number of the next is returned. */
static unsigned renew_to_the_limit(struct ledger *l, int64_t *from, int64_t after)
{
	struct ledger_certificate c = certificate(1, ALICE);
	struct err e;
	unsigned n;

	*from = c.issued;
	c.not_after = *from + LIFE;
	assert_int_equal(ledger_add(l, &c, "PEM", NULL), 0);
	for (n = 2; n <= LEDGER_LIVE_MAX; n++)
		assert_int_equal(renew_for(l, "00000001", n, *from + after, LIFE, &e), 0);
	return n;
}

/* Refused until that moment, which the refusal names, and not at it. */
static void comes_back(struct ledger *l, unsigned n, int64_t now, int64_t when)
{
	char words[64] = "come back after ";
	struct err e = {0};

	tls_time_text(words + strlen(words), when);
	assert_int_equal(renew_for(l, "00000001", n, now, LIFE, &e), TX_ELIMIT);
	if (strstr(e.message, words) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", e.message, words);
	assert_int_equal(renew_for(l, "00000001", n, when - 1, LIFE, &e), TX_ELIMIT);
	assert_int_equal(renew_for(l, "00000001", n, when, LIFE, &e), 0);
}

/* Two minutes without a place to store them, at two thirds of its life. */
static void who_could_not_store_what_he_got_gets_another(void **state)
{
	struct ledger *l = open_in(*state);
	int64_t from, at = 10667;
	unsigned n = renew_to_the_limit(l, &from, at);

	for (; at + 1000 < LIFE; at += 1000, n++)
		comes_back(l, n, from + at + 1, from + at + 1000);
	ledger_close(l);
}

static void what_was_given_early_keeps_nobody_from_it(void **state)
{
	struct ledger *l = open_in(*state);
	int64_t from;
	unsigned n = renew_to_the_limit(l, &from, 100);

	comes_back(l, n, from + 101, from + LIFE / 2);
	ledger_close(l);
}

/* There is an end of them: then the first that expires makes room. */
static void who_is_late_again_and_again_has_a_limit(void **state)
{
	struct ledger *l = open_in(*state);
	int64_t from, at = LIFE / 2 + 100;
	unsigned n = renew_to_the_limit(l, &from, 100);
	struct err e;

	for (; n <= LEDGER_LATE_MAX; n++, at += 500)
		assert_int_equal(
		    renew_for(l, n % 2 == 0 ? "00000001" : "00000002", n, from + at, LIFE, &e), 0);
	assert_int_equal(renew_for(l, "00000001", n, from + LIFE - 1, LIFE, &e), TX_ELIMIT);
	ledger_close(l);
}

static void what_was_renewed_from_it_is_revoked_with_a_serial(void **state)
{
	struct ledger *l = open_in(*state);
	int64_t now = (int64_t)time(NULL);
	struct ledger_revoked r;
	struct err e;

	add(l, 1, ALICE);
	add(l, 2, ALICE);
	assert_int_equal(renew_at(l, "00000001", 3, now, &e), 0);
	assert_int_equal(renew_at(l, "00000001", 4, now, &e), 0);
	assert_int_equal(renew_at(l, "00000003", 5, now, &e), 0);
	assert_int_equal(renew_at(l, "00000002", 6, now, &e), 0);
	assert_int_equal(ledger_revoke(l, DOMAIN, "00000003", 1, &r, &e), 0);
	assert_int_equal(r.certificates, 1);
	assert_int_equal(r.renewed, 1);
	/* One in the middle that is revoked already hides none. */
	assert_int_equal(ledger_revoke(l, DOMAIN, "00:00:00:01", 1, &r, &e), 0);
	assert_int_equal(r.certificates, 1);
	assert_int_equal(r.renewed, 1);
	assert_int_equal(look(l, 0).revoked, 4);
	assert_int_equal(renew_at(l, "00000005", 7, now, &e), TX_EPERM);
	assert_int_equal(renew_at(l, "00000006", 8, now, &e), 0);
	/* Of an identity all are its own. */
	assert_int_equal(ledger_revoke(l, DOMAIN, ALICE, 1, &r, &e), 0);
	assert_int_equal(r.certificates, 3);
	assert_int_equal(r.renewed, 0);
	ledger_close(l);
}

/* One who asks with all that he was given gets a number that does not grow. */
static void renewals_of_renewals_are_bounded(void **state)
{
	struct ledger *l = open_in(*state);
	struct ledger_certificate c = certificate(1, ALICE);
	int64_t now = c.issued;
	unsigned n = 2;
	size_t most = 0;

	c.not_after = now + 1000;
	assert_int_equal(ledger_add(l, &c, "PEM", NULL), 0);
	for (int64_t end = now + 5000; now < end; now += 100) {
		unsigned known = n;
		size_t live = 0;

		for (unsigned i = 1; i < known; i++) {
			char old[LEDGER_SERIAL_SIZE];

			snprintf(old, sizeof(old), "%08X", i);
			assert_int_equal(ledger_find(l, old, &c, NULL), 0);
			if (c.not_after <= now)
				continue;
			while (renew_at(l, old, n, now, NULL) == 0)
				n++;
		}
		for (unsigned i = 1; i < n; i++) {
			char serial[LEDGER_SERIAL_SIZE];

			snprintf(serial, sizeof(serial), "%08X", i);
			assert_int_equal(ledger_find(l, serial, &c, NULL), 0);
			live += c.not_after > now;
		}
		most = live > most ? live : most;
	}
	assert_in_range(most, LEDGER_LIVE_MAX, 2 * LEDGER_LATE_MAX + 1);
	ledger_close(l);
}

/* ---- tokens as a person sees them ---- */

#define WEB1 "spiffe://" DOMAIN "/agent/web1"

struct seen_tokens {
	size_t n, withdrawn, used;
	char id[LEDGER_TOKEN_ID_SIZE];
};

static bool see_token(const struct ledger_token_row *t, void *arg)
{
	struct seen_tokens *seen = arg;

	assert_string_equal(t->name, "web1");
	assert_string_equal(t->sans, "10.0.0.7\nweb1.example");
	seen->n++;
	seen->withdrawn += t->withdrawn;
	seen->used += t->serial[0] != '\0';
	memcpy(seen->id, t->id, sizeof(seen->id));
	return true;
}

static struct seen_tokens look_at_tokens(struct ledger *l)
{
	struct seen_tokens seen = {.n = 0};

	assert_int_equal(ledger_each_token(l, see_token, &seen, NULL), 0);
	return seen;
}

static void an_identity_loses_its_unused_tokens(void **state)
{
	int64_t soon = (int64_t)time(NULL) + 900;
	struct ledger *l = open_in(*state);
	struct ledger_revoked r;
	char *pem = NULL;

	add_token(l, 1, soon);
	add_token(l, 2, soon);
	add_token(l, 3, 1000); /* over for long */
	assert_int_equal(redeem(l, 1, 70, 10, soon - 100, &pem), LEDGER_USE_NEW);
	/* Another domain's is another one. */
	assert_int_equal(ledger_revoke(l, "other.example", WEB1, 0, &r, NULL), 0);
	assert_int_equal(r.tokens, 0);
	assert_int_equal(look_at(l, 2, 70, soon - 100), LEDGER_USE_NEW);
	assert_int_equal(ledger_revoke(l, DOMAIN, WEB1, 0, &r, NULL), 0);
	assert_int_equal(r.certificates, 0);
	assert_int_equal(r.tokens, 1);
	assert_int_equal(look_at(l, 2, 70, soon - 100), LEDGER_USE_WITHDRAWN);
	assert_int_equal(redeem(l, 2, 71, 11, soon - 100, &pem), LEDGER_USE_WITHDRAWN);
	assert_int_equal(look_at_tokens(l).n, 3);
	assert_int_equal(look_at_tokens(l).withdrawn, 1);
	assert_int_equal(look_at_tokens(l).used, 1);
	ledger_close(l);
}

static void an_identity_may_have_tokens_alone(void **state)
{
	struct ledger *l = open_in(*state);
	struct ledger_revoked r;

	add_token(l, 1, (int64_t)time(NULL) + 900);
	assert_int_equal(ledger_revoke(l, DOMAIN, WEB1, 0, &r, NULL), 0);
	assert_int_equal(r.certificates, 0);
	assert_int_equal(r.tokens, 1);
	assert_int_equal(ledger_revoke(l, DOMAIN, WEB1, 0, &r, NULL), TX_ENOENT);
	ledger_close(l);
}

static void a_token_is_withdrawn_by_its_id(void **state)
{
	int64_t soon = (int64_t)time(NULL) + 900;
	struct ledger *l = open_in(*state);
	char *pem = NULL;
	char id[LEDGER_TOKEN_ID_SIZE];
	uint8_t hash[LEDGER_HASH_SIZE];
	struct err e;

	add_token(l, 1, soon);
	hash_of(hash, 1);
	ledger_token_id(id, hash);
	assert_string_equal(look_at_tokens(l).id, id);
	assert_int_equal(ledger_withdraw_token(l, "0123456789abcdef", &e), TX_ENOENT);
	assert_int_equal(ledger_withdraw_token(l, "", &e), TX_ENOENT);
	for (char *at = id; *at != '\0'; at++)
		*at = (char)(*at >= 'A' ? *at + 'a' - 'A' : *at);
	assert_int_equal(ledger_withdraw_token(l, id, NULL), 0);
	assert_int_equal(ledger_withdraw_token(l, id, NULL), 0);
	assert_int_equal(look_at(l, 1, 70, soon - 100), LEDGER_USE_WITHDRAWN);
	add_token(l, 2, soon);
	assert_int_equal(redeem(l, 2, 70, 10, soon - 100, &pem), LEDGER_USE_NEW);
	hash_of(hash, 2);
	ledger_token_id(id, hash);
	assert_int_equal(ledger_withdraw_token(l, id, &e), TX_EEXIST);
	assert_non_null(strstr(e.message, "0000000A"));
	ledger_close(l);
}

/* ---- what is over ---- */

#define DAY INT64_C(86400)

static void what_is_over_for_long_is_forgotten(void **state)
{
	int64_t now = (int64_t)time(NULL), number;
	struct ledger *l = open_in(*state);
	static const struct {
		int64_t ended, revoked;
	} rows[] = {{31, 0}, {29, 0}, {31, 40}, {399, 420}, {401, 420}};
	struct ledger_certificate c;
	uint8_t csr[LEDGER_HASH_SIZE];
	char *pem = NULL;

	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		c = certificate(100 + i, ALICE);
		c.not_after = now - rows[i].ended * DAY;
		c.revoked = rows[i].revoked == 0 ? 0 : now - rows[i].revoked * DAY;
		assert_int_equal(ledger_add(l, &c, "PEM", NULL), 0);
	}
	add(l, 1, ALICE);
	c = certificate(2, ALICE);
	c.not_after = now - 31 * DAY;
	hash_of(csr, 3);
	assert_int_equal(ledger_add_renewal(l, csr, "00000001", &c, "PEM", NULL), 0);
	add_token(l, 1, now - 31 * DAY);
	add_token(l, 2, now - 29 * DAY);
	add_token(l, 3, now - 31 * DAY);
	assert_int_equal(redeem(l, 3, 70, 10, now - 32 * DAY, &pem), LEDGER_USE_NEW);
	assert_int_equal(ledger_crl_number(l, &number, NULL), 0);
	assert_int_equal(look(l, 0).n, 5); /* 101, 102, 103, 1 and the token's */
	assert_int_equal(look(l, 0).revoked, 2);
	assert_int_equal(look_at_tokens(l).n, 2);
	assert_int_equal(look_at_tokens(l).used, 1);
	assert_int_equal(ledger_renewal(l, csr, &pem, NULL), 0);
	assert_null(pem);
	ledger_close(l);
}

/* ---- several processes ---- */

struct tally {
	int new, again, spent, other, differ;
};

/* A process's uses of token 1. With `same`, all use one CSR. */
static struct tally use_often(const char *dir, unsigned process, bool same)
{
	struct tally t = {0};
	struct ledger *l = NULL;
	char first[LEDGER_SERIAL_SIZE] = "";

	if (ledger_open(&l, dir, NULL) != 0) {
		t.other = USES;
		return t;
	}
	for (unsigned i = 0; i < USES; i++) {
		unsigned id = 1000 + process * USES + i;
		char *pem = NULL;
		enum ledger_use use = redeem(l, 1, same ? 1 : id, id, 500, &pem);

		t.new += use == LEDGER_USE_NEW;
		t.again += use == LEDGER_USE_AGAIN;
		t.spent += use == LEDGER_USE_SPENT;
		t.other += use == LEDGER_USE_UNKNOWN || use == LEDGER_USE_EXPIRED;
		if (pem != NULL && first[0] == '\0')
			snprintf(first, sizeof(first), "%s", pem);
		t.differ += pem != NULL && strcmp(first, pem) != 0;
		free(pem);
	}
	ledger_close(l);
	return t;
}

static struct tally race(const char *dir, bool same)
{
	struct tally all = {0}, one;
	pid_t pids[PROCESSES];
	int fds[2], status;

	assert_int_equal(pipe(fds), 0);
	for (unsigned i = 0; i < PROCESSES; i++) {
		pids[i] = fork();
		assert_true(pids[i] >= 0);
		if (pids[i] == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			one = use_often(dir, i, same);
			_exit(write(fds[1], &one, sizeof(one)) == sizeof(one) ? 0 : 1);
		}
	}
	close(fds[1]);
	while (read(fds[0], &one, sizeof(one)) == sizeof(one)) {
		all.new += one.new;
		all.again += one.again;
		all.spent += one.spent;
		all.other += one.other;
		all.differ += one.differ;
	}
	close(fds[0]);
	for (unsigned i = 0; i < PROCESSES; i++) {
		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_int_equal(status, 0);
	}
	return all;
}

static void a_thousand_uses_at_once_make_one_certificate(void **state)
{
	struct ledger *l = open_in(*state);
	struct tally t;

	add_token(l, 1, 1000);
	ledger_close(l);
	t = race(*state, false);
	assert_int_equal(t.new, 1);
	assert_int_equal(t.spent, PROCESSES * USES - 1);
	assert_int_equal(t.again + t.other, 0);
	l = open_in(*state);
	assert_int_equal(look(l, 0).n, 1);
	ledger_close(l);
}

static void the_same_csr_at_once_gets_one_certificate(void **state)
{
	struct ledger *l = open_in(*state);
	struct tally t;

	add_token(l, 1, 1000);
	ledger_close(l);
	t = race(*state, true);
	assert_int_equal(t.new, 1);
	assert_int_equal(t.again, PROCESSES * USES - 1);
	assert_int_equal(t.spent + t.other + t.differ, 0);
	l = open_in(*state);
	assert_int_equal(look(l, 0).n, 1);
	ledger_close(l);
}

/* All find no file. */
static void many_may_make_it_at_once(void **state)
{
	struct tally t = race(*state, false);
	struct ledger *l = open_in(*state);

	assert_int_equal(t.other, PROCESSES * USES); /* no token is there */
	assert_int_equal(look(l, 0).n, 0);
	ledger_close(l);
}

/* ---- cut off ---- */

/* Adds for ever, and says after each that it is done. */
static void add_for_ever(const char *dir, int fd)
{
	struct ledger *l = open_in(dir);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (unsigned i = 1;; i++) {
		add(l, i, ALICE);
		if (write(fd, &i, sizeof(i)) != sizeof(i))
			_exit(1);
	}
}

static void killed_at_any_moment_what_was_told_is_there(void **state)
{
	unsigned told, last = 0;
	struct seen seen;
	struct ledger *l;
	int fds[2];
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		add_for_ever(*state, fds[1]);
	close(fds[1]);
	while (last < 40 && read(fds[0], &told, sizeof(told)) == sizeof(told))
		last = told;
	assert_int_equal(last, 40);
	assert_int_equal(kill(pid, SIGKILL), 0);
	while (read(fds[0], &told, sizeof(told)) == sizeof(told))
		last = told;
	close(fds[0]);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	l = open_in(*state);
	seen = look(l, 0);
	/* One may be there that could not be told any more. */
	assert_in_range(seen.n, last, last + 1);
	add(l, 1000000, ALICE);
	ledger_close(l);
}

/* Stops for ever within a transaction that has been written to the disk in part. */
static void stop_within(const char *path, int fd)
{
	sqlite3 *db = NULL;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (sqlite3_open(path, &db) != SQLITE_OK ||
	    sqlite3_exec(db,
	        "PRAGMA cache_size = 4; BEGIN IMMEDIATE;"
	        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)"
	        "INSERT INTO certificate (serial, identity, not_before, not_after, issued, pem)"
	        " SELECT 'X' || i, 'half', 0, 0, 0, hex(randomblob(500)) FROM n",
	        NULL, NULL, NULL) != SQLITE_OK ||
	    write(fd, "x", 1) != 1)
		_exit(1);
	for (;;)
		pause();
}

static void killed_within_a_transaction_nothing_of_it_is_there(void **state)
{
	char *path = folder_path(*state, CA_LEDGER_FILE);
	struct ledger *l = open_in(*state);
	int fds[2];
	pid_t pid;
	char byte;

	add(l, 1, ALICE);
	ledger_close(l);
	assert_int_equal(pipe(fds), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		stop_within(path, fds[1]);
	close(fds[1]);
	assert_int_equal(read(fds[0], &byte, 1), 1);
	close(fds[0]);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	l = open_in(*state);
	assert_int_equal(look(l, 0).n, 1);
	add(l, 2, ALICE);
	assert_int_equal(look(l, 0).n, 2);
	ledger_close(l);
	free(path);
}

static size_t copy(const char *from, const char *to, size_t max)
{
	size_t done = 0;
	char buffer[4096];
	FILE *in = fopen(from, "re"), *out = fopen(to, "we");

	assert_non_null(in);
	assert_non_null(out);
	while (done < max) {
		size_t want = max - done < sizeof(buffer) ? max - done : sizeof(buffer);
		size_t n = fread(buffer, 1, want, in);

		if (n == 0)
			break;
		assert_int_equal(fwrite(buffer, 1, n, out), n);
		done += n;
	}
	fclose(in);
	assert_int_equal(fclose(out), 0);
	return done;
}

static size_t entries_of_copy(const char *dir, const char *wal, size_t cut)
{
	char *copied = folder_path(dir, "cut"), *from = folder_path(dir, CA_LEDGER_FILE);
	char *to = folder_path(copied, CA_LEDGER_FILE),
	     *to_wal = folder_path(copied, "ledger.db-wal");
	struct ledger *l;
	size_t n;

	mkdir(copied, 0700);
	copy(from, to, SIZE_MAX);
	copy(wal, to_wal, cut);
	l = open_in(copied);
	n = look(l, 0).n;
	ledger_close(l);
	free(copied);
	free(from);
	free(to);
	free(to_wal);
	return n;
}

/* Power fails: of the file that is written the end is not on the disk. */
static void a_cut_log_leaves_the_first_of_it(void **state)
{
	char *wal = folder_path(*state, "ledger.db-wal");
	struct ledger *l = open_in(*state);
	size_t all, last = 0;

	for (unsigned i = 0; i < 5; i++)
		add(l, i, ALICE);
	all = copy(wal, "/dev/null", SIZE_MAX);
	assert_true(all > 5000);
	for (size_t cut = 0; cut <= all; cut += all / 23) {
		size_t n = entries_of_copy(*state, wal, cut);

		assert_in_range(n, last, 5);
		last = n;
	}
	assert_int_equal(entries_of_copy(*state, wal, all), 5);
	ledger_close(l);
	free(wal);
}

/* ---- what is no ledger ---- */

static void expect_refused(const char *dir, int code, const char *words)
{
	struct ledger *l = NULL;
	struct err e;

	assert_int_equal(ledger_open(&l, dir, &e), code);
	assert_null(l);
	if (strstr(e.message, words) == NULL)
		fail_msg("\"%s\" is not in: %s", words, e.message);
}

static void sql(const char *path, const char *text)
{
	sqlite3 *db = NULL;

	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

static void put(const char *path, size_t at, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, text, strlen(text), (off_t)at), strlen(text));
	close(fd);
}

static void what_is_no_ledger_is_told_and_left_alone(void **state)
{
	char *path = folder_path(*state, CA_LEDGER_FILE);
	char *missing = folder_path(*state, "missing");
	char text[8] = "";
	FILE *f;

	expect_refused(missing, TX_ESYS, "No such file or directory");
	put(path, 0,
	    "This is a letter, and it is longer than the header of a database, which has "
	    "one hundred bytes.");
	expect_refused(*state, TX_ESTATE, "no SQLite database");
	f = fopen(path, "re");
	assert_non_null(f);
	assert_non_null(fgets(text, sizeof(text), f));
	assert_string_equal(text, "This is");
	fclose(f);
	unlink(path);
	sql(path, "CREATE TABLE bookmarks (url)");
	expect_refused(*state, TX_ESTATE, "another program's database");
	free(path);
	free(missing);
}

static void a_newer_one_is_told(void **state)
{
	char *path = folder_path(*state, CA_LEDGER_FILE);

	ledger_close(open_in(*state));
	sql(path, "PRAGMA user_version = 99");
	expect_refused(*state, TX_ESTATE, "newer telex (version 99");
	free(path);
}

static void one_of_before_is_brought_up(void **state)
{
	char *path = folder_path(*state, CA_LEDGER_FILE);
	struct ledger *l = open_in(*state);
	uint8_t csr[LEDGER_HASH_SIZE];
	char *pem = NULL;
	struct err e;

	add(l, 1, ALICE);
	assert_int_equal(renew_at(l, "00000001", 2, (int64_t)time(NULL), &e), 0);
	ledger_close(l);
	sql(path, "DROP INDEX renewal_old; ALTER TABLE renewal DROP COLUMN old;"
	          "PRAGMA user_version = 1");
	for (int i = 0; i < 2; i++) { /* twice: what was brought up is left alone */
		l = open_in(*state);
		assert_int_equal(look(l, 0).n, 2 + (size_t)i);
		hash_of(csr, 2);
		assert_int_equal(ledger_renewal(l, csr, &pem, NULL), 0);
		assert_string_equal(pem, "PEM");
		free(pem);
		assert_int_equal(
		    renew_at(l, "00000002", 3 + (unsigned)i, (int64_t)time(NULL), &e), 0);
		ledger_close(l);
	}
	free(path);
}

static void a_damaged_one_is_told(void **state)
{
	char *path = folder_path(*state, CA_LEDGER_FILE);
	struct ledger *l = open_in(*state);
	char garbage[4097];
	struct err e;

	for (unsigned i = 0; i < 200; i++)
		add(l, i, ALICE);
	ledger_close(l);
	memset(garbage, 'g', sizeof(garbage) - 1);
	garbage[sizeof(garbage) - 1] = '\0';
	for (size_t page = 1; page < 5; page++)
		put(path, page * 4096, garbage);
	l = NULL;
	if (ledger_open(&l, *state, &e) == 0) {
		struct seen seen = {0};

		assert_int_equal(ledger_each(l, see, &seen, &e), TX_ESTATE);
		ledger_close(l);
	}
	assert_int_equal(e.code, TX_ESTATE);
	assert_non_null(strstr(e.message, "damaged"));
	free(path);
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, folder_make, folder_remove)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    IN_FOLDER(it_is_0600_and_remembers),
	    IN_FOLDER(a_serial_or_an_identity_is_revoked_once),
	    IN_FOLDER(crl_numbers_only_grow),
	    IN_FOLDER(a_token_is_good_once_and_for_its_csr_again),
	    IN_FOLDER(what_is_revoked_is_not_given_again),
	    IN_FOLDER(a_certificate_that_cannot_be_recorded_spends_no_token),
	    IN_FOLDER(a_renewal_gives_the_same_again),
	    IN_FOLDER(a_renewal_of_what_is_revoked_is_refused),
	    IN_FOLDER(renewals_are_bounded),
	    IN_FOLDER(renewals_of_renewals_are_bounded),
	    IN_FOLDER(who_could_not_store_what_he_got_gets_another),
	    IN_FOLDER(what_was_given_early_keeps_nobody_from_it),
	    IN_FOLDER(who_is_late_again_and_again_has_a_limit),
	    IN_FOLDER(what_was_renewed_from_it_is_revoked_with_a_serial),
	    IN_FOLDER(an_identity_loses_its_unused_tokens),
	    IN_FOLDER(an_identity_may_have_tokens_alone),
	    IN_FOLDER(a_token_is_withdrawn_by_its_id),
	    IN_FOLDER(what_is_over_for_long_is_forgotten),
	    IN_FOLDER(a_thousand_uses_at_once_make_one_certificate),
	    IN_FOLDER(the_same_csr_at_once_gets_one_certificate),
	    IN_FOLDER(many_may_make_it_at_once),
	    IN_FOLDER(killed_at_any_moment_what_was_told_is_there),
	    IN_FOLDER(killed_within_a_transaction_nothing_of_it_is_there),
	    IN_FOLDER(a_cut_log_leaves_the_first_of_it),
	    IN_FOLDER(what_is_no_ledger_is_told_and_left_alone),
	    IN_FOLDER(a_newer_one_is_told),
	    IN_FOLDER(one_of_before_is_brought_up),
	    IN_FOLDER(a_damaged_one_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
