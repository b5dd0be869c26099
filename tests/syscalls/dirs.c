/* mkdir(2), rmdir(2), unlink(2), getdents(2), chdir(2), getcwd(2), mknod(2), statfs(2), chroot(2). */
#define FAMILY "dirs"
#include "check.h"
#include <sys/vfs.h>
#include <linux/magic.h>

CASE(make_and_remove)
{
    struct stat st;
    EQ("mkdir", mkdir("d", 0777), 0);
    stat("d", &st);
    EQ("mode", st.st_mode, S_IFDIR | 0755);
    EQ("links", st.st_nlink, 2);
    ERR("again", mkdir("d", 0777), EEXIST);
    ERR("over a dangling link", ({ symlink("none", "l"); mkdir("l", 0777); }), EEXIST);
    ERR("missing parent", mkdir("x/y", 0777), ENOENT);
    ERR("parent is a file", ({ put_file("f", "", 0600); mkdir("f/y", 0777); }), ENOTDIR);
    ERR("empty path", mkdir("", 0777), ENOENT);
    EQ("slash at the end", mkdir("e/", 0777), 0);
    ERR("mkdir /", mkdir("/", 0777), EEXIST);
    ERR("mkdir .", mkdir(".", 0777), EEXIST);
    ERR("mkdir d/..", mkdir("d/..", 0777), EEXIST);
    ERR("mkdir of a missing one and .", mkdir("q/.", 0777), ENOENT);
    EQ("sticky", ({ mkdir("s", 01777); stat("s", &st); st.st_mode & 07777; }), 01755);
    put_file("d/x", "", 0600);
    ERR("rmdir of a full one", rmdir("d"), ENOTEMPTY);
    ERR("rmdir of a file", rmdir("d/x"), ENOTDIR);
    ERR("unlink of a directory", unlink("d"), EISDIR);
    ERR("unlinkat with AT_REMOVEDIR of a file", unlinkat(AT_FDCWD, "d/x", AT_REMOVEDIR), ENOTDIR);
    ERR("unlinkat with unknown flags", unlinkat(AT_FDCWD, "d/x", 0x1), EINVAL);
    EQ("unlink", unlink("d/x"), 0);
    ERR("unlink again", unlink("d/x"), ENOENT);
    ERR("rmdir d/.", rmdir("d/."), EINVAL);
    ERR("rmdir d/..", rmdir("d/.."), ENOTEMPTY);
    ERR("rmdir /", rmdir("/"), EBUSY);
    ERR("unlink .", unlink("."), EISDIR);
    ERR("unlink f/", unlink("f/"), ENOTDIR);
    ERR("rmdir of a link", ({ symlink("d", "ld"); rmdir("ld"); }), ENOTDIR);
    ERR("rmdir of a link with a slash", rmdir("ld/"), ENOTDIR);
    EQ("rmdir", rmdir("d"), 0);
    EQ("unlink of a link", unlink("ld"), 0);
}

CASE(removed_directory)
{
    struct stat st;
    char path[PATH_MAX];
    MUST(mkdir("d", 0755));
    MUST(chdir("d"));
    MUST(rmdir("../d"));
    ERR("getcwd", (long)getcwd(path, sizeof path) ?: -1, ENOENT);
    ERR("create in it", open("x", O_RDWR | O_CREAT, 0600), ENOENT);
    ERR("mkdir in it", mkdir("x", 0700), ENOENT);
    EQ("stat .", stat(".", &st), 0);
    EQ("no links", st.st_nlink, 0);
    CHECK("open .", open(".", O_RDONLY) >= 0);
    EQ(".. still leads out", chdir(".."), 0);
}

CASE(cwd)
{
    char path[PATH_MAX], small[2];
    MUST(mkdir("d", 0755));
    EQ("chdir", chdir("d"), 0);
    CHECK("getcwd", getcwd(path, sizeof path) && !strcmp(strrchr(path, '/'), "/d"));
    EQ("its length with the end", syscall(SYS_getcwd, path, sizeof path), strlen(path) + 1);
    ERR("too small", syscall(SYS_getcwd, small, 2), ERANGE);
    ERR("nowhere", syscall(SYS_getcwd, 8, 4096), EFAULT);
    put_file("f", "", 0600);
    ERR("a file", chdir("f"), ENOTDIR);
    ERR("missing", chdir("none"), ENOENT);
    ERR("empty", chdir(""), ENOENT);
    int fd = MUST(open("f", O_RDONLY));
    ERR("fchdir to a file", fchdir(fd), ENOTDIR);
    ERR("fchdir to nothing", fchdir(99), EBADF);
    int up = MUST(open("..", O_RDONLY));
    EQ("fchdir", fchdir(up), 0);
    EQ("renamed while inside", ({ chdir("d"); rename("../d", "../e"); getcwd(path, sizeof path); strcmp(strrchr(path, '/'), "/e"); }), 0);
}

struct entry { uint64_t ino; int64_t off; unsigned short reclen; unsigned char type; char name[]; };

CASE(reading)
{
    char buf[4096];
    put_file("a", "", 0600);
    MUST(mkdir("b", 0700));
    MUST(symlink("a", "c"));
    MUST(mkfifo("e", 0600));
    int fd = MUST(open(".", O_RDONLY));
    long len = syscall(SYS_getdents64, fd, buf, sizeof buf);
    char types[6] = "------";
    int count = 0;
    for (long at = 0; at < len;) {
        struct entry *e = (void *)(buf + at);
        struct stat st;
        if (!strcmp(e->name, ".")) types[0] = e->type == DT_DIR ? '.' : '?';
        else if (!strcmp(e->name, "..")) types[1] = e->type == DT_DIR ? '.' : '?';
        else {
            int at_name = e->name[0] == 'a' ? 2 : e->name[0] == 'b' ? 3 : e->name[0] == 'c' ? 4 : 5;
            types[at_name] = e->type == DT_REG ? 'r' : e->type == DT_DIR ? 'd' : e->type == DT_LNK ? 'l' : e->type == DT_FIFO ? 'p' : '?';
            lstat(e->name, &st);
            if (st.st_ino != e->ino) types[at_name] = '!';
        }
        at += e->reclen;
        count++;
    }
    EQ("entries", count, 6);
    check("types and inode numbers", !memcmp(types, "..rdlp", 6), "%.6s", types);
    EQ("at the end", syscall(SYS_getdents64, fd, buf, sizeof buf), 0);
    EQ("rewound", lseek(fd, 0, SEEK_SET), 0);
    EQ("again", syscall(SYS_getdents64, fd, buf, sizeof buf), len);
    lseek(fd, 0, SEEK_SET);
    ERR("no room for one", syscall(SYS_getdents64, fd, buf, 8), EINVAL);
    int one = 0;
    while ((len = syscall(SYS_getdents64, fd, buf, 32)) > 0) one++;
    EQ("one by one", one, 6);
    ERR("a file", syscall(SYS_getdents64, MUST(open("a", O_RDONLY)), buf, 99), ENOTDIR);
    lseek(fd, 0, SEEK_SET);
    ERR("read of a directory", read(fd, buf, 10), EISDIR);
    MUST(chdir("b"));
    int dead = MUST(open(".", O_RDONLY));
    MUST(rmdir("../b"));
    ERR("a removed directory", syscall(SYS_getdents64, dead, buf, sizeof buf), ENOENT);
}

CASE(changing_while_reading)
{
    char path[20];
    for (int i = 0; i < 200; i++) {
        snprintf(path, sizeof path, "f%03d", i);
        close(MUST(open(path, O_CREAT | O_WRONLY, 0600)));
    }
    DIR *dir = opendir(".");
    struct dirent *e;
    int seen = 0;
    while ((e = readdir(dir)))
        if (e->d_name[0] == 'f') {
            seen++;
            unlink(e->d_name);
        }
    EQ("each is seen once while all are removed", seen, 200);
    rewinddir(dir);
    int left = 0;
    while ((e = readdir(dir))) left++;
    EQ("nothing is left", left, 2);
}

CASE(nodes)
{
    struct stat st;
    EQ("a regular file", mknod("f", S_IFREG | 0644, 0), 0);
    EQ("type 0 is a regular file", ({ mknod("z", 0600, 0); stat("z", &st); st.st_mode; }), S_IFREG | 0600);
    EQ("a FIFO", mknod("p", S_IFIFO | 0644, 0), 0);
    EQ("a socket", mknod("s", S_IFSOCK | 0644, 0), 0);
    ERR("a directory", mknod("d", S_IFDIR | 0755, 0), EPERM);
    ERR("a link", mknod("l", S_IFLNK | 0755, 0), EINVAL);
    ERR("no such type", mknod("q", 0170000, 0), EINVAL);
    ERR("there already", mknod("f", S_IFREG | 0644, 0), EEXIST);
    ERR("opening a socket", open("s", O_RDWR), ENXIO);
    NEEDS(mknod("n", S_IFCHR | 0666, makedev(1, 3)));
    stat("n", &st);
    EQ("its number", st.st_rdev, makedev(1, 3));
    ERR("as a user", EXIT_OF({ chmod(".", 0777); drop_to(1000); _exit(mknod("u", S_IFCHR, makedev(1, 3)) ? errno : 0); }) == EPERM ? (errno = EPERM, -1) : 0, EPERM);
    EQ("a FIFO as a user", EXIT_OF({ drop_to(1000); _exit(mknod("uf", S_IFIFO | 0600, 0) ? errno : 0); }), 0);
}

CASE(file_system)
{
    struct statfs fs;
    EQ("statfs", statfs(".", &fs), 0);
    CHECK("sizes", fs.f_bsize > 0 && fs.f_blocks >= fs.f_bfree && fs.f_bfree >= fs.f_bavail);
    EQ("longest name", fs.f_namelen, 255);
    EQ("proc", ({ statfs("/proc", &fs); fs.f_type; }), PROC_SUPER_MAGIC);
    ERR("missing", statfs("none", &fs), ENOENT);
    ERR("bad descriptor", fstatfs(99, &fs), EBADF);
    int ends[2];
    MUST(pipe(ends));
    EQ("a pipe", fstatfs(ends[0], &fs), 0);
    EQ("its type", fs.f_type, PIPEFS_MAGIC);
}

CASE(change_root)
{
    char path[100];
    struct stat root, up;
    MUST(mkdir("jail", 0755));
    MUST(mkdir("jail/in", 0755));
    put_file("jail/f", "", 0600);
    ERR("a file", chroot("jail/f"), geteuid() ? EPERM : ENOTDIR);
    ERR("missing", chroot("none"), ENOENT);
    EQ("a user may not", EXIT_OF({ drop_to(1000); _exit(chroot("jail") ? errno : 0); }), EPERM);
    NEEDS(chroot("jail"));
    check("getcwd is unreachable", syscall(SYS_getcwd, path, sizeof path) > 0 && !strncmp(path, "(unreachable)", 13), "%s", path);
    MUST(chdir("/"));
    stat("/", &root);
    stat("/..", &up);
    EQ(".. of the root is the root", root.st_ino, up.st_ino);
    EQ("and inside", stat("/in/../../../f", &root), 0);
    STR("getcwd", (syscall(SYS_getcwd, path, sizeof path), path), "/");
}
