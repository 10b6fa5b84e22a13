/* aion-launch: the first process of every AION container, and nothing else: static, small, no privilege needed.
 * It puts files where a neighbour container looks for them, opens sockets before a slow program boots, waits for the
 * gateway, serves a tool's binary to the runner; then it becomes the program it was given, or stays as its server.
 * It must never parse what an agent wrote, allocate without a bound, or hand out a descriptor that was not asked for. */
#ifndef AION_LAUNCH_H
#define AION_LAUNCH_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { EXIT_USAGE = 64, EXIT_TIMED_OUT = 124, EXIT_CANNOT = 126, EXIT_NOT_FOUND = 127 };
enum { MAX_LISTENERS = 8, MAX_CALLS = 64, CHUNK = 64 * 1024, MAX_STDIN = 8 * 1024 * 1024 };

/* Prints one line, "aion-launch: …", with the meaning of errno where `err` is not 0; leaves with `code`. */
__attribute__((noreturn, format(printf, 3, 4))) void fail(int code, int err, const char *fmt, ...);
int64_t now_ms(void);
void sleep_ms(int64_t ms);
/* A listening unix socket at `path`, mode 0666; a stale socket there is replaced, anything else is an error. */
int listen_unix(const char *path);
/* A unix stream socket connected to `path`, or -1 with errno. */
int connect_unix(const char *path);

void install(const char *dir);                            /* install.c */
void installed(const char *dir, int64_t within_ms);       /* install.c */
void listen_on(const char *spec);                         /* listen.c: one NAME=ADDR */
void pass_listeners(void);                                /* listen.c: to descriptors 3…, by LISTEN_FDS */
void await_gateway(const char *path, int64_t within_ms);  /* await.c */
__attribute__((noreturn)) void serve_file(const char *path, const char *file);  /* serve.c */
__attribute__((noreturn)) void serve_argv(const char *path, char **argv);       /* serve.c */
void run_call(int conn, char **argv);                     /* call.c: one call, in its own process */
__attribute__((noreturn)) void become(char **argv);       /* main.c: exec by PATH */

#endif
