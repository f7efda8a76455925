/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/contract/tsan.c - what ThreadSanitizer must believe without seeing it.
 *
 * It orders two threads that talk through sockets, but with two blind spots:
 *
 *  - It takes the memory that sendmsg() reads for read after the bytes have left,
 *    so the owner who changes it when the peer says "I have it" seems to race.
 *  - It cannot see an order that goes through another process. In the far process
 *    (peer.c) the main thread looks at memory that the library's thread wrote
 *    when the near process says that the write is complete.
 *
 * That nothing is sent or written too late is checked by patterns in memory.
 */
const char *__tsan_default_suppressions(void);

const char *__tsan_default_suppressions(void)
{
	return "race:tcp_batch_send\nrace:peer_main\n";
}
