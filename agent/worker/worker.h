/* SPDX-License-Identifier: Apache-2.0 */
/* What the services of one worker share. worker_main owns it; the services read it. Plain data. */
#ifndef TX_AGENT_WORKER_WORKER_H
#define TX_AGENT_WORKER_WORKER_H

#include <stdbool.h>

#include <sys/utsname.h>

#include "common/confine.h"
#include "common/keeper_msg.h"
#include "common/tls.h"

struct attempts;
struct audit;
struct audit_budget;
struct authz;
struct ca_client;
struct event;
struct event_base;
struct file_pool;
struct health_watch;
struct keeper_client;
struct revoked;
struct file_call;
struct run;
struct sessions;
struct shared_answer;

#define WORKER_MAX_MESSAGE ((size_t)4 << 20) /* of a request */
#define WORKER_MAX_STREAMS 256u              /* calls at once on a connection */

/* The context of every call (rpc_call_context). */
struct worker {
	struct event_base *base;
	struct keeper_client *keeper;
	struct km_config config; /* as the keeper gave it */
	char agent_identity[TLS_IDENTITY_SIZE];
	struct audit *audit;            /* NULL: none (tests); see audit_log.h */
	struct audit_budget *strangers; /* the same: what is written of who has no certificate */
	struct event *strangers_due;
	struct audit_budget *denials; /* the same, of what identities were denied */
	struct event *denials_due;
	struct authz *authz; /* from KM_GO on; NULL: nobody may do anything */
	struct confine_report confinement;
	const char *groups; /* tls_ctx_groups */
	int64_t certificate_not_after;
	/* As it was when this process began: in its sandbox it cannot look. */
	struct utsname names;
	long processors, pages, page_size;
	bool draining;
	bool moving;                  /* draining, because another worker has taken over */
	struct run *runs;             /* run.c's */
	struct file_call *watching;   /* file_call.c's */
	uint64_t tables;              /* bytes of those that lists hold: process_list.c */
	struct health_watch *watches; /* svc_health's */
	struct revoked *revoked;      /* from KM_GO on; NULL: as if there were no list */
	struct sessions *sessions;    /* from KM_GO on */
	/* Of telex-files, as the last that began said; names in files_measures. */
	struct confine_report files_confinement;
	char files_measures[CONFINE_MEASURES_MAX][32];
	struct ca_client *ca;       /* svc_certificate's */
	int64_t enroll_paid;        /* the same: until when what was asked is paid for */
	struct attempts *attempts;  /* the same; NULL: none yet */
	struct shared_answer *list; /* the same: the last revocation list; NULL: none yet */
};

/* The peer of every call (rpc_call_peer): who is at the other end of the connection. */
struct peer {
	char identity[TLS_IDENTITY_SIZE];
	char serial[TLS_SERIAL_SIZE]; /* of its certificate */
	char address[64];             /* "127.0.0.1:54321" */
	const struct worker *worker;
	struct tls_description tls; /* as long as the connection; NULLs: it has none */
	bool called;                /* a call of it was accepted */
	bool unwritten;             /* the connection's audit record is due with its first call */
	int last_code;              /* enum rpc_code of the call that is being closed */
	/* proxied.c: through whom it calls; whom it has called for, one after the other. */
	struct peer *proxy, *proxied;
	uint32_t n_proxied;
	struct file_pool *files; /* file_pool.c: NULL until the first call about files */
};

#endif
