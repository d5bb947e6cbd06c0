/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of messages and the check of a received one against it.
 *
 * `states` are the receiver's. A worker is NEW until KM_GO, CONFIGURED until it has sent KM_READY;
 * the keeper's end of the link follows when it sends KM_GO and receives KM_READY. Work is asked for
 * and answered in READY and in DRAINING, where the calls that are under way go on. DRAINING begins
 * with KM_DRAIN, on the keeper's end when it was sent, so that a worker that has not read it yet
 * breaks nothing. A worker may fail at any time, and is pinged from KM_GO on.
 */
#include "common/keeper_msg.h"

#include <string.h>

#define NEW        KM_LINK_NEW
#define CONFIGURED KM_LINK_CONFIGURED
#define READY      KM_LINK_READY
#define DRAINING   KM_LINK_DRAINING
#define WORKING    (READY | DRAINING)
#define AWAKE      (CONFIGURED | WORKING)
#define ANY        (NEW | AWAKE)

#define STRING(type, member)                                                                       \
	{                                                                                          \
		offsetof(struct type, member), sizeof(((struct type *)0)->member)                  \
	}
#define NONE                                                                                       \
	{                                                                                          \
		{                                                                                  \
			0, 0                                                                       \
		}                                                                                  \
	}

/* clang-format off */
const struct km_row km_table[] = {
    /* type          sender     fds  size                          states      name          strings */
    {KM_CONFIG,     KM_KEEPER, 3, sizeof(struct km_config),     NEW,        "config",     {STRING(km_config, default_user), STRING(km_config, trusted_proxy)}},
    {KM_LISTEN,     KM_KEEPER, 1, sizeof(struct km_listen),     NEW,        "listen",     {STRING(km_listen, address)}},
    {KM_GO,         KM_KEEPER, 0, sizeof(struct km_go),         NEW,        "go",         NONE},
    {KM_PING,       KM_KEEPER, 0, sizeof(struct km_ping),       AWAKE,      "ping",       NONE},
    {KM_DRAIN,      KM_KEEPER, 0, sizeof(struct km_drain),      WORKING,    "drain",      NONE},
    {KM_JOB,        KM_KEEPER, 0, sizeof(struct km_job),        WORKING,    "job",        {STRING(km_job, id), STRING(km_job, owner)}},
    {KM_REFUSED,    KM_KEEPER, 0, sizeof(struct km_refused),    WORKING,    "refused",    {STRING(km_refused, text)}},
    {KM_DONE,       KM_KEEPER, 0, sizeof(struct km_done),       WORKING,    "done",       NONE},
    {KM_TABLE,      KM_KEEPER, 1, sizeof(struct km_table_msg),  WORKING,    "table",      NONE},
    {KM_INFO_REPLY, KM_KEEPER, 0, sizeof(struct km_info_reply), WORKING,    "info_reply", NONE},
    {KM_RING,       KM_KEEPER, 1, sizeof(struct km_ring),       WORKING,    "ring",       NONE},
    {KM_WAKE,       KM_KEEPER, 0, sizeof(struct km_wake),       WORKING,    "wake",       NONE},
    {KM_INPUT_DONE, KM_KEEPER, 0, sizeof(struct km_input_done), WORKING,    "input_done", NONE},
    {KM_ENDED,      KM_KEEPER, 0, sizeof(struct km_ended),      WORKING,    "ended",      {STRING(km_ended, exit.by), STRING(km_ended, exit.text)}},
    {KM_SPOOL,      KM_KEEPER, 1, sizeof(struct km_spool),      WORKING,    "spool",      NONE},
    {KM_RUNNING,    KM_KEEPER, 0, sizeof(struct km_running),    WORKING,    "running",    NONE},
    {KM_GROUP_REPLY, KM_KEEPER, 0, sizeof(struct km_group_reply), WORKING,  "group_reply", NONE},
    {KM_DETACHED,   KM_KEEPER, 0, sizeof(struct km_detached),   WORKING,    "detached",   NONE},
    {KM_FILES_REPLY, KM_KEEPER, 1, sizeof(struct km_files_reply), WORKING,  "files_reply", {STRING(km_files_reply, home)}},
    {KM_FILE,       KM_KEEPER, 1, sizeof(struct km_file),       ANY,        "file",       {STRING(km_file, name)}},
    {KM_READY,      KM_WORKER, 0, sizeof(struct km_ready),      CONFIGURED, "ready",      NONE},
    {KM_FAILED,     KM_WORKER, 0, sizeof(struct km_failed),     ANY,        "failed",     {STRING(km_failed, text)}},
    {KM_PONG,       KM_WORKER, 0, sizeof(struct km_pong),       AWAKE,      "pong",       NONE},
    {KM_START,      KM_WORKER, 1, sizeof(struct km_start),      WORKING,    "start",      {STRING(km_start, id), STRING(km_start, owner)}},
    {KM_ATTACH,     KM_WORKER, 0, sizeof(struct km_attach),     WORKING,    "attach",     {STRING(km_attach, id), STRING(km_attach, owner)}},
    {KM_DETACH,     KM_WORKER, 0, sizeof(struct km_detach),     WORKING,    "detach",     NONE},
    {KM_RELEASE,    KM_WORKER, 0, sizeof(struct km_release),    WORKING,    "release",    NONE},
    {KM_INPUT,      KM_WORKER, 0, sizeof(struct km_input),      WORKING,    "input",      NONE},
    {KM_SIGNAL,     KM_WORKER, 0, sizeof(struct km_signal),     WORKING,    "signal",     {STRING(km_signal, id), STRING(km_signal, by)}},
    {KM_LIST,       KM_WORKER, 0, sizeof(struct km_list),       WORKING,    "list",       {STRING(km_list, id), STRING(km_list, group), STRING(km_list, owner)}},
    {KM_REMOVE,     KM_WORKER, 0, sizeof(struct km_remove),     WORKING,    "remove",     {STRING(km_remove, id), STRING(km_remove, by)}},
    {KM_UPDATE,     KM_WORKER, 0, sizeof(struct km_update),     WORKING,    "update",     {STRING(km_update, id), STRING(km_update, by)}},
    {KM_RESIZE,     KM_WORKER, 0, sizeof(struct km_resize),     WORKING,    "resize",     {STRING(km_resize, id), STRING(km_resize, by)}},
    {KM_GROUP,      KM_WORKER, 0, sizeof(struct km_group),      WORKING,    "group",      {STRING(km_group, name), STRING(km_group, by)}},
    {KM_REVOCATIONS, KM_WORKER, 1, sizeof(struct km_revocations), WORKING,  "revocations", NONE},
    {KM_FILES,      KM_WORKER, 0, sizeof(struct km_files),      WORKING,    "files",      {STRING(km_files, owner), STRING(km_files, user)}},
    {KM_INFO,       KM_WORKER, 0, sizeof(struct km_info),       WORKING,    "info",       NONE},
};
/* clang-format on */
const size_t km_table_rows = sizeof(km_table) / sizeof(km_table[0]);

/* No hidden padding: each size is the sum of its members, so that no byte of a message is left to
 * chance. */
#define HDR sizeof(struct km_hdr)
_Static_assert(HDR == 16, "km_hdr");
_Static_assert(
    sizeof(struct km_exit) == 8 + 4 * 8 + 9 * 8 + 8 + KM_IDENTITY_SIZE + KM_TEXT_SIZE, "km_exit");
_Static_assert(sizeof(struct km_config) ==
                   HDR + 40 + 24 + 8 + 40 + KM_HASH_SIZE + 8 + KM_USER_SIZE + KM_IDENTITY_SIZE,
    "km_config");
_Static_assert(sizeof(struct km_listen) == HDR + 8 + KM_TEXT_SIZE, "km_listen");
_Static_assert(
    sizeof(struct km_job) == HDR + 16 + 24 + 48 + KM_ID_SIZE + KM_IDENTITY_SIZE + 7, "km_job");
_Static_assert(sizeof(struct km_refused) == HDR + 16 + 16 + KM_TEXT_SIZE, "km_refused");
_Static_assert(sizeof(struct km_table_msg) == HDR + 24, "km_table_msg");
_Static_assert(sizeof(struct km_info_reply) == HDR + 8, "km_info_reply");
_Static_assert(sizeof(struct km_ring) == HDR + 8 + 24, "km_ring");
_Static_assert(sizeof(struct km_wake) == HDR + 8, "km_wake");
_Static_assert(sizeof(struct km_input_done) == HDR + 16, "km_input_done");
_Static_assert(sizeof(struct km_ended) == HDR + 8 + sizeof(struct km_exit), "km_ended");
_Static_assert(sizeof(struct km_failed) == HDR + KM_TEXT_SIZE, "km_failed");
_Static_assert(
    sizeof(struct km_start) == HDR + 8 + 32 + KM_ID_SIZE + KM_IDENTITY_SIZE + 7, "km_start");
_Static_assert(
    sizeof(struct km_attach) == HDR + 8 + 32 + KM_ID_SIZE + KM_IDENTITY_SIZE + 7, "km_attach");
_Static_assert(sizeof(struct km_detach) == HDR + 8, "km_detach");
_Static_assert(sizeof(struct km_release) == HDR + 8 + 16, "km_release");
_Static_assert(sizeof(struct km_input) == HDR + 16, "km_input");
_Static_assert(
    sizeof(struct km_signal) == HDR + 24 + KM_ID_SIZE + KM_IDENTITY_SIZE + 7, "km_signal");
_Static_assert(
    sizeof(struct km_list) == HDR + 8 + 2 * KM_ID_SIZE + KM_IDENTITY_SIZE + 6, "km_list");
_Static_assert(sizeof(struct km_remove) == HDR + KM_ID_SIZE + KM_IDENTITY_SIZE + 7, "km_remove");
_Static_assert(
    sizeof(struct km_resize) == HDR + 8 + KM_ID_SIZE + KM_IDENTITY_SIZE + 7, "km_resize");
_Static_assert(sizeof(struct km_update) == HDR + 32 + JOB_RLIMITS_MAX * sizeof(struct job_rlimit) +
                                               KM_ID_SIZE + KM_IDENTITY_SIZE + 7,
    "km_update");
_Static_assert(sizeof(struct km_group) == HDR + 24 + KM_ID_SIZE + KM_IDENTITY_SIZE + 7, "km_group");
_Static_assert(sizeof(struct km_spool) == HDR + 16, "km_spool");
_Static_assert(sizeof(struct km_detached) == HDR + 8, "km_detached");
_Static_assert(sizeof(struct km_running) == HDR + 16, "km_running");
_Static_assert(sizeof(struct km_file) == HDR + 8 + KM_TEXT_SIZE, "km_file");
_Static_assert(sizeof(struct km_ready) == HDR, "km_ready");
_Static_assert(sizeof(struct km_pong) == HDR + 8 + KM_HASH_SIZE, "km_pong");
_Static_assert(
    sizeof(struct km_revocations) == HDR + 8 + REVOCATION_ISSUER_SIZE + 7, "km_revocations");
_Static_assert(sizeof(struct km_files) == HDR + 8 + KM_HASH_SIZE + KM_IDENTITY_SIZE + KM_TEXT_SIZE,
    "km_files");
_Static_assert(sizeof(struct km_files_reply) == HDR + 8 + KM_HOME_SIZE, "km_files_reply");
_Static_assert(sizeof(struct km_group_reply) == HDR + 24, "km_group_reply");

const struct km_row *km_row(uint16_t type)
{
	for (size_t i = 0; i < km_table_rows; i++)
		if (km_table[i].type == type)
			return &km_table[i];
	return NULL;
}

const char *km_stage_name(int stage)
{
	static const char *const names[] = {
	    [KM_STAGE_NONE] = "none",
	    [KM_STAGE_SPEC] = "spec",
	    [KM_STAGE_FORK] = "fork",
	    [KM_STAGE_USER] = "user",
	    [KM_STAGE_CGROUP] = "cgroup",
	    [KM_STAGE_LIMITS] = "limits",
	    [KM_STAGE_CHDIR] = "chdir",
	    [KM_STAGE_EXEC] = "exec",
	};

	if (stage < 0 || (size_t)stage >= sizeof(names) / sizeof(names[0]))
		return names[KM_STAGE_NONE];
	return names[stage];
}

static const char *state_name(unsigned state)
{
	switch (state) {
	case NEW:
		return "new";
	case CONFIGURED:
		return "configured";
	case READY:
		return "ready";
	case DRAINING:
		return "draining";
	default:
		return "unknown";
	}
}

bool km_strings_valid(const struct km_row *row, const void *msg)
{
	for (size_t i = 0; i < sizeof(row->strings) / sizeof(row->strings[0]); i++) {
		const size_t size = row->strings[i].size;

		if (size == 0)
			break;
		if (memchr((const uint8_t *)msg + row->strings[i].offset, '\0', size) == NULL)
			return false;
	}
	return true;
}

int km_check(
    const void *msg, size_t len, size_t n_fds, enum km_side from, unsigned state, struct err *e)
{
	const struct km_row *row;
	struct km_hdr hdr;

	if (len < sizeof(hdr))
		return err_set(e, TX_EPROTO, "a message of %zu bytes", len);
	memcpy(&hdr, msg, sizeof(hdr));
	if (hdr.version != KM_VERSION)
		return err_set(
		    e, TX_EPROTO, "a message of version %u, not %u", hdr.version, KM_VERSION);
	row = km_row(hdr.type);
	if (row == NULL)
		return err_set(e, TX_EPROTO, "a message of unknown type %u", hdr.type);
	if (row->sender != from)
		return err_set(e, TX_EPROTO, "message %s from the wrong side", row->name);
	if (hdr.size != row->size || len != row->size)
		return err_set(e, TX_EPROTO, "message %s of %zu bytes (says %u), not %u", row->name,
		    len, hdr.size, row->size);
	if (n_fds != row->n_fds)
		return err_set(e, TX_EPROTO, "message %s with %zu descriptors, not %u", row->name,
		    n_fds, row->n_fds);
	if ((row->states & state) == 0)
		return err_set(
		    e, TX_EPROTO, "message %s in state %s", row->name, state_name(state));
	if (!km_strings_valid(row, msg))
		return err_set(
		    e, TX_EPROTO, "message %s with a string that does not end", row->name);
	return 0;
}
