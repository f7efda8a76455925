/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/fuzz/fuzz_tcp_frame.c - the parsers of what comes over a tcp socket.
 *
 * The first byte chooses the parser. What is accepted must be what its own
 * writer would have written: no two spellings of one meaning.
 */
#include <string.h>

#include "fuzz.h"
#include "transport/tcp/tcp_frame.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	return 0;
}

static void check_head(const uint8_t *in, bool asked)
{
	uint8_t again[TCP_HEAD_LEN];
	struct tcp_head head;

	if (sl_tcp_get_head(in, asked, &head))
		return;
	MUST(asked == (head.type < TCP_DATA));
	sl_tcp_put_head(again, &head);
	MUST(!memcmp(again, in, sizeof(again)));
}

static void check_piece(const uint8_t *in)
{
	uint8_t again[TCP_PIECE_LEN];
	struct tcp_piece piece;
	uint64_t bytes = 0;

	if (sl_tcp_get_piece(in, &piece, &bytes))
		return;
	MUST(piece.count > 0);
	MUST(bytes / piece.count == piece.len);
	sl_tcp_put_piece(again, &piece);
	MUST(!memcmp(again, in, sizeof(again)));
}

static void check_hello(const uint8_t *in)
{
	uint8_t again[TCP_HELLO_LEN];
	struct tcp_hello hello;

	if (sl_tcp_get_hello(in, &hello))
		return;
	for (size_t n = 0; n <= TCP_HELLO_LEN; n++)
		MUST(sl_tcp_like_hello(in, n));
	sl_tcp_put_hello(again, &hello);
	MUST(!memcmp(again, in, sizeof(again)));
}

static void check_answer(const uint8_t *in)
{
	uint8_t again[TCP_ANSWER_LEN];
	struct tcp_answer answer;

	if (sl_tcp_get_answer(in, &answer))
		return;
	MUST(answer.status <= 0 && answer.status > -4096);
	MUST(answer.nfailures <= TCP_FAILURES);
	sl_tcp_put_answer(again, &answer);
	MUST(!memcmp(again, in, sizeof(again)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const size_t needs[] = {
	    TCP_HEAD_LEN, TCP_HEAD_LEN, TCP_PIECE_LEN, TCP_HELLO_LEN, TCP_ANSWER_LEN,
	};
	unsigned which;

	if (!len)
		return 0;
	which = data[0] % 5;
	data++;
	len--;
	(void)sl_tcp_like_hello(data, len);
	for (; len >= needs[which]; data += needs[which], len -= needs[which]) {
		switch (which) {
		case 0:
		case 1:
			check_head(data, which == 0);
			break;
		case 2:
			check_piece(data);
			break;
		case 3:
			check_hello(data);
			break;
		default:
			check_answer(data);
			break;
		}
	}
	return 0;
}
