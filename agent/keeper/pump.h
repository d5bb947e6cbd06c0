/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moves bytes between a process's pipes and its rings. An output pump reads while its ring has
 * room, and stops, so that the process waits, when it has none. An input pump writes what a worker
 * put into the ring.
 */
#ifndef TX_KEEPER_PUMP_H
#define TX_KEEPER_PUMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/keeper/store.h"
#include "common/err.h"

struct event_base;
struct ring;
struct state_in;
struct state_out;
struct pump_out;
struct pump_in;

/* Called when there is more (or the end) to tell; never from inside pump_out_new or pump_in_new. */
typedef void (*pump_fn)(void *arg);

/*
 * ---- output: pipe -> ring ----
 *
 * NULL stands for the output of a job that has not run: it is empty, without a ring, and has not
 * ended. It may be asked, released and forgotten.
 */

struct pump_out_ops {
	pump_fn more;
	/* What the readers need. NULL: there are none. */
	void (*readers)(struct store_readers *r, void *arg);
	/* The process waits for its readers now (or no more). May be NULL. */
	void (*full)(bool full, void *arg);
};

/* Takes fd (the read end, or a terminal's master, non-blocking) when it succeeds; -1: an output
 * that has ended, with nothing in it. The ring is made at the first byte. TX_ENOMEM. */
int pump_out_new(struct pump_out **out, struct event_base *base, int fd,
    const struct store_config *config, const struct pump_out_ops *ops, void *arg);

/* Reads what is there now, as if the loop had seen it. */
void pump_out_run(struct pump_out *p);

/* When nobody counts, everything before `offset` may go (not beyond head: TX_EPROTO). Reading goes
 * on where that makes room. */
int pump_out_release(struct pump_out *p, uint64_t offset);
/* As store_keep_memory. */
void pump_out_keep_memory(struct pump_out *p, uint64_t offset);
/* The readers let go of something, or one has come or is about to leave. */
void pump_out_poke(struct pump_out *p);

/* What it holds: the ring (NULL until the first byte came) and so on. */
const struct store *pump_out_store(const struct pump_out *p);
uint64_t pump_out_head(const struct pump_out *p);
uint64_t pump_out_oldest(const struct pump_out *p);
/* Whether it waits for its readers. */
bool pump_out_full(const struct pump_out *p);
/* Frees what it holds; only after the end or pump_out_drop. oldest is head then. */
void pump_out_forget(struct pump_out *p);
/* Its pipe, if it is open and only drained, is so on its own from now on, as after pump_out_free;
 * what was read stays here. */
void pump_out_abandon(struct pump_out *p);

/* Whether the end was seen: all of the stream is in the ring. */
bool pump_out_ended(const struct pump_out *p);
/* The same, but looks at the pipe first, for one that is not being read now. */
bool pump_out_look(struct pump_out *p);

/*
 * The length that the output has when all that was written until now is in the ring. A terminal
 * does not tell: UINT64_MAX then, and it is reached when pump_out_dry says so.
 */
uint64_t pump_out_mark(struct pump_out *p);
/* A terminal's: whether nothing was left to read at some time since pump_out_mark. */
bool pump_out_dry(const struct pump_out *p);

/* What comes from now on is read and dropped; head is final. No more calls of more(). */
void pump_out_drop(struct pump_out *p);

/*
 * The job is forgotten. Where others still hold the pipe it is drained on, by the pump alone, until
 * they close it or pump_out_end_all is called; so that they get no SIGPIPE.
 */
void pump_out_free(struct pump_out *p);
void pump_out_end_all(void);

/* ---- output, over an upgrade ---- */

struct pump_out_saved {
	int fd; /* -1: none */
	bool dropping, enlarged, dry;
	bool has_store;
	struct store_saved store;
};

void pump_out_save(struct state_out *o, const struct pump_out *p);
/* The descriptors are the caller's until pump_out_restore has succeeded. */
void pump_out_load(struct state_in *in, struct pump_out_saved *s);
/* Reads on where it was. TX_ENOMEM, TX_ESYS, TX_EPROTO. */
int pump_out_restore(struct pump_out **out, struct event_base *base, const struct pump_out_saved *s,
    const struct store_config *config, const struct pump_out_ops *ops, void *arg, struct err *e);
/* Those that belong to no job any more: a record each. */
void pump_out_save_abandoned(struct state_out *o);
int pump_out_restore_abandoned(
    struct event_base *base, const struct pump_out_saved *s, struct err *e);

/* ---- input: ring -> pipe ---- */

/*
 * Takes fd (the write end, or a terminal's master, non-blocking) when it succeeds; makes the ring.
 * A terminal is not closed by the end of the input: that is given to it as its character.
 * TX_ENOMEM, TX_ESYS.
 */
int pump_in_new(struct pump_in **out, struct event_base *base, int fd, size_t ring_size,
    pump_fn progress, void *arg, struct err *e);

/* A worker says that the ring holds everything before `head`. TX_EPROTO. After the end or the
 * closing it is ignored. */
int pump_in_accept(struct pump_in *p, uint64_t head, bool eof);

struct ring *pump_in_ring(const struct pump_in *p); /* NULL when stdin is closed */
uint64_t pump_in_head(const struct pump_in *p);
uint64_t pump_in_written(const struct pump_in *p);
bool pump_in_ended(const struct pump_in *p);  /* EOF was given, or the process closed it */
bool pump_in_closed(const struct pump_in *p); /* the process closed it, or has ended */

void pump_in_close(struct pump_in *p); /* the process has ended */
void pump_in_free(struct pump_in *p);

/* As with outputs. */
struct pump_in_saved {
	int fd, ring_fd;
	uint64_t size, head, written;
	bool eof, closed, enlarged;
	int last;
};

void pump_in_save(struct state_out *o, const struct pump_in *p);
void pump_in_load(struct state_in *in, struct pump_in_saved *s);
int pump_in_restore(struct pump_in **out, struct event_base *base, const struct pump_in_saved *s,
    pump_fn progress, void *arg, struct err *e);

#endif
