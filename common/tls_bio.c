/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The socket below a TLS connection. OpenSSL's own socket BIO writes with write(2), which raises
 * SIGPIPE; a library must not ask its program to ignore that. This one uses send(MSG_NOSIGNAL), and
 * keeps the errno and the first bytes for tls_failure. The fd is libevent's to close.
 *
 * OpenSSL asks for a record's header, then for its body: with the body comes the next header, into
 * `ahead`, so that a record costs one system call. No whole record is ever held back in it: what
 * makes the socket readable is still to come.
 *
 * Records that others follow wait in `batch` to be sent with them: one system call and one wake-up
 * of the reader for several. The last one is only taken together with what waits, so that nothing
 * is left here when the output is empty.
 */
#include <errno.h>
#include <event2/buffer.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "common/tls_internal.h"

#define BATCH_SIZE ((size_t)64 * 1024)

static CRYPTO_ONCE method_once = CRYPTO_ONCE_STATIC_INIT;
static BIO_METHOD *method;

static bool may_retry(int error)
{
	return error == EAGAIN || error == EWOULDBLOCK || error == EINTR;
}

/*
 * Whether bytes are waiting behind these, which will come here soon. What was sent
 * since the output was last seen empty is counted with the records' own bytes: the sum is too large
 * rather than too small, and the last record is never taken for one that others follow.
 */
static bool more_to_come(const struct tls_conn *conn, size_t len)
{
	return conn->output != NULL && conn->established &&
	       conn->sent + len < evbuffer_get_length(conn->output);
}

/* Sends the batch and data[len] behind it. As send(2) of data[len]: when none of it went, that is
 * -1 with EAGAIN. */
static ssize_t send_behind_batch(struct tls_conn *conn, const char *data, size_t len, bool more)
{
	struct iovec iov[] = {
	    {conn->batch + conn->batch_sent, conn->batch_len - conn->batch_sent},
	    {(void *)(uintptr_t)data, len},
	};
	struct msghdr mh = {.msg_iov = iov, .msg_iovlen = len > 0 ? 2 : 1};
	ssize_t n = sendmsg(conn->fd, &mh, MSG_NOSIGNAL | (more ? MSG_MORE : 0));

	if (n < 0)
		return -1;
	conn->corked = more;
	if ((size_t)n < iov[0].iov_len) {
		conn->batch_sent += (size_t)n;
		errno = EAGAIN;
		return -1;
	}
	conn->batch_len = conn->batch_sent = 0;
	if ((size_t)n == iov[0].iov_len && len > 0) {
		errno = EAGAIN;
		return -1;
	}
	return n - (ssize_t)iov[0].iov_len;
}

/* Whether data[len] may wait in the batch. */
static bool batch_has_room(struct tls_conn *conn, size_t len)
{
	if (conn->batch == NULL)
		conn->batch = malloc(BATCH_SIZE);
	return conn->batch != NULL && len <= BATCH_SIZE - conn->batch_len;
}

static ssize_t send_or_batch(struct tls_conn *conn, const char *data, size_t len)
{
	bool more = more_to_come(conn, len);

	if (more && batch_has_room(conn, len)) {
		memcpy(conn->batch + conn->batch_len, data, len);
		conn->batch_len += len;
		return (ssize_t)len;
	}
	if (conn->batch_len > 0)
		return send_behind_batch(conn, data, len, more);
	conn->corked = more;
	return send(conn->fd, data, len, MSG_NOSIGNAL | (more ? MSG_MORE : 0));
}

void tls_bio_push(struct tls_conn *conn)
{
	static const int on = 1;

	if (conn->batch_len > 0 && send_behind_batch(conn, NULL, 0, false) < 0)
		return;
	free(conn->batch);
	conn->batch = NULL;
	if (conn->corked)
		(void)setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	conn->corked = false;
}

static int bio_write(BIO *bio, const char *data, size_t len, size_t *written)
{
	struct tls_conn *conn = BIO_get_data(bio);
	ssize_t n = send_or_batch(conn, data, len);

	BIO_clear_retry_flags(bio);
	*written = 0;
	if (n >= 0) {
		conn->sent += (size_t)n;
		*written = (size_t)n;
		return 1;
	}
	if (may_retry(errno))
		BIO_set_retry_write(bio);
	else
		conn->io_errno = errno;
	return 0;
}

static void keep_first(struct tls_conn *conn, const char *data, size_t len)
{
	size_t room = sizeof(conn->first) - conn->first_len;

	if (conn->established || room == 0)
		return;
	if (len > room)
		len = room;
	memcpy(conn->first + conn->first_len, data, len);
	conn->first_len += len;
}

static size_t take_ahead(struct tls_conn *conn, char *data, size_t len)
{
	if (len > conn->ahead_len)
		len = conn->ahead_len;
	memcpy(data, conn->ahead, len);
	conn->ahead_len -= len;
	memmove(conn->ahead, conn->ahead + len, conn->ahead_len);
	return len;
}

/* As recv(2); what comes behind data[len] is in `ahead`, which was empty. */
static ssize_t receive(struct tls_conn *conn, char *data, size_t len)
{
	struct iovec iov[] = {{data, len}, {conn->ahead, sizeof(conn->ahead)}};
	struct msghdr mh = {.msg_iov = iov, .msg_iovlen = 2};
	ssize_t n;

	if (!conn->established || len <= sizeof(conn->ahead))
		return recv(conn->fd, data, len, 0);
	n = recvmsg(conn->fd, &mh, 0);
	if (n <= 0 || (size_t)n <= len)
		return n;
	conn->ahead_len = (size_t)n - len;
	return (ssize_t)len;
}

static int bio_read(BIO *bio, char *data, size_t len, size_t *got)
{
	struct tls_conn *conn = BIO_get_data(bio);
	ssize_t n;

	BIO_clear_retry_flags(bio);
	if (conn->ahead_len > 0) {
		*got = take_ahead(conn, data, len);
		return 1;
	}
	n = receive(conn, data, len);
	*got = 0;
	if (n > 0) {
		keep_first(conn, data, (size_t)n);
		*got = (size_t)n;
		return 1;
	}
	if (n == 0)
		conn->eof = true;
	else if (may_retry(errno))
		BIO_set_retry_read(bio);
	else
		conn->io_errno = errno;
	return 0;
}

/* SSL_free asks a last time after conn is gone (BIO_CTRL_POP), so only the known commands look at
 * it. */
static long bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
	struct tls_conn *conn = BIO_get_data(bio);

	(void)number;
	switch (command) {
	case BIO_C_GET_FD:
		if (pointer != NULL)
			*(int *)pointer = conn->fd;
		return conn->fd;
	case BIO_CTRL_EOF:
		return conn->eof ? 1 : 0;
	case BIO_CTRL_FLUSH:
		return 1;
	default:
		return 0;
	}
}

static void make_method(void)
{
	BIO_METHOD *m =
	    BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK | BIO_TYPE_DESCRIPTOR, "telex");

	if (m == NULL)
		return;
	if (BIO_meth_set_write_ex(m, bio_write) != 1 || BIO_meth_set_read_ex(m, bio_read) != 1 ||
	    BIO_meth_set_ctrl(m, bio_ctrl) != 1) {
		BIO_meth_free(m);
		return;
	}
	method = m;
}

BIO *tls_bio_new(struct tls_conn *conn)
{
	BIO *bio;

	if (CRYPTO_THREAD_run_once(&method_once, make_method) != 1 || method == NULL)
		return NULL;
	bio = BIO_new(method);
	if (bio == NULL)
		return NULL;
	BIO_set_data(bio, conn);
	BIO_set_init(bio, 1);
	return bio;
}
