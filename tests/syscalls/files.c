/* open(2), close(2), lseek(2), truncate(2), dup(2), fcntl(2), stat(2), fallocate(2). */
#define FAMILY "files"
#include "check.h"

CASE(open_flags)
{
    int fd;
    ERR("a missing file", open("none", O_RDONLY), ENOENT);
    ERR("a missing directory on the way", open("none/x", O_RDWR | O_CREAT, 0600), ENOENT);
    EQ("the lowest free descriptor", fd = open("a", O_RDWR | O_CREAT | O_EXCL, 0640), 3);
    struct stat st;
    EQ("fstat", fstat(fd, &st), 0);
    EQ("the mode is cut by the umask", st.st_mode, S_IFREG | 0640);
    EQ("one link", st.st_nlink, 1);
    EQ("no size", st.st_size, 0);
    EQ("no blocks", st.st_blocks, 0);
    ERR("O_EXCL on what is there", open("a", O_RDWR | O_CREAT | O_EXCL, 0640), EEXIST);
    ERR("O_DIRECTORY on a file", open("a", O_RDONLY | O_DIRECTORY), ENOTDIR);
    ERR("a file as a directory", open("a/b", O_RDONLY), ENOTDIR);
    ERR("a file with a slash", open("a/", O_RDONLY), ENOTDIR);
    ERR("create with a slash", open("new/", O_RDWR | O_CREAT, 0600), EISDIR);
    ERR("write to a directory", open(".", O_WRONLY), EISDIR);
    ERR("O_CREAT on a directory", open(".", O_RDONLY | O_CREAT, 0600), EISDIR);
    ERR("an empty path", open("", O_RDONLY), ENOENT);
    ERR("a path out of memory", open((char *)8, O_RDONLY), EFAULT);
    ERR("openat with a bad descriptor", openat(99, "a", O_RDONLY), EBADF);
    ERR("openat with a file", openat(fd, "a", O_RDONLY), ENOTDIR);
    CHECK("an absolute path does not need the descriptor", openat(99, "/", O_RDONLY) >= 0);
    int both;
    EQ("access mode 3 opens for neither", both = open("a", 3), 5);
    ERR("reading it", read(both, &st, 1), EBADF);
    ERR("writing it", write(both, "x", 1), EBADF);
    char longest[300];
    memset(longest, 'x', sizeof longest);
    longest[255] = 0;
    CHECK("a name of 255 bytes", open(longest, O_RDWR | O_CREAT, 0600) >= 0);
    longest[255] = 'x';
    longest[256] = 0;
    ERR("a name of 256 bytes", open(longest, O_RDWR | O_CREAT, 0600), ENAMETOOLONG);
    char path[5000];
    memset(path, '/', sizeof path);
    path[4095] = 0;
    CHECK("a path of 4095 bytes", open(path, O_RDONLY) >= 0);
    path[4095] = '/';
    path[4096] = 0;
    ERR("a path of 4096 bytes", open(path, O_RDONLY), ENAMETOOLONG);
    EQ("O_TRUNC", ({ put_file("t", "hello", 0644); close(open("t", O_WRONLY | O_TRUNC)); stat("t", &st); st.st_size; }), 0);
    EQ("F_GETFL has no creation flags", fcntl(open("a", O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_NONBLOCK, 0600), F_GETFL) & ~0100000, O_RDWR | O_APPEND | O_NONBLOCK);
    umask(077);
    close(open("u", O_RDWR | O_CREAT, 0777));
    stat("u", &st);
    EQ("umask 077", st.st_mode & 07777, 0700);
    umask(0);
    close(open("s", O_RDWR | O_CREAT, 06755));
    stat("s", &st);
    EQ("set-id bits at creation", st.st_mode & 07777, 06755);
    EQ("umask gives the old one", umask(01777), 0);
    EQ("umask keeps permission bits only", umask(0), 0777);
}

CASE(o_path)
{
    char c;
    struct stat st;
    put_file("a", "hello", 0);
    int fd = MUST(open("a", O_PATH));
    ERR("read", read(fd, &c, 1), EBADF);
    ERR("write", write(fd, &c, 1), EBADF);
    ERR("lseek", lseek(fd, 0, SEEK_SET), EBADF);
    ERR("fchmod", fchmod(fd, 0600), EBADF);
    ERR("ftruncate", ftruncate(fd, 0), EBADF);
    ERR("ioctl", ioctl(fd, FIONREAD, &c), EBADF);
    ERR("fgetxattr", syscall(SYS_fgetxattr, fd, "user.x", &c, 1), EBADF);
    ERR("mmap", mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0), EBADF);
    EQ("fstat", fstat(fd, &st), 0);
    EQ("size", st.st_size, 5);
    EQ("F_GETFL", fcntl(fd, F_GETFL) & ~0100000, O_PATH);
    EQ("dup", dup(fd) >= 0, 1);
    int dir = MUST(open(".", O_PATH | O_DIRECTORY));
    EQ("fchdir", fchdir(dir), 0);
    CHECK("openat", openat(dir, "a", O_RDONLY) >= 0 || errno == EACCES);
    MUST(symlink("a", "l"));
    int link = MUST(open("l", O_PATH | O_NOFOLLOW));
    EQ("fstat of a link", fstat(link, &st), 0);
    CHECK("it is the link", S_ISLNK(st.st_mode));
    char to[10] = "";
    EQ("readlinkat with an empty path", readlinkat(link, "", to, 10), 1);
    ERR("O_NOFOLLOW without O_PATH", open("l", O_RDONLY | O_NOFOLLOW), ELOOP);
    char proc[40];
    snprintf(proc, sizeof proc, "/proc/self/fd/%d", fd);
    chmod("a", 0644);
    int again = open(proc, O_RDONLY);
    CHECK("opened again through /proc", again >= 0 && read(again, &c, 1) == 1 && c == 'h');
}

CASE(tmpfile_unnamed)
{
    struct stat st;
    int fd = MUST(open(".", O_TMPFILE | O_RDWR, 0600));
    EQ("write", write(fd, "abc", 3), 3);
    fstat(fd, &st);
    EQ("no link", st.st_nlink, 0);
    char path[40];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    EQ("linked in by /proc", linkat(AT_FDCWD, path, AT_FDCWD, "named", AT_SYMLINK_FOLLOW), 0);
    STR("content", text_of("named"), "abc");
    ERR("read only", open(".", O_TMPFILE | O_RDONLY, 0600), EINVAL);
    put_file("f", "", 0600);
    ERR("in a file", open("f", O_TMPFILE | O_RDWR, 0600), ENOTDIR);
    int never = MUST(open(".", O_TMPFILE | O_RDWR | O_EXCL, 0600));
    snprintf(path, sizeof path, "/proc/self/fd/%d", never);
    ERR("O_EXCL is never linked", linkat(AT_FDCWD, path, AT_FDCWD, "x", AT_SYMLINK_FOLLOW), ENOENT);
}

CASE(close_and_dup)
{
    ERR("close what is closed", close(50), EBADF);
    ERR("close -1", close(-1), EBADF);
    int fd = MUST(open("a", O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
    EQ("close-on-exec", fcntl(fd, F_GETFD), FD_CLOEXEC);
    int copy = MUST(dup(fd));
    EQ("dup clears it", fcntl(copy, F_GETFD), 0);
    EQ("dup2 to itself", dup2(fd, fd), fd);
    EQ("keeps the flag", fcntl(fd, F_GETFD), FD_CLOEXEC);
    ERR("dup2 of a bad one to itself", dup2(60, 60), EBADF);
    ERR("dup3 to itself", dup3(fd, fd, 0), EINVAL);
    ERR("dup3 with other flags", dup3(fd, 9, O_APPEND), EINVAL);
    EQ("dup3", dup3(fd, 9, O_CLOEXEC), 9);
    EQ("its flag", fcntl(9, F_GETFD), FD_CLOEXEC);
    ERR("dup2 to -1", dup2(fd, -1), EBADF);
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    ERR("dup2 to the limit", dup2(fd, limit.rlim_cur), EBADF);
    EQ("F_DUPFD", fcntl(fd, F_DUPFD, 20), 20);
    EQ("F_DUPFD again", fcntl(fd, F_DUPFD, 20), 21);
    EQ("F_DUPFD_CLOEXEC", fcntl(fcntl(fd, F_DUPFD_CLOEXEC, 30), F_GETFD), FD_CLOEXEC);
    ERR("F_DUPFD from the limit", fcntl(fd, F_DUPFD, limit.rlim_cur), EINVAL);
    ERR("F_DUPFD from -1", fcntl(fd, F_DUPFD, -1), EINVAL);
    ERR("an unknown command", fcntl(fd, 9999, 0), EINVAL);
    EQ("status flags are shared", ({ fcntl(copy, F_SETFL, O_NONBLOCK); fcntl(fd, F_GETFL) & (O_NONBLOCK | O_APPEND); }), O_NONBLOCK);
    EQ("the access mode stays", ({ fcntl(fd, F_SETFL, O_RDONLY); fcntl(fd, F_GETFL) & O_ACCMODE; }), O_RDWR);
    EQ("the position is shared", ({ ftruncate(fd, 10); lseek(copy, 7, SEEK_SET); lseek(fd, 0, SEEK_CUR); }), 7);
    EQ("close_range", close_range(20, 40, 0), 0);
    ERR("they are closed", fcntl(21, F_GETFD), EBADF);
    EQ("close_range marks", close_range(9, 9, CLOSE_RANGE_CLOEXEC), 0);
    ERR("close_range backwards", close_range(9, 8, 0), EINVAL);
    ERR("close_range with unknown flags", close_range(9, 9, 1), EINVAL);
}

CASE(seek)
{
    int fd = MUST(open("a", O_RDWR | O_CREAT, 0600));
    MUST(write(fd, "0123456789", 10));
    EQ("SEEK_SET", lseek(fd, 3, SEEK_SET), 3);
    EQ("SEEK_CUR", lseek(fd, 4, SEEK_CUR), 7);
    EQ("SEEK_END", lseek(fd, -1, SEEK_END), 9);
    EQ("behind the end", lseek(fd, 90, SEEK_END), 100);
    ERR("before the start", lseek(fd, -1, SEEK_SET), EINVAL);
    ERR("before the start from here", lseek(fd, -101, SEEK_CUR), EINVAL);
    ERR("an unknown origin", lseek(fd, 0, 9), EINVAL);
    EQ("the position did not move", lseek(fd, 0, SEEK_CUR), 100);
    ERR("too far", lseek(fd, LONG_MAX, SEEK_END), EINVAL);
    EQ("a write there leaves a hole", write(fd, "x", 1), 1);
    char c = 'q';
    pread(fd, &c, 1, 50);
    EQ("the hole reads as zero", c, 0);
    int ends[2];
    MUST(pipe(ends));
    ERR("a pipe", lseek(ends[0], 0, SEEK_CUR), ESPIPE);
    ERR("a bad descriptor", lseek(77, 0, SEEK_CUR), EBADF);
}

CASE(seek_hole)
{
    int fd = MUST(open("a", O_RDWR | O_CREAT, 0600));
    EQ("SEEK_HOLE in an empty file", ({ errno = 0; lseek(fd, 0, SEEK_HOLE) == -1 ? errno : 0; }), ENXIO);
    MUST(ftruncate(fd, 1 << 20));
    MUST(pwrite(fd, "x", 1, 512 << 10));
    EQ("SEEK_DATA finds the page", lseek(fd, 0, SEEK_DATA), 512 << 10);
    EQ("SEEK_HOLE is where one asks", lseek(fd, 0, SEEK_HOLE), 0);
    EQ("SEEK_HOLE behind the data", lseek(fd, 512 << 10, SEEK_HOLE), (512 << 10) + 4096);
    ERR("no data to the end", lseek(fd, 600 << 10, SEEK_DATA), ENXIO);
    EQ("the end is a hole", ({ pwrite(fd, "x", 1, (1 << 20) - 1); lseek(fd, (1 << 20) - 1, SEEK_HOLE); }), 1 << 20);
    ERR("at the end", lseek(fd, 1 << 20, SEEK_DATA), ENXIO);
    ERR("at the end", lseek(fd, 1 << 20, SEEK_HOLE), ENXIO);
}

CASE(truncation)
{
    struct stat st;
    int fd = MUST(open("a", O_RDWR | O_CREAT, 0600));
    MUST(write(fd, "0123456789", 10));
    EQ("shorter", ftruncate(fd, 4), 0);
    EQ("longer", ftruncate(fd, 8), 0);
    char text[9] = "";
    EQ("read", pread(fd, text, 8, 0), 8);
    CHECK("the tail is zero", !memcmp(text, "0123\0\0\0\0", 8));
    EQ("by path", truncate("a", 2), 0);
    fstat(fd, &st);
    EQ("size", st.st_size, 2);
    ERR("negative", ftruncate(fd, -1), EINVAL);
    ERR("negative by path", truncate("a", -1), EINVAL);
    ERR("a directory", truncate(".", 0), EISDIR);
    ERR("a missing one", truncate("none", 0), ENOENT);
    int ro = MUST(open("a", O_RDONLY));
    ERR("a descriptor for reading", ftruncate(ro, 0), EINVAL);
    int ends[2];
    MUST(pipe(ends));
    ERR("a pipe", ftruncate(ends[1], 0), EINVAL);
    MUST(mkfifo("fifo", 0600));
    ERR("a FIFO by path", truncate("fifo", 0), EINVAL);
    ERR("a bad descriptor", ftruncate(99, 0), EBADF);
}

CASE(allocation)
{
    struct stat st;
    int fd = MUST(open("a", O_RDWR | O_CREAT, 0600));
    EQ("fallocate", fallocate(fd, 0, 0, 8192), 0);
    fstat(fd, &st);
    EQ("size", st.st_size, 8192);
    EQ("KEEP_SIZE", fallocate(fd, FALLOC_FL_KEEP_SIZE, 8192, 4096), 0);
    fstat(fd, &st);
    EQ("size stays", st.st_size, 8192);
    MUST(pwrite(fd, "xxxx", 4, 4094));
    EQ("PUNCH_HOLE", fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096), 0);
    char text[4] = "";
    pread(fd, text, 4, 4094);
    CHECK("what is in the hole is zero", !memcmp(text, "\0\0xx", 4));
    ERR("PUNCH_HOLE alone", fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, 4096), EOPNOTSUPP);
    ERR("no length", fallocate(fd, 0, 0, 0), EINVAL);
    ERR("a negative offset", fallocate(fd, 0, -1, 10), EINVAL);
    int ro = MUST(open("a", O_RDONLY));
    ERR("for reading", fallocate(ro, 0, 0, 10), EBADF);
    int ends[2];
    MUST(pipe(ends));
    ERR("a pipe", fallocate(ends[1], 0, 0, 10), ESPIPE);
    int dir = MUST(open(".", O_RDONLY));
    ERR("a directory", fallocate(dir, 0, 0, 10), EBADF);
}

CASE(times)
{
    struct stat st;
    put_file("a", "x", 0644);
    struct timespec ts[2] = {{1000, 5}, {2000, 7}};
    EQ("utimensat", utimensat(AT_FDCWD, "a", ts, 0), 0);
    stat("a", &st);
    EQ("access", st.st_atim.tv_sec * 1000000000L + st.st_atim.tv_nsec, 1000000000005L);
    EQ("modification", st.st_mtim.tv_sec * 1000000000L + st.st_mtim.tv_nsec, 2000000000007L);
    ts[0].tv_nsec = UTIME_OMIT;
    ts[1].tv_nsec = UTIME_NOW;
    EQ("OMIT and NOW", utimensat(AT_FDCWD, "a", ts, 0), 0);
    stat("a", &st);
    EQ("access stays", st.st_atim.tv_sec, 1000);
    CHECK("modification is now", st.st_mtim.tv_sec > 1000000);
    ts[0].tv_nsec = 1000000000;
    ERR("a bad time", utimensat(AT_FDCWD, "a", ts, 0), EINVAL);
    ts[0] = (struct timespec){-5, 0};
    ts[1] = (struct timespec){-5, 0};
    EQ("before 1970", utimensat(AT_FDCWD, "a", ts, 0), 0);
    stat("a", &st);
    CHECK("read back", st.st_mtim.tv_sec == -5 || st.st_mtim.tv_sec == 0);
    MUST(symlink("a", "l"));
    ts[0] = ts[1] = (struct timespec){77, 0};
    EQ("of a link", utimensat(AT_FDCWD, "l", ts, AT_SYMLINK_NOFOLLOW), 0);
    lstat("l", &st);
    EQ("its time", st.st_mtim.tv_sec, 77);
    int fd = MUST(open("a", O_RDWR));
    EQ("futimens", futimens(fd, ts), 0);
    struct stat before, after;
    ts[0] = ts[1] = (struct timespec){1, 0};
    futimens(fd, ts);
    MUST(write(fd, "y", 1));
    fstat(fd, &after);
    CHECK("write sets modification and change", after.st_mtim.tv_sec > 1 && after.st_ctim.tv_sec > 1);
    futimens(fd, ts);
    MUST(write(fd, "", 0));
    fstat(fd, &after);
    EQ("an empty write does not", after.st_mtim.tv_sec, 1);
    fstat(fd, &before);
    MUST(mkdir("d", 0755));
    utimensat(AT_FDCWD, "d", ts, 0);
    put_file("d/x", "", 0600);
    stat("d", &st);
    CHECK("a new entry sets the directory's time", st.st_mtim.tv_sec > 1);
    utimensat(AT_FDCWD, "d", ts, 0);
    chmod("d/x", 0644);
    stat("d", &st);
    EQ("a changed mode does not", st.st_mtim.tv_sec, 1);
    chmod("a", 0600);
    stat("a", &st);
    EQ("chmod leaves the modification time", st.st_mtim.tv_sec, 1);
    utimensat(AT_FDCWD, "a", ts, 0);
    MUST(truncate("a", 2));
    stat("a", &st);
    EQ("truncate to the same size sets it", st.st_mtim.tv_sec > 1, 1);
}

CASE(statx_call)
{
    struct statx sx;
    put_file("a", "12345", 0644);
    EQ("statx", statx(AT_FDCWD, "a", 0, STATX_BASIC_STATS, &sx), 0);
    EQ("mask", sx.stx_mask & STATX_BASIC_STATS, STATX_BASIC_STATS);
    EQ("size", sx.stx_size, 5);
    EQ("mode", sx.stx_mode, S_IFREG | 0644);
    ERR("reserved bit in the mask", statx(AT_FDCWD, "a", 0, 0x80000000U, &sx), EINVAL);
    ERR("unknown flags", statx(AT_FDCWD, "a", 0x40000, 0, &sx), EINVAL);
    ERR("both sync flags", statx(AT_FDCWD, "a", AT_STATX_SYNC_TYPE, 0, &sx), EINVAL);
    ERR("an empty path", statx(AT_FDCWD, "", 0, 0, &sx), ENOENT);
    EQ("AT_EMPTY_PATH", statx(AT_FDCWD, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &sx), 0);
    CHECK("is the directory", S_ISDIR(sx.stx_mode));
    struct stat st;
    ERR("fstatat unknown flags", fstatat(AT_FDCWD, "a", &st, 0x40000), EINVAL);
    ERR("stat to nowhere", syscall(SYS_newfstatat, AT_FDCWD, "a", 8, 0), EFAULT);
    EQ("stat of a terminal device has its number", ({ stat("/dev/null", &st); st.st_rdev; }), makedev(1, 3));
    EQ("a directory's links", ({ mkdir("d", 0755); mkdir("d/e", 0755); stat("d", &st); st.st_nlink; }), 3);
}

CASE(access_call)
{
    put_file("a", "", 0400);
    EQ("F_OK", access("a", F_OK), 0);
    ERR("missing", access("none", F_OK), ENOENT);
    ERR("a bad mode", access("a", 8), EINVAL);
    ERR("X_OK without any x bit, even for root", access("a", X_OK), EACCES);
    if (geteuid() == 0) {
        EQ("W_OK as root", access("a", W_OK), 0);
        chmod(".", 0777);
        EQ("as a user", EXIT_OF({
            drop_to(1000);
            if (access("a", R_OK) != -1 || errno != EACCES) _exit(1);
            if (access(".", W_OK)) _exit(2);
        }), 0);
        EQ("access asks the real ids, AT_EACCESS the effective", EXIT_OF({
            setresuid(1000, 0, 0);
            if (access("a", R_OK) != -1) _exit(1);
            if (faccessat(AT_FDCWD, "a", R_OK, AT_EACCESS)) _exit(2);
        }), 0);
    }
    ERR("faccessat2 with unknown flags", syscall(SYS_faccessat2, AT_FDCWD, "a", 0, 0x40), EINVAL);
}

CASE(sync_calls)
{
    int fd = MUST(open("a", O_RDWR | O_CREAT, 0600)), ends[2];
    MUST(pipe(ends));
    EQ("fsync", fsync(fd), 0);
    EQ("fdatasync", fdatasync(fd), 0);
    EQ("syncfs", syncfs(fd), 0);
    ERR("fsync of a pipe", fsync(ends[0]), EINVAL);
    ERR("fsync of nothing", fsync(77), EBADF);
    EQ("fsync of a directory", fsync(open(".", O_RDONLY)), 0);
    EQ("posix_fadvise", posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
    EQ("unknown advice", posix_fadvise(fd, 0, 0, 99), EINVAL);
    EQ("advice on a pipe", posix_fadvise(ends[0], 0, 0, POSIX_FADV_NORMAL), ESPIPE);
    EQ("readahead", readahead(fd, 0, 4096), 0);
    ERR("readahead of a pipe", readahead(ends[0], 0, 4096), EINVAL);
    EQ("sync_file_range", sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE), 0);
    ERR("sync_file_range of a pipe", sync_file_range(ends[0], 0, 0, SYNC_FILE_RANGE_WRITE), ESPIPE);
}

CASE(openat2_call)
{
    struct { uint64_t flags, mode, resolve; uint64_t more; } how = {O_RDONLY, 0, 0, 0};
    put_file("a", "x", 0600);
    MUST(mkdir("d", 0755));
    MUST(symlink("../a", "d/up"));
    MUST(symlink("/", "d/root"));
    int d = MUST(open("d", O_RDONLY));
#define OPEN2(path, r) (how.resolve = (r), syscall(SYS_openat2, d, path, &how, 24))
    CHECK("plain", OPEN2("up", 0) >= 0);
    ERR("BENEATH refuses ..", OPEN2("../a", 0x08), EXDEV);
    ERR("BENEATH refuses a link out", OPEN2("up", 0x08), EXDEV);
    ERR("BENEATH refuses an absolute path", OPEN2("/", 0x08), EXDEV);
    ERR("IN_ROOT keeps .. inside", OPEN2("../a", 0x10), ENOENT);
    ERR("NO_SYMLINKS", OPEN2("up", 0x04), ELOOP);
    ERR("NO_XDEV", OPEN2("/proc/self", 0x01), EXDEV);
    ERR("NO_MAGICLINKS", OPEN2("/proc/self/exe", 0x02), ELOOP);
    ERR("unknown resolve bits", OPEN2("up", 0x1000), EINVAL);
    ERR("BENEATH and IN_ROOT", OPEN2("up", 0x18), EINVAL);
    how.flags = 1ULL << 40;
    ERR("unknown flags", OPEN2("up", 0), EINVAL);
    how.flags = O_RDONLY;
    how.mode = 0600;
    ERR("a mode without O_CREAT", OPEN2("up", 0), EINVAL);
    how.mode = 0;
    ERR("a short structure", syscall(SYS_openat2, d, "up", &how, 16), EINVAL);
    how.more = 1;
    ERR("a longer one with content", syscall(SYS_openat2, d, "up", &how, 32), E2BIG);
    how.more = 0;
    CHECK("a longer one with zeros", syscall(SYS_openat2, d, "up", &how, 32) >= 0);
}
