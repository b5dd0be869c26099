/* fcntl(2) record locks of processes and open file descriptions, flock(2). */
#define FAMILY "locks"
#include "check.h"
#include <sys/file.h>

static int lock(int fd, int command, int type, off_t start, off_t len)
{
    struct flock l = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len};
    return fcntl(fd, command, &l);
}

/* The lock in the way of a write lock: `TYPE START LEN PID`. */
static const char *holder(int fd, off_t start, off_t len)
{
    static char text[80];
    struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = start, .l_len = len};
    if (fcntl(fd, F_GETLK, &l)) return errno_name(errno);
    if (l.l_type == F_UNLCK) return "free";
    snprintf(text, sizeof text, "%s %ld %ld", l.l_type == F_RDLCK ? "read" : "write", (long)l.l_start, (long)l.l_len);
    return text;
}

CASE(records)
{
    int fd = MUST(open("a", O_RDWR | O_CREAT, 0600)), p[2];
    MUST(pipe(p));
    EQ("a write lock", lock(fd, F_SETLK, F_WRLCK, 10, 20), 0);
    STR("not in one's own way", holder(fd, 0, 0), "free");
    EQ("another process cannot", EXIT_OF(_exit(lock(fd, F_SETLK, F_WRLCK, 15, 1) ? errno : 0)), EAGAIN);
    EQ("nor read", EXIT_OF(_exit(lock(fd, F_SETLK, F_RDLCK, 29, 1) ? errno : 0)), EAGAIN);
    EQ("beside it", EXIT_OF(_exit(lock(fd, F_SETLK, F_WRLCK, 30, 1) ? errno : 0)), 0);
    EQ("seen by another", EXIT_OF(_exit(strcmp(holder(fd, 0, 0), "write 10 20"))), 0);
    EQ("unlocked in the middle", lock(fd, F_SETLK, F_UNLCK, 15, 5), 0);
    EQ("splits", EXIT_OF(_exit(strcmp(holder(fd, 16, 100), "write 20 10"))), 0);
    EQ("turned into read locks", lock(fd, F_SETLK, F_RDLCK, 0, 0), 0);
    EQ("one to the end", EXIT_OF(_exit(strcmp(holder(fd, 0, 0), "read 0 0"))), 0);
    EQ("two readers", EXIT_OF(_exit(lock(fd, F_SETLK, F_RDLCK, 0, 0) ? errno : 0)), 0);
    int second = MUST(open("a", O_RDWR));
    close(second);
    EQ("closing any descriptor of the file drops them", EXIT_OF(_exit(strcmp(holder(fd, 0, 0), "free"))), 0);
    int ro = MUST(open("a", O_RDONLY)), wo = MUST(open("a", O_WRONLY));
    ERR("a write lock through a reader", lock(ro, F_SETLK, F_WRLCK, 0, 0), EBADF);
    ERR("a read lock through a writer", lock(wo, F_SETLK, F_RDLCK, 0, 0), EBADF);
    ERR("a bad type", lock(fd, F_SETLK, 9, 0, 0), EINVAL);
    ERR("before the start", lock(fd, F_SETLK, F_RDLCK, -5, 0), EINVAL);
    ERR("a negative length that reaches before the start", lock(fd, F_SETLK, F_RDLCK, 5, -6), EINVAL);
    EQ("a negative length", lock(fd, F_SETLK, F_WRLCK, 10, -5), 0);
    EQ("means in front of it", EXIT_OF(_exit(strcmp(holder(fd, 0, 0), "write 5 5"))), 0);
    ERR("locks of nothing", lock(99, F_SETLK, F_RDLCK, 0, 0), EBADF);
    struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_END, .l_start = -1};
    ftruncate(fd, 100);
    fcntl(fd, F_SETLK, &l);
    EQ("from the end", EXIT_OF(_exit(strcmp(holder(fd, 50, 0), "write 99 0"))), 0);
    EQ("the pid of the holder", EXIT_OF({ struct flock q = {.l_type = F_WRLCK}; fcntl(fd, F_GETLK, &q); _exit(q.l_pid == getppid() ? 0 : 1); }), 0);
}

CASE(waiting)
{
    int fd = MUST(open("a", O_RDWR | O_CREAT, 0600)), p[2];
    char c;
    MUST(pipe(p));
    pid_t child = CHILD({ lock(fd, F_SETLK, F_WRLCK, 0, 0); write(p[1], "x", 1); sleep_ms(20); });
    read(p[0], &c, 1);
    long before = now_ms();
    EQ("F_SETLKW waits", lock(fd, F_SETLKW, F_WRLCK, 0, 0), 0);
    CHECK("until the holder ends", now_ms() - before >= 10);
    wait_status(child);
    MUST(lock(fd, F_SETLK, F_UNLCK, 0, 0));
    MUST(lock(fd, F_SETLK, F_WRLCK, 0, 1));
    child = CHILD({ lock(fd, F_SETLK, F_WRLCK, 1, 1); write(p[1], "x", 1); _exit(lock(fd, F_SETLKW, F_WRLCK, 0, 1) ? errno : 0); });
    read(p[0], &c, 1);
    wait_for_state(child, 'S');
    ERR("a deadlock", lock(fd, F_SETLKW, F_WRLCK, 1, 1), EDEADLK);
    lock(fd, F_SETLK, F_UNLCK, 0, 0);
    EQ("the other one gets it", WEXITSTATUS(wait_status(child)), 0);
}

CASE(descriptions)
{
    int a = MUST(open("a", O_RDWR | O_CREAT, 0600)), b = MUST(open("a", O_RDWR));
    EQ("a lock of a description", lock(a, F_OFD_SETLK, F_WRLCK, 0, 10), 0);
    ERR("another description of the same process", lock(b, F_OFD_SETLK, F_WRLCK, 5, 1), EAGAIN);
    ERR("a process lock conflicts", lock(b, F_SETLK, F_WRLCK, 5, 1), EAGAIN);
    struct flock l = {.l_type = F_WRLCK};
    EQ("F_OFD_GETLK", (fcntl(b, F_OFD_GETLK, &l), l.l_pid), -1);
    l = (struct flock){.l_type = F_WRLCK, .l_pid = 5};
    ERR("a pid is not allowed", fcntl(b, F_OFD_SETLK, &l), EINVAL);
    EQ("a child shares it", EXIT_OF(_exit(lock(a, F_OFD_SETLK, F_RDLCK, 0, 10) ? errno : 0)), 0);
    int copy = MUST(dup(a));
    close(a);
    ERR("it stays with the description", lock(b, F_OFD_SETLK, F_WRLCK, 5, 1), EAGAIN);
    close(copy);
    EQ("and goes with it", lock(b, F_OFD_SETLK, F_WRLCK, 5, 1), 0);
}

CASE(whole_files)
{
    int a = MUST(open("a", O_RDWR | O_CREAT, 0600)), b = MUST(open("a", O_RDONLY));
    EQ("exclusive", flock(a, LOCK_EX), 0);
    ERR("another description", flock(b, LOCK_SH | LOCK_NB), EWOULDBLOCK);
    EQ("a copy is the same", flock(dup(a), LOCK_EX | LOCK_NB), 0);
    EQ("record locks are something else", lock(b, F_SETLK, F_RDLCK, 0, 0), 0);
    EQ("shared", flock(a, LOCK_SH), 0);
    EQ("shared by both", flock(b, LOCK_SH | LOCK_NB), 0);
    ERR("not exclusive any more", flock(a, LOCK_EX | LOCK_NB), EWOULDBLOCK);
    EQ("unlock", flock(b, LOCK_UN), 0);
    ERR("bad operation", flock(a, 0), EINVAL);
    ERR("bad descriptor", flock(99, LOCK_SH), EBADF);
    flock(a, LOCK_EX);
    pid_t child = CHILD({ int c = open("a", O_RDONLY); _exit(flock(c, LOCK_EX) ? errno : 0); });
    wait_for_state(child, 'S');
    flock(a, LOCK_UN);
    EQ("a waiter gets it", WEXITSTATUS(wait_status(child)), 0);
}
