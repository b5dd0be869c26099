/* namespaces(7): pid, mount, uts, ipc, user, net; setns(2); mount(2), umount(2), pivot_root(2). */
#define FAMILY "namespaces"
#include "check.h"
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>

/* Child in new namespaces: runs the code and exits. */
#define IN_NEW(flags, ...)                                                                               \
    EXIT_OF({                                                                                            \
        if (unshare(flags)) _exit(errno == EPERM ? 250 : 251);                                           \
        __VA_ARGS__;                                                                                     \
    })

static void private_mounts(void)
{
    NEEDS(unshare(CLONE_NEWNS));
    NEEDS(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
}

static const char *link_of(const char *path)
{
    static char to[200];
    ssize_t len = readlink(path, to, sizeof to - 1);
    to[len < 0 ? 0 : len] = 0;
    return to;
}

CASE(unsharing)
{
    char before[200], name[70];
    ERR("unknown flags", unshare(0x1), EINVAL);
    EQ("nothing", unshare(0), 0);
    NEEDS(geteuid() ? -1 : 0);
    strcpy(before, link_of("/proc/self/ns/uts"));
    EQ("uts", EXIT_OF({ if (unshare(CLONE_NEWUTS)) _exit(250); sethostname("inside", 6); gethostname(name, sizeof name); _exit(strcmp(name, "inside") || !strcmp(before, link_of("/proc/self/ns/uts"))); }), 0);
    gethostname(name, sizeof name);
    CHECK("only inside", strcmp(name, "inside"));
    EQ("a user may not", EXIT_OF({ drop_to(1000); _exit(unshare(CLONE_NEWUTS) ? errno : 0); }), EPERM);
    EQ("setns by descriptor", EXIT_OF({
        int fd = open("/proc/self/ns/uts", O_RDONLY);
        unshare(CLONE_NEWUTS);
        if (setns(fd, CLONE_NEWNET) != -1 || errno != EINVAL) _exit(1);
        if (setns(fd, CLONE_NEWUTS)) _exit(2);
        _exit(strcmp(before, link_of("/proc/self/ns/uts")) ? 3 : 0);
    }), 0);
    ERR("setns with a file", setns(open(".", O_RDONLY), 0), EINVAL);
    ERR("setns with nothing", setns(99, 0), EBADF);
    EQ("an ipc namespace starts empty", IN_NEW(CLONE_NEWIPC, { _exit(syscall(SYS_shmget, 4242, 0, 0) == -1 ? errno : 0); }), ENOENT);
    EQ("a net namespace has only lo, which is down", IN_NEW(CLONE_NEWNET, {
        const char *text = text_of("/proc/self/net/dev");
        int lines = 0;
        for (; *text; text++) lines += *text == '\n';
        _exit(lines);
    }), 3);
}

CASE(process_numbers)
{
    NEEDS(geteuid() ? -1 : 0);
    int p[2];
    pid_t numbers[3] = {};
    MUST(pipe(p));
    EQ("children of an unshared one", EXIT_OF({
        if (unshare(CLONE_NEWPID)) _exit(250);
        pid_t self = getpid();
        pid_t child = fork();
        if (!child) {
            numbers[0] = getpid();
            numbers[1] = getppid();
            numbers[2] = EXIT_OF(_exit(getpid()));
            write(p[1], numbers, sizeof numbers);
            _exit(7);
        }
        if (getpid() != self) _exit(1);
        _exit(WEXITSTATUS(wait_status(child)));
    }), 7);
    read(p[0], numbers, sizeof numbers);
    EQ("its first is 1", numbers[0], 1);
    EQ("whose parent is 0", numbers[1], 0);
    EQ("its child is 2", numbers[2], 2);
    EQ("signals without a handler do not reach a namespace's init from inside", EXIT_OF({
        unshare(CLONE_NEWPID);
        _exit(EXIT_OF({ raise(SIGTERM); kill(getpid(), SIGKILL); _exit(5); }));
    }), 5);
    EQ("SIGKILL from outside does", EXIT_OF({
        unshare(CLONE_NEWPID);
        pid_t init = CHILD({ for (;;) pause(); });
        kill(init, SIGTERM);
        sleep_ms(5);
        if (waitpid(init, NULL, WNOHANG)) _exit(1);
        kill(init, SIGKILL);
        _exit(WTERMSIG(wait_status(init)));
    }), SIGKILL);
    EQ("all end with their init", EXIT_OF({
        unshare(CLONE_NEWPID);
        pid_t init = CHILD({ CHILD({ close(p[0]); for (;;) pause(); }); sleep_ms(5); });
        wait_status(init);
        close(p[1]);
        char c;
        /* In this process's view the pipe has only the case's own writing end left. */
        _exit(kill(init + 1, 0) == -1 && errno == ESRCH ? (void)c, 0 : 1);
    }), 0);
    EQ("no more processes without an init", EXIT_OF({ unshare(CLONE_NEWPID); EXIT_OF(_exit(0)); pid_t c = fork(); if (!c) _exit(0); _exit(c < 0 ? errno : 0); }), ENOMEM);
    EQ("orphans go to the namespace's init", EXIT_OF({
        unshare(CLONE_NEWPID);
        _exit(EXIT_OF({
            int q[2];
            pipe(q);
            pid_t middle = CHILD({ CHILD({ sleep_ms(10); pid_t up = getppid(); write(q[1], &up, sizeof up); }); });
            wait_status(middle);
            pid_t up = 0;
            read(q[0], &up, sizeof up);
            _exit(up);
        }));
    }), 1);
}

CASE(users)
{
    struct stat st;
    int p[2], q[2];
    char c;
    MUST(pipe(p));
    MUST(pipe(q));
    int plain = EXIT_OF(_exit(unshare(CLONE_NEWUSER) ? errno : 0));
    NEEDS(plain ? (errno = plain, -1) : 0);
    EQ("without a map everybody is nobody", IN_NEW(CLONE_NEWUSER, _exit(getuid() == 65534 && geteuid() == 65534 ? 0 : 1)), 0);
    EQ("but has all capabilities there", IN_NEW(CLONE_NEWUSER, _exit(unshare(CLONE_NEWUTS) ? errno : sethostname("x", 1))), 0);
    EQ("and none outside", IN_NEW(CLONE_NEWUSER, _exit(sethostname("x", 1) ? errno : 0)), EPERM);
    pid_t child = CHILD({
        if (unshare(CLONE_NEWUSER)) _exit(250);
        write(p[1], "x", 1);
        read(q[0], &c, 1);
        if (getuid() != 0) _exit(1);
        if (setuid(5) || getuid() != 5) _exit(2);
        if (setuid(4000) != -1 || errno != EINVAL) _exit(3);
        put_file("made", "", 0600);
        _exit(0);
    });
    read(p[0], &c, 1);
    char path[64], text[100];
    chmod(".", 0777);
    snprintf(path, sizeof path, "/proc/%d/uid_map", child);
    snprintf(text, sizeof text, "0 %d 1\n1 2001 100\n", getuid());
    int fd = MUST(open(path, O_WRONLY));
    EQ("the map", write(fd, text, strlen(text)), strlen(text));
    ERR("written once", write(open(path, O_WRONLY), text, strlen(text)), EPERM);
    write(q[1], "x", 1);
    EQ("inside", WEXITSTATUS(wait_status(child)), 0);
    stat("made", &st);
    EQ("seen from outside", st.st_uid, 2005);
    EQ("a bad map", EXIT_OF({ unshare(CLONE_NEWUSER); int m = open("/proc/self/uid_map", O_WRONLY); _exit(write(m, "0 0", 3) < 0 ? errno : 0); }), EINVAL);
    EQ("several users by oneself", EXIT_OF({ drop_to(1000); prctl(PR_SET_DUMPABLE, 1); unshare(CLONE_NEWUSER); int m = open("/proc/self/uid_map", O_WRONLY); _exit(write(m, "0 1000 2", 8) < 0 ? errno : 0); }), EPERM);
    EQ("oneself by oneself", EXIT_OF({ drop_to(1000); prctl(PR_SET_DUMPABLE, 1); unshare(CLONE_NEWUSER); int m = open("/proc/self/uid_map", O_WRONLY); if (m < 0) _exit(errno); _exit(write(m, "0 1000 1", 8) < 0 ? errno : getuid()); }), 0);
    EQ("groups need setgroups denied first", EXIT_OF({ drop_to(1000); prctl(PR_SET_DUMPABLE, 1); unshare(CLONE_NEWUSER); int m = open("/proc/self/gid_map", O_WRONLY); if (m < 0) _exit(errno); _exit(write(m, "0 1000 1", 8) < 0 ? errno : 0); }), EPERM);
    EQ("then they can", EXIT_OF({
        drop_to(1000);
        prctl(PR_SET_DUMPABLE, 1);
        unshare(CLONE_NEWUSER);
        int m = open("/proc/self/setgroups", O_WRONLY);
        if (m < 0) _exit(errno);
        if (write(m, "deny", 4) != 4) _exit(101);
        m = open("/proc/self/gid_map", O_WRONLY);
        if (write(m, "0 1000 1", 8) < 0) _exit(102);
        _exit(syscall(SYS_setgroups, 0, NULL) == -1 ? errno : 0);
    }), EPERM);
}

CASE(mounting)
{
    struct stat st;
    private_mounts();
    MUST(mkdir("m", 0755));
    MUST(mkdir("n", 0755));
    ERR("an unknown type", mount("x", "m", "none-such", 0, NULL), ENODEV);
    ERR("a missing place", mount("x", "none", "tmpfs", 0, NULL), ENOENT);
    put_file("f", "", 0600);
    ERR("a file system on a file", mount("x", "f", "tmpfs", 0, NULL), ENOTDIR);
    EQ("tmpfs", mount("x", "m", "tmpfs", 0, "size=64k,mode=700"), 0);
    stat("m", &st);
    EQ("mode", st.st_mode & 07777, 0700);
    struct statfs fs;
    statfs("m", &fs);
    EQ("size", fs.f_blocks * fs.f_bsize, 65536);
    int fd = MUST(open("m/a", O_RDWR | O_CREAT, 0600));
    static char big[100000];
    EQ("full: a short write", write(fd, big, sizeof big), 65536);
    ERR("then no space", write(fd, big, 1), ENOSPC);
    close(fd);
    ERR("a bad option", mount("x", "n", "tmpfs", 0, "none-such=1"), EINVAL);
    ERR("removing a mount point", rmdir("m"), EBUSY);
    ERR("renaming it", rename("m", "q"), EBUSY);
    EQ("bind", mount("m", "n", NULL, MS_BIND, NULL), 0);
    EQ("the same file", (stat("n/a", &st), st.st_size), 65536);
    EQ("read-only", mount(NULL, "n", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL), 0);
    ERR("writing", open("n/b", O_RDWR | O_CREAT, 0600), EROFS);
    ERR("opening to write", open("n/a", O_RDWR), EROFS);
    ERR("truncate", truncate("n/a", 0), EROFS);
    ERR("chmod", chmod("n/a", 0), EROFS);
    ERR("unlink", unlink("n/a"), EROFS);
    ERR("mkdir of what is there", mkdir("n/a", 0700), EEXIST);
    ERR("access W_OK", access("n/a", W_OK), EROFS);
    CHECK("reading", open("n/a", O_RDONLY) >= 0);
    CHECK("the other mount is not", open("m/b", O_RDWR | O_CREAT, 0600) >= 0);
    MUST(mkdir("m/d", 0755));
    ERR("link between mounts of one file system", link("m/a", "n/c"), EROFS);
    ERR("busy", umount("m"), EBUSY);
    int keep = MUST(open("m/a", O_RDONLY));
    EQ("lazily", umount2("m", MNT_DETACH), 0);
    ERR("gone", open("m/a", O_RDONLY), ENOENT);
    EQ("what is open stays", read(keep, big, 10), 10);
    ERR("not mounted", umount("m"), EINVAL);
    ERR("missing", umount("none"), ENOENT);
    EQ("remount of the superblock", mount(NULL, "n", NULL, MS_REMOUNT, "size=128k"), 0);
    EQ("move", mount("n", "m", NULL, MS_MOVE, NULL), 0);
    CHECK("moved", access("m/a", F_OK) == 0 && access("n/a", F_OK));
    ERR("moving what is no mount", mount("n", "m", NULL, MS_MOVE, NULL), EINVAL);
    EQ("a user may not", EXIT_OF({ drop_to(1000); _exit(mount("x", "n", "tmpfs", 0, NULL) ? errno : 0); }), EPERM);
    EQ("nor unmount", EXIT_OF({ drop_to(1000); _exit(umount("m") ? errno : 0); }), EPERM);
    EQ("noexec", (mount("x", "n", "tmpfs", MS_NOEXEC, NULL), put_file("n/p", "#!/bin/sh\n", 0755), EXIT_OF({ execl("n/p", "p", (char *)0); _exit(errno); })), EACCES);
    ERR("X_OK on noexec", access("n/p", X_OK), EACCES);
    EQ("nodev", ({ mount(NULL, "n", NULL, MS_REMOUNT | MS_NODEV, NULL); mknod("n/null", S_IFCHR | 0666, makedev(1, 3)); open("n/null", O_RDWR) < 0 ? errno : 0; }), EACCES);
    EQ("a bind of a file", (put_file("target", "", 0600), mount("f", "target", NULL, MS_BIND, NULL)), 0);
    ERR("a file on a directory", mount("f", "n", NULL, MS_BIND, NULL), ENOTDIR);
    ERR("a directory on a file", mount("n", "f", NULL, MS_BIND, NULL), ENOTDIR);
    EQ("stacked", mount("y", "n", "tmpfs", 0, NULL), 0);
    ERR("hides", access("n/p", F_OK), ENOENT);
    EQ("the top one goes first", (umount("n"), access("n/p", F_OK)), 0);
}

CASE(propagation)
{
    private_mounts();
    MUST(mkdir("s", 0755));
    MUST(mkdir("peer", 0755));
    MUST(mkdir("slave", 0755));
    NEEDS(mount("s", "s", "tmpfs", 0, NULL));
    EQ("shared", mount(NULL, "s", NULL, MS_SHARED, NULL), 0);
    MUST(mkdir("s/in", 0755));
    MUST(mkdir("s/in2", 0755));
    MUST(mount("s", "peer", NULL, MS_BIND, NULL));
    MUST(mount("s", "slave", NULL, MS_BIND, NULL));
    EQ("a slave", mount(NULL, "slave", NULL, MS_SLAVE, NULL), 0);
    MUST(mount("x", "s/in", "tmpfs", 0, NULL));
    put_file("s/in/f", "", 0600);
    EQ("a mount shows in a peer", access("peer/in/f", F_OK), 0);
    EQ("and in a slave", access("slave/in/f", F_OK), 0);
    MUST(mount("y", "slave/in2", "tmpfs", 0, NULL));
    put_file("slave/in2/g", "", 0600);
    ERR("but not from a slave", access("s/in2/g", F_OK), ENOENT);
    MUST(umount("peer/in"));
    ERR("an unmount too", access("s/in/f", F_OK), ENOENT);
    ERR("in the slave", access("slave/in/f", F_OK), ENOENT);
    EQ("private", mount(NULL, "peer", NULL, MS_PRIVATE, NULL), 0);
    MUST(mount("x", "s/in", "tmpfs", 0, NULL));
    put_file("s/in/f", "", 0600);
    ERR("does not see it any more", access("peer/in/f", F_OK), ENOENT);
    EQ("unbindable", mount(NULL, "peer", NULL, MS_UNBINDABLE, NULL), 0);
    MUST(mkdir("again", 0755));
    ERR("cannot be bound", mount("peer", "again", NULL, MS_BIND, NULL), EINVAL);
    EQ("another namespace's slave sees it", EXIT_OF({
        int p[2];
        int q[2];
        char c;
        pipe(p), pipe(q);
        mount(NULL, "s", NULL, MS_SHARED, NULL);
        pid_t child = CHILD({
            unshare(CLONE_NEWNS);
            mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL);
            write(p[1], "x", 1);
            read(q[0], &c, 1);
            _exit(access("s/in2/late", F_OK) ? 1 : 0);
        });
        read(p[0], &c, 1);
        mount("z", "s/in2", "tmpfs", 0, NULL);
        put_file("s/in2/late", "", 0600);
        write(q[1], "x", 1);
        _exit(WEXITSTATUS(wait_status(child)));
    }), 0);
}

CASE(root_pivot)
{
    char path[200];
    private_mounts();
    MUST(mkdir("new", 0755));
    MUST(mkdir("plain", 0755));
    ERR("on the present root", syscall(SYS_pivot_root, "plain", "plain"), EBUSY);
    NEEDS(mount("x", "new", "tmpfs", 0, NULL));
    MUST(mkdir("new/old", 0755));
    ERR("not below it", syscall(SYS_pivot_root, "new", "plain"), EBUSY);
    ERR("missing", syscall(SYS_pivot_root, "none", "plain"), ENOENT);
    EQ("as a user", EXIT_OF({ drop_to(1000); _exit(syscall(SYS_pivot_root, "new", "new/old") ? errno : 0); }), EPERM);
    NEEDS(syscall(SYS_pivot_root, "new", "new/old"));
    MUST(chdir("/"));
    CHECK("the old root is there", access("/old/proc/self", F_OK) == 0);
    EQ("unmounted", umount2("/old", MNT_DETACH), 0);
    ERR("gone", access("/old/proc", F_OK), ENOENT);
    STR("the root", (syscall(SYS_getcwd, path, sizeof path), path), "/");
    MUST(mkdir("stacked", 0755));
}
