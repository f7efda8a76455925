/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/fuzz/replay.c - run a fuzz target over the files that are given, or that
 * lie in the folders that are given, without libFuzzer.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
__attribute__((weak)) int LLVMFuzzerInitialize(int *argc, char ***argv); /* as libFuzzer has it */

enum { INPUT_MAX = 1 << 20 };

/* In an allocation of its very length, so that a step over the end is found. */
static int run_file(const char *path)
{
	static uint8_t whole[INPUT_MAX];
	FILE *file = fopen(path, "rb");
	uint8_t *data;
	size_t len;

	if (!file)
		return -1;
	len = fread(whole, 1, sizeof(whole), file);
	(void)fclose(file);
	data = malloc(len ? len : 1);
	if (!data)
		return -1;
	memcpy(data, whole, len);
	(void)LLVMFuzzerTestOneInput(data, len);
	free(data);
	return 1;
}

/* How many inputs ran; negative: PATH cannot be read. */
static int run_path(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	char name[4096];
	int n = 0;

	if (!dir)
		return run_file(path);
	while ((entry = readdir(dir))) {
		int rc;

		if (entry->d_name[0] == '.')
			continue;
		(void)snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
		rc = run_file(name);
		if (rc < 0) {
			n = rc;
			break;
		}
		n += rc;
	}
	(void)closedir(dir);
	return n;
}

int main(int argc, char **argv)
{
	int total = 0;

	if (LLVMFuzzerInitialize)
		(void)LLVMFuzzerInitialize(&argc, &argv);
	for (int i = 1; i < argc; i++) {
		int n = run_path(argv[i]);

		if (n < 0) {
			(void)fprintf(stderr, "cannot read %s\n", argv[i]);
			return 1;
		}
		total += n;
	}
	printf("%d inputs replayed\n", total);
	return total == 0; /* an empty corpus is a mistake */
}
