/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ceiling as the keeper hands it to a worker, what it says of requests, and the patterns in it.
 * Behind a first byte 1 the rest is a pattern and a text, in lines.
 */
#include <stdlib.h>
#include <string.h>

#include "common/ceiling.h"
#include "common/glob.h"
#include "common/mem.h"
#include "tests/fuzz/fuzz.h"

#define SMALL 12 /* for the slow way */

/* The same as glob.h says, in the way that cannot be wrong, and takes exponential time. */
static bool slow_match(const char *pattern, const char *text)
{
	bool across = pattern[0] == '*' && pattern[1] == '*';

	if (pattern[0] == '\0')
		return text[0] == '\0';
	if (pattern[0] == '*') {
		const char *rest = pattern + (across ? 2 : 1);

		for (;; text++) {
			if (slow_match(rest, text))
				return true;
			if (text[0] == '\0' || (text[0] == '/' && !across))
				return false;
		}
	}
	if (text[0] == '\0')
		return false;
	if (pattern[0] == '?')
		return text[0] != '/' && slow_match(pattern + 1, text + 1);
	if (pattern[0] == '\\' && *++pattern == '\0')
		return false;
	return pattern[0] == text[0] && slow_match(pattern + 1, text + 1);
}

static void match(struct fuzz_input *in)
{
	char *pattern = fuzz_text(in, '\n'), *text = fuzz_text(in, '\n');
	bool matches = glob_match(pattern, text);

	if (strlen(pattern) <= SMALL && strlen(text) <= SMALL && glob_valid(pattern))
		fuzz_require(matches == slow_match(pattern, text));
	if (glob_path_match(pattern, text))
		fuzz_require(glob_path_plain(text));
	if (glob_path_plain(text))
		fuzz_require(strstr(text, "//") == NULL && strstr(text, "/../") == NULL);
	ceiling_user_valid(text);
	ceiling_folder_valid(text);
	free(pattern);
	free(text);
}

static void check_packing(const struct ceiling *c, const uint8_t *data, size_t size)
{
	uint8_t *packed;
	size_t len;

	fuzz_require(ceiling_pack(c, &packed, &len, NULL) == 0);
	fuzz_require(len == size && memcmp(packed, data, size) == 0);
	free(packed);
}

static void ask(const struct ceiling *c, struct fuzz_input *in)
{
	struct err e = {0};
	char *user = fuzz_text(in, '\n'), *program = fuzz_text(in, '\n');
	char *variable = fuzz_text(in, '\n'), *path = fuzz_text(in, '\n');
	uint32_t id = (uint32_t)fuzz_number(in, 4);

	if (ceiling_check(c, user, program, &e) == 0 && c->n_programs > 0)
		fuzz_require(glob_path_plain(program));
	if (!c->root)
		fuzz_require(ceiling_check(c, "root", program, &e) != 0 &&
		             ceiling_check(c, "0:users", program, &e) != 0 &&
		             ceiling_check_uid(c, user, 0, &e) != 0);
	if (ceiling_check_files(c, user, &e) == 0)
		fuzz_require(c->files && user[0] != '\0');
	ceiling_check_environment(c, &variable, 1, &e);
	if (ceiling_check_path(c, path, &e) != 0)
		fuzz_require(c->n_folders > 0);
	ceiling_check_uid(c, user, id, &e);
	ceiling_check_gid(c, program, id, (id & 1) != 0, &e);
	free(user);
	free(program);
	free(variable);
	free(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	struct ceiling c;
	const uint8_t *packed;
	size_t len;

	if (fuzz_byte(&in) == 1) {
		match(&in);
		return 0;
	}
	packed = fuzz_part(&in, &len);
	if (ceiling_unpack(&c, packed, len, NULL) == 0) {
		check_packing(&c, packed, len);
		ask(&c, &in);
	}
	ceiling_clear(&c);
	return 0;
}
