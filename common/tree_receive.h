/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The receiver of a tree: makes what the sender sends, below one folder. Every file is made under
 * another name, or none, checked, made durable and then put in its place, so that there is the old
 * one or the new one at every moment. Small files are made durable many at a time.
 *
 * Names are opened from the target's descriptor, never through a link, never above it. What
 * cannot be made is answered with failed, and the rest goes on.
 */
#ifndef TX_COMMON_TREE_RECEIVE_H
#define TX_COMMON_TREE_RECEIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/tree.h"

struct tree_receiver;

enum tree_note_kind {
	TREE_NOTE_BEGIN,     /* a file's content begins; size */
	TREE_NOTE_BYTES,     /* so many bytes of content came */
	TREE_NOTE_DONE,      /* made; size */
	TREE_NOTE_UNCHANGED, /* was there; size */
	TREE_NOTE_REMOVED,
	TREE_NOTE_FAILED, /* error */
	TREE_NOTE_TOTALS, /* the sender's: files in `size`, bytes in `bytes`, whether complete */
};

/* For whoever shows how it goes. */
struct tree_note {
	enum tree_note_kind kind;
	const char *path; /* in the tree */
	bool folder;
	bool link; /* one more name of a file that is counted under another */
	uint64_t size, bytes;
	bool complete; /* totals: that is all; else so far */
	const Telex__V1__FileError *error;
};

struct tree_receiver_config {
	const Telex__V1__TreeOptions *options;
	/* What the entry with the empty path becomes: `name` in parent_fd. -1: there is no such. */
	int parent_fd;
	const char *name;
	/* What the empty path is called in messages: the target as a person knows it. NULL: "the
	 * target". */
	const char *title;
	/* The name of a user or group, for messages, or ""; NULL: numbers are told. */
	const char *(*name_of)(bool group, uint32_t id);
	/* The folder that the others go into, where it is there already; else -1: the entry with
	 * the empty path makes it. */
	int target_fd;
	unsigned umask;
	unsigned special; /* bits of 07000 that are kept of modes */
	bool links_stay;  /* links that lead out of the tree are refused */
	bool any_owner;   /* the process may set owners */
	const char *const
	    *only; /* NULL-terminated: the first components that may come; NULL: any */
	/* Whether the entry may be written to; NULL: yes. */
	bool (*allowed)(const char *path, void *arg);
	/* What is there may not be read: nothing is told of it but size and time (no differences),
	 * and it gets no other names. */
	bool unreadable;
	/* The transfer's id (tree_id_valid), or NULL: a target folder that is made here is marked
	 * with it until the end, so that another try knows it again (tree_marked). */
	const char *marker;
	/* Another transfer that writes a part may be one that was cut off and has not seen that: it
	 * is waited for, some seconds. Not where the process has anything else to do: then the file
	 * fails at once (UPLOAD_BUSY). */
	bool waits;
	uint64_t max_bytes, max_files; /* 0: no limit */
	/* Parts of files that were cut, that may wait in one folder; one more is removed. 0: no
	 * limit. */
	unsigned max_parts;
	const struct tree_set *had; /* these are treated as unless_same; may be NULL */
	tree_emit *emit;            /* TreeReceive */
	void (*note)(const struct tree_note *note, void *arg); /* may be NULL */
	void *arg;
};

/* 16 to 32 of 0-9 a-f. */
bool tree_id_valid(const char *id);
/* Whether the folder was made by a try of this transfer that has not come to its end, or to one at
 * which something had failed. */
bool tree_marked(int folder_fd, const char *id);

/* Raises the process's limit of descriptors, as far as it may: more small files are made durable at
 * once then. For programs; a library leaves the limit alone. */
void tree_more_files(void);

/* All of it is copied but what pointers point to, which must last. The descriptors stay the
 * caller's. TX_ENOMEM. */
int tree_receiver_new(struct tree_receiver **out, const struct tree_receiver_config *cfg);
/* A transfer that is cut: files that are whole are put in their place, parts of large ones stay to
 * be gone on with. NULL is allowed. */
void tree_receiver_free(struct tree_receiver *r);

/* One TreeSend, packed. 0; TX_EPROTO (*e says what was wrong: the transfer is over), TX_ENOMEM; or
 * what emit returned. */
int tree_receiver_take(struct tree_receiver *r, const uint8_t *msg, size_t len, struct err *e);
/* No more has come for now: answers that wait go out. */
int tree_receiver_flush(struct tree_receiver *r);
/* The summary was emitted: the transfer is complete. */
bool tree_receiver_finished(const struct tree_receiver *r);
const Telex__V1__TreeSummary *tree_receiver_summary(const struct tree_receiver *r);

#endif
