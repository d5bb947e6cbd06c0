/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `telex cert`: one file a word, cmd_cert_<word>.c, each a verb of its own ("cert init") with its
 * own --help and a row in cmd_cert.c.
 */
#ifndef TX_CLI_CMD_CERT_H
#define TX_CLI_CMD_CERT_H

#include <jansson.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "certs/ca.h"
#include "certs/issue.h"
#include "certs/key.h"
#include "certs/ledger.h"
#include "certs/sans.h"
#include "cli/cli.h"
#include "cli/options.h"
#include "common/err.h"
#include "common/identity.h"

/* argv[0] of run is the word. */
extern const struct cli_verb cmd_cert_enroll, cmd_cert_token, cmd_cert_init, cmd_cert_issue,
    cmd_cert_ls, cmd_cert_renew, cmd_cert_revoke, cmd_cert_show, cmd_cert_sign;

/* ---- options that more than one word has ---- */

enum cert_option {
	CERT_DIR = 256,
	CERT_OUT,
	CERT_SAN,
	CERT_TTL,
	CERT_KEY_TYPE,
	CERT_FORCE,
	CERT_PASSPHRASE,
	CERT_OWN, /* the first of a word's own */
};

/* Rows of a word's table of options. */
#define CERT_SPEC_DIR                                                                              \
	{                                                                                          \
		CERT_DIR, '\0', "dir", true                                                        \
	}
#define CERT_SPEC_OUT                                                                              \
	{                                                                                          \
		CERT_OUT, '\0', "out", true                                                        \
	}
#define CERT_SPEC_SAN                                                                              \
	{                                                                                          \
		CERT_SAN, '\0', "san", true                                                        \
	}
#define CERT_SPEC_TTL                                                                              \
	{                                                                                          \
		CERT_TTL, '\0', "ttl", true                                                        \
	}
#define CERT_SPEC_KEY_TYPE                                                                         \
	{                                                                                          \
		CERT_KEY_TYPE, '\0', "key-type", true                                              \
	}
#define CERT_SPEC_FORCE                                                                            \
	{                                                                                          \
		CERT_FORCE, '\0', "force", false                                                   \
	}
#define CERT_SPEC_PASSPHRASE                                                                       \
	{                                                                                          \
		CERT_PASSPHRASE, '\0', "passphrase-file", true                                     \
	}

struct cert_options {
	const char *dir, *out;
	const char *passphrase_file;
	const char *sans[SANS_MAX];
	size_t n_sans;
	int64_t ttl_s;
	enum key_type key_type;
	bool force;
	/* Takes a word's own; false after it said what is wrong. */
	bool (*own)(struct options *o, int id, const char *value, void *arg);
	void *arg;
};

/* All options, after options_start. False: answer options_end. */
bool cmd_cert_options(struct options *o, struct cert_options *c);

/* ---- what the words share ---- */

/* Says it; CLI_TELEX. */
int cmd_cert_fail(const struct err *e);
/* The folder of the authority: `given`, or the one that init makes by default. The caller's to
 * free. */
int cmd_cert_folder(const char *given, char **out, struct err *e);
/* The authority of --dir, its passphrase from --passphrase-file or asked; *dir as
 * cmd_cert_folder's. */
int cmd_cert_authority(const struct cert_options *c, char **dir, struct ca **ca, struct err *e);
/* The ledger of the authority in a folder, as cmd_cert_folder's; one that is no authority's gets
 * none by being asked. */
int cmd_cert_ledger(const char *given, char **dir, struct ledger **out, struct err *e);
/* `agent NAME` or `user NAME` of o->operands[at]. False after it said what is wrong. */
bool cmd_cert_who(struct options *o, size_t at, enum identity_kind *kind, const char **name);

/* Where a certificate goes. */
struct cert_out {
	const char *dir;
	bool no_key; /* set it before */
	bool force, write_ca;
	char certificate[PATH_MAX], key[PATH_MAX], ca[PATH_MAX];
};

/* Into c->out, under `name`: before anything is issued, whether it could be written. */
int cmd_cert_out_check(struct cert_out *out, const struct cert_options *c, const char *name,
    const char *ca_dir, const struct ca *ca, struct err *e);
/* Into the ledger and the audit log (as `act`), then into the files. */
int cmd_cert_out_write(const struct cert_out *out, const char *act, const char *ca_dir,
    const struct ca *ca, const struct issued *issued, struct err *e);
/* The members that both `issue` and `sign` have. */
json_t *cmd_cert_out_json(const struct cert_out *out, const struct issued *issued);

/* ---- tokens that are out ---- */

int cmd_cert_token_ls(const struct cli *cli, const char *given, bool all);
/* By its id, its text, or @FILE. */
int cmd_cert_token_revoke(const struct cli *cli, const char *given, const char *what);

/* Seconds since the epoch as RFC 3339. */
json_t *cmd_cert_time(int64_t epoch);

#endif
