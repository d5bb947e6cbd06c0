/* SPDX-License-Identifier: Apache-2.0 */
/*
 * audit_verify of two logs and an exec log. The input is lines, each with a byte before it that
 * says where it goes and what is made right of it, so that there are chains that hold:
 *
 *     bits 0 and 1   the file; 3: an end of a line less
 *     bit 2          as it is; else it is what comes between a record's head and its tail
 *     bits 3 to 5    the writer
 *     bit 6          its number is one too high
 *     bit 7          its hash is wrong
 */
#include <sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/audit.h"
#include "common/mem.h"
#include "tests/fuzz/fuzz.h"

#define FILES   3 /* log, log, exec log */
#define WRITERS 8
#define HEX     (2 * AUDIT_HASH_SIZE)

struct maker {
	char *text[FILES];
	size_t len[FILES];
	FILE *out[FILES];
	uint64_t seq[WRITERS];
	char hash[WRITERS][HEX + 1];
};

static void hash_of(char out[HEX + 1], const char *text, size_t len)
{
	uint8_t hash[AUDIT_HASH_SIZE];
	SHA2_CTX sha;

	SHA256Init(&sha);
	SHA256Update(&sha, (const uint8_t *)text, len);
	SHA256Final(hash, &sha);
	for (size_t i = 0; i < AUDIT_HASH_SIZE; i++)
		sprintf(out + 2 * i, "%02x", hash[i]);
}

/* "EVENT" and members. A '~' stands for the last hash of writer 0. */
static void put_members(FILE *out, const struct maker *m, const uint8_t *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (text[i] == '~')
			fputs(m->hash[0], out);
		else
			fputc(text[i], out);
}

static void put_record(struct maker *m, FILE *file, uint8_t how, const uint8_t *members, size_t len)
{
	unsigned writer = how >> 3 & 7;
	uint64_t seq = m->seq[writer] + 1 + (how >> 6 & 1);
	char *text = NULL, hash[HEX + 1];
	size_t size;
	FILE *out = open_memstream(&text, &size);

	fuzz_require(out != NULL);
	fprintf(out,
	    "{\"writer\":%u,\"seq\":%llu,\"time\":\"2026-01-31T12:00:00.000000Z\",\"event\":\"",
	    writer, (unsigned long long)seq);
	put_members(out, m, members, len);
	fprintf(out, ",\"prev\":\"%s", m->hash[writer]);
	fclose(out);
	hash_of(hash, text, size);
	if ((how & 128) != 0)
		hash[0] = hash[0] == '0' ? '1' : '0';
	fwrite(text, 1, size, file);
	fprintf(file, "\",\"hash\":\"%s\"}\n", hash);
	free(text);
	m->seq[writer] = seq;
	memcpy(m->hash[writer], hash, sizeof(hash));
}

static void make(struct maker *m, struct fuzz_input *in)
{
	while (in->left > 0) {
		uint8_t how = fuzz_byte(in);
		size_t len;
		const uint8_t *line = fuzz_until(in, '\n', &len);
		FILE *file = m->out[(how & 3) % FILES];

		if ((how & 4) == 0) {
			put_record(m, file, how, line, len);
			continue;
		}
		fwrite(line, 1, len, file);
		if ((how & 3) != 3)
			fputc('\n', file);
	}
}

static void found(const struct audit_finding *f, void *arg)
{
	uint64_t *n = arg;

	fuzz_require(f->file != NULL && f->what != NULL && f->text[0] != '\0');
	for (const char *c = f->text; *c != '\0'; c++)
		fuzz_require(*c >= 0x20 && *c < 0x7f);
	++*n;
}

static void verify(struct maker *m)
{
	struct audit_source files[FILES] = {0};
	struct audit_check check = {.logs = files, .n_logs = 2, .exec_logs = files + 2};
	struct audit_result result;
	uint64_t n = 0;
	struct err e = {0};

	for (size_t i = 0; i < FILES; i++) {
		files[i].name = "audit.log";
		files[i].file = fmemopen(m->text[i], m->len[i], "r");
		/* An empty one cannot be opened so. */
		if (files[i].file == NULL)
			files[i].file = fopen("/dev/null", "r");
		fuzz_require(files[i].file != NULL);
	}
	check.n_exec_logs = m->len[2] > 0;
	check.expect = m->hash[0];
	fuzz_require(audit_verify(&check, &result, found, &n, &e) == 0);
	fuzz_require(result.findings == n);
	for (size_t i = 0; i < FILES; i++)
		fclose(files[i].file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	struct maker m = {.text = {NULL}};

	for (int i = 0; i < WRITERS; i++)
		memset(m.hash[i], '0', HEX);
	for (size_t i = 0; i < FILES; i++)
		m.out[i] = open_memstream(&m.text[i], &m.len[i]);
	make(&m, &in);
	for (size_t i = 0; i < FILES; i++)
		fclose(m.out[i]);
	verify(&m);
	for (size_t i = 0; i < FILES; i++)
		free(m.text[i]);
	return 0;
}
