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
	int sys_errno; /* why it could not be put there */
};

/* One that has its name; that this lasts is still to be seen to. */
struct tree_placed {
	uint64_t index, size;
	char *path;
};

/* An entry whose content is wanted, and is to come. */
struct tree_wanted {
	struct tree_wanted *next;
	Telex__V1__TreeEntry *entry;
	char *path;
	uint64_t offset;
	bool delta;
	/* Of the first in the queue, once its content comes: */
	bool opened, broken;
	struct tree_folder *folder;
	char temp[TREE_TEMP_SIZE];
	int fd, basis_fd;
	uint64_t at;
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
	size_t n_wanted;
	/* Folders, for their attributes, and hard links: at the end. Arrays of entries. */
	Telex__V1__TreeEntry **made, **links;
	size_t n_made, made_room, n_links, links_room;
	struct tree_set *seen; /* for delete_extraneous */
	uint64_t last_index;
	/* Answers that wait. */
	Telex__V1__TreeReceive answer;
	size_t answer_size;
	bool failing; /* emit failed: nothing more goes */
	Telex__V1__TreeSummary summary;
	bool finished, sender_errors;
	uint64_t total_bytes;
	uint8_t *zeros;
	void *zstd;
	uint8_t *unpacked;
};

/* ---- answers: tree_answer.c. Negative: TX_ENOMEM, or emit's. ---- */
int tree_answer_done(struct tree_receiver *r, uint64_t index, const char *path, bool unchanged);
int tree_answer_removed(struct tree_receiver *r, const char *path);
/* Takes *error. */
int tree_answer_failed(
    struct tree_receiver *r, uint64_t index, const char *path, Telex__V1__FileError *error);
int tree_answer_errno(
    struct tree_receiver *r, uint64_t index, const char *path, int sys_errno, const char *what);
int tree_answer_want(struct tree_receiver *r, uint64_t index, uint64_t offset);
int tree_answer_signature(
    struct tree_receiver *r, uint64_t index, const uint8_t *data, size_t len, bool last);
int tree_answer_flush(struct tree_receiver *r);
void tree_answer_clear(struct tree_receiver *r);
void tree_note(struct tree_receiver *r, enum tree_note_kind kind, const char *path, uint64_t size);

/* ---- folders: tree_folder.c ---- */
/* The folder that `path` (an entry's) lies in, open and counted, and its last component. NULL with
 * errno. */
struct tree_folder *tree_folder_of(struct tree_receiver *r, const char *path, const char **name);
/* The target itself, opened at its first use. errno on -1. */
int tree_folder_target(struct tree_receiver *r);
void tree_folder_put(struct tree_receiver *r, struct tree_folder *f);
/* Forgets what is open at this path and below, for a folder that is removed. */
void tree_folder_forget(struct tree_receiver *r);
/* Removes a name with all below it, on the same file system. errno on -1. */
int tree_remove(int dir_fd, const char *name);

/* ---- files: tree_store.c ---- */
/* A new file without a name, or with a temporary one. errno on -1. */
int tree_store_open(struct tree_folder *f, char temp[TREE_TEMP_SIZE]);
/* A name for a temporary file that nobody has. */
void tree_store_random(char temp[TREE_TEMP_SIZE]);
/* The name of the mark of a transfer. */
void tree_store_marker(char name[TREE_TEMP_SIZE], const char *id);
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
int tree_content_want(struct tree_receiver *r, const Telex__V1__TreeEntry *e, const char *path,
    struct tree_folder *f, const char *name, const struct stat *there);
int tree_content_data(struct tree_receiver *r, const struct tree_data *d, struct err *e);
int tree_content_end(struct tree_receiver *r, const Telex__V1__TreeEnd *end, struct err *e);
void tree_content_free(struct tree_receiver *r);
/* SHA-256 of a whole file. errno on -1. */
int tree_content_digest(int fd, uint8_t digest[32]);

/* ---- the end: tree_finish.c ---- */
int tree_finish(struct tree_receiver *r);

#endif
