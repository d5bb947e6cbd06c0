/* SPDX-License-Identifier: Apache-2.0 */
/* The sender's inside, for the tree_ files that make it. */
#ifndef TX_COMMON_TREE_SEND_INTERNAL_H
#define TX_COMMON_TREE_SEND_INTERNAL_H

#include <openssl/evp.h>
#include <time.h>

#include "common/tree_count.h"
#include "common/tree_delta.h"
#include "common/tree_meta.h"
#include "common/tree_send.h"

#define TREE_ENTRIES  256u                /* of a message */
#define TREE_GATHERED ((size_t)256 << 10) /* bytes of a message: then it goes */
/* Of contents that are held, as they have no size before they are read: of one, and of all. */
#define TREE_HELD_ONE ((size_t)32 << 20)
#define TREE_HELD_MAX ((size_t)64 << 20)

struct tree_job;

/* An entry that the receiver has not answered. */
struct tree_pending {
	uint64_t index;       /* 0: free */
	struct tree_job *job; /* its content is wanted, and is not over; else NULL */
	char *path, *below;
	const struct tree_source *source;
	uint64_t size;
	struct timespec mtime;
	ino_t ino;
	uint8_t *held; /* its content, of `size` bytes; NULL: it is read when it is wanted */
	bool content;  /* it can be wanted */
	bool due;      /* it was sent, and may have to be sent once more: the answer tells */
	bool folder;
	bool retried;
	bool answered; /* with failed, while its content was sent */
};

/* What the receiver wants, in its order. */
struct tree_job {
	struct tree_job *next;
	uint64_t index, offset;
	struct tree_delta *delta;
	bool ready;         /* its signature is complete */
	uint64_t signature; /* its bytes so far */
};

/* The file that is being sent. */
struct tree_sending {
	int fd; /* -1: none */
	uint64_t index, at, size, offset;
	uint64_t delta_at;
	struct stat st;
	EVP_MD_CTX *sha;
	bool failed;
};

/* Files with several names: which path came first. */
struct tree_inode {
	dev_t dev;
	ino_t ino; /* 0: free */
	char *path;
};

struct tree_sender {
	struct tree_sender_config cfg;
	struct tree_walk *walk;
	bool walked, finish_sent;
	struct tree_count *count; /* where totals are wanted */
	uint64_t counted_files;   /* that were told */
	bool counted;             /* all were told */
	uint64_t next_index, answered;
	struct tree_pending pending[TREE_UNANSWERED];
	/* To be sent once more. */
	struct tree_pending *again;
	size_t n_again, again_room;
	struct tree_job *jobs, **jobs_end;
	uint64_t signatures; /* of all jobs */
	struct tree_sending sending;
	struct tree_inode *inodes;
	size_t n_inodes, inodes_room;
	/* The message that is gathered. */
	Telex__V1__TreeSend message;
	Telex__V1__TreeEntry entries[TREE_ENTRIES];
	Telex__V1__TreeEntry *entry_list[TREE_ENTRIES];
	char ids[TREE_ENTRIES][33];
	size_t gathered;
	uint8_t *contents; /* of the entries' */
	size_t contents_used;
	uint8_t *unsized; /* the content of the entry that is being gathered, where it is held */
	size_t held;      /* bytes of all that are */
	uint8_t *buffer;  /* TREE_CHUNK */
	uint8_t *packed;
	size_t packed_room;
	void *zstd;
	uint8_t *compressed;
	unsigned incompressible; /* messages to leave alone */
	Telex__V1__TreeSummary summary;
	bool has_summary;
	uint64_t errors, bytes, files;
};

/* ---- messages: tree_gather.c ---- */
/* Emits, compressed where that was asked for and helps. */
int tree_gather_emit(struct tree_sender *s, const struct tree_span *parts, size_t n);
int tree_gather_flush(struct tree_sender *s);
/* Adds the entry of a name, with its content where that is small and wanted so. 0; or errno's: what
 * could not be read is told to the receiver. */
int tree_gather_name(struct tree_sender *s, const struct tree_name *n);
/* An entry once more, as it is now. */
int tree_gather_again(struct tree_sender *s, struct tree_pending *p);
/* Tells of what could not be read. */
int tree_gather_trouble(struct tree_sender *s, const char *path, int sys_errno, const char *what);
void tree_gather_clear(struct tree_sender *s);

/* ---- what comes with an entry: tree_read.c. 0 or an errno. ---- */
/* Reads a small file into the message. EAGAIN: it is not what it was, and goes another way. */
int tree_read_content(struct tree_sender *s, const struct tree_name *n, Telex__V1__TreeEntry *e);
/* A file whose size is said to be 0 may have content all the same, as those of /proc do: it is read
 * to its end, and what was read is its size. What is too much to come with its entry goes to
 * s->unsized, to be held until it is wanted. EFBIG: it is too much for that. */
int tree_read_unsized(struct tree_sender *s, const struct tree_name *n, Telex__V1__TreeEntry *e);
/* Its SHA-256 into the entry. */
int tree_read_digest(
    const struct tree_sender *s, const struct tree_name *n, Telex__V1__TreeEntry *e);

/* ---- contents: tree_supply.c ---- */
/* A part of the content whose turn it is. 1: did something; 0: none is wanted. */
int tree_supply_step(struct tree_sender *s);
int tree_supply_want(struct tree_sender *s, const Telex__V1__TreeWant *w, struct err *e);
void tree_supply_free(struct tree_sender *s);

struct tree_pending *tree_sender_pending(struct tree_sender *s, uint64_t index);
void tree_sender_forget(struct tree_sender *s, struct tree_pending *p);
/* Its content, where it is held: it is not sent any more. */
void tree_sender_let_go(struct tree_sender *s, struct tree_pending *p);

#endif
