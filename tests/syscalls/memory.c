/* mmap(2), mprotect(2), munmap(2), mremap(2), msync(2), madvise(2), mincore(2), brk(2), mlock(2), memfd_create(2). */
#define FAMILY "memory"
#include "check.h"
#include <setjmp.h>

static sigjmp_buf out;
static void jumping(int signal) { siglongjmp(out, signal); }
/* Signal that reading the byte gives, 0 when it can be read. */
static int touch(volatile char *at)
{
    struct sigaction action = {.sa_handler = jumping};
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
    int signal = sigsetjmp(out, 1);
    if (!signal) (void)*at;
    return signal;
}

static void *map(size_t len) { return mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); }

CASE(mapping_errors)
{
    int fd = MUST(open("a", O_RDWR | O_CREAT, 0600)), ro = MUST(open("a", O_RDONLY)), wo = MUST(open("a", O_WRONLY)), p[2];
    MUST(pipe(p));
    ERR("no length", mmap(NULL, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), EINVAL);
    ERR("neither shared nor private", mmap(NULL, 4096, PROT_READ, MAP_ANONYMOUS, -1, 0), EINVAL);
    ERR("an odd offset", syscall(SYS_mmap, NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 100), EINVAL);
    ERR("a bad descriptor", mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, 99, 0), EBADF);
    ERR("a pipe", mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, p[0], 0), ENODEV);
    ERR("a directory", mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, open(".", O_RDONLY), 0), ENODEV);
    ERR("a writer only", mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, wo, 0), EACCES);
    ERR("shared and writable of a reader", mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, ro, 0), EACCES);
    CHECK("private and writable of a reader", mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, ro, 0) != MAP_FAILED);
    ERR("a fixed odd address", mmap((void *)0x10001, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0), EINVAL);
    ERR("more than there is", mmap(NULL, 1UL << 60, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), ENOMEM);
    ERR("a length that wraps", mmap(NULL, -1UL, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), ENOMEM);
    char *page = map(4096);
    ERR("NOREPLACE", mmap(page, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0), EEXIST);
    CHECK("a taken hint goes elsewhere", mmap(page, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != page);
    munmap(page, 4096);
    CHECK("a free hint is taken", mmap(page, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == page);
    ERR("SHARED_VALIDATE with unknown flags", mmap(NULL, 4096, PROT_READ, MAP_SHARED_VALIDATE | 0x200000, fd, 0), EOPNOTSUPP);
}

CASE(unmapping)
{
    char *pages = map(5 * 4096);
    ERR("odd", munmap(pages + 1, 4096), EINVAL);
    ERR("no length", munmap(pages, 0), EINVAL);
    EQ("a hole", munmap(pages + 4096, 4096), 0);
    EQ("nothing there is fine", munmap(pages + 4096, 4096), 0);
    EQ("over the hole", munmap(pages, 3 * 4096), 0);
    EQ("gone", touch(pages), SIGSEGV);
    EQ("the rest stays", touch(pages + 3 * 4096), 0);
    ERR("protect over a hole", mprotect(pages, 5 * 4096, PROT_READ), ENOMEM);
    ERR("protect odd", mprotect(pages + 3 * 4096 + 1, 4096, PROT_READ), EINVAL);
    EQ("protect nothing", mprotect(pages + 3 * 4096, 0, PROT_READ), 0);
    ERR("unknown protection", mprotect(pages + 3 * 4096, 4096, 0x100), EINVAL);
    EQ("to none", (mprotect(pages + 3 * 4096, 4096, PROT_NONE), touch(pages + 3 * 4096)), SIGSEGV);
    EQ("and back", (mprotect(pages + 3 * 4096, 4096, PROT_READ), touch(pages + 3 * 4096)), 0);
    int ro = MUST(open("a", O_RDONLY | O_CREAT, 0600));
    char *shared = mmap(NULL, 4096, PROT_READ, MAP_SHARED, ro, 0);
    ERR("writing through a reader is never allowed", mprotect(shared, 4096, PROT_READ | PROT_WRITE), EACCES);
}

CASE(files)
{
    int fd = MUST(open("a", O_RDWR | O_CREAT, 0600));
    MUST(write(fd, "hello", 5));
    char *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    char *private = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    CHECK("content", !memcmp(shared, "hello\0", 6));
    shared[0] = 'J';
    CHECK("a shared write is in the file", !strcmp(text_of("a"), "Jello"));
    CHECK("and in the private one that was not written", private[0] == 'J');
    private[1] = 'E';
    CHECK("a private write is not", !strcmp(text_of("a"), "Jello") && shared[1] == 'e');
    pwrite(fd, "M", 1, 0);
    CHECK("a write shows in the mapping", shared[0] == 'M');
    CHECK("not in the private page that was written", private[0] == 'J');
    close(fd);
    unlink("a");
    CHECK("the mapping outlives name and descriptor", shared[0] == 'M');
    EQ("msync", msync(shared, 4096, MS_SYNC), 0);
    ERR("msync with both", msync(shared, 4096, MS_SYNC | MS_ASYNC), EINVAL);
    ERR("msync with unknown flags", msync(shared, 4096, 0x100), EINVAL);
    ERR("msync odd", msync(shared + 1, 4096, MS_SYNC), EINVAL);
    munmap(private, 4096);
    ERR("msync of nothing", msync(private, 4096, MS_SYNC), ENOMEM);
    fd = MUST(open("b", O_RDWR | O_CREAT, 0600));
    ftruncate(fd, 100);
    shared = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    shared[200] = 'x';
    ftruncate(fd, 300);
    char c = 'q';
    pread(fd, &c, 1, 200);
    check("what was written behind the end is not in the file when it grows", c == 0 || c == 'x', "%d", c);
    ftruncate(fd, 8192);
    shared[5000] = 'y';
    pread(fd, &c, 1, 5000);
    EQ("the file grew under the mapping", c, 'y');
    private = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    private[5000] = 'z';
    ftruncate(fd, 4096);
    EQ("cut: a page that was written privately goes too", touch(private + 5000), SIGBUS);
    EQ("cut: the shared one", touch(shared + 5000), SIGBUS);
    EQ("mapped behind the end", touch(mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 1 << 20)), SIGBUS);
}

CASE(remapping)
{
    char *old = map(2 * 4096);
    old[0] = 'a';
    old[4096] = 'b';
    char *new = mremap(old, 2 * 4096, 64 * 4096, MREMAP_MAYMOVE);
    CHECK("grown", new != MAP_FAILED && new[0] == 'a' && new[4096] == 'b' && new[63 * 4096] == 0);
    CHECK("shrunk in place", mremap(new, 64 * 4096, 4096, 0) == new);
    EQ("the tail is gone", touch(new + 4096), SIGSEGV);
    char *block = mmap(new + 4096, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    ERR("no room and not to move", mremap(new, 4096, 8192, 0), ENOMEM);
    char *there = map(4 * 4096);
    CHECK("to a given place", mremap(new, 4096, 4096, MREMAP_MAYMOVE | MREMAP_FIXED, there) == there && there[0] == 'a');
    EQ("the old place is gone", touch(new), SIGSEGV);
    ERR("FIXED alone", mremap(there, 4096, 4096, MREMAP_FIXED, block), EINVAL);
    ERR("overlapping", mremap(there, 8192, 8192, MREMAP_MAYMOVE | MREMAP_FIXED, there + 4096), EINVAL);
    ERR("no length", mremap(there, 4096, 0, MREMAP_MAYMOVE), EINVAL);
    ERR("unknown flags", mremap(there, 4096, 4096, 0x100), EINVAL);
    ERR("odd", mremap(there + 1, 4096, 4096, 0), EINVAL);
    ERR("nothing there", mremap((void *)0x1000, 4096, 8192, MREMAP_MAYMOVE), EFAULT);
    char *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    shared[0] = 's';
    char *second = mremap(shared, 0, 4096, MREMAP_MAYMOVE);
    CHECK("old size 0 maps shared memory twice", second != MAP_FAILED && second != shared && second[0] == 's');
    ERR("but not private memory", mremap(there, 0, 4096, MREMAP_MAYMOVE), EINVAL);
    char *kept = map(4096);
    kept[0] = 'k';
    char *moved = mremap(kept, 4096, 4096, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);
    CHECK("DONTUNMAP", moved != MAP_FAILED && moved[0] == 'k' && kept[0] == 0);
}

CASE(advice)
{
    char *pages = map(4 * 4096);
    memset(pages, 'x', 4 * 4096);
    EQ("DONTNEED", madvise(pages, 4096, MADV_DONTNEED), 0);
    EQ("zeros again", pages[0], 0);
    EQ("only there", pages[4096], 'x');
    ERR("odd", madvise(pages + 1, 4096, MADV_DONTNEED), EINVAL);
    ERR("unknown", madvise(pages, 4096, 999), EINVAL);
    EQ("no length", madvise(pages, 0, MADV_DONTNEED), 0);
    EQ("WILLNEED", madvise(pages, 4096, MADV_WILLNEED), 0);
    munmap(pages + 4096, 4096);
    ERR("over a hole", madvise(pages, 4 * 4096, MADV_DONTNEED), ENOMEM);
    EQ("but it was done", pages[2 * 4096], 0);
    char *secret = map(4096), *private = map(4096);
    secret[0] = private[0] = 's';
    EQ("WIPEONFORK", madvise(secret, 4096, MADV_WIPEONFORK), 0);
    EQ("the child sees zeros", EXIT_OF(_exit(secret[0])), 0);
    EQ("DONTFORK", madvise(private, 4096, MADV_DONTFORK), 0);
    EQ("the child has nothing there", KILLER_OF({ signal(SIGSEGV, SIG_DFL); (void)*(volatile char *)private; }), SIGSEGV);
    int fd = MUST(open("a", O_RDWR | O_CREAT, 0600));
    ftruncate(fd, 8192);
    char *file = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    memset(file, 'f', 8192);
    EQ("DONTNEED of a file keeps its content", (madvise(file, 4096, MADV_DONTNEED), file[0]), 'f');
    ERR("FREE of a file", madvise(file, 4096, MADV_FREE), EINVAL);
    EQ("POPULATE_WRITE", madvise(pages, 4096, MADV_POPULATE_WRITE), 0);
    unsigned char in[2] = {};
    EQ("mincore", mincore(pages, 4096, in), 0);
    EQ("resident", in[0] & 1, 1);
    char *none = map(4096);
    munmap(none, 4096);
    ERR("mincore of nothing", mincore(none, 4096, in), ENOMEM);
    ERR("mincore odd", mincore(pages + 1, 4096, in), EINVAL);
    ERR("mincore to nowhere", mincore(pages, 4096, (void *)8), EFAULT);
}

CASE(heap)
{
    char *start = sbrk(0);
    CHECK("grow", sbrk(8192) == start);
    start[0] = 1;
    start[8191] = 1;
    CHECK("shrink", sbrk(-8192) == start + 8192);
    sbrk(8192);
    EQ("what comes back is zero", start[0], 0);
    EQ("below the start nothing changes", syscall(SYS_brk, 4096), (long)sbrk(0));
    struct rlimit limit = {1 << 20, 1 << 20};
    EQ("RLIMIT_DATA", EXIT_OF({ setrlimit(RLIMIT_DATA, &limit); _exit(sbrk(4 << 20) == (void *)-1 ? errno : 0); }), ENOMEM);
}

CASE(locking)
{
    char *pages = map(4 * 4096);
    EQ("mlock", mlock(pages, 4096), 0);
    EQ("munlock", munlock(pages, 4096), 0);
    munmap(pages + 4096, 4096);
    ERR("over a hole", mlock(pages, 4 * 4096), ENOMEM);
    ERR("mlockall without flags", mlockall(0), EINVAL);
    ERR("mlock2 with unknown flags", syscall(SYS_mlock2, pages, 4096, 8), EINVAL);
    NEEDS(geteuid() ? -1 : 0);
    EQ("a limit of 0 for a user", EXIT_OF({ struct rlimit none = {0, 0}; setrlimit(RLIMIT_MEMLOCK, &none); drop_to(1000); _exit(mlock(pages, 4096) ? errno : 0); }), EPERM);
    EQ("a limit for a user", EXIT_OF({ struct rlimit one = {4096, 4096}; setrlimit(RLIMIT_MEMLOCK, &one); drop_to(1000); _exit(mlock(pages + 8192, 8192) ? errno : 0); }), ENOMEM);
}

CASE(address_space_limit)
{
    struct rlimit limit = {64 << 20, 64 << 20};
    EQ("mmap", EXIT_OF({ setrlimit(RLIMIT_AS, &limit); _exit(map(100 << 20) == MAP_FAILED ? errno : 0); }), ENOMEM);
    EQ("a small one is fine", EXIT_OF({ setrlimit(RLIMIT_AS, &limit); _exit(map(1 << 20) == MAP_FAILED ? errno : 0); }), 0);
}

CASE(stack_growth)
{
    EQ("down to the limit", KILLER_OF({
        struct rlimit small = {256 << 10, 256 << 10};
        setrlimit(RLIMIT_STACK, &small);
        signal(SIGSEGV, SIG_DFL);
        volatile char *down = alloca(16);
        for (int i = 0; i < 1 << 20; i += 4096) *(down - i) = 1;
    }), SIGSEGV);
    EQ("far below the stack pointer within the limit", EXIT_OF({ volatile char *down = alloca(16); down[-300000] = 1; }), 0);
}

CASE(memory_files)
{
    struct stat st;
    char path[64];
    int fd = MUST(memfd_create("name", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    EQ("close-on-exec", fcntl(fd, F_GETFD), FD_CLOEXEC);
    EQ("write", write(fd, "hello", 5), 5);
    fstat(fd, &st);
    EQ("mode", st.st_mode, S_IFREG | 0777);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    char to[64];
    ssize_t len = readlink(path, to, sizeof to - 1);
    to[len < 0 ? 0 : len] = 0;
    STR("its name", to, "/memfd:name (deleted)");
    EQ("no seals", fcntl(fd, F_GET_SEALS), 0);
    EQ("seal against growing", fcntl(fd, F_ADD_SEALS, F_SEAL_GROW), 0);
    ERR("growing", ftruncate(fd, 100), EPERM);
    ERR("writing behind the end", pwrite(fd, "x", 1, 5), EPERM);
    EQ("writing inside", pwrite(fd, "J", 1, 0), 1);
    EQ("shrinking", ftruncate(fd, 3), 0);
    EQ("seal against shrinking", fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
    ERR("shrinking", ftruncate(fd, 1), EPERM);
    char *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    ERR("a writable mapping is in the way", fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), EBUSY);
    munmap(shared, 4096);
    EQ("seal against writing", fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
    ERR("writing", pwrite(fd, "J", 1, 0), EPERM);
    ERR("mapping it writable", mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), EPERM);
    CHECK("mapping it private", mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0) != MAP_FAILED);
    EQ("seal the seals", fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL), 0);
    ERR("no more", fcntl(fd, F_ADD_SEALS, F_SEAL_GROW), EPERM);
    EQ("F_GET_SEALS", fcntl(fd, F_GET_SEALS), F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
    int plain = MUST(memfd_create("x", 0));
    EQ("without ALLOW_SEALING", fcntl(plain, F_GET_SEALS), F_SEAL_SEAL);
    ERR("unknown flags", memfd_create("x", 0x1000), EINVAL);
    char longest[260];
    memset(longest, 'x', sizeof longest);
    longest[250] = 0;
    ERR("a name of 250 bytes", memfd_create(longest, 0), EINVAL);
    longest[249] = 0;
    CHECK("of 249", memfd_create(longest, 0) >= 0);
    ERR("seals of a pipe", ({ int p[2]; pipe(p); fcntl(p[0], F_GET_SEALS); }), EINVAL);
}
