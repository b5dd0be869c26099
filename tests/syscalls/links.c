/* link(2), symlink(2), readlink(2), rename(2). */
#define FAMILY "links"
#include "check.h"

static ino_t ino_of(const char *path)
{
    struct stat st;
    return lstat(path, &st) ? 0 : st.st_ino;
}

CASE(hard)
{
    struct stat st;
    put_file("a", "x", 0600);
    EQ("link", link("a", "b"), 0);
    CHECK("the same inode", ino_of("a") == ino_of("b"));
    stat("a", &st);
    EQ("two links", st.st_nlink, 2);
    ERR("over what is there", link("a", "b"), EEXIST);
    ERR("a directory", ({ mkdir("d", 0700); link("d", "e"); }), EPERM);
    ERR("missing", link("none", "c"), ENOENT);
    ERR("missing target directory", link("a", "none/c"), ENOENT);
    ERR("empty", link("", "c"), ENOENT);
    ERR("to another file system", link("a", "/dev/shm/syscalls-x"), EXDEV);
    ERR("onto itself with a slash", link("a", "c/"), ENOENT);
    MUST(symlink("a", "s"));
    EQ("of a symbolic link", link("s", "s2"), 0);
    CHECK("is a symbolic link", (lstat("s2", &st), S_ISLNK(st.st_mode)));
    EQ("AT_SYMLINK_FOLLOW", linkat(AT_FDCWD, "s", AT_FDCWD, "followed", AT_SYMLINK_FOLLOW), 0);
    CHECK("is the file", ino_of("followed") == ino_of("a"));
    ERR("unknown flags", linkat(AT_FDCWD, "a", AT_FDCWD, "q", 1), EINVAL);
    int fd = MUST(open("a", O_RDONLY));
    MUST(unlink("a"));
    MUST(unlink("b"));
    MUST(unlink("followed"));
    char c;
    EQ("an open file outlives its names", read(fd, &c, 1), 1);
    fstat(fd, &st);
    EQ("no links", st.st_nlink, 0);
    char path[60], target[300];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(path, target, sizeof target - 1);
    target[len < 0 ? 0 : len] = 0;
    CHECK("/proc says (deleted)", len > 10 && !strcmp(target + len - 10, " (deleted)"));
    ERR("a dead file cannot be linked", linkat(AT_FDCWD, path, AT_FDCWD, "z", AT_SYMLINK_FOLLOW), ENOENT);
}

CASE(symbolic)
{
    char to[20] = "";
    struct stat st;
    EQ("symlink", symlink("some/where", "l"), 0);
    EQ("readlink", readlink("l", to, sizeof to), 10);
    EQ("cut", readlink("l", to, 4), 4);
    ERR("no room", readlink("l", to, 0), EINVAL);
    ERR("readlink of a file", ({ put_file("f", "", 0600); readlink("f", to, 4); }), EINVAL);
    ERR("empty target", symlink("", "e"), ENOENT);
    ERR("there already", symlink("x", "l"), EEXIST);
    lstat("l", &st);
    EQ("size", st.st_size, 10);
    EQ("mode", st.st_mode, S_IFLNK | 0777);
    ERR("dangling", open("l", O_RDONLY), ENOENT);
    ERR("O_EXCL does not follow", open("l", O_RDWR | O_CREAT | O_EXCL, 0600), EEXIST);
    MUST(symlink("made", "dangling"));
    CHECK("O_CREAT makes the target", open("dangling", O_RDWR | O_CREAT, 0600) >= 0 && ino_of("made"));
    MUST(symlink("loop", "loop"));
    ERR("a loop", open("loop", O_RDONLY), ELOOP);
    ERR("through a loop", open("loop/x", O_RDONLY), ELOOP);
    MUST(symlink("f", "c0"));
    char from[8], name[8];
    for (int i = 1; i <= 41; i++) {
        snprintf(from, sizeof from, "c%d", i - 1);
        snprintf(name, sizeof name, "c%d", i);
        MUST(symlink(from, name));
    }
    CHECK("40 links are followed", open("c39", O_RDONLY) >= 0);
    ERR("41 are not", open("c40", O_RDONLY), ELOOP);
    MUST(mkdir("d", 0755));
    MUST(symlink("d", "ld"));
    lstat("ld/", &st);
    CHECK("a slash follows", S_ISDIR(st.st_mode));
    ERR("a link to a file with a slash", ({ symlink("f", "lf"); lstat("lf/", &st); }), ENOTDIR);
    EQ("mkdir through a link", mkdir("ld/sub", 0755), 0);
    char longest[4097];
    memset(longest, 'x', 4096);
    longest[4095] = 0;
    EQ("a target of 4095 bytes", symlink(longest, "long"), 0);
    longest[4095] = 'x';
    longest[4096] = 0;
    ERR("of 4096", symlink(longest, "longer"), ENAMETOOLONG);
}

CASE(renaming)
{
    put_file("a", "A", 0600);
    put_file("b", "B", 0600);
    EQ("over a file", rename("a", "b"), 0);
    STR("content", text_of("b"), "A");
    ERR("the old one is gone", rename("a", "c"), ENOENT);
    MUST(link("b", "b2"));
    EQ("two names of one file", rename("b", "b2"), 0);
    CHECK("both stay", ino_of("b") && ino_of("b2"));
    EQ("to itself", rename("b", "b"), 0);
    MUST(mkdir("d", 0755));
    MUST(mkdir("d/sub", 0755));
    ERR("file over directory", rename("b", "d"), EISDIR);
    ERR("directory over file", rename("d", "b"), ENOTDIR);
    ERR("into itself", rename("d", "d/sub/x"), EINVAL);
    ERR("onto its parent", rename("d/sub", "d"), ENOTEMPTY);
    MUST(mkdir("e", 0755));
    EQ("over an empty directory", rename("d/sub", "e"), 0);
    MUST(mkdir("full", 0755));
    put_file("full/x", "", 0600);
    ERR("over a full directory", rename("e", "full"), ENOTEMPTY);
    ERR("the dot", rename("d/.", "g"), EBUSY);
    ERR("onto the dot", rename("d", "e/."), EBUSY);
    ERR("the dots", rename("d/..", "g"), EBUSY);
    ERR("to another file system", rename("b", "/proc/x"), EXDEV);
    ERR("a file with a slash", rename("b", "new/"), ENOTDIR);
    EQ("a directory with a slash", rename("e", "new/"), 0);
    ERR("empty", rename("", "x"), ENOENT);
    MUST(symlink("b", "l"));
    EQ("a link itself", rename("l", "l2"), 0);
    EQ("over a link", rename("b2", "l2"), 0);
    STR("the link is replaced", text_of("l2"), "A");
    struct stat before, after;
    stat("full", &before);
    EQ("links of parents follow a moved directory", ({ rename("new", "full/new"); stat("full", &after); after.st_nlink - before.st_nlink; }), 1);
}

CASE(rename_flags)
{
    put_file("a", "A", 0600);
    put_file("b", "B", 0600);
    ERR("NOREPLACE", renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_NOREPLACE), EEXIST);
    EQ("NOREPLACE to a new name", renameat2(AT_FDCWD, "a", AT_FDCWD, "c", RENAME_NOREPLACE), 0);
    EQ("EXCHANGE", renameat2(AT_FDCWD, "b", AT_FDCWD, "c", RENAME_EXCHANGE), 0);
    STR("exchanged", text_of("b"), "A");
    ERR("EXCHANGE with nothing", renameat2(AT_FDCWD, "b", AT_FDCWD, "none", RENAME_EXCHANGE), ENOENT);
    ERR("both", renameat2(AT_FDCWD, "b", AT_FDCWD, "c", RENAME_EXCHANGE | RENAME_NOREPLACE), EINVAL);
    ERR("unknown flags", renameat2(AT_FDCWD, "b", AT_FDCWD, "c", 8), EINVAL);
    MUST(mkdir("d", 0755));
    EQ("a file and a directory", renameat2(AT_FDCWD, "b", AT_FDCWD, "d", RENAME_EXCHANGE), 0);
    struct stat st;
    stat("b", &st);
    CHECK("exchanged", S_ISDIR(st.st_mode));
    ERR("into itself", renameat2(AT_FDCWD, "b", AT_FDCWD, "b/x", 0), EINVAL);
}
