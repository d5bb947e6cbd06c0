/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The job table: what the whole agent exists to keep. A job is found by its id and, while it is not
 * reaped, by its pid. It is made by start, moved along by reap and ending, read by attach; each
 * owns the fields under its name.
 *
 * A job's exit is published (state ENDED) when its leader is reaped and both outputs are at their
 * end; or, when others hold them open, after JOB_CLOSE_GRACE_NS, but never before all that was in
 * the pipes when it was reaped is in the rings: a slow reader does not shorten an output. Where
 * nobody is attached for JOB_KEEP_NS it does: an exit is not held for ever.
 *
 * A job whose group is full is QUEUED: in the table, without process and pumps. It becomes RUNNING
 * (job_started) or ENDED without having run (job_never_ran).
 */
#ifndef TX_KEEPER_JOB_H
#define TX_KEEPER_JOB_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "common/err.h"
#include "common/job_spec.h"
#include "common/keeper_msg.h"

struct attachment;
struct cgroup;
struct event;
struct event_base;
struct group;
struct jobs;
struct pump_in;
struct pump_out;
struct pump_out_ops;
struct store_readers;

#define JOB_CLOSE_GRACE_NS (INT64_C(2) * 1000000000)
#define JOB_KEEP_NS        (INT64_C(600) * 1000000000)
#define JOB_AGAIN_NS       (INT64_C(10) * 1000000000)
#define JOB_KEEP_COUNT     1000
#define JOB_KEEP_BYTES     ((size_t)64 << 20)

/* How long others wait for a reader that keeps a full output from going on: one that started the
 * process or holds stdin, since it last acknowledged something; and any other, in all, less the
 * time in which it kept nobody waiting. */
#define JOB_PATIENCE_OWNER_NS (INT64_C(5) * 1000000000)
#define JOB_PATIENCE_OTHER_NS (INT64_C(1) * 1000000000)

/* A signal that was sent through telex, and by whom. */
struct job_sent {
	struct job_sent *next;
	int signo;
	char by[KM_IDENTITY_SIZE];
};

/* A new field: see job_save.h, too. */
struct job {
	/* job.c: links; read-only for others */
	struct jobs *jobs;
	LIST_ENTRY(job) by_id, by_pid;
	TAILQ_ENTRY(job) in_order;
	enum km_state state;
	char id[KM_ID_SIZE];
	char owner[KM_IDENTITY_SIZE];
	struct job_spec *spec;

	/* start.c */
	pid_t pid; /* also its process group and session; 0: it never ran */
	int pidfd; /* -1: none, or reaped */
	int64_t start_ns;
	int64_t born_ns;       /* the same moment by CLOCK_BOOTTIME (tree.h) */
	struct cgroup *cgroup; /* NULL: none, or nothing runs in it any more (cgroup_save) */
	int terminal; /* the keeper's own copy of its slave; -1: none, or reaped. To be kept over an
	                 upgrade; the master is with the pumps alone, that know by themselves */
	struct pump_in *in;      /* NULL: no stdin, or it never ran */
	struct pump_out *out[3]; /* [0] unused; NULL: it never ran */
	bool was_attached;       /* started by a client that stayed */
	/* start_later.c: QUEUED because of its start alone. */
	bool starting;
	int64_t starting_at; /* monotonic; since then */
	TAILQ_ENTRY(job) in_starting;

	/* reap.c */
	bool reaped;
	uint64_t group_seen; /* the round that last saw others of its group alive */
	struct km_exit exit; /* whole when state is ENDED */

	/* ending.c */
	enum km_reason cause; /* 0: telex has not begun to end it */
	char *cause_by;       /* whose request; NULL: nobody's */
	int64_t kill_at;      /* monotonic: SIGKILL follows then; 0: not asked to end, or killed */
	int64_t timeout_at;   /* monotonic: its run timeout; 0: none, or over */
	struct job_sent *sent;
	struct event *end_timer;  /* for the earlier of kill_at and timeout_at */
	struct event *gone_timer; /* the wait of the disconnect policy */

	/* attach.c */
	LIST_HEAD(, attachment) attachments;
	LIST_HEAD(, attachment) away; /* whose worker is gone, and who may come back */
	uint32_t n_away;
	struct attachment *stdin_holder;
	uint64_t starter_key;   /* of the attachment that came with the start; 0: none */
	uint32_t n_attached;    /* clients that are there: not the passive ones */
	uint32_t n_counted;     /* of these, those that the disconnect policy asks for */
	uint64_t left_key;      /* of the last of these that left; 0: none */
	uint32_t n_readers;     /* those that want output */
	uint32_t n_waited;      /* those that a process may wait for: no passive, no lossy ones */
	uint64_t leaving_seen;  /* the round of leaving that has looked at it */
	bool delivered;         /* its client has the exit, as far as one can see */
	bool acknowledged;      /* it said so */
	bool lost_worker;       /* after an upgrade: it had attachments */
	struct event *patience; /* a full output's readers are looked at then */

	/* job.c: closing */
	struct event *close_timer;
	uint64_t close_mark[3]; /* each output's length at reap time */
	bool close_late;        /* the grace is over, but a mark was not reached */
	int64_t ended_at;       /* monotonic */
	int64_t expire_ns;      /* epoch: until when it is held, when ENDED */
	bool forgotten;         /* not in the table any more; attachments are left */

	/* group.c */
	struct group *group; /* NULL: none */
	TAILQ_ENTRY(job) in_group, in_queue;

	/* retain.c */
	bool idle; /* in the list of those that may be dropped */
	TAILQ_ENTRY(job) in_idle, in_unread;
	size_t kept_output, kept_spec; /* bytes it counts with */
};

/* What the layers above are told. Called from the event loop, never from inside a call of theirs
 * into this table. */
struct job_ops {
	void (*output)(
	    struct job *j, enum km_stream s, void *arg); /* more bytes, a new ring, or its end */
	void (*input)(struct job *j, void *arg);
	void (*ended)(struct job *j, void *arg);     /* state is ENDED */
	void (*timer)(struct job *j, void *arg);     /* end_timer */
	void (*gone)(struct job *j, void *arg);      /* gone_timer */
	void (*forgotten)(struct job *j, void *arg); /* it leaves the table; may be NULL */
	/* These may be NULL: there are no readers. From inside calls, too. */
	void (*readers)(struct job *j, enum km_stream s, struct store_readers *r, void *arg);
	void (*full)(struct job *j, enum km_stream s, void *arg); /* an output is, or is no more */
	void (*patience)(struct job *j, void *arg);               /* its timer */
};

int jobs_new(struct jobs **out, struct event_base *base, uint32_t max_processes, struct err *e);
void jobs_free(struct jobs *js); /* and all jobs; processes that live are left alone */
void jobs_set_ops(struct jobs *js, const struct job_ops *ops, void *arg);
struct event_base *jobs_base(struct jobs *js);
/* Of a job that is freed, just before: for who keeps something of its own about it. There is one.
 */
void jobs_at_free(struct jobs *js, void (*fn)(const struct job *j));
/* For tests: instead of JOB_KEEP_NS for an output that waits for a reader, and of JOB_AGAIN_NS
 * where that is longer. */
void jobs_set_keep(struct jobs *js, int64_t ns);
/* For tests: instead of JOB_PATIENCE_…; and what holds. */
void jobs_set_patience(struct jobs *js, int64_t owner_ns, int64_t other_ns);
int64_t jobs_patience(const struct jobs *js, bool owner);

/* An empty job, not in the table. Takes spec when it succeeds. NULL: no memory. */
struct job *job_new(struct jobs *js, const char *id, const char *owner, struct job_spec *spec);
/* Into the table: RUNNING when pid is set, else QUEUED. */
void job_insert(struct job *j);
/* A queued one has its pid now: RUNNING. */
void job_started(struct job *j);
/* A queued one ends. reason, by, value (an errno), stage and text of j->exit are set. */
void job_never_ran(struct job *j);
/* Out of the table, if it is in it. No attachment may be left. */
void job_free(struct job *j);
/* An ended one leaves the table now, and is freed when the last attachment has left. */
void job_forget(struct job *j);

struct job *jobs_find(struct jobs *js, const char *id);
struct job *jobs_find_pid(struct jobs *js, pid_t pid); /* only those that are not reaped */
struct job *jobs_first(struct jobs *js);               /* oldest first */
struct job *jobs_next(struct job *j);
/* One whose leader has died and that was not reaped yet, if its pidfd says so; else NULL. */
struct job *jobs_find_dead(struct jobs *js);
void job_hide_dead(struct job *j);            /* it is not found so any more */
uint32_t jobs_running(const struct jobs *js); /* not ENDED: also those that are queued */
uint32_t jobs_queued(const struct jobs *js);
uint32_t jobs_held(const struct jobs *js);          /* ENDED */
uint64_t jobs_dropped(const struct jobs *js);       /* ended ones, before anybody had their exit */
void jobs_set_dropped(struct jobs *js, uint64_t n); /* after an upgrade: what was counted before */
uint32_t jobs_max(const struct jobs *js);
void jobs_set_max(struct jobs *js, uint32_t max_processes); /* those that run, run on */

/* Drops outputs of ended jobs that nobody reads, oldest first, until so many descriptors are free;
 * returns how many are. */
unsigned jobs_give_descriptors(struct jobs *js, unsigned n);

/* Whether it has a stdin to be fed, or will have. */
bool job_has_stdin(const struct job *j);

/* The one setter; asserts that the step is one forward, and logs it. ENDED is reached only through
 * job_reaped. */
void job_set_state(struct job *j, enum km_state state);

/* The leader is gone; kind, value, core, usage, end_ns and reason of j->exit are set. */
void job_reaped(struct job *j);

/* After an upgrade (job_save.c): into the table, in that state, with all else set; then, in the
 * order of their ends, those that have ended are held; and last each one goes on. */
void job_adopt(struct job *j, enum km_state state);
void job_hold(struct job *j);
void job_resume(struct job *j);

/* For the pumps: arg is the job. */
const struct pump_out_ops *job_output_ops(enum km_stream s);
void job_stdin_moved(void *job);

/* An attachment was added. */
void job_taken(struct job *j);
/*
 * One was removed. When it was the last, the job has ended and its policy is not KEEP, it is
 * forgotten (freed): at once when a client has acknowledged the exit, JOB_AGAIN_NS later when it
 * was delivered as far as one can see; or at once, too, when many are held.
 */
void job_release(struct job *j);

#endif
