/* SPDX-License-Identifier: Apache-2.0 */
/* The options of put, get and sync. */
#ifndef TX_CLI_TRANSFER_OPTIONS_H
#define TX_CLI_TRANSFER_OPTIONS_H

#include <stdbool.h>

#include "cli/options.h"
#include "cli/progress.h"
#include "lib/telex.h"

struct transfer_options {
	struct telex_transfer_options o; /* sources and target are the verb's to set */
	struct telex_tree_filter *filters;
	enum progress_kind progress;
	bool pull;
};

/* Ids of the options that have no letter. */
enum {
	TRANSFER_DELETE = 300,
	TRANSFER_PULL,
	TRANSFER_WHOLE,
	TRANSFER_EXCLUDE,
	TRANSFER_INCLUDE,
	TRANSFER_RATE,
	TRANSFER_PROGRESS,
	TRANSFER_PARENTS,
	TRANSFER_SPECIALS,
	TRANSFER_NO_OWNER,
	TRANSFER_NO_MODES,
	TRANSFER_NO_TIMES,
	TRANSFER_NO_XATTRS,
	TRANSFER_NO_HARD_LINKS,
	TRANSFER_SPECIAL_BITS,
	TRANSFER_ANY_LINKS,
};

/* clang-format off: a table */
/* Those that all three have; a verb's table begins with them. */
#define TRANSFER_SPECS                                                                             \
	{'u', 'u', "user", true}, {'n', 'n', "dry-run", false}, {'c', 'c', "checksum", false},     \
	    {'I', 'I', "ignore-times", false}, {'z', 'z', "compress", false},                      \
	    {'L', 'L', "follow", false}, {TRANSFER_EXCLUDE, '\0', "exclude", true},                \
	    {TRANSFER_INCLUDE, '\0', "include", true}, {TRANSFER_RATE, '\0', "limit-rate", true},  \
	    {TRANSFER_PROGRESS, '\0', "progress", true},                                           \
	    {TRANSFER_PARENTS, '\0', "parents", false},                                            \
	    {TRANSFER_SPECIALS, '\0', "specials", false},                                          \
	    {TRANSFER_NO_OWNER, '\0', "no-owner", false},                                          \
	    {TRANSFER_NO_MODES, '\0', "no-modes", false},                                          \
	    {TRANSFER_NO_TIMES, '\0', "no-times", false},                                          \
	    {TRANSFER_NO_XATTRS, '\0', "no-xattrs", false},                                        \
	{                                                                                          \
		TRANSFER_NO_HARD_LINKS, '\0', "no-hard-links", false                               \
	}
/* Those that get has besides. */
#define TRANSFER_SPECS_GET                                                                         \
	{TRANSFER_SPECIAL_BITS, '\0', "keep-special-bits", false},                                 \
	{                                                                                          \
		TRANSFER_ANY_LINKS, '\0', "any-links", false                                       \
	}
/* clang-format on */

/* What is said where put's target has no folder. */
#define TRANSFER_IF_MISSING "; make it first, or add --parents"

/* The text of --help about them. */
#define TRANSFER_HELP                                                                              \
	"  -u, --user USER       as this user on the agent\n"                                      \
	"  -n, --dry-run         only say what would be done\n"                                    \
	"  -c, --checksum        compare by SHA-256, and not by size and time\n"                   \
	"  -I, --ignore-times    send all, also what looks the same\n"                             \
	"  -z, --compress        with zstd, where that makes it smaller\n"                         \
	"  -L, --follow          send what links point to, and not the links\n"                    \
	"      --exclude GLOB, --include GLOB\n"                                                   \
	"                        leave out, or not; the first that matches decides. Without a /\n" \
	"                        it is the name that must match, with one the path; a / at the\n"  \
	"                        end means folders; ** matches / too\n"                            \
	"      --limit-rate SIZE bytes a second: 500K, 10M\n"                                      \
	"      --progress WHAT   bar (default on a terminal), json (lines on stderr) or none\n"    \
	"      --parents         make the folders that the target needs\n"                         \
	"      --specials        also FIFOs, sockets and device files\n"                           \
	"      --no-owner, --no-modes, --no-times, --no-xattrs, --no-hard-links\n"                 \
	"                        do not keep these\n"

#define TRANSFER_HELP_GET                                                                          \
	"      --keep-special-bits\n"                                                              \
	"                        also set-user-ID, set-group-ID and sticky bits\n"                 \
	"      --any-links       also links that lead out of the tree; else they are refused\n"

/* Before the first option: what they are when none is given. */
void transfer_options_init(struct transfer_options *t);
/* One option: 0; 1: it is the verb's; -1: it was said what is wrong with it. */
int transfer_option(struct transfer_options *t, struct options *o, int id, const char *value);
void transfer_options_clear(struct transfer_options *t);

/* Whether it ends with a slash, and so must be a folder. */
bool transfer_is_folder(const char *path);

#endif
