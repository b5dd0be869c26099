/* pipe(7), fifo(7): atomicity, ends that go, capacity, packets. */
#define FAMILY "pipes"
#include "check.h"

static int pending(int fd)
{
    int count = -1;
    ioctl(fd, FIONREAD, &count);
    return count;
}

CASE(ends)
{
    int p[2];
    char buf[10];
    EQ("pipe", pipe(p), 0);
    ERR("write to the reading end", write(p[0], "x", 1), EBADF);
    ERR("read from the writing end", read(p[1], buf, 1), EBADF);
    EQ("write", write(p[1], "hello", 5), 5);
    EQ("FIONREAD", pending(p[0]), 5);
    EQ("short read", read(p[0], buf, 2), 2);
    EQ("the rest", read(p[0], buf, 10), 3);
    close(p[1]);
    EQ("the end", read(p[0], buf, 10), 0);
    MUST(pipe(p));
    close(p[0]);
    signal(SIGPIPE, SIG_IGN);
    ERR("nobody reads", write(p[1], "x", 1), EPIPE);
    EQ("nothing to write is no error", write(p[1], "", 0), 0);
    signal(SIGPIPE, SIG_DFL);
    EQ("the signal", KILLER_OF(write(p[1], "x", 1)), SIGPIPE);
    ERR("unknown flags", pipe2(p, 1), EINVAL);
    ERR("nowhere", syscall(SYS_pipe2, 8, 0), EFAULT);
    EQ("pipe2", pipe2(p, O_CLOEXEC | O_NONBLOCK), 0);
    EQ("close-on-exec", fcntl(p[0], F_GETFD), FD_CLOEXEC);
    EQ("non-blocking", fcntl(p[1], F_GETFL) & ~0100000, O_WRONLY | O_NONBLOCK);
    ERR("nothing there", read(p[0], buf, 1), EAGAIN);
    struct stat st;
    fstat(p[0], &st);
    EQ("fstat", st.st_mode, S_IFIFO | 0600);
}

CASE(capacity)
{
    int p[2];
    static char big[1 << 17];
    MUST(pipe2(p, O_NONBLOCK));
    EQ("size", fcntl(p[0], F_GETPIPE_SZ), 65536);
    EQ("full", write(p[1], big, sizeof big), 65536);
    ERR("no room", write(p[1], big, 1), EAGAIN);
    EQ("read a bit", read(p[0], big, 100), 100);
    ERR("less than PIPE_BUF is all or nothing", write(p[1], big, 4096), EAGAIN);
    read(p[0], big, 4096 - 100);
    EQ("a page is free", write(p[1], big, 4096), 4096);
    ERR("shrunk below what it holds", fcntl(p[0], F_SETPIPE_SZ, 4096), EBUSY);
    EQ("grown", fcntl(p[0], F_SETPIPE_SZ, 100000), 131072);
    EQ("more room", write(p[1], big, sizeof big), 65536);
    while (read(p[0], big, sizeof big) > 0) {}
    EQ("one page at least", fcntl(p[0], F_SETPIPE_SZ, 1), 4096);
    ERR("more than 2 GiB", fcntl(p[0], F_SETPIPE_SZ, 0x80000001), EINVAL);
}

CASE(blocking)
{
    int p[2];
    char buf[10];
    MUST(pipe(p));
    pid_t child = CHILD({ sleep_ms(20); write(p[1], "x", 1); });
    EQ("a read waits", read(p[0], buf, 10), 1);
    wait_status(child);
    static char big[100000];
    child = CHILD({ close(p[0]); _exit(write(p[1], big, sizeof big) == sizeof big ? 0 : 1); });
    long total = 0, n;
    while (total < (long)sizeof big && (n = read(p[0], big, 7000)) > 0) total += n;
    EQ("a large write comes whole", total, sizeof big);
    EQ("and returns all", WEXITSTATUS(wait_status(child)), 0);
    child = CHILD({ close(p[1]); sleep_ms(20); });
    close(p[0]);
    signal(SIGPIPE, SIG_IGN);
    write(p[1], big, 65536);
    ERR("a writer is woken when the last reader goes", write(p[1], big, 65536), EPIPE);
}

CASE(packets)
{
    int p[2];
    char buf[20];
    NEEDS(pipe2(p, O_DIRECT | O_NONBLOCK));
    EQ("one", write(p[1], "one", 3), 3);
    EQ("three", write(p[1], "three", 5), 5);
    EQ("a packet", read(p[0], buf, 20), 3);
    EQ("the rest of a packet is lost", read(p[0], buf, 2), 2);
    ERR("nothing is left", read(p[0], buf, 20), EAGAIN);
    static char big[5000];
    EQ("large writes are several packets", write(p[1], big, 5000), 5000);
    static char room[9000];
    EQ("the first", read(p[0], room, 9000), 4096);
    EQ("the second", read(p[0], room, 9000), 904);
}

CASE(fifo)
{
    char buf[10];
    MUST(mkfifo("f", 0600));
    ERR("writing when nobody reads", open("f", O_WRONLY | O_NONBLOCK), ENXIO);
    int r = open("f", O_RDONLY | O_NONBLOCK);
    CHECK("reading does not wait", r >= 0);
    EQ("no writer is the end", read(r, buf, 1), 0);
    int w = MUST(open("f", O_WRONLY | O_NONBLOCK));
    ERR("a writer that is silent", read(r, buf, 1), EAGAIN);
    EQ("write", write(w, "hi", 2), 2);
    close(w);
    EQ("data outlives the writer", read(r, buf, 10), 2);
    EQ("then the end", read(r, buf, 10), 0);
    close(r);
    pid_t child = CHILD({ int fd = open("f", O_WRONLY); _exit(write(fd, "x", 1) == 1 ? 0 : 1); });
    wait_for_state(child, 'S');
    r = MUST(open("f", O_RDONLY));
    EQ("both ends wait for each other", read(r, buf, 1), 1);
    EQ("the other one went on", WEXITSTATUS(wait_status(child)), 0);
    close(r);
    int rw = MUST(open("f", O_RDWR));
    EQ("both in one", write(rw, "abc", 3), 3);
    EQ("read back", read(rw, buf, 10), 3);
    ERR("seek", lseek(rw, 0, SEEK_SET), ESPIPE);
}

CASE(polling)
{
    int p[2];
    MUST(pipe(p));
    struct pollfd r = {p[0], POLLIN, 0}, w = {p[1], POLLOUT, 0};
    EQ("empty: not readable", poll(&r, 1, 0), 0);
    EQ("writable", (poll(&w, 1, 0), w.revents), POLLOUT);
    write(p[1], "x", 1);
    EQ("readable", (poll(&r, 1, 0), r.revents), POLLIN);
    close(p[1]);
    EQ("data and hang-up", (poll(&r, 1, 0), r.revents), POLLIN | POLLHUP);
    char c;
    read(p[0], &c, 1);
    EQ("hang-up", (poll(&r, 1, 0), r.revents), POLLHUP);
    MUST(pipe(p));
    close(p[0]);
    w.fd = p[1];
    EQ("nobody reads: error", (poll(&w, 1, 0), w.revents), POLLOUT | POLLERR);
}
