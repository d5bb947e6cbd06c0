/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libtelex: drive a telex agent from a C program.
 *
 * Everything is asynchronous on an event_base of the caller's (libevent): calls return at once,
 * callbacks come from event_base_loop. One thread for each event_base. The library never prints,
 * exits or aborts, touches no signal handler and raises no SIGPIPE; memory that cannot be had is
 * TELEX_ERROR_NO_MEMORY. A host name that is neither an address nor "localhost" is looked up with
 * getaddrinfo in a thread of the library's own.
 *
 * Compile and link with what `pkg-config --cflags --libs telex` says (--static for libtelex.a).
 * doc/example.c is a whole program.
 *
 *     struct event_base *base = event_base_new();
 *     struct telex_client *client;
 *     struct telex_error error;
 *     struct telex_options options = {.address = "build7:8359", .certificate_file = "me.pem",
 *         .key_file = "me.key", .ca_file = "ca.pem"};
 *     if (telex_client_new(&client, base, &options, &error) != 0)
 *             fprintf(stderr, "%s\n", error.message);
 *
 * A client connects at its first call and keeps the connection; a connection that cannot be had
 * fails the calls that wait for it, and the next call connects again. One that is lost is another
 * matter: runs and waits go on over the next one (telex_options.reconnect_ms), and a question that
 * changes nothing when it is asked twice is asked again, up to three times, unless an answer has
 * begun. A handshake that is cut is tried again three times, too.
 */
#ifndef TELEX_H
#define TELEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct event_base;
struct telex_certificate;
struct telex_client;
struct telex_run;
struct telex_call;
struct telex_reader;

/* What the shared library exports. */
#if defined(__GNUC__)
#define TELEX_API __attribute__((visibility("default")))
#else
#define TELEX_API
#endif

#define TELEX_DEFAULT_PORT 8359

/* ---- errors ---- */

enum telex_error_kind {
	TELEX_OK = 0,
	TELEX_ERROR_USAGE, /* an argument of the caller's */
	TELEX_ERROR_NO_MEMORY,
	TELEX_ERROR_SYSTEM,      /* a file or socket of ours; sys_errno */
	TELEX_ERROR_RESOLVE,     /* the host's name is not known */
	TELEX_ERROR_CONNECT,     /* nobody listens, no route, timed out */
	TELEX_ERROR_NOT_TLS,     /* the other side does not speak TLS 1.3 with "h2" */
	TELEX_ERROR_CERTIFICATE, /* theirs is not acceptable to us, or ours to them; the message
	                            says which and why */
	TELEX_ERROR_LOST,        /* the connection ended under the call */
	TELEX_ERROR_STATUS,      /* the agent answered with a status: code, reason, metadata */
	TELEX_ERROR_CANCELLED,
};

struct telex_error {
	enum telex_error_kind kind;
	int code;            /* STATUS: the canonical gRPC code */
	int sys_errno;       /* SYSTEM, CONNECT; and for a failed start the agent's errno */
	char reason[64];     /* STATUS: ErrorInfo.reason, as "NO_SUCH_PROCESS"; else "" */
	char stage[32];      /* a failed start: "exec", "chdir", …; else "" */
	char message[640];   /* a sentence, never empty when kind is not OK */
	char request_id[40]; /* STATUS: under which the agent's audit log has it; "": none known */
};

/* ---- clients ---- */

struct telex_options {
	const char *address;     /* "host", "host:port", "[v6]:port"; the host must be named in the
	                            agent's certificate */
	const char *server_name; /* the name to check instead of the host; NULL: the host */
	/* PEM. A key that others than its owner may read or write is refused. */
	const char *certificate_file, *key_file, *ca_file;
	int64_t connect_timeout_ms; /* name, TCP and TLS together; 0: 10 s */
	/*
	 * For how long a run that has lost its connection tries to come back, with jittered
	 * back-off; 0: 60 s, negative: not at all, at most a day. It goes on where it was: no byte
	 * is lost or given twice, in either direction, and nothing is started twice. What cannot
	 * get better (a refused certificate, a process that the agent no longer knows) ends it at
	 * once. When the time is over it ends with the last error, whose message says so; its kind
	 * is LOST, or STATUS when the agent has answered.
	 */
	int64_t reconnect_ms;
	/* Revocation lists (PEM), signed by the CA: an agent whose certificate is on one is not
	 * talked to. Read now, and again before a connection when the file is another one; one
	 * that cannot be read then leaves what was known in force. A list that is too old serves
	 * all the same (telex_client_revocations_next). NULL: none. */
	const char *revocations_file;
};

/* The options' strings are copied. Reads the files now. 0, or -1 and *error (may be NULL). */
TELEX_API int telex_client_new(struct telex_client **out, struct event_base *base,
    const struct telex_options *options, struct telex_error *error);
/* Ends what is open without further callbacks, and frees its runs; the event_base may be freed
 * next. Waits up to a second for a socket that does not take what runs that are done had to say.
 * Not from inside a callback of the same client. NULL is allowed. */
TELEX_API void telex_client_free(struct telex_client *client);
/* The identity of the agent's certificate, once connected; else NULL. */
TELEX_API const char *telex_client_agent(const struct telex_client *client);
/* Seconds since the epoch when our own certificate expires. */
TELEX_API int64_t telex_client_expires(const struct telex_client *client);
/* Seconds since the epoch by when the first list of revocations_file is to be replaced; 0: there is
 * none. */
TELEX_API int64_t telex_client_revocations_next(const struct telex_client *client);

/* ---- run ---- */

enum telex_stream { TELEX_STDOUT = 1, TELEX_STDERR = 2 };

enum telex_disconnect {
	TELEX_DISCONNECT_DEFAULT = 0,
	TELEX_DISCONNECT_HANGUP = 1,
	TELEX_DISCONNECT_KEEP = 2,
	TELEX_DISCONNECT_KILL = 3
};

/* What becomes of an output whose buffer and spool are full. */
enum telex_output_policy {
	TELEX_OUTPUT_DEFAULT = 0, /* BLOCK */
	TELEX_OUTPUT_BLOCK = 1,   /* the process waits for a reader */
	TELEX_OUTPUT_DROP_OLDEST = 2
};

struct telex_limit {
	const char *name;    /* as prlimit(1): "nofile" */
	uint64_t soft, hard; /* UINT64_MAX: unlimited */
};

/* What is left out (0, NULL, false) has its default. */
struct telex_command {
	const char *process_id;  /* NULL: one is made of random bits */
	const char *const *argv; /* NULL-terminated */
	/* NULL-terminated "NAME=VALUE", added to the agent's basic environment; or NULL */
	const char *const *env;
	const char *directory; /* NULL: the user's home */
	const char *user;      /* "NAME" or "NAME:GROUP"; NULL: the agent's own */
	bool stdin_pipe;       /* false: /dev/null */
	/* A terminal of this size, 1 to 10000 each; 0, 0: pipes. stdin is the terminal then. */
	uint16_t rows, columns;
	int64_t run_timeout_ms; /* 0: none */
	int stop_signal;        /* 0: SIGTERM */
	int64_t stop_grace_ms;  /* 0: the default, 10 s; negative: SIGKILL at once */
	enum telex_disconnect on_disconnect;
	int64_t disconnect_wait_ms; /* 0: the default, 60 s; negative: at once */
	const struct telex_limit *limits;
	size_t n_limits;
	bool clean_env; /* nothing but env */
	bool no_new_privs;
	bool set_umask;
	unsigned umask;                            /* 0 to 0777; not set: 022 */
	int nice;                                  /* -20 to 19 */
	uint64_t blocked_signals, ignored_signals; /* bit n-1 for signal n */
	/* Of a control group; 0: none. */
	uint64_t memory_bytes, max_pids;
	uint32_t cpu_millis; /* thousandths of a processor */
	/* How much of each output the agent holds, in bytes. 0: its default; no file. */
	uint64_t output_buffer, spool_bytes;
	enum telex_output_policy output_policy;
	const char *group;  /* NULL: none */
	uint32_t group_max; /* sets the group's maximum of running members; 0: as it is */
	int64_t keep_ms;    /* after its end; 0: 1 hour */
	/* 0: 15 s; negative: none. Two and a half of them without a word: the connection is LOST */
	int64_t heartbeat_ms;
};

enum telex_end {
	TELEX_END_CODE = 1,
	TELEX_END_SIGNAL = 2,
	TELEX_END_UNKNOWN = 3,
	TELEX_END_NOT_STARTED = 4 /* it was queued and never ran */
};

/* Whom a signal is for. The same numbers as telex.v1.SignalTarget. */
enum telex_target { TELEX_TARGET_PROCESS = 1, TELEX_TARGET_GROUP = 2, TELEX_TARGET_TREE = 3 };

/* The same numbers as telex.v1.EndReason. */
enum telex_reason {
	TELEX_REASON_EXITED = 1,
	TELEX_REASON_SIGNALLED = 2,
	TELEX_REASON_RUN_TIMEOUT = 3,
	TELEX_REASON_DISCONNECT = 4,
	TELEX_REASON_SHUTDOWN = 5,
	TELEX_REASON_OUT_OF_MEMORY = 6,
};

struct telex_exit {
	enum telex_end end;
	int value;               /* exit code or signal number */
	const char *signal_name; /* SIGNAL: "SIGTERM"; else NULL */
	bool core_dumped;
	enum telex_reason reason;
	const char *ended_by;     /* the identity whose request ended it; else "" */
	const char *unknown_why;  /* UNKNOWN, NOT_STARTED: a sentence; else NULL */
	const char *stage;        /* NOT_STARTED, and a start was tried: "exec"; else NULL */
	int start_errno;          /* then: the agent's errno */
	int64_t start_ns, end_ns; /* epoch */
	int64_t user_us, system_us;
	uint64_t max_resident_kib;
	bool stdout_open, stderr_open; /* others still held it after the grace */
	uint64_t stdout_length, stderr_length;
};

struct telex_started {
	const char *process_id;
	uint32_t pid; /* 0: queued */
	bool created;
	bool queued; /* its group is full: `running` follows */
	bool terminal;
	bool stdin_held; /* telex_run_write goes to it */
	/* Where in the process's stdin that begins. Not 0 and not created: another fed it before.
	 */
	uint64_t stdin_offset;
	/* What leaving means, if `counts`; DEFAULT: the agent does not say. */
	enum telex_disconnect on_disconnect;
	int64_t disconnect_wait_ms; /* of HANGUP */
	bool counts;                /* false: the policy does not ask for this client */
};

struct telex_run_ops {
	/* The process is there. May be NULL. */
	void (*started)(struct telex_run *run, const struct telex_started *started, void *arg);
	/*
	 * Output. The bytes live during the call. When they are where they belong, now or later,
	 * say so with telex_run_consumed: until then the agent's window and, when the buffers are
	 * full, the process wait. Data of length 0 with eof: the stream has ended.
	 */
	void (*output)(struct telex_run *run, enum telex_stream stream, const void *data,
	    size_t len, bool eof, void *arg);
	/* There is room for stdin again after telex_run_write took less than all. */
	void (*stdin_room)(struct telex_run *run, void *arg);
	/* The process has closed its stdin; further writes are dropped. May be NULL. */
	void (*stdin_closed)(struct telex_run *run, void *arg);
	/* A process that was queued runs now. May be NULL. */
	void (*running)(struct telex_run *run, uint32_t pid, void *arg);
	/* The connection is lost, or the agent will be back, and the run tries to come back; then,
	 * that it is back. Nothing else comes between the two but done. Both may come before
	 * `started`. May be NULL. */
	void (*interrupted)(struct telex_run *run, const struct telex_error *why, void *arg);
	void (*resumed)(struct telex_run *run, void *arg);
	/*
	 * Bytes [from, to) of the stream are lost to this client: the agent holds them no longer
	 * (it was too slow, or the output's policy dropped them). Output goes on at `to`; a run
	 * without stdin is `lossy` from then on (see telex_attach). NULL: that ends the run
	 * instead, with the error OFFSET_DROPPED.
	 */
	void (*skipped)(
	    struct telex_run *run, enum telex_stream stream, uint64_t from, uint64_t to, void *arg);
	/* After resumed: this signal was sent on the connection that was lost, and nothing came
	 * back after it; whether it arrived is not known, and it is not sent again. May be NULL. */
	void (*signal_unsure)(struct telex_run *run, int signo, void *arg);
	/*
	 * The end, once, last; the run is freed after it returns. Exactly one of exit and error is
	 * given. An exit comes when all output was delivered and consumed (telex_run_consumed), and
	 * is acknowledged to the agent then: of a process whose policy is not KEEP, nothing is held
	 * after it. Where the connection is lost by then, another one is tried for 3 s to
	 * acknowledge it. telex_client_free sees to it that the acknowledgement goes out.
	 */
	void (*done)(struct telex_run *run, const struct telex_exit *exit,
	    const struct telex_error *error, void *arg);
};

/* Starts. command and ops are copied; ops->output and ops->done must be there. 0, or -1 and *error;
 * then no callback comes. */
TELEX_API int telex_run(struct telex_client *client, struct telex_run **out,
    const struct telex_command *command, const struct telex_run_ops *ops, void *arg,
    struct telex_error *error);
TELEX_API const char *telex_run_id(const struct telex_run *run);
/*
 * Takes up to len bytes for stdin and returns how many; less than len: wait for stdin_room. May be
 * called before started. At most 1 MiB is held that the process has not been given. Without
 * stdin_pipe, after telex_run_write_eof, and once the process has closed its stdin, everything is
 * taken and dropped.
 */
TELEX_API size_t telex_run_write(struct telex_run *run, const void *data, size_t len);
/* Stdin ends after what was written. Once. */
TELEX_API void telex_run_write_eof(struct telex_run *run);
/* n more bytes of that stream are dealt with. */
TELEX_API void telex_run_consumed(struct telex_run *run, enum telex_stream stream, size_t n);
/* Before started, or while interrupted: as soon as it can be sent. 0, or -1 when the run is ending
 * or too many signals wait. */
TELEX_API int telex_run_signal(struct telex_run *run, int signo, enum telex_target target);
/* The terminal's new size; the last one counts. Ignored without a terminal. */
TELEX_API void telex_run_resize(struct telex_run *run, uint16_t rows, uint16_t columns);
/* Leaves; the process is up to its disconnect policy. No callback comes any more. Allowed in
 * callbacks. */
TELEX_API void telex_run_detach(struct telex_run *run);

/* ---- attach ---- */

enum telex_from { TELEX_FROM_OLDEST = 0, TELEX_FROM_NEWEST = 1, TELEX_FROM_OFFSET = 2 };

/* What is left out has its default. */
struct telex_attach {
	const char *process_id;
	bool stdin_pipe; /* feed its stdin; one client at a time may */
	bool lossy;      /* never keep the process waiting: see `skipped` */
	enum telex_from from;
	uint64_t stdout_offset, stderr_offset; /* FROM_OFFSET */
	int64_t heartbeat_ms;                  /* as in telex_command */
};

/* A run on a process that is there already: the same callbacks and functions as of telex_run. */
TELEX_API int telex_attach(struct telex_client *client, struct telex_run **out,
    const struct telex_attach *attach, const struct telex_run_ops *ops, void *arg,
    struct telex_error *error);

/* ---- questions ---- */

/* The same numbers as telex.v1.ProcessState. */
enum telex_state {
	TELEX_STATE_RUNNING = 1,
	TELEX_STATE_ENDING = 2,
	TELEX_STATE_ENDED = 3,
	TELEX_STATE_QUEUED = 4
};

struct telex_process {
	const char *process_id, *owner, *user;
	const char *group; /* "" for none */
	enum telex_state state;
	uint32_t pid, attached;
	size_t argc;
	const char *const *argv;
	int64_t start_ns;
	bool terminal;
	enum telex_disconnect on_disconnect; /* DEFAULT: the agent does not say */
	int64_t disconnect_wait_ms;          /* of HANGUP */
	/* What is held of each output: [oldest, newest). */
	uint64_t stdout_oldest, stdout_newest, stderr_oldest, stderr_newest;
	bool has_usage;  /* cpu_us and memory_bytes were asked for and are known */
	bool usage_tree; /* of it and its descendants */
	int64_t cpu_us;
	uint64_t memory_bytes;
	const struct telex_exit *exit; /* NULL unless ENDED */
	int64_t expire_ns;             /* then: when it is dropped; 0: not known */
};

struct telex_filter {
	bool include_ended;
	const char *group; /* NULL: all */
	bool usage;        /* also what each uses now */
};

struct telex_list_summary {
	uint64_t dropped; /* ended ones that were dropped before anybody acknowledged them */
	uint32_t held_maximum;
};

/* What is left out has its default. */
struct telex_signal_options {
	int signo;                /* 0: the process's own stop signal */
	enum telex_target target; /* 0: GROUP */
	bool has_value;           /* as sigqueue(3), to the process alone */
	int value;
	bool kills;            /* SIGKILL to the tree follows */
	int64_t kill_after_ms; /* then: after this */
};

struct telex_update {
	const struct telex_limit *limits;
	size_t n_limits;
	bool set_nice;
	int nice;
	uint64_t memory_bytes, max_pids; /* 0: as it is */
	uint32_t cpu_millis;
};

/* Bytes for stdin: at most 1 MiB. */
struct telex_input {
	uint64_t offset;
	const void *data;
	size_t len;
	bool eof; /* none come after them */
};

struct telex_group {
	const char *name;
	uint32_t maximum; /* 0: none */
	uint32_t queued, running, ended;
};

/* A measure by which the agent's worker is locked in. */
struct telex_confinement {
	const char *name; /* "seccomp", "landlock", … as in system.proto */
	bool in_force;
	const char *note; /* details, or why not; may be "" */
};

struct telex_info {
	const char *version, *agent_identity, *client_identity, *hostname, *system, *kernel,
	    *architecture, *default_user;
	const char *tls_version, *tls_cipher, *tls_group;
	uint32_t processors, workers, processes, max_processes, max_streams;
	uint64_t memory_bytes, max_message_bytes, output_buffer_bytes;
	uint64_t max_output_buffer_bytes, max_spool_bytes;
	uint32_t max_ended_processes;
	int64_t start_ns;
	size_t n_capabilities;
	const char *const *capabilities;
	/* What is in force in the agent's worker. */
	size_t n_confinements; /* at most 32 are given */
	struct telex_confinement confinements[32];
	size_t n_groups; /* key exchange groups that it offers, best first */
	const char *const *groups;
	int64_t certificate_not_after_ns; /* of the agent's certificate; 0: not told */
	int64_t revocations_number;       /* 0: it has no revocation list */
	int64_t revocations_time_ns;
	uint32_t revocations_count;
	bool revocations_stale;
	const char *revocations_when_stale; /* "fail-closed" or "warn" */
	uint64_t audit_dropped;
};

/* Each ends with one done(); error is NULL when all went well. Either callback may be NULL. What
 * callbacks are given lives during the call. timeout_ms 0: 30 s. */
typedef void telex_done(const struct telex_error *error, void *arg);

/* Either filter or summary may be NULL. */
TELEX_API int telex_list(struct telex_client *client, const struct telex_filter *filter,
    int64_t timeout_ms, void (*each)(const struct telex_process *process, void *arg),
    void (*summary)(const struct telex_list_summary *summary, void *arg), telex_done *done,
    void *arg, struct telex_error *error);
TELEX_API int telex_get(struct telex_client *client, const char *process_id, int64_t timeout_ms,
    void (*each)(const struct telex_process *process, void *arg), telex_done *done, void *arg,
    struct telex_error *error);
/* Starts and does not stay. command's heartbeat_ms is not used; DISCONNECT_DEFAULT is KEEP. */
TELEX_API int telex_start(struct telex_client *client, const struct telex_command *command,
    int64_t timeout_ms, void (*each)(const struct telex_process *process, void *arg),
    telex_done *done, void *arg, struct telex_error *error);
/* Waits for the end, for as long as it takes when timeout_ms is 0, and across lost connections as
 * telex_options.reconnect_ms says. forget: after each() the agent is asked to hold it no longer,
 * and an error of done() is that one's when each() was called. */
TELEX_API int telex_wait(struct telex_client *client, const char *process_id, bool forget,
    int64_t timeout_ms, void (*each)(const struct telex_exit *exit, void *arg), telex_done *done,
    void *arg, struct telex_error *error);
TELEX_API int telex_signal(struct telex_client *client, const char *process_id,
    const struct telex_signal_options *options, int64_t timeout_ms, telex_done *done, void *arg,
    struct telex_error *error);
TELEX_API int telex_remove(struct telex_client *client, const char *process_id, int64_t timeout_ms,
    telex_done *done, void *arg, struct telex_error *error);
TELEX_API int telex_update(struct telex_client *client, const char *process_id,
    const struct telex_update *update, int64_t timeout_ms, telex_done *done, void *arg,
    struct telex_error *error);
/* each() tells the next offset, and whether the process has closed its stdin. */
TELEX_API int telex_write_input(struct telex_client *client, const char *process_id,
    const struct telex_input *input, int64_t timeout_ms,
    void (*each)(uint64_t offset, bool closed, void *arg), telex_done *done, void *arg,
    struct telex_error *error);

/* An output without attaching. What is left out has its default. */
struct telex_read {
	const char *process_id;
	enum telex_stream stream; /* 0: both */
	enum telex_from from;     /* OLDEST or OFFSET */
	uint64_t stdout_offset, stderr_offset;
};

/*
 * What is held of the outputs at the time of the call, to its end, and then done() with a NULL
 * error. Nothing is acknowledged and nobody waits for this reader, which may be overtaken: the
 * error OFFSET_DROPPED. output(): the bytes live during the call; when they are where they belong,
 * now or later, say so with telex_reader_consumed. done() frees the reader. A lost connection is
 * overcome as telex_options.reconnect_ms says: it goes on with the next byte of each output, and
 * ends with what is held then.
 */
TELEX_API int telex_read_output(struct telex_client *client, struct telex_reader **out,
    const struct telex_read *read,
    void (*output)(struct telex_reader *reader, enum telex_stream stream, uint64_t offset,
        const void *data, size_t len, void *arg),
    telex_done *done, void *arg, struct telex_error *error);
TELEX_API void telex_reader_consumed(struct telex_reader *reader, size_t n);
/* No callback comes any more; frees it. Allowed in output(), and nothing in done(). NULL is
 * allowed.
 */
TELEX_API void telex_reader_cancel(struct telex_reader *reader);

TELEX_API int telex_group_get(struct telex_client *client, const char *name, int64_t timeout_ms,
    void (*each)(const struct telex_group *group, void *arg), telex_done *done, void *arg,
    struct telex_error *error);
/* each() for every member as it ends; done when all have. As telex_wait. */
TELEX_API int telex_group_wait(struct telex_client *client, const char *name, int64_t timeout_ms,
    void (*each)(const struct telex_process *process, void *arg), telex_done *done, void *arg,
    struct telex_error *error);
/* each(): how many were signalled, and how many queued ones were ended. */
TELEX_API int telex_group_signal(struct telex_client *client, const char *name,
    const struct telex_signal_options *options, int64_t timeout_ms,
    void (*each)(uint32_t signalled, uint32_t dequeued, void *arg), telex_done *done, void *arg,
    struct telex_error *error);
TELEX_API int telex_group_set_maximum(struct telex_client *client, const char *name,
    uint32_t maximum, int64_t timeout_ms, void (*each)(const struct telex_group *group, void *arg),
    telex_done *done, void *arg, struct telex_error *error);
/* Forgets the members that have ended; each(): how many. */
TELEX_API int telex_group_remove(struct telex_client *client, const char *name, int64_t timeout_ms,
    void (*each)(uint32_t removed, void *arg), telex_done *done, void *arg,
    struct telex_error *error);

TELEX_API int telex_info(struct telex_client *client, int64_t timeout_ms,
    void (*each)(const struct telex_info *info, void *arg), telex_done *done, void *arg,
    struct telex_error *error);
/* service NULL: the agent as a whole. serving(true or false), then done. */
TELEX_API int telex_health(struct telex_client *client, const char *service, int64_t timeout_ms,
    void (*answer)(bool serving, void *arg), telex_done *done, void *arg,
    struct telex_error *error);

/* ---- certificates ---- */

/*
 * A CA's own listener, where nobody needs a certificate and nothing else is served. `pin`: the
 * SHA-256 of the public key (SubjectPublicKeyInfo, DER) of the CA's root, 32 bytes; or NULL: `ca`,
 * ca_len bytes of PEM, are the certificates to trust.
 */
struct telex_authority {
	const char *address;     /* "host:port" */
	const char *server_name; /* as in telex_options */
	const uint8_t *pin;
	const char *ca;
	size_t ca_len;
	const char *ca_name;        /* what errors call it; NULL: "ca" */
	int64_t connect_timeout_ms; /* 0: 10 s */
};

/* A client for the three calls below and no others. All is copied. telex_client_free ends it. */
TELEX_API int telex_authority_new(struct telex_client **out, struct event_base *base,
    const struct telex_authority *authority, struct telex_error *error);
/* The same for the CA that made this token, which is known by its pin. USAGE: it is no token, or
 * cut or mistyped, which the message says. */
TELEX_API int telex_authority_of_token(struct telex_client **out, struct event_base *base,
    const char *token, struct telex_error *error);

struct telex_certificate {
	const char *chain; /* PEM: the certificate, and what leads to the root */
	const char *ca;    /* PEM: what to trust */
	int64_t not_after; /* seconds since the epoch */
};

/*
 * A first certificate, for a request (PKCS #10, DER). The same token with the same request gets the
 * same certificate again, so that a call that was cut may be repeated: keep the request, and its
 * key, until there is an answer. STATUS with reason TOKEN_REFUSED: unknown, used or expired.
 */
TELEX_API int telex_enroll(struct telex_client *authority, const char *token, const void *csr,
    size_t csr_len, int64_t timeout_ms,
    void (*each)(const struct telex_certificate *certificate, void *arg), telex_done *done,
    void *arg, struct telex_error *error);
/* The next certificate. `chain`: the one there is, PEM; `signature`: by its key, over "telex renew
 * v1", a NUL and the request: ECDSA with SHA-256, Ed25519, or RSA-PSS with SHA-256. */
TELEX_API int telex_renew(struct telex_client *authority, const char *chain, const void *csr,
    size_t csr_len, const void *signature, size_t signature_len, int64_t timeout_ms,
    void (*each)(const struct telex_certificate *certificate, void *arg), telex_done *done,
    void *arg, struct telex_error *error);
/* The revocation list, PEM, when it is newer than `number` (0: whatever there is); len 0: it is
 * not.
 */
TELEX_API int telex_get_revocations(struct telex_client *authority, int64_t number,
    int64_t timeout_ms, void (*each)(const char *pem, size_t len, void *arg), telex_done *done,
    void *arg, struct telex_error *error);

/* What an agent has after telex_put_revocations. */
struct telex_revocations_taken {
	int64_t number;
	uint32_t revoked;         /* how many certificates its list names */
	uint32_t connections_cut; /* by the worker that answered */
};

/* Gives an agent a newer revocation list than it has (PEM, of its CA; a NUL at pem[len]). STATUS
 * with reason OLDER: it has a newer one. Any client, but not an authority's. */
TELEX_API int telex_put_revocations(struct telex_client *client, const char *pem, size_t len,
    int64_t timeout_ms, void (*each)(const struct telex_revocations_taken *taken, void *arg),
    telex_done *done, void *arg, struct telex_error *error);

TELEX_API const char *telex_version(void);

/* ---- files ---- */

/*
 * Each of these is about one file on the agent. user: as in telex_command; NULL: the agent's own.
 * path: bytes without NUL; one that does not begin with "/" is in the user's home folder, and ".."
 * is refused. Options may be NULL: all of them have their default. What an agent refuses is an
 * error STATUS, whose message names the path and whose reason is one of file.proto's, as
 * "NO_SUCH_FILE". timeout_ms 0: 30 s, but for list, remove, move, copy, set_attributes and
 * checksum: as long as the agent works on it.
 */

/* The same numbers as telex.v1.FileType. */
enum telex_file_type {
	TELEX_FILE_UNKNOWN = 0,
	TELEX_FILE_REGULAR = 1,
	TELEX_FILE_DIRECTORY = 2,
	TELEX_FILE_SYMLINK = 3,
	TELEX_FILE_FIFO = 4,
	TELEX_FILE_SOCKET = 5,
	TELEX_FILE_CHARACTER_DEVICE = 6,
	TELEX_FILE_BLOCK_DEVICE = 7
};

/* An extended attribute. */
struct telex_attribute {
	const char *name;
	const void *value;
	size_t len;
};

/* Times are nanoseconds since the epoch. */
struct telex_file {
	const char *path; /* as it was asked for; in a list below the folder */
	enum telex_file_type type;
	uint32_t mode; /* 0 to 07777 */
	uint32_t uid, gid;
	const char *user, *group; /* "": they have no names */
	uint64_t size;
	uint64_t blocks; /* of 512 bytes */
	uint32_t block_size;
	uint64_t links, inode, mount_id;
	uint32_t device_major, device_minor;
	uint32_t rdev_major, rdev_minor; /* of a device file */
	int64_t modified_ns, accessed_ns, changed_ns;
	bool has_created;
	int64_t created_ns;
	const char *link_target; /* "" where it is no link */
	size_t n_extended;
	const struct telex_attribute *extended; /* where asked for */
	size_t n_flags;
	const char *const *flags; /* "immutable", "append", … */
	/* Of what a symbolic link leads to, where asked for; TELEX_FILE_UNKNOWN: to nothing. */
	enum telex_file_type target_type;
	uint32_t target_mode;
};

/* What went wrong with one of many. */
struct telex_file_failure {
	int code; /* as telex_error.code */
	const char *reason, *message;
	int sys_errno; /* the agent's; 0: none */
};

/* What to do where a target is there. The same numbers as telex.v1.Replace. */
enum telex_replace {
	TELEX_REPLACE_ALWAYS = 0,
	TELEX_REPLACE_NEVER = 2,
	TELEX_REPLACE_EXCHANGE = 3 /* move: both change places, at once */
};

struct telex_stat_options {
	bool follow; /* what a symbolic link points to */
	bool extended_attributes;
	bool target; /* of a symbolic link, also target_type and target_mode */
};
TELEX_API int telex_file_stat(struct telex_client *client, const char *user, const char *path,
    const struct telex_stat_options *options, int64_t timeout_ms,
    void (*each)(const struct telex_file *file, void *arg), telex_done *done, void *arg,
    struct telex_error *error);

/* Which file it is, whatever its path means by now: of struct telex_file. */
struct telex_file_identity {
	uint64_t inode; /* 0: any */
	uint32_t device_major, device_minor;
};

struct telex_list_options {
	bool hidden;         /* also what begins with "." */
	uint32_t depth;      /* 0 and 1: the folder's own entries; UINT32_MAX: all */
	bool sorted;         /* by path, byte by byte */
	const char *pattern; /* only names that match, as fnmatch(3); NULL: all */
	bool extended_attributes;
	bool across_mounts;
	bool names_only; /* and types */
	/* The folder must be this one, else ABORTED (CHANGED): for who goes down from one list to
	 * the next, so that no link in a folder's place is followed. */
	struct telex_file_identity only;
	bool targets; /* of symbolic links, also target_type and target_mode */
};
/* each() for every entry as it comes; failure is NULL, or says what could not be looked at, and
 * file has what is known of it. A list that has begun is not asked for again. */
TELEX_API int telex_file_list(struct telex_client *client, const char *user, const char *path,
    const struct telex_list_options *options, int64_t timeout_ms,
    void (*each)(
        const struct telex_file *file, const struct telex_file_failure *failure, void *arg),
    telex_done *done, void *arg, struct telex_error *error);

/* mode: 0 to 07777; negative: 0777 less the umask 022. parents: missing ones, too, and a folder
 * that is there is no error. */
TELEX_API int telex_file_make_directory(struct telex_client *client, const char *user,
    const char *path, int mode, bool parents, int64_t timeout_ms, telex_done *done, void *arg,
    struct telex_error *error);

struct telex_remove_options {
	bool recursive;
	bool force; /* what is not there is no error */
	bool across_mounts;
	bool directory_only; /* only an empty folder */
};
/* each(): how many were removed. */
TELEX_API int telex_file_remove(struct telex_client *client, const char *user, const char *path,
    const struct telex_remove_options *options, int64_t timeout_ms,
    void (*each)(uint64_t removed, void *arg), telex_done *done, void *arg,
    struct telex_error *error);

/* target is the new name itself, not a folder to move into. */
TELEX_API int telex_file_move(struct telex_client *client, const char *user, const char *source,
    const char *target, enum telex_replace replace, int64_t timeout_ms, telex_done *done, void *arg,
    struct telex_error *error);

struct telex_copy_options {
	enum telex_replace replace;
	bool recursive;
	bool preserve; /* owner, mode, times, extended attributes, links within the tree */
	bool follow;   /* what symbolic links point to */
	/* Parts of preserve: owner, mode with ACLs and times; and hard links within the tree. */
	bool preserve_attributes, preserve_links;
};
struct telex_copied {
	uint64_t files, bytes;
	uint64_t shared_bytes; /* that have their blocks in common with the source */
};
/* target is the copy's name itself. */
TELEX_API int telex_file_copy(struct telex_client *client, const char *user, const char *source,
    const char *target, const struct telex_copy_options *options, int64_t timeout_ms,
    void (*each)(const struct telex_copied *copied, void *arg), telex_done *done, void *arg,
    struct telex_error *error);

/* What is left out stays as it is. */
struct telex_set_attributes {
	bool follow; /* what a symbolic link points to; else the link itself, which has no mode */
	bool recursive;
	bool set_mode;
	uint32_t mode;
	const char *mode_change;   /* instead, as chmod(1): "u+x,go-w" */
	const char *owner, *group; /* a name or a number */
	bool set_modified, set_accessed;
	int64_t modified_ns, accessed_ns;
	size_t n_extended;
	const struct telex_attribute *extended;
	const char *const *remove_extended; /* NULL-terminated names, or NULL */
	bool login_group; /* with an owner by name and no group: the owner's login group */
};
/* each(): how many files have it now. */
TELEX_API int telex_file_set_attributes(struct telex_client *client, const char *user,
    const char *path, const struct telex_set_attributes *attributes, int64_t timeout_ms,
    void (*each)(uint64_t files, void *arg), telex_done *done, void *arg,
    struct telex_error *error);

/* path becomes a link to target; a symbolic link's is any text. */
TELEX_API int telex_file_link(struct telex_client *client, const char *user, const char *target,
    const char *path, bool symbolic, enum telex_replace replace, int64_t timeout_ms,
    telex_done *done, void *arg, struct telex_error *error);
/* canonical: the path without any link in it, instead. */
TELEX_API int telex_file_read_link(struct telex_client *client, const char *user, const char *path,
    bool canonical, int64_t timeout_ms, void (*each)(const char *target, void *arg),
    telex_done *done, void *arg, struct telex_error *error);

struct telex_filesystem {
	const char *type; /* "ext4" */
	uint64_t total, free, available;
	uint64_t files, files_free; /* 0: not counted */
	uint32_t block_size, name_max;
	bool read_only;
};
TELEX_API int telex_file_stat_filesystem(struct telex_client *client, const char *user,
    const char *path, int64_t timeout_ms,
    void (*each)(const struct telex_filesystem *filesystem, void *arg), telex_done *done, void *arg,
    struct telex_error *error);

enum telex_checksum { TELEX_CHECKSUM_SHA256 = 1, TELEX_CHECKSUM_XXH3 = 2 };
/* length 0: to the end. each(): the digest, and of how many bytes it is. */
TELEX_API int telex_file_checksum(struct telex_client *client, const char *user, const char *path,
    enum telex_checksum algorithm, uint64_t offset, uint64_t length, int64_t timeout_ms,
    void (*each)(const void *digest, size_t len, uint64_t bytes, void *arg), telex_done *done,
    void *arg, struct telex_error *error);
TELEX_API int telex_file_truncate(struct telex_client *client, const char *user, const char *path,
    uint64_t size, int64_t timeout_ms, telex_done *done, void *arg, struct telex_error *error);

/* What is left out has its default. */
struct telex_file_read {
	const char *user, *path;
	uint64_t offset, length; /* length 0: to the end */
};
struct telex_file_reader;
/*
 * The bytes of a file or of a range of it, in order, then done(), which frees the reader. output():
 * the bytes live during the call; when they are where they belong, now or later, say so with
 * telex_file_reader_consumed: until then the agent waits. A hole comes as zeros. end(): the file as
 * it was when the last byte had been read, and whether it was changed meanwhile; may be NULL.
 *
 * A lost connection and a telex-files that dies are come back from for as long as a run's
 * (telex_options.reconnect_ms), at the byte. A file that was changed or replaced meanwhile ends it
 * with reason CHANGED: what came is of one state of the file. done() without an error: all that
 * came has the SHA-256 of what the agent has read; else its reason is CHECKSUM.
 */
TELEX_API int telex_file_read(struct telex_client *client, struct telex_file_reader **out,
    const struct telex_file_read *read,
    void (*output)(
        struct telex_file_reader *reader, uint64_t offset, const void *data, size_t len, void *arg),
    void (*end)(const struct telex_file *file, bool changed, void *arg), telex_done *done,
    void *arg, struct telex_error *error);
TELEX_API void telex_file_reader_consumed(struct telex_file_reader *reader, size_t n);
/* No callback comes any more; frees it. Allowed in output() and end(), and nothing in done(). NULL
 * is allowed. */
TELEX_API void telex_file_reader_cancel(struct telex_file_reader *reader);

/* What is left out has its default. */
struct telex_file_write {
	const char *user, *path;
	bool set_mode; /* else: that of the file it replaces, or 0666 less the umask 022 */
	uint32_t mode; /* 0 to 07777 */
	bool set_modified;
	int64_t modified_ns;        /* since the epoch */
	enum telex_replace replace; /* NEVER: a file that is there is FILE_EXISTS */
	/*
	 * To the end of the file that is there, as >> does; where none is, it is made. Not atomic:
	 * others see it grow. A connection that is lost ends it, and what has come by then stays.
	 */
	bool append;
};

/* What was written; lives during done(). */
struct telex_file_written {
	uint64_t size;         /* of the whole file, in bytes */
	const uint8_t *sha256; /* of what was sent, 32 bytes */
};

struct telex_file_writer;

struct telex_file_write_ops {
	/* There is room again after telex_file_writer_write took less than all. */
	void (*room)(struct telex_file_writer *writer, void *arg);
	/* The connection or what serves us on the agent is lost, and it tries to come back; then,
	 * that it goes on where the agent is. Bytes are taken all the while, as long as there is
	 * room. May be NULL. */
	void (*interrupted)(
	    struct telex_file_writer *writer, const struct telex_error *why, void *arg);
	void (*resumed)(struct telex_file_writer *writer, void *arg);
	/* The end, once, last; the writer is freed after it returns. Exactly one of written and
	 * error is given. written: the file is whole, durable and in its place, and the agent has
	 * the SHA-256 of what was sent. error: what was at `path` is as it was, but where the
	 * message says that this is not known, and with `append`. */
	void (*done)(struct telex_file_writer *writer, const struct telex_file_written *written,
	    const struct telex_error *error, void *arg);
};

/*
 * Writes a file on the agent from bytes of which nobody knows how many will come: into a temporary
 * file beside it, which takes its place at the end, at once. A lost connection, a worker or a
 * telex-files that dies, and an agent that is started again are come back from for as long as a
 * run's (telex_options.reconnect_ms), at the byte; the bytes are asked for only once, and at most
 * 9 MiB of them are held. A disk that is slow makes telex_file_writer_write take less.
 *
 * write and ops are copied; ops->room and ops->done must be there. 0, or -1 and *error; then no
 * callback comes.
 */
TELEX_API int telex_file_write(struct telex_client *client, struct telex_file_writer **out,
    const struct telex_file_write *write, const struct telex_file_write_ops *ops, void *arg,
    struct telex_error *error);
/* Takes up to len bytes (they are copied) and returns how many; less than len: wait for room().
 * After telex_file_writer_end, and when it is ending, all is taken and dropped. */
TELEX_API size_t telex_file_writer_write(
    struct telex_file_writer *writer, const void *data, size_t len);
/* The file is whole: done() follows. */
TELEX_API void telex_file_writer_end(struct telex_file_writer *writer);
/* Gives it up; no callback comes any more. Before telex_file_writer_end, nothing of it stays on the
 * agent (also of what was appended, unless somebody else appended, too), as far as the agent is
 * there to hear it; after it, the file may be in its place or not. telex_client_free sees to it
 * that the word goes out. Allowed in callbacks, and nothing in done(). NULL is allowed. */
TELEX_API void telex_file_writer_cancel(struct telex_file_writer *writer);

/* ---- trees ---- */

/* Which files are sent that the receiver has already. */
enum telex_check {
	TELEX_CHECK_QUICK = 0, /* not those of the same size and time of modification */
	TELEX_CHECK_NONE = 1,
	TELEX_CHECK_CHECKSUM = 2, /* not those of the same size and SHA-256 */
};

struct telex_tree_filter {
	const char *pattern; /* as TreeFilter in file.proto */
	bool exclude;        /* else it is included; the first that matches decides */
};

/* What is left out (0, NULL, false) has its default. */
struct telex_transfer_options {
	const char *user; /* on the agent; NULL: its default */
	/* put: local ones, get: the agent's; files and folders, NULL-terminated. A link that is
	 * named here is followed. */
	const char *const *sources;
	/* Where it goes. Of several sources: a folder. Of one: where `target` is a
	 * folder, into it, under the source's last component; else it becomes `target`. */
	const char *target;
	bool contents; /* one source, and it becomes `target` itself, as a folder its contents */
	bool into;     /* target must be a folder */
	bool parents;  /* missing parents of target are made, and a target that must be a folder */
	enum telex_check check;
	/* The content of small files goes only when the receiver wants it: for trees of which most
	 * is there already. */
	bool lazy;
	bool owner, extended_attributes, hard_links, specials;
	bool no_modes, no_times;
	bool delete_extraneous; /* what the source does not have is removed from the target */
	bool delta;             /* large files that differ go as a difference */
	bool follow;            /* links are followed, all of them */
	bool compress;
	bool dry_run;
	bool keep_special_bits; /* get: set-user-ID, set-group-ID and sticky bits, too */
	bool any_links;         /* get: also links that lead out of the tree */
	const struct telex_tree_filter *filters;
	size_t n_filters;
	uint64_t rate; /* bytes a second, of content, on the average; 0: no limit */
	/* The sender counts ahead, and TELEX_TRANSFER_TOTALS comes. Of files with several names it
	 * counts one, where hard_links is set. */
	bool totals;
};

enum telex_transfer_event {
	TELEX_TRANSFER_FILE = 1,  /* the content of a file of its own turn begins: path, size */
	TELEX_TRANSFER_BYTES,     /* so many bytes of content went: bytes */
	TELEX_TRANSFER_DONE,      /* it is there, durable: path, size, folder */
	TELEX_TRANSFER_UNCHANGED, /* it was there: path, size, folder */
	TELEX_TRANSFER_REMOVED,   /* path */
	TELEX_TRANSFER_FAILED,    /* path, reason, message; the others go on */
	TELEX_TRANSFER_TOTALS,    /* how much there will be: files, bytes, complete */
	TELEX_TRANSFER_LOST,      /* the connection is lost, it tries to come back: message */
	TELEX_TRANSFER_BACK,      /* it is back */
};

struct telex_transfer_note {
	enum telex_transfer_event event;
	const char *path; /* below the target; "" is that itself */
	bool folder;
	uint64_t size, bytes, files;
	bool complete; /* TOTALS: that is all; else, so far, and it comes again */
	const char *reason, *message;
};

struct telex_transfer_summary {
	uint64_t files;     /* that were made or replaced; also links, not folders */
	uint64_t unchanged; /* that were there already */
	uint64_t removed, failed;
	uint64_t bytes; /* of the files' contents */
	uint64_t sent;  /* of content and differences that went over the wire */
};

struct telex_transfer_ops {
	void (*note)(const struct telex_transfer_note *note, void *arg); /* may be NULL */
	/* The end, once, last. error NULL: all that could be moved was, and summary->failed says
	 * whether anything could not. What was moved whole by then stays, and the parts of large
	 * files do, too: the same transfer again goes on with them. */
	void (*done)(const struct telex_transfer_summary *summary, const struct telex_error *error,
	    void *arg);
};

struct telex_transfer;

/*
 * Moves files and trees to the agent (put) or from it (get). Every file is whole or not there, is
 * checked by SHA-256, and durable before it is said to be done. A lost connection is come back from
 * for as long as a run's (telex_options.reconnect_ms), at the byte. Local files are read and
 * written by blocking calls within the event loop. Memory does not grow with the size of files.
 *
 * options and ops are copied, with all that they point to. 0, or -1 and *error; then no callback
 * comes.
 */
TELEX_API int telex_put_tree(struct telex_client *client, struct telex_transfer **out,
    const struct telex_transfer_options *options, const struct telex_transfer_ops *ops, void *arg,
    struct telex_error *error);
TELEX_API int telex_get_tree(struct telex_client *client, struct telex_transfer **out,
    const struct telex_transfer_options *options, const struct telex_transfer_ops *ops, void *arg,
    struct telex_error *error);
/* Stops it; no callback comes any more. Allowed in callbacks. NULL is allowed. */
TELEX_API void telex_transfer_cancel(struct telex_transfer *transfer);

/* ---- watching ---- */

/* What has happened to a path: bits, by the numbers of telex.v1.ChangeKind. Several may come
 * together. */
enum telex_change_kind {
	TELEX_CHANGE_CREATED = 1 << 1,    /* it was made, or came by a rename */
	TELEX_CHANGE_MODIFIED = 1 << 2,   /* its content */
	TELEX_CHANGE_CLOSED = 1 << 3,     /* one that had it open for writing has closed it */
	TELEX_CHANGE_ATTRIBUTES = 1 << 4, /* mode, owner, times, extended attributes, links */
	TELEX_CHANGE_DELETED = 1 << 5,    /* removed or renamed, with all below it */
	TELEX_CHANGE_MOVED = 1 << 6,      /* a rename: moved_from or moved_to */
	TELEX_CHANGE_ROOT_GONE = 1 << 7,  /* the root itself; with the path "" */
	TELEX_CHANGE_ROOT_BACK = 1 << 8,
};
#define TELEX_CHANGE_ALL 0x1fe

/* A path's state now, and all that has happened to it since it was last told. */
struct telex_change {
	size_t root;      /* which of the options' paths */
	const char *path; /* below that: "a/b", never with a "." or ".." in it; "": the root */
	unsigned kinds;
	bool exists; /* what is there now: `type` to `modified_ns` */
	enum telex_file_type type;
	uint32_t mode; /* 0 to 07777 */
	uint64_t size, inode;
	int64_t modified_ns; /* since the epoch, as time_ns */
	/* MOVED, and known: the other name, below paths[moved_root]; else NULL. */
	const char *moved_from, *moved_to;
	size_t moved_root;
	uint32_t count;  /* how often something happened to it: at least 1 */
	int64_t time_ns; /* when the agent saw the last of it */
	uint64_t order;  /* within a batch: the larger, the later */
};

/* What is left out (0, NULL, false) has its default. */
struct telex_watch_options {
	const char *user; /* on the agent; NULL: its default */
	/* Files and folders, NULL-terminated: 1 to 64. */
	const char *const *paths;
	bool recursive; /* all below them; else folders' own entries */
	uint32_t depth; /* with recursive: how deep; 1: own entries, 0: all */
	/* Patterns as in telex_tree_filter, against the path below the root, NULL-terminated; NULL:
	 * none. What an exclude matches is not watched, with all below it; where there are
	 * includes, only what one of them matches is told. */
	const char *const *include, *const *exclude;
	unsigned kinds;     /* only changes with one of these, and these kinds of them; 0: all */
	bool across_mounts; /* also other file systems below a root */
	bool allow_remote;  /* also where other machines may change files unseen: by looking at
	                       intervals */
	bool wait;          /* for roots that are not there */
	const char *since;  /* go on from this clock; NULL: from now on */
	bool state;         /* without since: first all that is there */
	/* A batch is held back until nothing has changed for so long, 0 to 1 hour; 0: not. But no
	 * longer than max_delay_ms after its first change, 0: 10 times settle_ms. */
	int64_t settle_ms, max_delay_ms;
};

struct telex_watch_armed {
	const char *clock; /* where the changes to come begin */
	/* The changes to come begin with all that is there, each CREATED; what was known is void.
	 */
	bool fresh_instance;
	uint64_t folders, entries; /* that are watched; that are known */
	const char *backend;       /* "inotify", "fanotify" */
};

/* The same numbers as telex.v1.WatchRescan.Reason. */
enum telex_rescan_reason {
	TELEX_RESCAN_UNKNOWN = 0,
	TELEX_RESCAN_OVERFLOW = 1,  /* the kernel's queue was full */
	TELEX_RESCAN_RESTARTED = 2, /* what watches was started anew */
	TELEX_RESCAN_ROOT_BACK = 3, /* a root that was gone is there again */
	TELEX_RESCAN_MOUNTS = 4     /* something was mounted below a root, or unmounted */
};

struct telex_rescan {
	enum telex_rescan_reason reason;
	bool done;         /* false: it begins */
	int64_t waited_ms; /* of overflows one after the other: before it began */
};

struct telex_watch;

struct telex_watch_ops {
	/* Everything is watched: what happens from now on is told. Before any change; and again
	 * after `interrupted`. May be NULL. */
	void (*armed)(struct telex_watch *watch, const struct telex_watch_armed *armed, void *arg);
	/*
	 * Changes, in order: to keep a tree, for each one drop the path and all below it where
	 * kinds has DELETED, then put its state where it exists. clock: with these the batch is
	 * whole, and the tree is the one at this clock; NULL: more of it follow. n may be 0 with a
	 * clock. They live during the call; when they are dealt with, now or later, say so with
	 * telex_watch_consumed: until then the agent waits, and joins what happens meanwhile.
	 */
	void (*changes)(struct telex_watch *watch, const struct telex_change *changes, size_t n,
	    const char *clock, void *arg);
	/* Something may have been missed: the agent looks through the folders, and what differs
	 * comes as changes before `done` is said. May be NULL. */
	void (*rescan)(struct telex_watch *watch, const struct telex_rescan *rescan, void *arg);
	/* The answer to telex_watch_sync. May be NULL. */
	void (*synced)(struct telex_watch *watch, uint64_t id, const char *clock, void *arg);
	/* Something below paths[root] cannot be watched as it was asked for; the rest is. reason:
	 * FILE_DENIED, WATCH_LIMIT, … as WatchWarning in watch.proto. May be NULL. */
	void (*warning)(struct telex_watch *watch, size_t root, const char *path,
	    const struct telex_file_failure *failure, void *arg);
	/* That is over: it is watched as it was asked for, or is gone. And after `armed` all that
	 * holds is said again. May be NULL. */
	void (*warning_over)(struct telex_watch *watch, size_t root, const char *path,
	    const struct telex_file_failure *failure, void *arg);
	/* The connection is lost, or what watches on the agent has ended, and it tries to come
	 * back: `armed` follows, or done. May be NULL. */
	void (*interrupted)(struct telex_watch *watch, const struct telex_error *why, void *arg);
	/* The end, once, last; the watch is freed after it returns. error NULL: after
	 * telex_watch_end. */
	void (*done)(struct telex_watch *watch, const struct telex_error *error, void *arg);
};

/*
 * Watches files and folders on the agent, until it is cancelled. A lost connection, a worker or a
 * watching process that dies are come back from for as long as a run's
 * (telex_options.reconnect_ms), with the last clock: nothing that happened meanwhile is missed.
 * What had come of a batch that was not whole comes again; where the agent cannot go on from the
 * clock (it was started anew), `armed` says fresh_instance, and all that is there comes.
 *
 * options and ops are copied, with all that they point to; ops->changes and ops->done must be
 * there. 0, or -1 and *error; then no callback comes.
 */
TELEX_API int telex_watch(struct telex_client *client, struct telex_watch **out,
    const struct telex_watch_options *options, const struct telex_watch_ops *ops, void *arg,
    struct telex_error *error);
/* n changes, the oldest that were given, are dealt with. */
TELEX_API void telex_watch_consumed(struct telex_watch *watch, size_t n);
/* Asks for `synced`: all that happened before it is answered has been told. 0, or -1: 64 are not
 * answered yet, or it is ending. */
TELEX_API int telex_watch_sync(struct telex_watch *watch, uint64_t id);
/* What has happened by now is still told, then done() with no error. */
TELEX_API void telex_watch_end(struct telex_watch *watch);
/* No callback comes any more; frees it. Allowed in callbacks, and nothing in done(). NULL is
 * allowed. */
TELEX_API void telex_watch_cancel(struct telex_watch *watch);

#ifdef __cplusplus
}
#endif

#endif
