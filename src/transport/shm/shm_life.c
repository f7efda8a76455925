/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Whether the peer lives, for a look. Memory of a process that was killed stays
 * mapped here and can be read as ever, and until our thread has heard of the end
 * nothing else tells that nobody is there any more, or that somebody new is.
 *
 * So a word beside those of the regions holds the id of a thread that lives as
 * long as the domain, and is on that thread's list of robust futexes: when the
 * thread ends, however it does, the kernel sets FUTEX_OWNER_DIED in it, before
 * anybody can learn that the process has ended. Who has copied looks there last.
 *
 * The list that libc keeps for the thread is replaced: robust mutexes are not
 * for the library's thread. Without such a thread (manual progress) the word is 0.
 */
#include <sys/syscall.h>
#include <unistd.h>

#include "transport/shm/shm_impl.h"

static _Atomic uint32_t *word_of(struct sl_dom *dom)
{
	return (_Atomic uint32_t *)(uintptr_t)&dom->live[SHM_LIFE];
}

void sl_shm_keep(struct sl_dom *dom)
{
	struct shm_life *life = &dom->life;
	size_t len;

	if (life->tid || syscall(SYS_get_robust_list, 0, &life->before, &len) ||
	    len != sizeof(life->list))
		return;
	life->entry.next = &life->list.list;
	life->list.list.next = &life->entry;
	life->list.futex_offset = (long)((uintptr_t)word_of(dom) - (uintptr_t)&life->entry);
	if (syscall(SYS_set_robust_list, &life->list, sizeof(life->list)))
		return;
	life->tid = gettid();
	atomic_store(word_of(dom), (uint32_t)life->tid);
}

void sl_shm_unkeep(struct sl_dom *dom)
{
	struct shm_life *life = &dom->life;

	if (life->tid && life->tid == gettid()) /* else that thread has ended */
		(void)syscall(SYS_set_robust_list, life->before, sizeof(life->list));
}
