/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The messages between the keeper and a worker: fixed structs over a SOCK_SEQPACKET pair.
 *
 * One table (km_table) gives each type's exact size, number of descriptors, direction and the link
 * states it is allowed in. What breaks the table ends the link, and with it the worker: jobs live
 * on. Strings are NUL-terminated inside their arrays (checked on receipt), and everything that a
 * worker says is a claim for the keeper to check.
 *
 * Attachments. A worker numbers its attachments itself (`att`, not 0, not in use on its link).
 * Attached, it gets for that job: KM_RING when a stream's ring exists (an output's is made at its
 * first byte), KM_WAKE when there is more to see, and KM_ENDED once, last. All of them are
 * withdrawn by KM_DETACH or by the end of the link. A ring may be replaced: a later KM_RING for the
 * same stream, whose bytes begin where that ring's tail is. What an attachment still refers to in
 * the old one stays as it is. Bytes before the ring's tail may be in the spool (KM_SPOOL).
 *
 * Whose. Every request carries the identity it is made for (owner, by); a job of another identity
 * is answered as one that does not exist.
 *
 * Waking. Per attachment and output stream the keeper sends one KM_WAKE and then none until
 * KM_RELEASE told what the worker has seen; if there is more than that by then, it wakes again at
 * once. So a busy worker costs no messages.
 */
#ifndef TX_COMMON_KEEPER_MSG_H
#define TX_COMMON_KEEPER_MSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/job_spec.h"
#include "common/revocation_file.h"

#define KM_VERSION       7
#define KM_ID_SIZE       65  /* process_id and its NUL */
#define KM_IDENTITY_SIZE 256 /* an identity and its NUL */
#define KM_TEXT_SIZE     256
#define KM_USER_SIZE     64
#define KM_HASH_SIZE     32 /* SHA-256 */
#define KM_HOME_SIZE     1024
#define KM_LISTEN_MAX    16
#define KM_WORKER_FD     3 /* where a worker finds its end of the pair */

/* clang-format off: a table */
enum km_type {
	/* keeper -> worker */
	KM_CONFIG = 1, /* first message; fds: certificate, key, ca */
	KM_LISTEN = 2, /* one a listening socket, after KM_CONFIG; fd: the socket */
	KM_GO = 3, /* the configuration is complete: load it, drop what you hold, answer KM_READY */
	KM_PING = 4,         /* answer KM_PONG */
	KM_DRAIN = 5,        /* accept no more, send GOAWAY, exit when the last call is over */
	KM_JOB = 6,          /* answer to KM_START and KM_ATTACH */
	KM_REFUSED = 7,      /* answer to any request: no */
	KM_DONE = 8,         /* answer to KM_SIGNAL: done */
	KM_TABLE = 9,        /* answer to KM_LIST; fd: the records, sealed memfd (job_record.h) */
	KM_INFO_REPLY = 10,  /* answer to KM_INFO */
	KM_RING = 11,        /* a stream's ring; fd: its memfd */
	KM_WAKE = 12,        /* more output, or its end */
	KM_INPUT_DONE = 13,  /* stdin was written, or is closed */
	KM_ENDED = 14,       /* the exit; the last message of an attachment */
	KM_SPOOL = 15,       /* what its ring holds no longer; fd: the file, to be read only */
	KM_RUNNING = 16,     /* a job that was queued was started */
	KM_GROUP_REPLY = 17, /* answer to KM_GROUP */
	KM_DETACHED = 18,    /* an attachment was withdrawn for another's sake */
	KM_FILE = 19, /* what a worker may not open itself; fd: the file, or a socket; between
	                 KM_CONFIG and KM_GO, KM_FILE_REVOCATIONS also later */
	KM_FILES_REPLY = 20, /* answer to KM_FILES; fd: a SOCK_STREAM socket (files_frame.h) */
	/* worker -> keeper */
	KM_READY = 64,
	KM_FAILED = 65, /* cannot serve; the worker exits */
	KM_PONG = 66,
	KM_START = 67, /* fd: the spec, sealed memfd (job_spec.h) */
	KM_ATTACH = 68,
	KM_DETACH = 69,
	KM_RELEASE = 70,
	KM_INPUT = 71,
	KM_SIGNAL = 72,
	KM_LIST = 73,
	KM_INFO = 74,
	KM_REMOVE = 75, /* forget an ended job */
	KM_UPDATE = 76, /* new limits */
	KM_RESIZE = 77, /* a terminal's size */
	KM_GROUP = 78,  /* about a group */
	KM_REVOCATIONS =
	    79, /* newer revocations, which this worker has verified; fd: sealed memfd, PEM */
	KM_FILES = 80, /* start a telex-files, or connect to one that watches */
};
/* clang-format on */

/* Every message begins with it. `seq`: chosen by the side that asks, repeated in the answer; 0 for
 * what is no question. */
struct km_hdr {
	uint16_t version;
	uint16_t type;
	uint32_t size; /* of the whole struct */
	uint64_t seq;
};

enum km_stream { KM_STDIN = 0, KM_STDOUT = 1, KM_STDERR = 2 };
#define KM_BIT(stream) (1u << (stream))

enum km_target { KM_TARGET_PROCESS = 1, KM_TARGET_GROUP = 2, KM_TARGET_TREE = 3 };

enum km_state {
	KM_STATE_QUEUED = 1, /* its group has no room; not started */
	KM_STATE_RUNNING = 2,
	KM_STATE_ENDING = 3,
	KM_STATE_ENDED = 4,
};
#define KM_STATE_BIT(state) (1u << (state))

/* What the host lets the keeper do; in KM_CONFIG. */
enum km_can {
	KM_CAN_TREE_CGROUP2 = 1, /* one of the three */
	KM_CAN_TREE_CGROUP1 = 2,
	KM_CAN_TREE_BEST_EFFORT = 4,
	KM_CAN_LIMIT_MEMORY = 8,
	KM_CAN_LIMIT_CPU = 16,
	KM_CAN_LIMIT_PIDS = 32,
	KM_CAN_EMPTY_NETWORK = 64, /* its workers are in a network namespace without any network */
};

/* What KM_FILE brings. */
enum km_file_kind {
	KM_FILE_POLICY = 1,      /* policy.h; to be read */
	KM_FILE_CEILING = 2,     /* ceiling.h, packed, sealed memfd */
	KM_FILE_REVOCATIONS = 3, /* PEM, to be read; may be empty */
	KM_FILE_AUDIT = 4,       /* opened O_WRONLY|O_APPEND; audit.h */
	KM_FILE_CA = 5, /* a SOCK_SEQPACKET socket to telex-ca; only with a listener for it */
	KM_FILE_KINDS
};

/* What a listening socket serves. */
enum km_listen_kind {
	KM_LISTEN_API = 0,    /* everything, for who has a certificate */
	KM_LISTEN_ENROLL = 1, /* CertificateService alone, and no certificate is asked for */
};

/* What becomes of a call whose audit record cannot be written; of a certificate when the
 * revocations that we hold are too old. */
enum km_audit_full { KM_AUDIT_STOP = 0, KM_AUDIT_DROP = 1 };
enum km_stale { KM_STALE_FAIL_CLOSED = 0, KM_STALE_WARN = 1 };

/* The stages of a start, in order, for KM_REFUSED with KM_WHY_START. */
enum km_stage {
	KM_STAGE_NONE = 0,
	KM_STAGE_SPEC,
	KM_STAGE_FORK,
	KM_STAGE_USER,
	KM_STAGE_CGROUP,
	KM_STAGE_LIMITS,
	KM_STAGE_CHDIR,
	KM_STAGE_EXEC,
};
const char *km_stage_name(int stage); /* "exec"; "none" for what is none */

enum km_why {
	KM_WHY_START = 1,  /* the start failed: stage, sys_errno, text */
	KM_WHY_EXISTS,     /* the id is in use with another spec or owner */
	KM_WHY_NO_SUCH,    /* no such process */
	KM_WHY_ENDED,      /* it has ended: text says how */
	KM_WHY_STDIN_HELD, /* another attachment holds stdin: text says whose */
	KM_WHY_LIMIT,      /* too many processes: text says how many are allowed */
	KM_WHY_SHUTTING_DOWN,
	KM_WHY_SYSTEM,      /* sys_errno and text */
	KM_WHY_DROPPED,     /* the offset is no longer held: oldest, newest */
	KM_WHY_AHEAD,       /* the offset is not there yet: oldest, newest */
	KM_WHY_RUNNING,     /* it has not ended */
	KM_WHY_MAXIMUM,     /* a size is above the agent's maximum: newest says which */
	KM_WHY_NO_GROUP,    /* no such group */
	KM_WHY_NO_TERMINAL, /* the process has none */
	KM_WHY_NO_CGROUP,   /* this host cannot: text says what */
	KM_WHY_BAD_FIELD,   /* a value out of range: text says which */
	KM_WHY_REPLACED,    /* another attachment with its key took its place */
	KM_WHY_CEILING,     /* the agent's ceiling forbids it: text says what */
	KM_WHY_QUOTA,       /* the identity runs as many as it may: newest says how many */
	KM_WHY_AUDIT,       /* the keeper's own record cannot be written */
	KM_WHY_HELPERS,     /* too many telex-files run: newest says how many may */
	KM_WHY_DIED, /* a telex-files that watches has just ended: asked again, there is another */
};

enum km_end_kind {
	KM_END_CODE = 1,
	KM_END_SIGNAL = 2,
	KM_END_UNKNOWN = 3,
	KM_END_NOT_STARTED = 4, /* value: errno or 0; stage; text */
};

enum km_reason {
	KM_REASON_EXITED = 1,
	KM_REASON_SIGNALLED = 2,
	KM_REASON_RUN_TIMEOUT = 3,
	KM_REASON_DISCONNECT = 4,
	KM_REASON_SHUTDOWN = 5,
	KM_REASON_OUT_OF_MEMORY = 6,
};

/* How a process ended. Times: nanoseconds since the epoch; usage: as struct rusage. */
struct km_exit {
	uint8_t kind;         /* enum km_end_kind */
	uint8_t core;         /* 1: it left a core */
	uint8_t reason;       /* enum km_reason */
	uint8_t streams_open; /* KM_BIT()s of outputs that others still hold */
	int32_t value;        /* exit code or signal number */
	int64_t start_ns, end_ns;
	uint64_t stdout_length, stderr_length;
	int64_t utime_us, stime_us;
	uint64_t maxrss_kib, minflt, majflt, inblock, oublock, nvcsw, nivcsw;
	uint32_t stage; /* KM_END_NOT_STARTED: enum km_stage */
	uint32_t pad;
	char by[KM_IDENTITY_SIZE]; /* whose request ended it; "" */
	char text[KM_TEXT_SIZE];   /* KM_END_UNKNOWN, KM_END_NOT_STARTED: why */
};

/* ---- keeper -> worker ---- */

struct km_config {
	struct km_hdr hdr;
	int64_t keeper_start_ns; /* epoch */
	uint64_t output_buffer;  /* default ring size, bytes */
	uint64_t max_output_buffer, max_spool;
	uint32_t can; /* enum km_can, ored */
	uint32_t max_ended;
	uint32_t workers; /* how many are configured */
	uint32_t index;   /* which of them this is, from 0 */
	uint32_t max_processes;
	uint32_t max_connections; /* of this worker */
	uint32_t uid,
	    gid; /* to become, when `drop`; the keeper has done so already: to be checked */
	uint8_t drop;
	uint8_t log_level, log_json;
	uint8_t listeners;                   /* how many KM_LISTEN follow */
	uint32_t max_connections_per_source; /* of this worker; 0: as max_connections */
	int64_t first_call_ns;               /* from accept to the first call's headers; 0: 10 s */
	/* Unique among all workers of this agent, also across its restarts: the `writer` of its
	 * audit records (audit.h). */
	uint64_t audit_writer;
	uint8_t audit_begun[KM_HASH_SIZE]; /* of the keeper's record of its begin */
	int64_t revocations_max_age_ns;    /* 0: any age will do */
	/* What may be written of who has no certificate (audit_budget.h). 0: its defaults. */
	int64_t audit_interval_ns;
	uint32_t audit_per_source, audit_total;
	uint8_t audit_fsync, audit_syslog;
	uint8_t audit_full;        /* enum km_audit_full */
	uint8_t revocations_stale; /* enum km_stale */
	uint32_t enroll_attempts;  /* of one source, a minute, in vain; 0: attempts.h's */
	char default_user[KM_USER_SIZE];
	/* The identity of a proxy that may speak for others ("": none): the identity of its calls
	 * is in their header x-telex-identity. */
	char trusted_proxy[KM_IDENTITY_SIZE];
};

struct km_file {
	struct km_hdr hdr;
	uint32_t kind; /* enum km_file_kind */
	uint32_t pad;
	char name[KM_TEXT_SIZE]; /* what its problems call it, a path say; "": by its kind */
};

struct km_listen {
	struct km_hdr hdr;
	uint32_t kind; /* enum km_listen_kind */
	uint32_t pad;
	char address[KM_TEXT_SIZE]; /* "127.0.0.1:8359", for the log */
};

struct km_go {
	struct km_hdr hdr;
};
struct km_ping {
	struct km_hdr hdr;
};
/*
 * `move`: another worker has taken over; clients that can come back by themselves are sent to it at
 * once, and after timeout_ns the others' calls end, too. Else (the agent is being shut down) calls
 * go on until the keeper ends the worker.
 */
struct km_drain {
	struct km_hdr hdr;
	int64_t timeout_ns;
	uint8_t move;
	uint8_t pad[7];
};
struct km_done {
	struct km_hdr hdr;
};

struct km_job {
	struct km_hdr hdr;
	uint32_t att; /* as asked; 0: not attached */
	uint32_t pid;
	uint8_t created; /* 1: by this request */
	uint8_t state;   /* enum km_state */
	uint8_t stdin_pipe;
	uint8_t stdin_held;   /* 1: by this attachment */
	uint8_t stdin_closed; /* 1: EOF was given or the process closed it */
	uint8_t terminal;
	uint8_t pad[2];
	int64_t start_ns;
	uint64_t stdin_head;    /* next byte of stdin that the keeper has not got */
	uint64_t stdin_written; /* next byte that is not in the pipe yet */
	/* Of each output stream, by enum km_stream ([0] unused): the oldest byte held, in the ring
	 * or the spool, and the next one to come. */
	uint64_t tail[3], head[3];
	char id[KM_ID_SIZE];
	char owner[KM_IDENTITY_SIZE];
	char pad2[7];
};

struct km_refused {
	struct km_hdr hdr;
	uint32_t why;   /* enum km_why */
	uint32_t stage; /* enum km_stage */
	int32_t sys_errno;
	uint32_t stream; /* DROPPED, AHEAD: which */
	uint64_t oldest, newest;
	char text[KM_TEXT_SIZE];
};

/* The socket's other end is its descriptor FILES_FD, and it ends with the socket; or, of one that
 * watches, is on its way to it: where it dies first, the socket ends. */
struct km_files_reply {
	struct km_hdr hdr;
	uint32_t pid, uid;
	char home[KM_HOME_SIZE]; /* the user's home folder */
};

struct km_table_msg {
	struct km_hdr hdr;
	uint32_t count;
	uint32_t pad;
	uint64_t bytes;
	uint64_t dropped; /* ended jobs that were dropped unacknowledged since the agent began */
};

struct km_info_reply {
	struct km_hdr hdr;
	uint32_t processes; /* running */
	uint32_t held;      /* ended, still held */
};

struct km_ring {
	struct km_hdr hdr;
	uint32_t att;
	uint32_t stream; /* enum km_stream */
	uint64_t size, head, tail;
};

/* The bytes of an output before its ring's tail: byte `offset` of the stream is at offset - base in
 * the file. How far it is held, the ring's header says (ring_oldest). */
struct km_spool {
	struct km_hdr hdr;
	uint32_t att;
	uint32_t stream;
	uint64_t base;
};

/* A queued job was started. */
struct km_running {
	struct km_hdr hdr;
	uint32_t att;
	uint32_t pid;
	int64_t start_ns;
};

struct km_group_reply {
	struct km_hdr hdr;
	uint32_t maximum; /* 0: none */
	uint32_t queued, running, ended;
	uint32_t did[2]; /* SIGNAL: signalled, dequeued; REMOVE: removed, 0 */
};

/* Nothing follows for this attachment; its number is free. */
struct km_detached {
	struct km_hdr hdr;
	uint32_t att;
	uint32_t why; /* REPLACED, or STDIN_HELD for one that was there for stdin alone */
};

struct km_wake {
	struct km_hdr hdr;
	uint32_t att;
	uint32_t eof; /* KM_BIT()s of outputs that have ended; their ring's head is final */
};

struct km_input_done {
	struct km_hdr hdr;
	uint32_t att;
	uint32_t closed; /* 1: the process has closed stdin; nothing more is taken */
	uint64_t written;
};

struct km_ended {
	struct km_hdr hdr;
	uint32_t att;
	uint32_t pad;
	struct km_exit exit;
};

/* ---- worker -> keeper ---- */

struct km_ready {
	struct km_hdr hdr;
};

struct km_failed {
	struct km_hdr hdr;
	char text[KM_TEXT_SIZE]; /* "certificate: …" */
};

/* With the end of this worker's chain of audit records so far, which the keeper keeps in its own
 * record: what is cut off the end of the file is missed then. */
struct km_pong {
	struct km_hdr hdr;
	uint64_t audit_seq; /* of its last record; 0: none yet */
	uint8_t audit_hash[KM_HASH_SIZE];
};

struct km_start {
	struct km_hdr hdr;
	uint32_t att;         /* 0: start, do not attach */
	uint32_t max_running; /* of the owner's processes, this one included; 0: no such limit */
	uint64_t
	    offset[3]; /* outputs: where to read from, for a start that finds the job running */
	uint64_t key;  /* of the attachment; 0: none */
	char id[KM_ID_SIZE];
	char owner[KM_IDENTITY_SIZE];
	char pad2[7];
};

enum km_from { KM_FROM_OFFSET = 0, KM_FROM_OLDEST = 1, KM_FROM_NEWEST = 2 };

/* How an attachment counts. */
enum km_attach_flag {
	KM_ATTACH_PASSIVE = 1,   /* it is no client's presence: the disconnect policy ignores it */
	KM_ATTACH_LOSSY = 2,     /* the process never waits for it; it may be overtaken */
	KM_ATTACH_NO_OUTPUT = 4, /* it wants no rings and no wake-ups */
	/* With KM_FROM_OFFSET: everything before offset[] counts as acknowledged. */
	KM_ATTACH_ACKNOWLEDGE = 8,
};

#define KM_OFFSET_OLDEST (UINT64_MAX - 1) /* in km_attach.offset: the oldest byte held */

struct km_attach {
	struct km_hdr hdr;
	uint32_t att;
	uint8_t want_stdin;
	uint8_t from;  /* enum km_from; not OFFSET: offset[] is ignored */
	uint8_t flags; /* enum km_attach_flag */
	uint8_t any;   /* 1: whosever process it is (policy allows it; the ceiling must, too) */
	uint64_t offset[3]; /* UINT64_MAX: not wanted, as from the newest */
	/* Not 0: an attachment of the same owner with the same key is withdrawn, and this one takes
	 * its place, stdin included. */
	uint64_t key;
	char id[KM_ID_SIZE];
	char owner[KM_IDENTITY_SIZE]; /* who attaches */
	char pad2[7];
};

/* Whether the client has the exit. Of a job whose policy is not KEEP: it is forgotten then. */
enum km_delivered {
	KM_DELIVERED_NOT = 0,
	KM_DELIVERED_ACKNOWLEDGED = 1, /* it said so: at once */
	KM_DELIVERED_LIKELY = 2,       /* as far as one can see: a little later */
};

struct km_detach {
	struct km_hdr hdr;
	uint32_t att;
	uint8_t delivered; /* enum km_delivered */
	uint8_t moved; /* 1: the worker is being replaced; its client may come back to another */
	uint8_t pad[2];
};

struct km_release {
	struct km_hdr hdr;
	uint32_t att;
	uint32_t stream;
	uint64_t acked; /* the client has everything before */
	uint64_t seen; /* the head that the worker last saw: wake when there is more; UINT64_MAX: do
	                  not arm */
};

struct km_input {
	struct km_hdr hdr;
	uint32_t att;
	uint32_t eof;
	uint64_t head; /* the input ring holds everything before */
};

struct km_signal {
	struct km_hdr hdr;
	uint32_t signo;  /* 1..64; 0: its stop signal */
	uint32_t target; /* enum km_target */
	int32_t value;   /* with has_value (target PROCESS only): as sigqueue(3) */
	uint8_t has_value;
	uint8_t any; /* as in km_attach */
	uint8_t pad[2];
	int64_t kill_after_ns; /* SIGKILL to the tree follows; negative: not */
	char id[KM_ID_SIZE];
	char by[KM_IDENTITY_SIZE];
	char pad2[7];
};

struct km_list {
	struct km_hdr hdr;
	uint32_t states; /* KM_STATE_BIT()s, ored; 0: all but ENDED */
	uint8_t one;     /* 1: only `id` (KM_REFUSED with NO_SUCH when there is none) */
	uint8_t usage;   /* 1: with what each uses now */
	uint8_t any;     /* as in km_attach; groups are always the owner's */
	uint8_t pad;
	char id[KM_ID_SIZE];
	char group[KM_ID_SIZE]; /* ""; or only its members (NO_GROUP when there is none) */
	char owner[KM_IDENTITY_SIZE];
	char pad2[6];
};

/* Forget an ended job. Answer: KM_DONE. */
struct km_remove {
	struct km_hdr hdr;
	char id[KM_ID_SIZE];
	char by[KM_IDENTITY_SIZE];
	uint8_t any; /* as in km_attach */
	char pad[6];
};

/* A terminal's new size. Answer: KM_DONE. */
struct km_resize {
	struct km_hdr hdr;
	uint16_t rows, columns;
	uint8_t any; /* as in km_attach */
	uint8_t pad[3];
	char id[KM_ID_SIZE];
	char by[KM_IDENTITY_SIZE];
	char pad2[7];
};

/* New limits of a running job. Answer: KM_DONE. */
struct km_update {
	struct km_hdr hdr;
	uint32_t n_rlimits;
	uint8_t set_nice;
	int8_t nice;
	uint8_t any; /* as in km_attach */
	uint8_t pad;
	uint32_t cpu_millis; /* 0: as it is; so memory and pids */
	uint32_t pad2;
	uint64_t memory, pids;
	struct job_rlimit rlimits[JOB_RLIMITS_MAX];
	char id[KM_ID_SIZE];
	char by[KM_IDENTITY_SIZE];
	char pad3[7];
};

enum km_group_op {
	KM_GROUP_GET = 1,
	KM_GROUP_SIGNAL = 2,
	KM_GROUP_REMOVE = 3,
	KM_GROUP_UPDATE = 4,
};

/* About a group of the identity's. Answer: KM_GROUP_REPLY. */
struct km_group {
	struct km_hdr hdr;
	uint32_t op;            /* enum km_group_op */
	uint32_t signo, target; /* SIGNAL: as km_signal */
	uint32_t maximum;       /* UPDATE */
	int64_t kill_after_ns;  /* SIGNAL: as km_signal */
	char name[KM_ID_SIZE];
	char by[KM_IDENTITY_SIZE];
	char pad[7];
};

struct km_info {
	struct km_hdr hdr;
};

/* Answer: KM_DONE; or KM_REFUSED, also when a higher number of that issuer's is kept. The keeper
 * keeps them and gives them to every worker (KM_FILE); whose a list is and which number it has is
 * what telex-renew finds there. */
struct km_revocations {
	struct km_hdr hdr;
	int64_t number;
	char issuer[REVOCATION_ISSUER_SIZE]; /* revocation_issuer_valid */
	char pad[7];
};

/* A telex-files of its own, as this user; or with `watch` a connection to the one that watches for
 * all calls of this owner, user and key, started where there is none. Answer: KM_FILES_REPLY. */
struct km_files {
	struct km_hdr hdr;
	uint8_t watch; /* 0 or 1 */
	uint8_t pad[7];
	uint8_t key[KM_HASH_SIZE];    /* with `watch`: watch_control.h */
	char owner[KM_IDENTITY_SIZE]; /* for whom */
	char user[KM_TEXT_SIZE];      /* as job_spec's; "": the agent's own */
};

union km_any {
	struct km_hdr hdr;
	struct km_config config;
	struct km_listen listen;
	struct km_file file;
	struct km_drain drain;
	struct km_job job;
	struct km_refused refused;
	struct km_table_msg table;
	struct km_info_reply info_reply;
	struct km_ring ring;
	struct km_wake wake;
	struct km_input_done input_done;
	struct km_ended ended;
	struct km_failed failed;
	struct km_start start;
	struct km_attach attach;
	struct km_detach detach;
	struct km_release release;
	struct km_input input;
	struct km_signal signal;
	struct km_list list;
	struct km_spool spool;
	struct km_detached detached;
	struct km_running running;
	struct km_group_reply group_reply;
	struct km_remove remove;
	struct km_resize resize;
	struct km_update update;
	struct km_group group;
	struct km_ready ready;
	struct km_pong pong;
	struct km_revocations revocations;
	struct km_files files;
	struct km_files_reply files_reply;
};

/* ---- the table ---- */

enum km_side { KM_KEEPER, KM_WORKER };

/* The states of a link, the same on both sides. */
enum km_link_state {
	KM_LINK_NEW = 1,
	KM_LINK_CONFIGURED = 2,
	KM_LINK_READY = 4,
	KM_LINK_DRAINING = 8
};

struct km_row {
	uint16_t type;
	uint8_t sender; /* enum km_side */
	uint8_t n_fds;
	uint32_t size;
	uint32_t states;  /* of the receiver: mask of enum km_link_state */
	const char *name; /* "start" */
	/* Byte arrays that must hold a NUL: offsets into the struct and sizes; size 0 ends. */
	struct {
		uint16_t offset, size;
	} strings[3];
};

extern const struct km_row km_table[];
extern const size_t km_table_rows;
const struct km_row *km_row(uint16_t type); /* NULL: unknown */
/* Whether every string of a message of this row (row->size bytes) ends inside its array. */
bool km_strings_valid(const struct km_row *row, const void *msg);

/*
 * Checks a received message against the table: version, type, direction (`from`), size, number of
 * fds, state, strings. 0, or TX_EPROTO with a sentence.
 */
int km_check(
    const void *msg, size_t len, size_t n_fds, enum km_side from, unsigned state, struct err *e);

/* ---- the channel: one end of the pair, on libevent ---- */

struct event_base;
struct km_chan;

struct km_chan_ops {
	/*
	 * A message that km_check passed. fds[0..n) are the callee's to close. Return 0, or
	 * negative to end the link. km_chan_free may not be called from inside a callback: return
	 * negative, and on_closed follows.
	 */
	int (*on_message)(
	    struct km_chan *c, const union km_any *msg, int *fds, size_t n_fds, void *arg);
	/* A message that km_check passed, but whose descriptors were lost: there was no room for
	 * them here. Returns as on_message. NULL: the link ends. */
	int (*on_starved)(struct km_chan *c, const union km_any *msg, void *arg);
	/* The queue is empty again after km_chan_busy was true, or km_send said TX_EAGAIN. May be
	 * NULL. */
	void (*on_writable)(struct km_chan *c, void *arg);
	/* The other end is gone or broke the protocol (why->code TX_ECLOSED, TX_EPROTO, TX_ESYS).
	 * Once, last; free it here or later. */
	void (*on_closed)(struct km_chan *c, const struct err *why, void *arg);
};

#define KM_QUEUE_MAX 1024 /* messages that wait for a slow peer */

/*
 * Takes fd (made non-blocking; closed by km_chan_free); when it fails, fd stays the caller's.
 * `side`: which end this is. State: KM_LINK_NEW.
 */
int km_chan_new(struct km_chan **out, struct event_base *base, int fd, enum km_side side,
    const struct km_chan_ops *ops, void *arg, struct err *e);
void km_chan_free(struct km_chan *c); /* safe from on_closed; NULL allowed */

void km_chan_set_state(struct km_chan *c, enum km_link_state state);
enum km_link_state km_chan_state(const struct km_chan *c);

/*
 * Fills hdr (version, type, size from the table; seq as given) and sends or queues. `fds` stay the
 * caller's (duplicated when queued). TX_EAGAIN: it would have to wait, and there is no room for the
 * duplicates: on_writable tells when to try again. TX_ELIMIT when KM_QUEUE_MAX are waiting,
 * TX_ECLOSED, TX_ESYS, TX_ENOMEM; TX_EINVAL for what is not in the table: a type of the other side,
 * the wrong number of fds, a string without its NUL. When the peer has just gone the answer may
 * still be 0; on_closed tells.
 */
int km_send(
    struct km_chan *c, uint16_t type, uint64_t seq, void *msg, const int *fds, size_t n_fds);

/* Whether messages are waiting: what can be left out or merged is better held back until
 * on_writable. */
bool km_chan_busy(const struct km_chan *c);

#endif
