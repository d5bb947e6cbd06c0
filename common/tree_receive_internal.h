/* SPDX-License-Identifier: Apache-2.0 */
/* The receiver's inside, for the tree_ files that make it. */
#ifndef TX_COMMON_TREE_RECEIVE_INTERNAL_H
#define TX_COMMON_TREE_RECEIVE_INTERNAL_H

#include <openssl/evp.h>
#include <sys/stat.h>
#include <time.h>

#include "common/tree_delta.h"
#include "common/tree_meta.h"
#include "common/tree_receive.h"

#define TREE_ID_SIZE    33
#define TREE_TEMP_SIZE  64
#define TREE_BATCH_MAX  2048u /* as far as descriptors go */
#define TREE_BATCH_MIN  64u
#define TREE_FOLDERS    64u /* descriptors that are kept */
#define TREE_BATCH_SIZE ((uint64_t)64 << 20)
#define TREE_ALONE      ((uint64_t)4 << 20) /* larger ones do not wait for others */

/* A folder of the target that is open; counted. */
struct tree_folder {
	char *path;
	int fd;
	dev_t dev;
	unsigned refs;
	uint64_t used; /* when last */
	bool reaped;   /* old parts were looked for */
};

/* A file that is whole, under no name or a temporary one. */
struct tree_whole {
	struct tree_folder *folder;
	char *name;                /* its own, in the folder */
	char temp[TREE_TEMP_SIZE]; /* "": it has none */
	int fd;                    /* -1: a link or a special file, which has its temp */
	uint64_t index, size;
	char *path;
	bool fresh;    /* nothing has its name, as far as one knows */
	bool in_place; /* it has its name already */
	int sys_errno; /* why it could not be put there */
};

/* One that has its name; that this lasts is still to be seen to. */
struct tree_placed {
	uint64_t index, size;
	char *path;
};

#define TREE_KEPT_MAX ((size_t)512 << 20)

/* An entry that is dealt with at the end. */
struct tree_kept {
	Telex__V1__TreeEntry *entry;
	dev_t dev; /* of a folder that was made or found; 0: not known */
	ino_t ino;
	bool told; /* that it cannot be gone into */
};

/* An entry that failed in a way that its sender tries once more. */
struct tree_tentative {
	char *path;
	Telex__V1__FileError error;
};

struct tree_kept_list {
	struct tree_kept *all;
	size_t n, room;
};

/* An entry whose content is wanted, and is to come. */
struct tree_wanted {
	struct tree_wanted *next;
	Telex__V1__TreeEntry *entry;
	char *path;
	uint64_t offset;
	size_t size;        /* of memory */
	uint64_t signature; /* its bytes */
	bool delta;
	/* Of the first in the queue, once its content comes: */
	bool opened, broken;
	struct tree_folder *folder;
	char temp[TREE_TEMP_SIZE];
	int fd, basis_fd;
	uint64_t at, sent_back; /* written; and of that, what is on its way to the disk */
	EVP_MD_CTX *sha;
	struct tree_patch *patch;
};

struct tree_receiver {
	struct tree_receiver_config cfg;
	struct tree_apply apply;
	struct tree_folder folders[TREE_FOLDERS];
	uint64_t clock;
	int target_fd;            /* -1: not made yet; its own */
	struct tree_whole *batch; /* batch_max of them */
	size_t n_batch, batch_max;
	uint64_t batch_size;
	/* Of the batch before, all on the file system of placed_fd. */
	struct tree_placed *placed;
	size_t n_placed;
	int placed_fd;
	dev_t placed_dev;
	struct tree_wanted *wanted, **wanted_end;
	struct tree_wanted *to_ask; /* of these, the first that was not asked for */
	size_t n_wanted;
	uint64_t signatures; /* bytes that were sent for those that are asked for */
	/* Folders, for their attributes, and hard links: at the end. */
	struct tree_kept_list made, links;
	size_t kept_bytes;
	struct tree_set *seen; /* for delete_extraneous */
	/* Entries that failed: what they were to have is not what is there. NULL: none. */
	struct tree_set *failed;
	uint64_t last_index;
	/* What failed once: told at the end where it has not come again by then. */
	struct tree_tentative *tentative;
	size_t n_tentative;
	struct tree_set *tried; /* their paths; NULL: none yet */
	struct tree_set *whole; /* for these no difference is asked for; NULL: none */
	/* Answers that wait. */
	Telex__V1__TreeReceive answer;
	size_t answer_size;
	bool failing; /* emit failed: nothing more goes */
	Telex__V1__TreeSummary summary;
	bool finished, sender_errors;
	bool keep_all; /* nothing is removed, as not all of the sender's names are known */
	uint64_t total_bytes;
	uint8_t *zeros;
	void *zstd;
	uint8_t *unpacked;
};

/* ---- answers: tree_answer.c. Negative: TX_ENOMEM, or emit's. ---- */
int tree_answer_done(struct tree_receiver *r, uint64_t index, const char *path, bool unchanged);
/* Done, with its path in any case. */
int tree_answer_link(struct tree_receiver *r, uint64_t index, const char *path);
int tree_answer_removed(struct tree_receiver *r, const char *path);
/* Takes *error. */
int tree_answer_failed(
    struct tree_receiver *r, uint64_t index, const char *path, Telex__V1__FileError *error);
/* Takes *error. The sender tries once more, as far as it can: it is told of here when that fails,
 * or does not come. */
int tree_answer_tentative(
    struct tree_receiver *r, uint64_t index, const char *path, Telex__V1__FileError *error);
/* An entry has come: what failed of that path is past. */
void tree_answer_arrived(struct tree_receiver *r, const char *path);
/* Nothing more comes. */
int tree_answer_settle(struct tree_receiver *r);
int tree_answer_errno(
    struct tree_receiver *r, uint64_t index, const char *path, int sys_errno, const char *what);
/* What it says, for one who adds to it. */
void tree_answer_error(const struct tree_receiver *r, const char *path, int sys_errno,
    const char *what, Telex__V1__FileError *out);
/* tree_shown, of a path of this receiver's. */
const char *tree_answer_shown(
    const struct tree_receiver *r, char out[TREE_SHOWN_SIZE], const char *path);
int tree_answer_want(struct tree_receiver *r, uint64_t index, uint64_t offset);
int tree_answer_signature(
    struct tree_receiver *r, uint64_t index, const uint8_t *data, size_t len, bool last);
int tree_answer_flush(struct tree_receiver *r);
void tree_answer_clear(struct tree_receiver *r);
void tree_note(struct tree_receiver *r, enum tree_note_kind kind, const char *path, uint64_t size);

/* ---- entries that have come: tree_kinds.c ----
 * All of these answer the sender, or hand on to who does; 0, TX_ENOMEM or what emit gave. */
/* What one is about, for one turn. */
struct tree_arriving {
	const Telex__V1__TreeEntry *e;
	char path[TREE_PATH_MAX + 1];
	struct tree_folder *folder;
	const char *name; /* in the folder */
	struct stat there;
	bool is_there;
};

/* Answers that it failed, of an errno; `what`: what was tried ("make"). */
int tree_arriving_failed(
    struct tree_receiver *r, const struct tree_arriving *a, int sys_errno, const char *what);
/* Answers that it is not taken; words go on after its path. */
int tree_arriving_refused(struct tree_receiver *r, const struct tree_arriving *a, int code,
    const char *reason, const char *words);
/* Answers that it is there as it is to be. */
int tree_arriving_unchanged(struct tree_receiver *r, const struct tree_arriving *a);
/* For the end: without what is of no use then. 0; 1: it was refused and answered, as too much is
 * kept already; TX_ENOMEM. */
int tree_arriving_keep(struct tree_receiver *r, struct tree_kept_list *list,
    const struct tree_arriving *a, const struct stat *is);
/* A dry run, at an entry that is not there as it is to be: counted and told as one that was made.
 */
int tree_arriving_would_make(struct tree_receiver *r, const struct tree_arriving *a);
/* Hands on what has a temporary name, or none, with its attributes set. Takes fd. */
int tree_arriving_store(struct tree_receiver *r, struct tree_arriving *a, int fd, const char *temp);
/* Closes fd, removes what has the temporary name, and answers that it failed, by errno. */
int tree_arriving_give_up(struct tree_receiver *r, const struct tree_arriving *a, int fd,
    const char *temp, const char *what);

int tree_take_folder(struct tree_receiver *r, struct tree_arriving *a);
int tree_take_link(struct tree_receiver *r, struct tree_arriving *a);
int tree_take_special(struct tree_receiver *r, struct tree_arriving *a);

/* Regular files that come with their entry, or need only attributes: tree_file.c. */
int tree_take_file(struct tree_receiver *r, struct tree_arriving *a);

/* ---- folders: tree_folder.c ---- */
/* The folder that `path` (an entry's) lies in, open and counted, and its last component. NULL with
 * errno. */
struct tree_folder *tree_folder_of(struct tree_receiver *r, const char *path, const char **name);
/* The target itself, opened at its first use. errno on -1. */
int tree_folder_target(struct tree_receiver *r);
void tree_folder_put(struct tree_receiver *r, struct tree_folder *f);
/* Forgets what is open at this path and below, for a folder that is removed. */
void tree_folder_forget(struct tree_receiver *r);

/* ---- files: tree_store.c ---- */
/* A new file without a name, or with a temporary one. errno on -1. */
int tree_store_open(struct tree_folder *f, char temp[TREE_TEMP_SIZE]);
/* A name for a temporary file that nobody has. */
void tree_store_random(char temp[TREE_TEMP_SIZE]);
/* The name of the mark of a transfer. */
void tree_store_marker(char name[TREE_TEMP_SIZE], const char *id);
/* At a transfer's end: where something failed, the folder that it made stays marked, by an
 * attribute, as no file is to be left behind; as far as its file system has any. */
void tree_store_remember(int folder_fd, const char *id, bool failed);
/* A folder, with a mark in it from its first moment on; marker NULL: without. errno on -1. */
int tree_store_folder(int dir_fd, const char *name, const char *marker);
/* It is whole: answered once it has its name, durable. Takes w's parts. */
int tree_store_add(struct tree_receiver *r, const struct tree_whole *w);
/* TX_ENOMEM. */
int tree_store_begin(struct tree_receiver *r);
void tree_store_end(struct tree_receiver *r);
/* Puts all that is whole in its place. What was put there before is answered, and with `all` this,
 * too; else it is with the next. */
int tree_store_commit(struct tree_receiver *r, bool all);
/* The index of the first that is not answered; 0: there is none. */
uint64_t tree_store_oldest(const struct tree_receiver *r);
/* Removes the parts in a folder that nobody has gone on with for so long. */
void tree_reap_parts(int dir_fd, int64_t life_s);
void tree_whole_clear(struct tree_receiver *r, struct tree_whole *w);

/* ---- contents: tree_content.c ---- */
int tree_content_want(struct tree_receiver *r, const Telex__V1__TreeEntry *e, const char *path);
int tree_content_data(struct tree_receiver *r, const struct tree_data *d, struct err *e);
int tree_content_end(struct tree_receiver *r, const Telex__V1__TreeEnd *end, struct err *e);
void tree_content_free(struct tree_receiver *r);

/* ---- where a content is gathered: tree_part.c ---- */
/* Opens the part of the first that is wanted, and takes into account what is in it. errno on -1;
 * EWOULDBLOCK: it is another transfer's. */
int tree_part_open(struct tree_receiver *r, struct tree_wanted *w);
/* SHA-256 of a whole file. errno on -1. */
int tree_part_digest(int fd, uint8_t digest[32]);

/* ---- removing: tree_remove.c ---- */
/* Removes a name with all below it, through no link, and into no other mount (EBUSY); without what
 * the filters leave out, and the folders on the way to that. In a dry run nothing is removed. path:
 * the name's in the tree. 0: the name is gone, which the caller tells; 1: something was left out,
 * and so the name is there; -1: errno of the first that could not be removed, the others are. What
 * went from a folder that something was left out of is told. */
int tree_remove(struct tree_receiver *r, int dir_fd, const char *name, const char *path);

/* ---- the end: tree_finish.c ---- */
int tree_finish(struct tree_receiver *r);

#endif
