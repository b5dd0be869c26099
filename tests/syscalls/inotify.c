/* inotify(7). */
#define FAMILY "inotify"
#include "check.h"
#include <sys/inotify.h>

static char *cursor, *end;
static _Alignas(8) char buffer[8192];

/* The next event as text: `WD MASK NAME`, "" when there is none. */
static const char *next(int fd)
{
    static char text[400];
    if (cursor >= end) {
        ssize_t len = read(fd, buffer, sizeof buffer);
        if (len <= 0) return "";
        cursor = buffer;
        end = buffer + len;
    }
    struct inotify_event *e = (void *)cursor;
    cursor += sizeof *e + e->len;
    snprintf(text, sizeof text, "%d %x %s", e->wd, e->mask, e->len ? e->name : "");
    return text;
}

CASE(directories)
{
    int fd = MUST(inotify_init1(IN_NONBLOCK));
    MUST(mkdir("d", 0755));
    EQ("the first watch", inotify_add_watch(fd, "d", IN_ALL_EVENTS), 1);
    int file = MUST(open("d/a", O_RDWR | O_CREAT, 0600));
    STR("create", next(fd), "1 100 a");
    STR("open", next(fd), "1 20 a");
    write(file, "x", 1);
    STR("write", next(fd), "1 2 a");
    write(file, "x", 1);
    write(file, "x", 1);
    STR("two writes are one event", next(fd), "1 2 a");
    STR("only one", next(fd), "");
    char c;
    pread(file, &c, 1, 0);
    STR("read", next(fd), "1 1 a");
    ftruncate(file, 0);
    STR("truncate", next(fd), "1 2 a");
    fchmod(file, 0644);
    STR("attributes", next(fd), "1 4 a");
    close(file);
    STR("close of a writer", next(fd), "1 8 a");
    close(open("d/a", O_RDONLY));
    STR("open", next(fd), "1 20 a");
    STR("close of a reader", next(fd), "1 10 a");
    mkdir("d/sub", 0755);
    STR("mkdir", next(fd), "1 40000100 sub");
    rmdir("d/sub");
    STR("rmdir", next(fd), "1 40000200 sub");
    rename("d/a", "d/b");
    STR("moved from", next(fd), "1 40 a");
    STR("moved to", next(fd), "1 80 b");
    symlink("x", "d/l");
    STR("symlink", next(fd), "1 100 l");
    link("d/b", "d/h");
    STR("link", next(fd), "1 100 h");
    unlink("d/h");
    STR("unlink", next(fd), "1 200 h");
    rename("d/b", "out");
    STR("moved out", next(fd), "1 40 b");
    rename("out", "d/in");
    STR("moved in", next(fd), "1 80 in");
    unlink("d/in");
    unlink("d/l");
    next(fd);
    next(fd);
    rmdir("d");
    STR("the directory itself", next(fd), "1 400 ");
    STR("the watch is gone", next(fd), "1 8000 ");
    ERR("removing it", inotify_rm_watch(fd, 1), EINVAL);
}

CASE(files)
{
    int fd = MUST(inotify_init1(IN_NONBLOCK));
    put_file("a", "", 0600);
    EQ("watch", inotify_add_watch(fd, "a", IN_ALL_EVENTS), 1);
    EQ("the same again", inotify_add_watch(fd, "a", IN_ALL_EVENTS), 1);
    int file = MUST(open("a", O_WRONLY | O_APPEND));
    STR("open", next(fd), "1 20 ");
    write(file, "x", 1);
    STR("write", next(fd), "1 2 ");
    rename("a", "b");
    STR("moved", next(fd), "1 800 ");
    chmod("b", 0644);
    STR("attributes", next(fd), "1 4 ");
    link("b", "c");
    STR("a link", next(fd), "1 4 ");
    unlink("c");
    STR("one less", next(fd), "1 4 ");
    unlink("b");
    STR("the last name", next(fd), "1 4 ");
    STR("it is open", next(fd), "");
    write(file, "x", 1);
    STR("and watched", next(fd), "1 2 ");
    close(file);
    STR("closed", next(fd), "1 8 ");
    STR("deleted", next(fd), "1 400 ");
    STR("ignored", next(fd), "1 8000 ");
}

CASE(calls)
{
    char small[8];
    int fd = MUST(inotify_init1(IN_CLOEXEC | IN_NONBLOCK)), p[2], value;
    MUST(pipe(p));
    EQ("close-on-exec", fcntl(fd, F_GETFD), FD_CLOEXEC);
    ERR("unknown flags", inotify_init1(1), EINVAL);
    ERR("no events", inotify_add_watch(fd, ".", 0), EINVAL);
    ERR("missing", inotify_add_watch(fd, "none", IN_CREATE), ENOENT);
    ERR("no instance", inotify_add_watch(p[0], ".", IN_CREATE), EINVAL);
    ERR("closed", inotify_add_watch(99, ".", IN_CREATE), EBADF);
    put_file("f", "", 0600);
    ERR("ONLYDIR", inotify_add_watch(fd, "f", IN_MODIFY | IN_ONLYDIR), ENOTDIR);
    ERR("nothing to read", read(fd, buffer, sizeof buffer), EAGAIN);
    struct pollfd pfd = {fd, POLLIN, 0};
    EQ("poll", poll(&pfd, 1, 0), 0);
    int wd = MUST(inotify_add_watch(fd, ".", IN_CREATE | IN_ONESHOT));
    ERR("MASK_CREATE", inotify_add_watch(fd, ".", IN_DELETE | IN_MASK_CREATE), EEXIST);
    put_file("new", "", 0600);
    EQ("poll", poll(&pfd, 1, 0), 1);
    ERR("too small", read(fd, small, sizeof small), EINVAL);
    EQ("FIONREAD", (ioctl(fd, FIONREAD, &value), value), 32 + 16);
    EQ("one event and the end of a one-shot watch", read(fd, buffer, sizeof buffer), 48);
    ERR("it is gone", inotify_rm_watch(fd, wd), EINVAL);
    int other = MUST(inotify_add_watch(fd, ".", IN_CREATE));
    EQ("numbers are not used again", other, wd + 1);
    EQ("a mask is replaced", inotify_add_watch(fd, ".", IN_DELETE), other);
    EQ("or added to", inotify_add_watch(fd, ".", IN_CREATE | IN_MASK_ADD), other);
    put_file("newer", "", 0600);
    unlink("newer");
    EQ("both", read(fd, buffer, sizeof buffer), 64);
    EQ("removed", inotify_rm_watch(fd, other), 0);
    EQ("says so", read(fd, buffer, sizeof buffer), 16);
    pid_t child = CHILD({ sleep_ms(10); put_file("late", "", 0600); });
    fcntl(fd, F_SETFL, 0);
    inotify_add_watch(fd, ".", IN_CREATE);
    EQ("a read waits", read(fd, buffer, sizeof buffer), 32);
    wait_status(child);
}
