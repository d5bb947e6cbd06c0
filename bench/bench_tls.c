/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The yardstick of P5 and P6: how fast OpenSSL alone moves bytes over loopback, two processes,
 * TLS 1.3 with AES-128-GCM, blocking SSL_write of 16 KiB records on one side and SSL_read on the
 * other.
 *
 * Usage: bench_tls BYTES [CONGESTION-CONTROL]      Prints the receiver's wall time in nanoseconds.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define RECORD 16384

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void die(const char *what)
{
	fprintf(stderr, "bench_tls: %s failed\n", what);
	exit(1);
}

static void self_sign(SSL_CTX *ctx)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *cert = X509_new();

	if (key == NULL || cert == NULL)
		die("key");
	ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
	X509_gmtime_adj(X509_getm_notBefore(cert), 0);
	X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
	X509_set_pubkey(cert, key);
	if (X509_sign(cert, key, EVP_sha256()) == 0 || SSL_CTX_use_certificate(ctx, cert) != 1 ||
	    SSL_CTX_use_PrivateKey(ctx, key) != 1)
		die("certificate");
	X509_free(cert);
	EVP_PKEY_free(key);
}

static SSL *handshake(int fd, int server)
{
	SSL_CTX *ctx = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
	SSL *ssl;

	if (ctx == NULL)
		die("context");
	SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION);
	SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256");
	if (server)
		self_sign(ctx);
	ssl = SSL_new(ctx);
	SSL_CTX_free(ctx);
	if (ssl == NULL || SSL_set_fd(ssl, fd) != 1 ||
	    (server ? SSL_accept(ssl) : SSL_connect(ssl)) != 1)
		die("handshake");
	return ssl;
}

static void write_bytes(int fd, unsigned long long bytes)
{
	static const unsigned char zeros[RECORD];
	SSL *ssl = handshake(fd, 1);

	while (bytes > 0) {
		int n = SSL_write(ssl, zeros, bytes < RECORD ? (int)bytes : RECORD);

		if (n <= 0)
			die("SSL_write");
		bytes -= (unsigned long long)n;
	}
	SSL_shutdown(ssl);
	SSL_free(ssl);
}

static void read_bytes(int fd, unsigned long long bytes)
{
	static unsigned char buffer[RECORD];
	SSL *ssl = handshake(fd, 0);
	int64_t start = now_ns();

	while (bytes > 0) {
		int n = SSL_read(ssl, buffer, RECORD);

		if (n <= 0)
			die("SSL_read");
		bytes -= (unsigned long long)n;
	}
	printf("%lld\n", (long long)(now_ns() - start));
	SSL_free(ssl);
}

static void set_control(int fd, const char *name)
{
	if (setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, (socklen_t)strlen(name)) != 0)
		die(name);
}

int main(int argc, char **argv)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t len = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	unsigned long long bytes;
	int status;
	pid_t pid;

	if (argc < 2)
		die("usage: bench_tls BYTES [CONGESTION-CONTROL]; it");
	if (argc > 2)
		set_control(listener, argv[2]);
	bytes = strtoull(argv[1], NULL, 10);
	if (listener < 0 || bind(listener, (const struct sockaddr *)&address, len) != 0 ||
	    listen(listener, 1) != 0 ||
	    getsockname(listener, (struct sockaddr *)&address, &len) != 0)
		die("listen");
	pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0) {
		int fd = accept(listener, NULL, NULL);

		if (fd < 0)
			die("accept");
		write_bytes(fd, bytes);
		_exit(0);
	}
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (argc > 2)
		set_control(fd, argv[2]);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&address, len) != 0)
		die("connect");
	read_bytes(fd, bytes);
	close(fd);
	close(listener);
	return waitpid(pid, &status, 0) == pid && status == 0 ? 0 : 1;
}
