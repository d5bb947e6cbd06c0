/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors: a number for the program, a sentence for the person who reads it.
 *
 * A function that can fail returns 0 or a negative TX_E…; where a person will read the failure it
 * takes a `struct err *` too, fills it, and every caller on the way up may put its own words in
 * front: "cannot start agent: listener 0.0.0.0:8359: address in use". A NULL `struct err *` is
 * allowed everywhere.
 */
#ifndef TX_COMMON_ERR_H
#define TX_COMMON_ERR_H

enum tx_error {
	TX_OK = 0,
	TX_EINVAL = -1,        /* an argument or a message is out of its range */
	TX_ENOMEM = -2,        /* out of memory */
	TX_ESYS = -3,          /* a system call failed; err.sys_errno has its errno */
	TX_EAGAIN = -4,        /* not now; nothing was done */
	TX_ECLOSED = -5,       /* the other side is gone */
	TX_EPROTO = -6,        /* the other side broke the protocol */
	TX_ETOOBIG = -7,       /* over a size limit */
	TX_ENOENT = -8,        /* no such thing */
	TX_EEXIST = -9,        /* there is one already */
	TX_EPERM = -10,        /* not allowed */
	TX_ETIMEOUT = -11,     /* took too long */
	TX_ELIMIT = -12,       /* over a limit of number or rate */
	TX_EUNSUPPORTED = -13, /* this system or this build cannot */
	TX_ESTATE = -14,       /* not in this state */
	TX_ECERT = -15,        /* a certificate, key or identity is not usable */
	TX_ETLS = -16,         /* TLS failed */
};

/* The text is cut, not grown: an error needs no memory. */
struct err {
	int code;      /* enum tx_error */
	int sys_errno; /* for TX_ESYS, else 0 */
	char message[480];
};

/* Fills *e (when not NULL) and returns `code`. */
int err_set(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* As err_set with TX_ESYS; appends ": " and the text of `sys_errno`. Returns TX_ESYS. */
int err_sys(struct err *e, int sys_errno, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "context: " in front of the message. Returns e->code, or TX_OK for NULL. */
int err_wrap(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

void err_clear(struct err *e);

/* "invalid argument", for a code without a message; never NULL. */
const char *err_name(int code);

#endif
