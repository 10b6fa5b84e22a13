/* Puts this program and its companion files where the neighbour container finds them. Its own copy comes last, so that
 * whoever sees DIR/aion-launch may rely on all of them; each appears by rename, so that nobody ever sees half a file. */
#include "launch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef AION_FILES
#define AION_FILES "/usr/share/aion/install"
#endif

static void copy(int from, int dir, const char *name, const char *where)
{
	char temp[300], block[16384];
	int n = snprintf(temp, sizeof temp, ".%s.%d", name, (int)getpid());
	if (n < 0 || (size_t)n >= sizeof temp)
		fail(EXIT_CANNOT, 0, "%s: name too long", name);
	unlinkat(dir, temp, 0);
	int to = openat(dir, temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (to < 0)
		fail(EXIT_CANNOT, errno, "%s: cannot write there", where);
	for (;;) {
		ssize_t got = read(from, block, sizeof block);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			fail(EXIT_CANNOT, errno, "%s: cannot read it", name);
		if (got == 0)
			break;
		for (ssize_t done = 0; done < got;) {
			ssize_t put = write(to, block + done, (size_t)(got - done));
			if (put < 0 && errno == EINTR)
				continue;
			if (put < 0)
				fail(EXIT_CANNOT, errno, "%s/%s: cannot write it", where, name);
			done += put;
		}
	}
	if (fchmod(to, 0555) || close(to) || renameat(dir, temp, dir, name))
		fail(EXIT_CANNOT, errno, "%s/%s: cannot put it in place", where, name);
}

static void copy_companions(int dir, const char *where)
{
	DIR *files = opendir(AION_FILES);
	if (!files) {
		if (errno == ENOENT)
			return; /* an image without companions */
		fail(EXIT_CANNOT, errno, "%s: cannot list it", AION_FILES);
	}
	for (struct dirent *entry; (entry = readdir(files));) {
		struct stat st;
		if (entry->d_name[0] == '.' || !strcmp(entry->d_name, "aion-launch"))
			continue;
		int from = openat(dirfd(files), entry->d_name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
		if (from < 0 || fstat(from, &st))
			fail(EXIT_CANNOT, errno, "%s/%s: cannot open it", AION_FILES, entry->d_name);
		if (S_ISREG(st.st_mode))
			copy(from, dir, entry->d_name, where);
		close(from);
	}
	closedir(files);
}

void install(const char *where)
{
	int dir = open(where, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		fail(EXIT_CANNOT, errno, "--install %s: not a directory that can be opened; mount the shared volume there", where);
	copy_companions(dir, where);
	int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	if (self < 0)
		fail(EXIT_CANNOT, errno, "/proc/self/exe: cannot read this program");
	copy(self, dir, "aion-launch", where);
	close(self);
	close(dir);
}

void installed(const char *where, int64_t within_ms)
{
	char path[4096];
	int n = snprintf(path, sizeof path, "%s/aion-launch", where);
	if (n < 0 || (size_t)n >= sizeof path)
		fail(EXIT_USAGE, 0, "--installed: path too long");
	for (int64_t end = now_ms() + within_ms; access(path, X_OK); sleep_ms(5))
		if (now_ms() >= end)
			fail(EXIT_TIMED_OUT, 0, "%s did not appear within %lld s; look at the log of the container that runs --install",
			     path, (long long)(within_ms / 1000));
}
