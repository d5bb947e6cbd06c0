/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A real telexd in a temporary folder, whose workers are the test itself: each peer is one worker's
 * end of a link. Every wait has a deadline; what does not come fails the test.
 */
#ifndef TX_TESTS_KEEPER_RIG_H
#define TX_TESTS_KEEPER_RIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/job_spec.h"
#include "common/keeper_msg.h"

#define RIG_DEADLINE_MS 30000
#define PEER_OWNER      "spiffe://test/user/one" /* for whom peers ask */

struct rig {
	char dir[64];
	pid_t pid; /* of telexd; 0: it was waited for */
	bool copied;
	int listener;
	int status; /* as of waitpid, after rig_wait */
};

struct peer {
	int fd;      /* the link */
	int process; /* the socket to the fake worker: its end is the process's end */
	pid_t pid;
};

/* An output as a client would have it. */
struct peer_output {
	struct ring *ring;
	uint8_t *data;
	size_t len, size;
	uint64_t offset; /* of the next byte */
	int spool;       /* when spooled: what is before the ring's tail */
	uint64_t spool_base;
	bool spooled;
	bool eof;
};

/* What came of one attachment, in the order in which it must come. */
struct peer_job {
	uint32_t att;
	struct km_job job; /* the answer */
	struct peer_output out[3];
	struct ring *input;
	struct km_input_done input_done;
	struct km_running running; /* pid 0: it did not come */
	bool ended;
	struct km_exit exit;
};

/* Starts telexd with `config` added to the usual lines. Its stderr goes to DIR/log. */
void rig_start(struct rig *r, const char *config);
/* The same, with the program copied to DIR/telexd, so that it can be replaced. */
void rig_start_copy(struct rig *r, const char *config);
/* Puts another program of the build, "telexd" say, in that one's place. */
void rig_replace(struct rig *r, const char *name);
/* A file in its folder. */
void rig_write(struct rig *r, const char *name, const char *text);
/* Writes its configuration anew; it is not told. */
void rig_configure(struct rig *r, const char *config);
/* Asks it to end and checks that it ends well; removes the folder. */
void rig_stop(struct rig *r);
/* Waits for its end. */
void rig_wait(struct rig *r);
/* Whether its log holds the words. */
bool rig_logged(const struct rig *r, const char *words);

/* Takes the next worker, through to KM_READY. */
void rig_accept(struct rig *r, struct peer *p);
/* The same up to KM_GO: it is not ready. */
void rig_accept_early(struct rig *r, struct peer *p);
/* Whether the keeper answers a question before it ends the link. Its pings are answered. */
bool peer_answers(struct peer *p);
/* The process is killed and the link ends with it. */
void peer_kill(struct peer *p);
void peer_close(struct peer *p);
/* Takes everything up to the link's end; the process stays. */
void peer_expect_end(struct peer *p);
/* As peer_answers, and takes what else comes before the answer. */
bool peer_answers_between(struct peer *p);
/* Waits until the keeper has ended it. */
void peer_expect_death(struct peer *p);

void peer_send(struct peer *p, uint16_t type, uint64_t seq, void *msg, int fd);
void peer_send_raw(struct peer *p, const void *bytes, size_t len);
/* The next message that is no ping (pings are answered). *fd -1: it carried none. */
void peer_recv(struct peer *p, union km_any *m, int *fd);
/* The next one, which must be of this type. */
void peer_expect(struct peer *p, uint16_t type, union km_any *m);

/* A spec with sensible defaults: sh -c SCRIPT. */
void peer_spec(struct job_spec *spec, char *argv[4], char *script);
/* KM_START; the answer is left in *m. */
void peer_start(
    struct peer *p, uint32_t att, const char *id, const struct job_spec *spec, union km_any *m);
/* The same, which must be granted. */
void peer_run(
    struct peer *p, struct peer_job *pj, uint32_t att, const char *id, const struct job_spec *spec);
void peer_attach(struct peer *p, struct peer_job *pj, uint32_t att, const char *id,
    uint64_t offset_out, uint64_t offset_err, bool want_stdin);

/* Takes one message of the attachment and acts as a worker does: reads, and acknowledges when
 * `ack`. */
void peer_step(struct peer *p, struct peer_job *pj, bool ack);
/* Until the exit. */
void peer_finish(struct peer *p, struct peer_job *pj);
/* delivered: as KM_DETACH says. */
void peer_detach(struct peer *p, struct peer_job *pj, uint8_t delivered);
void peer_release(struct peer *p, uint32_t att, uint32_t stream, uint64_t acked, uint64_t seen);
/* Puts bytes into stdin (no more than the ring has room for). */
void peer_input(struct peer *p, struct peer_job *pj, const void *data, size_t len, bool eof);
/* The mappings and the data; the attachment stays. */
void peer_job_free(struct peer_job *pj);

/* Polls until fn(arg) holds; fails the test when it does not in time. */
void rig_until(bool (*fn)(void *arg), void *arg, const char *what);

#endif
