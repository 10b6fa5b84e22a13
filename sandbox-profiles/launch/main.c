/* The command line, and the exec at its end. */
#include "launch.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const char HELP[] =
	"aion-launch: first process of an AION container\n"
	"\n"
	"  aion-launch [--install DIR] [--listen NAME=ADDR]... [--await SOCKET [--within SECONDS]] -- COMMAND [ARG]...\n"
	"  aion-launch --install DIR\n"
	"  aion-launch --installed DIR [--within SECONDS]\n"
	"  aion-launch --serve SOCKET --file PATH\n"
	"  aion-launch --serve SOCKET -- COMMAND [ARG]...\n"
	"\n"
	"  --install DIR       copy this program and its companion files into DIR, atomically, mode 0555\n"
	"  --installed DIR     return when DIR/aion-launch is there (10 s at most)\n"
	"  --listen NAME=ADDR  listen on /a/path, IPv4:port or [IPv6]:port and pass the socket on (LISTEN_FDS)\n"
	"  --await SOCKET      wait until the gateway at SOCKET admits this container (60 s at most)\n"
	"  --within SECONDS    another bound for --await or --installed, 1 to 3600\n"
	"  --serve SOCKET      serve a file's bytes, or run COMMAND once per connection\n"
	"\n"
	"exit codes: 64 wrong usage, 124 timed out, 126 cannot run or refused, 127 not found\n";

void fail(int code, int err, const char *fmt, ...)
{
	char line[512];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(line, sizeof line, fmt, ap);
	va_end(ap);
	fprintf(stderr, "aion-launch: %s%s%s\n", line, err ? ": " : "", err ? strerror(err) : "");
	_exit(code);
}

int64_t now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void sleep_ms(int64_t ms)
{
	struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = (ms % 1000) * 1000000 };
	nanosleep(&t, NULL);
}

void become(char **argv)
{
	execvp(argv[0], argv);
	int err = errno;
	if (err == ENOENT)
		fail(EXIT_NOT_FOUND, 0, "%s: not found in PATH or in the image (or its interpreter is missing)", argv[0]);
	fail(EXIT_CANNOT, err, "%s: cannot run it", argv[0]);
}

static int64_t seconds(const char *text)
{
	char *end;
	errno = 0;
	long n = strtol(text, &end, 10);
	if (errno || end == text || *end || n < 1 || n > 3600)
		fail(EXIT_USAGE, 0, "--within: expected 1 to 3600 seconds, got '%s'", text);
	return (int64_t)n * 1000;
}

int main(int argc, char **argv)
{
	const char *install_to = NULL, *wait_for = NULL, *gateway = NULL, *serve = NULL, *file = NULL;
	const char *listen[MAX_LISTENERS];
	int64_t within = 0;
	int listens = 0, i;

	/* Nothing inherited by accident reaches the program; 3 is what LISTEN_FDS starts at. Old kernels: runc leaves none. */
	syscall(SYS_close_range, 3u, ~0u, 4u /* CLOSE_RANGE_CLOEXEC */);

	for (i = 1; i < argc && strcmp(argv[i], "--"); i++) {
		const char *verb = argv[i];
		if (!strcmp(verb, "--help")) {
			fputs(HELP, stdout);
			return 0;
		}
		const char **slot = !strcmp(verb, "--install") ? &install_to : !strcmp(verb, "--installed") ? &wait_for
			: !strcmp(verb, "--await") ? &gateway : !strcmp(verb, "--serve") ? &serve
			: !strcmp(verb, "--file") ? &file : NULL;
		int is_listen = !strcmp(verb, "--listen"), is_within = !strcmp(verb, "--within");
		if (!slot && !is_listen && !is_within)
			fail(EXIT_USAGE, 0, "unknown option '%s'; --help lists the options, a command comes after --", verb);
		if (i + 1 >= argc || !strcmp(argv[i + 1], "--") || !*argv[i + 1])
			fail(EXIT_USAGE, 0, "%s needs a value; see --help", verb);
		const char *value = argv[++i];
		if (is_within) {
			within = seconds(value);
		} else if (is_listen) {
			if (listens == MAX_LISTENERS)
				fail(EXIT_USAGE, 0, "--listen: %d are enough, got more", MAX_LISTENERS);
			listen[listens++] = value;
		} else if (*slot) {
			fail(EXIT_USAGE, 0, "%s was given twice", verb);
		} else {
			*slot = value;
		}
	}
	char **command = i + 1 < argc ? argv + i + 1 : NULL;

	if (wait_for) {
		if (install_to || gateway || serve || file || listens || command)
			fail(EXIT_USAGE, 0, "--installed stands alone");
		installed(wait_for, within ? within : 10000);
		return 0;
	}
	if (file && (!serve || command))
		fail(EXIT_USAGE, 0, "--file goes with --serve, and without a command");
	if (serve && (gateway || listens))
		fail(EXIT_USAGE, 0, "--serve goes with --install only");
	if (serve && !file && !command)
		fail(EXIT_USAGE, 0, "--serve needs --file PATH, or -- COMMAND");
	if ((gateway || listens) && !command)
		fail(EXIT_USAGE, 0, "nothing to become: add -- COMMAND");
	if (!install_to && !serve && !command)
		fail(EXIT_USAGE, 0, "nothing to do; see --help");

	if (install_to)
		install(install_to);
	for (int n = 0; n < listens; n++)
		listen_on(listen[n]);
	if (gateway)
		await_gateway(gateway, within ? within : 60000);
	if (file)
		serve_file(serve, file);
	if (serve)
		serve_argv(serve, command);
	if (!command)
		return 0;
	pass_listeners();
	become(command);
}
