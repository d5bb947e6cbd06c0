/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two places to come back to are enough: the last '*' and the last '**'. What was matched before an
 * earlier star need not be tried elsewhere, since the later star of the same kind takes up whatever
 * the earlier one would have.
 */
#include "common/glob.h"

#include <string.h>

/* Where to go on when the text does not fit: the pattern behind a star, and what the star takes. */
struct star {
	const char *pattern; /* NULL: there is none */
	const char *text;
};

/* How long the pattern's first character is, and which one it stands for; 0: it ends here. */
static size_t one(const char *pattern, char *c)
{
	*c = pattern[0];
	if (pattern[0] != '\\')
		return pattern[0] != '\0';
	*c = pattern[1];
	return pattern[1] != '\0' ? 2 : 0;
}

/* Whether the next character of the text is the pattern's; moves both. */
static bool step(const char **pattern, const char **text)
{
	char c;
	size_t len;

	if (**pattern == '?') {
		if (**text == '\0' || **text == '/')
			return false;
		len = 1;
	} else {
		len = one(*pattern, &c);
		if (len == 0 || **text == '\0' || c != **text)
			return false;
	}
	*pattern += len;
	*text += 1;
	return true;
}

/* The last star that can take one more character takes it. */
static bool come_back(
    struct star *within, struct star *across, const char **pattern, const char **text)
{
	struct star *s = within;

	if (s->pattern == NULL || *s->text == '/' || *s->text == '\0') {
		within->pattern = NULL;
		s = across;
	}
	if (s->pattern == NULL || *s->text == '\0')
		return false;
	s->text++;
	*pattern = s->pattern;
	*text = s->text;
	return true;
}

/* Steps; of a text that is as long as the kernel takes, and of patterns with one star, far fewer.
 */
#define STEPS_MAX 4000000u

bool glob_match(const char *pattern, const char *text)
{
	struct star within = {0}, across = {0};

	for (unsigned steps = 0; steps < STEPS_MAX; steps++) {
		if (pattern[0] == '*' && pattern[1] == '*') {
			pattern += 2;
			across = (struct star){pattern, text};
			within.pattern = NULL;
		} else if (pattern[0] == '*') {
			pattern++;
			within = (struct star){pattern, text};
		} else if (pattern[0] == '\0' && text[0] == '\0') {
			return true;
		} else if (!step(&pattern, &text) &&
		           !come_back(&within, &across, &pattern, &text)) {
			return false;
		}
	}
	return false;
}

bool glob_valid(const char *pattern)
{
	if (pattern[0] == '\0')
		return false;
	for (; *pattern != '\0'; pattern++)
		if (*pattern == '\\' && *++pattern == '\0')
			return false;
	return true;
}

bool glob_path_plain(const char *path)
{
	const char *at = path;

	if (path[0] != '/')
		return false;
	if (path[1] == '\0')
		return true;
	while (*at == '/') {
		size_t len = strcspn(++at, "/");

		if (len == 0 || (len == 1 && at[0] == '.') ||
		    (len == 2 && at[0] == '.' && at[1] == '.'))
			return false;
		at += len;
	}
	return true;
}

bool glob_path_match(const char *pattern, const char *path)
{
	char below[4096 + 1];
	size_t len = strlen(path), end = strlen(pattern);

	if (len + 2 > sizeof(below) || !glob_path_plain(path))
		return false;
	if (glob_match(pattern, path))
		return true;
	/* The folder itself is what its pattern takes with a slash and nothing behind. */
	if (end < 3 || strcmp(pattern + end - 3, "/**") != 0)
		return false;
	memcpy(below, path, len);
	memcpy(below + len, len > 1 ? "/" : "", len > 1 ? 2 : 1);
	return glob_match(pattern, below);
}
