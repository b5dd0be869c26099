/* What every family of cases needs: a case is a function that runs in a process and a directory of its own
 * and prints one line per check. Expectations are written from the man pages; a run on a real Linux judges
 * them (crates/kernel/tests/syscalls.rs). */
#ifndef CHECK_H
#define CHECK_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

typedef void (*case_fn)(void);

void add_case(const char *family, const char *name, case_fn run);

/* Each file of cases defines FAMILY before it includes this. */
#define CASE(id)                                                                                         \
    static void id(void);                                                                                \
    __attribute__((constructor)) static void add_##id(void) { add_case(FAMILY, #id, id); }               \
    static void id(void)

void check(const char *what, int holds, const char *got, ...) __attribute__((format(printf, 3, 4)));
void check_value(const char *what, long got, int error, long want);
void check_errno(const char *what, long got, int error, int want);
const char *errno_name(int error);

/* A condition. */
#define CHECK(what, condition) check(what, !!(condition), "false: %s (errno %s)", #condition, errno_name(errno))
/* A value. */
#define EQ(what, expression, want)                                                                       \
    do {                                                                                                 \
        errno = 0;                                                                                       \
        long got_ = (long)(expression);                                                                  \
        check_value(what, got_, errno, (long)(want));                                                    \
    } while (0)
/* A failure with an error number. */
#define ERR(what, expression, want)                                                                      \
    do {                                                                                                 \
        errno = 0;                                                                                       \
        long got_ = (long)(expression);                                                                  \
        check_errno(what, got_, errno, want);                                                            \
    } while (0)
#define STR(what, got, want)                                                                              \
    do {                                                                                                 \
        const char *got_ = (got);                                                                        \
        check(what, !strcmp(got_, want), "\"%s\", want \"%s\"", got_, want);                             \
    } while (0)

/* Preparation that has to work: ends the case when it does not. */
#define MUST(expression) must((long)(expression), #expression, __FILE__, __LINE__)
long must(long value, const char *expression, const char *file, int line);

/* The rest of the case needs what a sandboxed Linux may refuse; off Drydock it is then left out. */
#define NEEDS(expression) needs((long)(expression), #expression)
void needs(long value, const char *expression);

/* A child that runs the code and exits with 0; its number. */
#define CHILD(...) child_(({ pid_t pid_ = fork(); if (!pid_) { __VA_ARGS__; _exit(0); } pid_; }))
static inline pid_t child_(pid_t pid) { return pid; }
/* The wait status of a child that ran the code. */
#define STATUS_OF(...) wait_status(CHILD(__VA_ARGS__))
int wait_status(pid_t pid);
/* Exit code of a child that ran the code, -1 when a signal killed it. */
#define EXIT_OF(...) ({ int status_ = STATUS_OF(__VA_ARGS__); WIFEXITED(status_) ? WEXITSTATUS(status_) : -1; })
/* Signal that killed a child that ran the code, 0 when it exited. */
#define KILLER_OF(...) ({ int status_ = STATUS_OF(__VA_ARGS__); WIFSIGNALED(status_) ? WTERMSIG(status_) : 0; })

void put_file(const char *path, const char *text, mode_t mode);
/* The text of a file, "" when it cannot be read. Static buffer of 64 KiB. */
const char *text_of(const char *path);
void sleep_ms(long ms);
long now_ms(void);
/* A process has come to sleep in a system call (or was stopped): state letter of /proc/PID/stat. */
char state_of(pid_t pid);
void wait_for_state(pid_t pid, char state);
/* Become an ordinary user without any capability. */
void drop_to(uid_t uid);
/* Path of this program, for cases that execute themselves: `PROGRAM helper NAME ARG…`. */
extern char program[PATH_MAX];
int in_drydock(void);
typedef int (*helper_fn)(int argc, char **argv);
void add_helper(const char *name, helper_fn run);
#define HELPER(id)                                                                                       \
    static int helper_##id(int argc, char **argv);                                                       \
    __attribute__((constructor)) static void addh_##id(void) { add_helper(#id, helper_##id); }           \
    static int helper_##id(int argc, char **argv)

#endif
