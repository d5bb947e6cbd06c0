/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many new mutual-TLS connections a second a server takes from one client that makes them one
 * after the other: handshake, and the first byte of the server's answer, so that it has accepted
 * the client's certificate. `say` is sent first, for a server that waits for a request.
 *
 * Usage: bench_handshake PORT CERTIFICATE KEY CA COUNT [SAY]      prints connections a second
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static void die(const char *what)
{
	fprintf(stderr, "bench_handshake: %s\n", what);
	exit(1);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static SSL_CTX *context(char **argv)
{
	static const unsigned char h2[] = {2, 'h', '2'};
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

	if (ctx == NULL || SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) != 1 ||
	    SSL_CTX_use_certificate_chain_file(ctx, argv[2]) != 1 ||
	    SSL_CTX_use_PrivateKey_file(ctx, argv[3], SSL_FILETYPE_PEM) != 1 ||
	    SSL_CTX_load_verify_file(ctx, argv[4]) != 1 ||
	    SSL_CTX_set_alpn_protos(ctx, h2, sizeof(h2)) != 0)
		die("certificate, key or CA");
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	return ctx;
}

static void one(SSL_CTX *ctx, in_port_t port, const char *words)
{
	struct sockaddr_in sa = {.sin_family = AF_INET,
	    .sin_port = htons(port),
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
	SSL *ssl = SSL_new(ctx);
	char byte;

	if (fd < 0 || ssl == NULL || connect(fd, (struct sockaddr *)&sa, sizeof(sa)) != 0)
		die("connect");
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	SSL_set_fd(ssl, fd);
	if (SSL_connect(ssl) != 1)
		die("handshake");
	if (words != NULL && SSL_write(ssl, words, (int)strlen(words)) <= 0)
		die("write");
	if (SSL_read(ssl, &byte, 1) != 1)
		die("read");
	SSL_free(ssl);
	close(fd);
}

int main(int argc, char **argv)
{
	const char *words = argc == 7 ? "GET / HTTP/1.0\r\n\r\n" : NULL;
	SSL_CTX *ctx;
	long count;
	double begin;

	if (argc != 6 && argc != 7)
		die("PORT CERTIFICATE KEY CA COUNT [SAY]");
	ctx = context(argv);
	count = strtol(argv[5], NULL, 10);
	one(ctx, (in_port_t)atoi(argv[1]), words);
	begin = now();
	for (long i = 0; i < count; i++)
		one(ctx, (in_port_t)atoi(argv[1]), words);
	printf("%.1f\n", (double)count / (now() - begin));
	SSL_CTX_free(ctx);
	return 0;
}
