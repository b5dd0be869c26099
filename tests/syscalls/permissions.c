/* chmod(2), chown(2), credentials(7), path_resolution(7), the sticky bit, set-id directories. */
#define FAMILY "permissions"
#include "check.h"
#include <sys/fsuid.h>
#include <grp.h>

static mode_t mode_of(const char *path)
{
    struct stat st;
    return lstat(path, &st) ? 0 : st.st_mode & 07777;
}

CASE(chmod_call)
{
    put_file("a", "", 0600);
    EQ("chmod", chmod("a", 06711), 0);
    EQ("mode", mode_of("a"), 06711);
    EQ("other bits are ignored", (chmod("a", 0100644), mode_of("a")), 0644);
    ERR("missing", chmod("none", 0), ENOENT);
    MUST(symlink("a", "l"));
    EQ("through a link", (chmod("l", 0640), mode_of("a")), 0640);
    ERR("fchmodat with unknown flags", syscall(452, AT_FDCWD, "a", 0, 1), EINVAL);
    ERR("of a link itself", syscall(452, AT_FDCWD, "l", 0600, AT_SYMLINK_NOFOLLOW), EOPNOTSUPP);
    if (geteuid()) return;
    EQ("not the owner", EXIT_OF({ drop_to(1000); _exit(chmod("a", 0) ? errno : 0); }), EPERM);
    MUST(chown("a", 1000, 7));
    EQ("an owner outside the group loses set-gid", EXIT_OF({ drop_to(1000); chmod("a", 02755); _exit(mode_of("a") == 0755 ? 0 : 1); }), 0);
}

CASE(chown_call)
{
    NEEDS(geteuid() ? -1 : 0);
    struct stat st;
    put_file("a", "", 0600);
    MUST(chmod("a", 06755));
    EQ("chown", chown("a", 1000, 1000), 0);
    EQ("set-id bits go", mode_of("a"), 0755);
    chmod("a", 02644);
    chown("a", 1000, 1000);
    EQ("set-gid without x is a mandatory lock and stays", mode_of("a"), 02644);
    EQ("-1 changes nothing", (chown("a", -1, -1), stat("a", &st), st.st_uid * 10000 + st.st_gid), 10001000);
    EQ("as owner to another", EXIT_OF({ drop_to(1000); _exit(chown("a", 0, -1) ? errno : 0); }), EPERM);
    EQ("as owner to a foreign group", EXIT_OF({ drop_to(1000); _exit(chown("a", -1, 5) ? errno : 0); }), EPERM);
    EQ("as owner to a group of one's own", EXIT_OF({
        gid_t groups[] = {5, 1000};
        setgroups(2, groups);
        setresgid(1000, 1000, 1000);
        setresuid(1000, 1000, 1000);
        _exit(chown("a", -1, 5) ? errno : 0);
    }), 0);
    MUST(symlink("a", "l"));
    EQ("lchown", lchown("l", 3, 4), 0);
    lstat("l", &st);
    EQ("the link's owner", st.st_uid, 3);
    MUST(mkdir("d", 06755));
    chmod("d", 06755);
    chown("d", 1, 1);
    EQ("a directory keeps them", mode_of("d"), 06755);
}

CASE(set_id_directory)
{
    NEEDS(geteuid() ? -1 : 0);
    struct stat st;
    MUST(mkdir("d", 0777));
    MUST(chown("d", 0, 50));
    MUST(chmod("d", 02777));
    put_file("d/f", "", 0644);
    stat("d/f", &st);
    EQ("a file gets the group", st.st_gid, 50);
    MUST(mkdir("d/e", 0755));
    stat("d/e", &st);
    EQ("a directory gets the group", st.st_gid, 50);
    EQ("and the bit", st.st_mode & 07777, 02755);
    EQ("a set-gid file of who is not in the group", EXIT_OF({
        drop_to(1000);
        close(open("d/g", O_CREAT | O_WRONLY, 02775));
        _exit(mode_of("d/g") & 02000 ? 1 : 0);
    }), 0);
}

CASE(write_clears_set_id)
{
    NEEDS(geteuid() ? -1 : 0);
    put_file("a", "xx", 0600);
    chown("a", 1000, 1000);
    chmod("a", 06777);
    int fd = MUST(open("a", O_WRONLY));
    MUST(write(fd, "y", 1));
    EQ("root's write keeps them", mode_of("a"), 06777);
    EQ("a user's write clears them", EXIT_OF({ drop_to(1001); int f = open("a", O_WRONLY); write(f, "z", 1); _exit(mode_of("a") == 0777 ? 0 : 1); }), 0);
    chmod("a", 06777);
    EQ("a user's truncate clears them", EXIT_OF({ drop_to(1001); truncate("a", 1); _exit(mode_of("a") == 0777 ? 0 : 1); }), 0);
}

CASE(classes)
{
    NEEDS(geteuid() ? -1 : 0);
    chmod(".", 0777);
    put_file("owner", "", 0077);
    chown("owner", 1000, 1000);
    put_file("group", "", 0707);
    chown("group", 0, 1000);
    EQ("the owner's bits count for the owner", EXIT_OF({ drop_to(1000); _exit(open("owner", O_RDONLY) < 0 ? errno : 0); }), EACCES);
    EQ("the group's for the group", EXIT_OF({ drop_to(1000); _exit(open("group", O_RDONLY) < 0 ? errno : 0); }), EACCES);
    EQ("supplementary groups too", EXIT_OF({
        gid_t groups[] = {1000};
        setgroups(1, groups);
        setresgid(1, 1, 1);
        setresuid(1, 1, 1);
        _exit(open("group", O_RDONLY) < 0 ? errno : 0);
    }), EACCES);
    EQ("others'", EXIT_OF({ drop_to(2); _exit(open("group", O_RDONLY) < 0 ? errno : 0); }), 0);
    MUST(mkdir("nox", 0766));
    put_file("nox/f", "", 0666);
    EQ("a directory without x", EXIT_OF({ struct stat st; drop_to(2); _exit(stat("nox/f", &st) ? errno : 0); }), EACCES);
    EQ("can be listed", EXIT_OF({ drop_to(2); DIR *d = opendir("nox"); _exit(d && readdir(d) ? 0 : 1); }), 0);
    MUST(mkdir("nor", 0711));
    put_file("nor/f", "", 0666);
    EQ("without r it is searched", EXIT_OF({ drop_to(2); _exit(open("nor/f", O_RDWR) < 0 ? errno : 0); }), 0);
    EQ("not listed", EXIT_OF({ drop_to(2); _exit(open("nor", O_RDONLY) < 0 ? errno : 0); }), EACCES);
    EQ("not written", EXIT_OF({ drop_to(2); _exit(mkdir("nor/x", 0700) ? errno : 0); }), EACCES);
    EQ("existence is said before permission", EXIT_OF({ drop_to(2); _exit(mkdir("nor/f", 0700) ? errno : 0); }), EEXIST);
    EQ("O_NOATIME of another's file", EXIT_OF({ drop_to(2); _exit(open("nor/f", O_RDONLY | O_NOATIME) < 0 ? errno : 0); }), EPERM);
    EQ("utime of another's file to now, writable", EXIT_OF({ drop_to(2); _exit(utimensat(AT_FDCWD, "nor/f", NULL, 0) ? errno : 0); }), 0);
    EQ("to a given time", EXIT_OF({ struct timespec ts[2] = {{1, 0}, {1, 0}}; drop_to(2); _exit(utimensat(AT_FDCWD, "nor/f", ts, 0) ? errno : 0); }), EPERM);
}

CASE(sticky)
{
    NEEDS(geteuid() ? -1 : 0);
    MUST(mkdir("t", 0777));
    chmod("t", 01777);
    put_file("t/a", "", 0666);
    put_file("t/b", "", 0666);
    chown("t/b", 1000, 1000);
    EQ("unlink of another's", EXIT_OF({ drop_to(1000); _exit(unlink("t/a") ? errno : 0); }), EPERM);
    EQ("rename of another's", EXIT_OF({ drop_to(1000); _exit(rename("t/a", "t/c") ? errno : 0); }), EPERM);
    EQ("rename over another's", EXIT_OF({ drop_to(1000); _exit(rename("t/b", "t/a") ? errno : 0); }), EPERM);
    EQ("unlink of one's own", EXIT_OF({ drop_to(1000); _exit(unlink("t/b") ? errno : 0); }), 0);
    put_file("t/d", "", 0644);
    chown("t/d", 1001, 1001);
    chown("t", 1000, 1000);
    EQ("the directory's owner may", EXIT_OF({ drop_to(1000); _exit(unlink("t/d") ? errno : 0); }), 0);
}

CASE(set_ids)
{
    NEEDS(geteuid() ? -1 : 0);
    uid_t r, e, s;
    EQ("setresuid", setresuid(1, 2, 3), 0);
    EQ("getresuid", (getresuid(&r, &e, &s), r * 100 + e * 10 + s), 123);
    EQ("getuid", getuid(), 1);
    EQ("geteuid", geteuid(), 2);
    ERR("to what none of them is", setresuid(-1, 0, -1), EPERM);
    EQ("swapped", setresuid(3, 1, 2), 0);
    EQ("setuid of a user sets the effective one", (setuid(3), getresuid(&r, &e, &s), r * 100 + e * 10 + s), 332);
    EQ("setreuid", setreuid(-1, 2), 0);
    EQ("the saved one follows", (getresuid(&r, &e, &s), s), 2);
    ERR("setreuid to another", setreuid(5, -1), EPERM);
    EQ("gids by the same rules", EXIT_OF({ _exit(setresgid(9, 9, 9) && errno == EPERM ? 0 : 1); }), 0);
    ERR("setgroups", setgroups(0, NULL), EPERM);
}

CASE(set_ids_of_root)
{
    NEEDS(geteuid() ? -1 : 0);
    uid_t r, e, s;
    EQ("seteuid keeps the way back", EXIT_OF({ _exit(seteuid(1000) || seteuid(0) ? 1 : 0); }), 0);
    EQ("setuid does not", EXIT_OF({ _exit(setuid(1000) || setuid(0) != -1 ? 1 : 0); }), 0);
    EQ("all three", EXIT_OF({ setuid(1000); getresuid(&r, &e, &s); _exit(r == 1000 && e == 1000 && s == 1000 ? 0 : 1); }), 0);
    EQ("setreuid(-1, x) by root keeps the real one", EXIT_OF({ setreuid(-1, 1000); getresuid(&r, &e, &s); _exit(r == 0 && e == 1000 && s == 1000 ? 0 : 1); }), 0);
    gid_t groups[3] = {7, 5, 6}, got[8];
    EQ("setgroups", setgroups(3, groups), 0);
    EQ("getgroups counts", getgroups(0, NULL), 3);
    ERR("too little room", getgroups(2, got), EINVAL);
    EQ("getgroups", getgroups(8, got), 3);
    EQ("sorted", got[0] * 100 + got[1] * 10 + got[2], 567);
    ERR("too many", syscall(SYS_setgroups, 65537, groups), EINVAL);
    EQ("setfsuid gives the old one", setfsuid(5), 0);
    EQ("setfsuid again", setfsuid(-1), 5);
    setfsuid(0);
    put_file("a", "", 0600);
    setfsuid(5);
    ERR("the file system uid is what counts for files", open("a", O_RDWR), EACCES);
}
