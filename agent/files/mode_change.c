/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/files/mode_change.h"

#include <string.h>
#include <sys/stat.h>

#include "common/err.h"

#define UMASK   022u
#define ALL     (S_IRWXU | S_IRWXG | S_IRWXO)
#define SPECIAL (S_ISUID | S_ISGID)

/* Whose bits: the nine permissions, and with each its special bit. */
static unsigned whose(const char **at)
{
	static const struct {
		char c;
		unsigned bits;
	} who[] = {{'u', S_IRWXU | S_ISUID}, {'g', S_IRWXG | S_ISGID}, {'o', S_IRWXO | S_ISVTX},
	    {'a', ALL | S_ISUID | S_ISGID | S_ISVTX}};
	unsigned bits = 0;

	for (;; ++*at) {
		size_t i = 0;

		while (i < 4 && who[i].c != **at)
			i++;
		if (i == 4)
			return bits;
		bits |= who[i].bits;
	}
}

/* "g=u": the bits that one has, for all. */
static unsigned spread(unsigned three)
{
	return three << 6 | three << 3 | three;
}

/* What an operator is about, for everybody. */
static void wanted(const char **at, unsigned mode, bool folder, unsigned *out, bool *special)
{
	unsigned bits = 0;

	*special = false;
	if (**at == 'u' || **at == 'g' || **at == 'o') {
		*out = spread((mode >> (**at == 'u' ? 6 : **at == 'g' ? 3 : 0)) & 7);
		++*at;
		return;
	}
	for (;; ++*at) {
		if (**at == 'r')
			bits |= spread(4);
		else if (**at == 'w')
			bits |= spread(2);
		else if (**at == 'x' || (**at == 'X' && (folder || (mode & spread(1)) != 0)))
			bits |= spread(1);
		else if (**at == 's')
			bits |= SPECIAL;
		else if (**at == 't')
			bits |= S_ISVTX;
		else if (**at != 'X')
			break;
	}
	*special = (bits & SPECIAL) != 0;
	*out = bits;
}

/* One operator. */
static bool operate(const char **at, unsigned who, unsigned *mode, bool folder)
{
	const char op = **at;
	/* Without a name: all, and what the umask forbids is let alone; the sticky bit is not its
	 * business. */
	const unsigned reach = who != 0 ? who : (ALL | SPECIAL | S_ISVTX) & ~UMASK;
	unsigned bits, clear;
	bool special;

	if (op != '+' && op != '-' && op != '=')
		return false;
	++*at;
	wanted(at, *mode, folder, &bits, &special);
	/* "o+t", "+t" and "a+t" set it, "u+t" and "g+t" do nothing. */
	bits &= reach;
	if (op == '-') {
		*mode &= ~bits;
		return true;
	}
	clear = who != 0 ? who : ALL | SPECIAL | S_ISVTX;
	if (folder && !special)
		clear &= ~(unsigned)SPECIAL;
	if (op == '=')
		*mode &= ~clear;
	*mode |= bits;
	return true;
}

static bool clause(const char **at, unsigned *mode, bool folder)
{
	unsigned who = whose(at);

	do
		if (!operate(at, who, mode, folder))
			return false;
	while (**at != ',' && **at != '\0');
	return true;
}

static bool octal(const char *text, unsigned *out)
{
	unsigned n = 0;

	if (strlen(text) > 5 || text[0] == '\0')
		return false;
	for (; *text >= '0' && *text <= '7'; text++)
		n = n * 8 + (unsigned)(*text - '0');
	*out = n;
	return *text == '\0' && n <= 07777;
}

int mode_change_apply(const char *change, unsigned mode, bool folder, unsigned *out)
{
	const char *at = change;

	if (octal(change, out))
		return 0;
	mode &= 07777;
	for (;;) {
		if (!clause(&at, &mode, folder))
			return TX_EINVAL;
		if (*at == '\0')
			break;
		at++;
	}
	*out = mode;
	return 0;
}

bool mode_change_valid(const char *change)
{
	unsigned mode;

	return mode_change_apply(change, 0, false, &mode) == 0;
}
