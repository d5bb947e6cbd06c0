/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "certs/token.h"

static char *sans[] = {(char[]){"build7.lab.example"}, (char[]){"10.0.0.7"}, (char[]){"::1"}};

static struct token example(void)
{
	struct token t = {.kind = IDENTITY_AGENT,
	    .domain = "lab.example",
	    .name = "build7",
	    .address = "ca.lab.example:8360",
	    .expires = INT64_C(1790000000),
	    .sans = sans,
	    .n_sans = 3};

	for (size_t i = 0; i < sizeof(t.pin); i++)
		t.pin[i] = (uint8_t)(i * 7);
	return t;
}

static char *make(struct token *t)
{
	char *text = NULL;
	struct err e;

	assert_int_equal(token_make(t, &text, &e), 0);
	return text;
}

static void what_is_made_is_read_back(void **state)
{
	struct token t = example(), back;
	char *text = make(&t);
	struct err e;

	(void)state;
	assert_int_equal(strncmp(text, "telex1.", 7), 0);
	assert_null(strpbrk(text, " \n=+/"));
	assert_int_equal(token_parse(&back, text, &e), 0);
	assert_int_equal(back.kind, IDENTITY_AGENT);
	assert_string_equal(back.domain, "lab.example");
	assert_string_equal(back.name, "build7");
	assert_string_equal(back.address, "ca.lab.example:8360");
	assert_int_equal(back.expires, 1790000000);
	assert_memory_equal(back.pin, t.pin, sizeof(t.pin));
	assert_memory_equal(back.secret, t.secret, sizeof(t.secret));
	assert_int_equal(back.n_sans, 3);
	for (size_t i = 0; i < 3; i++)
		assert_string_equal(back.sans[i], sans[i]);
	token_clear(&back);
	token_text_free(text);
}

static void a_users_token_has_no_hosts(void **state)
{
	struct token t = example(), back;
	char *text;

	(void)state;
	t.kind = IDENTITY_USER;
	t.n_sans = 0;
	text = make(&t);
	assert_int_equal(token_parse(&back, text, NULL), 0);
	assert_int_equal(back.kind, IDENTITY_USER);
	assert_int_equal(back.n_sans, 0);
	token_clear(&back);
	token_text_free(text);
}

static void no_two_tokens_have_the_same_secret(void **state)
{
	struct token a = example(), b = example();
	char *one = make(&a), *two = make(&b);
	uint8_t hash_a[32], hash_b[32];

	(void)state;
	assert_memory_not_equal(a.secret, b.secret, sizeof(a.secret));
	token_hash(a.secret, hash_a);
	token_hash(b.secret, hash_b);
	assert_memory_not_equal(hash_a, hash_b, sizeof(hash_a));
	/* The ledger's value gives nothing of the secret away. */
	assert_memory_not_equal(hash_a, a.secret, sizeof(hash_a));
	token_text_free(one);
	token_text_free(two);
}

static void each_changed_character_is_found(void **state)
{
	static const char others[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	                             "0123456789-_ .=+/\n";
	struct token t = example(), back;
	char *text = make(&t);
	size_t tried = 0;
	struct err e;

	(void)state;
	for (size_t i = 0; text[i] != '\0'; i++) {
		char right = text[i];

		for (const char *c = others; *c != '\0'; c++) {
			if (*c == right)
				continue;
			text[i] = *c;
			e.message[0] = '\0';
			assert_int_equal(token_parse(&back, text, &e), TX_EINVAL);
			assert_int_not_equal(e.message[0], '\0');
			tried++;
		}
		text[i] = right;
	}
	assert_true(tried > 10000);
	assert_int_equal(token_parse(&back, text, &e), 0);
	token_clear(&back);
	token_text_free(text);
}

static void what_was_cut_swapped_or_lengthened_is_found(void **state)
{
	struct token t = example(), back;
	char *text = make(&t), *copy = strdup(text);
	size_t len = strlen(text);
	char longer[TOKEN_TEXT_MAX + 64];

	(void)state;
	assert_non_null(copy);
	for (size_t i = 0; i < len; i++) {
		copy[i] = '\0';
		assert_int_equal(token_parse(&back, copy, NULL), TX_EINVAL);
		copy[i] = text[i];
		/* From the front, too. */
		if (i > 0)
			assert_int_equal(token_parse(&back, text + i, NULL), TX_EINVAL);
		if (i + 1 < len && text[i] != text[i + 1]) {
			copy[i] = text[i + 1];
			copy[i + 1] = text[i];
			assert_int_equal(token_parse(&back, copy, NULL), TX_EINVAL);
			copy[i] = text[i];
			copy[i + 1] = text[i + 1];
		}
	}
	memcpy(longer, text, len + 1);
	strcat(longer, "A");
	assert_int_equal(token_parse(&back, longer, NULL), TX_EINVAL);
	memset(longer + len, 'A', sizeof(longer) - len - 1);
	longer[sizeof(longer) - 1] = '\0';
	assert_int_equal(token_parse(&back, longer, NULL), TX_EINVAL);
	free(copy);
	token_text_free(text);
}

static void says(const char *text, const char *words)
{
	struct token back;
	struct err e;

	assert_int_equal(token_parse(&back, text, &e), TX_EINVAL);
	if (strstr(e.message, words) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", e.message, words);
}

static void the_sentences_tell_what_is_wrong(void **state)
{
	struct token t = example();
	char *text = make(&t);

	(void)state;
	says("", "no token");
	says("hello", "no token");
	says("telex.", "no token");
	says("telex1.", "cut, mistyped or too long");
	says("telex2.AAAA", "another version");
	says("telex10.AAAA", "another version");
	text[strlen(text) / 2] ^= 1;
	says(text, "copy the whole line once more");
	token_text_free(text);
}

static void what_does_not_fit_is_not_made(void **state)
{
	char host[254], *many[255], *text = NULL;
	struct token t = example();
	struct err e;

	(void)state;
	memset(host, 'a', sizeof(host) - 1);
	host[sizeof(host) - 1] = '\0';
	for (size_t i = 0; i < 255; i++)
		many[i] = host;
	t.sans = many;
	t.n_sans = 255;
	assert_int_equal(token_make(&t, &text, &e), TX_EINVAL);
	assert_null(text);
	t.n_sans = 8;
	text = make(&t);
	token_text_free(text);
}

static void clearing_wipes_the_secret(void **state)
{
	struct token t = example(), back;
	const uint8_t zeros[TOKEN_SECRET_SIZE] = {0};
	char *text = make(&t);

	(void)state;
	assert_int_equal(token_parse(&back, text, NULL), 0);
	token_clear(&back);
	assert_memory_equal(back.secret, zeros, sizeof(zeros));
	assert_null(back.sans);
	/* Twice does no harm. */
	token_clear(&back);
	token_text_free(text);
	token_text_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_is_made_is_read_back),
	    cmocka_unit_test(a_users_token_has_no_hosts),
	    cmocka_unit_test(no_two_tokens_have_the_same_secret),
	    cmocka_unit_test(each_changed_character_is_found),
	    cmocka_unit_test(what_was_cut_swapped_or_lengthened_is_found),
	    cmocka_unit_test(the_sentences_tell_what_is_wrong),
	    cmocka_unit_test(what_does_not_fit_is_not_made),
	    cmocka_unit_test(clearing_wipes_the_secret),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
