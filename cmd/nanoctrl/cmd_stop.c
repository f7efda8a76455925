/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "call.h"
#include "options.h"
#include "runtime_dir.h"
#include "sentence.h"
#include "verbs.h"

enum { LOOK_AGAIN_MS = 20, KILL_S = 5 };

/* Whether it has ended within SECONDS. It is not our child: there is nothing to wait for but this.
 */
static bool ended_within(const struct background *background, double seconds)
{
	const struct timespec pause = {.tv_nsec = LOOK_AGAIN_MS * 1000000};
	int64_t until_ns = now_ns() + (int64_t)(seconds * 1e9);

	while (background_runs(background)) {
		if (now_ns() >= until_ns)
			return false;
		(void)nanosleep(&pause, NULL);
	}
	return true;
}

static int stop(const struct options *options, const struct background *background)
{
	const char *name = nanoctrl.persona->name;
	int pid = (int)background->pid;

	if (kill(background->pid, SIGTERM) < 0 && errno != ESRCH) {
		say("cannot stop process %d: %s", pid, strerror(errno));
		return EXIT_FAILED;
	}
	if (ended_within(background, options->wait_s)) {
		(void)printf("%s stopped (pid=%d)\n", name, pid);
		return EXIT_GOOD;
	}
	if (!options->force) {
		say("%s did not stop within %.1fs; rerun with --force", name, options->wait_s);
		return EXIT_FAILED;
	}
	(void)kill(background->pid, SIGKILL);
	if (!ended_within(background, KILL_S)) {
		say("process %d does not end, not even when killed", pid);
		return EXIT_FAILED;
	}
	(void)printf("%s killed (pid=%d)\n", name, pid);
	return EXIT_GOOD;
}

int verb_stop(int argc, char **argv)
{
	const char *name = nanoctrl.persona->name;
	struct options options;
	struct runtime_dir dir;
	struct background background;
	struct slime_error err;
	int status = options_parse(argc, argv, OPTIONS_STOP, &options) - 1;

	if (status >= 0)
		return status;
	if (runtime_open(&dir, false, &err) < 0) {
		say("%s", err.text);
		return EXIT_FAILED;
	}
	status = EXIT_GOOD;
	if (runtime_read(&dir, &background) < 0) {
		(void)printf("%s is not running\n", name);
	} else if (!background_runs(&background)) {
		(void)printf("%s is not running (stale pid file cleaned)\n", name);
	} else {
		status = stop(&options, &background);
	}
	if (status == EXIT_GOOD)
		runtime_clear(&dir);
	runtime_close(&dir);
	return status;
}
