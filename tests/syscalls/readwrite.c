/* read(2), write(2), pread(2), readv(2), preadv2(2), and what they check. */
#define FAMILY "readwrite"
#include "check.h"

CASE(plain)
{
    char buf[20];
    int fd = MUST(open("a", O_RDWR | O_CREAT, 0600));
    EQ("write", write(fd, "hello", 5), 5);
    EQ("at the end", read(fd, buf, 5), 0);
    EQ("pread", pread(fd, buf, 20, 1), 4);
    EQ("pread leaves the position", lseek(fd, 0, SEEK_CUR), 5);
    EQ("pread behind the end", pread(fd, buf, 5, 100), 0);
    ERR("pread before the start", pread(fd, buf, 5, -1), EINVAL);
    EQ("pwrite", pwrite(fd, "J", 1, 0), 1);
    ERR("pwrite before the start", pwrite(fd, "J", 1, -1), EINVAL);
    EQ("nothing", read(fd, buf, 0), 0);
    EQ("nothing to nowhere", read(fd, NULL, 0), 0);
    EQ("write nothing from nowhere", write(fd, NULL, 0), 0);
    lseek(fd, 0, SEEK_SET);
    ERR("read to nowhere", read(fd, (void *)8, 5), EFAULT);
    ERR("write from nowhere", write(fd, (void *)8, 5), EFAULT);
    ERR("a bad descriptor", read(99, buf, 1), EBADF);
    ERR("read with no descriptor comes before the address", read(-1, (void *)8, 5), EBADF);
    int ro = MUST(open("a", O_RDONLY)), wo = MUST(open("a", O_WRONLY));
    ERR("write to a reader", write(ro, "x", 1), EBADF);
    ERR("read from a writer", read(wo, buf, 1), EBADF);
    ERR("read nothing from a writer", read(wo, buf, 0), EBADF);
    int app = MUST(open("a", O_RDWR | O_APPEND));
    EQ("append", write(app, "!", 1), 1);
    EQ("the position is the end", lseek(app, 0, SEEK_CUR), 6);
    EQ("pwrite to an appender appends", (pwrite(app, "?", 1, 0), lseek(app, 0, SEEK_END)), 7);
    STR("content", text_of("a"), "Jello!?");
    int ends[2];
    MUST(pipe(ends));
    ERR("pread of a pipe", pread(ends[0], buf, 1, 0), ESPIPE);
    ERR("pwrite of a pipe", pwrite(ends[1], buf, 1, 0), ESPIPE);
    EQ("/dev/null", write(open("/dev/null", O_RDWR), buf, 20), 20);
    EQ("/dev/null is empty", read(open("/dev/null", O_RDWR), buf, 20), 0);
    buf[0] = 1;
    EQ("/dev/zero", (read(open("/dev/zero", O_RDWR), buf, 20), buf[0]), 0);
    ERR("/dev/full", write(open("/dev/full", O_RDWR), buf, 20), ENOSPC);
}

CASE(partly_bad_memory)
{
    char *two = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(two + 4096, 4096);
    int fd = MUST(open("a", O_RDWR | O_CREAT, 0600)), ends[2];
    memset(two, 'x', 4096);
    EQ("a write is cut where memory ends", write(fd, two + 4000, 200), 96);
    EQ("the file has that much", lseek(fd, 0, SEEK_END), 96);
    ftruncate(fd, 1000);
    lseek(fd, 0, SEEK_SET);
    EQ("a read too", read(fd, two + 4000, 200), 96);
    MUST(pipe(ends));
    struct iovec iov[2] = {{two, 10}, {two + 4096, 10}};
    EQ("writev stops in front of the bad part", writev(fd, iov, 2), 10);
}

CASE(vectors)
{
    char a[3], b[5];
    int fd = MUST(open("a", O_RDWR | O_CREAT, 0600));
    struct iovec out[3] = {{"ab", 2}, {NULL, 0}, {"cdef", 4}}, in[2] = {{a, 3}, {b, 5}};
    EQ("writev", writev(fd, out, 3), 6);
    lseek(fd, 0, SEEK_SET);
    EQ("readv", readv(fd, in, 2), 6);
    CHECK("distributed", !memcmp(a, "abc", 3) && !memcmp(b, "def", 3));
    EQ("none", readv(fd, in, 0), 0);
    ERR("too many", readv(fd, in, 1025), EINVAL);
    ERR("negative", readv(fd, in, -1), EINVAL);
    out[0].iov_len = -1;
    ERR("a negative length", writev(fd, out, 1), EINVAL);
    out[0].iov_len = 2;
    ERR("vectors nowhere", writev(fd, (void *)8, 1), EFAULT);
    EQ("preadv", preadv(fd, in, 2, 2), 4);
    EQ("pwritev", pwritev(fd, out, 3, 4), 6);
    ERR("preadv at a negative offset", preadv(fd, in, 2, -1), EINVAL);
    lseek(fd, 3, SEEK_SET);
    EQ("preadv2 at -1 uses the position", preadv2(fd, in, 1, -1, 0), 3);
    EQ("and moves it", lseek(fd, 0, SEEK_CUR), 6);
    ERR("unknown flags", preadv2(fd, in, 1, 0, 0x1000), EOPNOTSUPP);
    EQ("RWF_APPEND", pwritev2(fd, out, 1, 0, RWF_APPEND), 2);
    EQ("appended", lseek(fd, 0, SEEK_END), 12);
    EQ("RWF_HIPRI and SYNC are taken", pwritev2(fd, out, 1, 0, RWF_SYNC), 2);
}

CASE(copies)
{
    int a = MUST(open("a", O_RDWR | O_CREAT, 0600)), b = MUST(open("b", O_RDWR | O_CREAT, 0600)), ends[2];
    MUST(write(a, "0123456789", 10));
    MUST(pipe(ends));
    off_t from = 2, to = 5;
    EQ("sendfile", syscall(SYS_sendfile, b, a, &from, 4), 4);
    EQ("its offset moves", from, 6);
    EQ("the file's position does not", lseek(a, 0, SEEK_CUR), 10);
    STR("content", text_of("b"), "2345");
    EQ("sendfile at the end", syscall(SYS_sendfile, b, a, NULL, 4), 0);
    ERR("from a pipe", syscall(SYS_sendfile, b, ends[0], NULL, 4), EINVAL);
    EQ("to a pipe", (lseek(a, 0, SEEK_SET), syscall(SYS_sendfile, ends[1], a, NULL, 4)), 4);
    ERR("to a reader", syscall(SYS_sendfile, ends[0], a, NULL, 4), EBADF);
    int app = MUST(open("b", O_WRONLY | O_APPEND));
    ERR("to an appender", syscall(SYS_sendfile, app, a, NULL, 4), EINVAL);
    from = -1;
    ERR("a negative offset", syscall(SYS_sendfile, b, a, &from, 4), EINVAL);
    from = 1;
    EQ("copy_file_range", copy_file_range(a, &from, b, &to, 3, 0), 3);
    STR("a hole in front of it", (pwrite(b, "-", 1, 4), text_of("b")), "2345-123");
    ERR("copy_file_range with flags", copy_file_range(a, NULL, b, NULL, 1, 1), EINVAL);
    from = 0, to = 2;
    ERR("overlapping in one file", copy_file_range(a, &from, a, &to, 5, 0), EINVAL);
    ERR("of a pipe", copy_file_range(ends[0], NULL, b, NULL, 1, 0), EINVAL);
    ERR("of a directory", copy_file_range(open(".", O_RDONLY), NULL, b, NULL, 1, 0), EISDIR);
    ERR("to an appender", copy_file_range(a, NULL, app, NULL, 1, 0), EBADF);
    char buf[20] = "";
    read(ends[0], buf, 4);
    from = 0;
    EQ("splice of a file to a pipe", splice(a, &from, ends[1], NULL, 6, 0), 6);
    EQ("its offset", from, 6);
    ERR("splice of two files", splice(a, NULL, b, NULL, 1, 0), EINVAL);
    ERR("an offset for a pipe", splice(ends[0], &from, b, NULL, 1, 0), ESPIPE);
    int other[2];
    MUST(pipe(other));
    EQ("tee", tee(ends[0], other[1], 4, 0), 4);
    ERR("tee of a file", tee(a, other[1], 4, 0), EINVAL);
    ERR("tee to itself", tee(ends[0], ends[1], 4, 0), EINVAL);
    EQ("nothing was taken", (ioctl(ends[0], FIONREAD, &from), from & 0xffffffff), 6);
    to = 0;
    ftruncate(b, 0);
    EQ("splice of a pipe to a file", splice(ends[0], NULL, b, &to, 100, 0), 6);
    STR("content", text_of("b"), "012345");
    ERR("an empty pipe, not to block", splice(ends[0], NULL, b, NULL, 1, SPLICE_F_NONBLOCK), EAGAIN);
    struct iovec iov = {"xy", 2};
    EQ("vmsplice", vmsplice(ends[1], &iov, 1, 0), 2);
    EQ("read back", read(ends[0], buf, 20), 2);
    close(ends[1]);
    EQ("splice at the end", splice(ends[0], NULL, b, NULL, 1, 0), 0);
    ERR("unknown flags", splice(other[0], NULL, b, NULL, 1, 0x100), EINVAL);
}
