/* capabilities(7), prctl(2), xattr(7), getrlimit(2), getpriority(2), uname(2), sysinfo(2), getrandom(2). */
#define FAMILY "credentials"
#include "check.h"
#include <linux/capability.h>
#include <linux/securebits.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <sys/xattr.h>

static struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
static struct __user_cap_data_struct data[2];
static uint64_t effective(void) { syscall(SYS_capget, &header, data); return data[0].effective | (uint64_t)data[1].effective << 32; }
static uint64_t permitted(void) { syscall(SYS_capget, &header, data); return data[0].permitted | (uint64_t)data[1].permitted << 32; }

HELPER(caps) { (void)argc, (void)argv; return (effective() >> CAP_NET_RAW & 1) | (permitted() >> CAP_NET_RAW & 1) << 1 | (effective() != 0) << 2; }

CASE(capability_sets)
{
    NEEDS(geteuid() ? -1 : 0);
    NEEDS(effective() >> CAP_SYS_ADMIN & 1 ? 0 : -1);
    put_file("owned", "", 0600);
    struct __user_cap_header_struct odd = {0x12345, 0};
    ERR("an unknown version", syscall(SYS_capget, &odd, data), EINVAL);
    EQ("says the right one", odd.version, _LINUX_CAPABILITY_VERSION_3);
    EQ("asking the version", syscall(SYS_capget, &(struct __user_cap_header_struct){0, 0}, NULL), 0);
    ERR("another process", ({ struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 999999}; syscall(SYS_capget, &h, data); }), ESRCH);
    EQ("setuid drops them", EXIT_OF({ setresuid(1000, 1000, 1000); _exit(effective() || permitted() ? 1 : 0); }), 0);
    EQ("seteuid drops the effective ones", EXIT_OF({ seteuid(1000); _exit(!effective() && permitted() ? 0 : 1); }), 0);
    EQ("and gives them back", EXIT_OF({ seteuid(1000); seteuid(0); _exit(effective() ? 0 : 1); }), 0);
    EQ("PR_SET_KEEPCAPS", EXIT_OF({ prctl(PR_SET_KEEPCAPS, 1); setresuid(1000, 1000, 1000); _exit(!effective() && permitted() ? 0 : 1); }), 0);
    EQ("what is not permitted cannot be had", EXIT_OF({ setresuid(1000, 1000, 1000); data[0].effective = data[0].permitted = 1; _exit(syscall(SYS_capset, &header, data) ? errno : 0); }), EPERM);
    EQ("a user with one capability", EXIT_OF({
        prctl(PR_SET_KEEPCAPS, 1);
        setresuid(1000, 1000, 1000);
        permitted();
        memset(&data[1], 0, sizeof data[1]);
        data[0] = (struct __user_cap_data_struct){1 << CAP_CHOWN, 1 << CAP_CHOWN, 0};
        syscall(SYS_capset, &header, data);
        _exit(chown("owned", 5, 5) ? errno : 0);
    }), 0);
    EQ("dropped from the bounding set", EXIT_OF({ prctl(PR_CAPBSET_DROP, CAP_NET_RAW); execl(program, "x", "helper", "caps", (char *)0); }), 4);
    EQ("asked", EXIT_OF({ prctl(PR_CAPBSET_DROP, CAP_NET_RAW); _exit(prctl(PR_CAPBSET_READ, CAP_NET_RAW) * 2 + prctl(PR_CAPBSET_READ, CAP_CHOWN)); }), 1);
    ERR("no such capability", prctl(PR_CAPBSET_READ, 63), EINVAL);
    EQ("ambient ones survive exec", EXIT_OF({
        prctl(PR_SET_KEEPCAPS, 1);
        setresuid(1000, 1000, 1000);
        permitted();
        memset(&data[1], 0, sizeof data[1]);
        data[0] = (struct __user_cap_data_struct){1 << CAP_NET_RAW, 1 << CAP_NET_RAW, 1 << CAP_NET_RAW};
        syscall(SYS_capset, &header, data);
        if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_RAW, 0, 0)) _exit(99);
        execl(program, "x", "helper", "caps", (char *)0);
    }), 7);
    EQ("without they do not", EXIT_OF({ setresuid(1000, 1000, 1000); execl(program, "x", "helper", "caps", (char *)0); }), 0);
    EQ("SECBIT_NOROOT", EXIT_OF({ prctl(PR_SET_SECUREBITS, SECBIT_NOROOT); execl(program, "x", "helper", "caps", (char *)0); }), 0);
}

CASE(file_capabilities)
{
    NEEDS(geteuid() ? -1 : 0);
    char buf[65536];
    int in = MUST(open(program, O_RDONLY)), out = MUST(open("p", O_WRONLY | O_CREAT, 0755));
    ssize_t n;
    while ((n = read(in, buf, sizeof buf)) > 0) write(out, buf, n);
    close(out);
    struct vfs_cap_data caps = {VFS_CAP_REVISION_2 | VFS_CAP_FLAGS_EFFECTIVE, {{1 << CAP_NET_RAW, 0}, {0, 0}}};
    NEEDS(setxattr("p", "security.capability", &caps, sizeof caps, 0));
    EQ("a user gets what the file gives", EXIT_OF({ drop_to(1000); execl("p", "x", "helper", "caps", (char *)0); }), 7);
    EQ("not with no_new_privs", EXIT_OF({ drop_to(1000); prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); execl("p", "x", "helper", "caps", (char *)0); }), 0);
    EQ("not when the bounding set lacks it", EXIT_OF({ prctl(PR_CAPBSET_DROP, CAP_NET_RAW); drop_to(1000); execl("p", "x", "helper", "caps", (char *)0); _exit(errno); }), EPERM);
    caps.magic_etc = VFS_CAP_REVISION_2;
    setxattr("p", "security.capability", &caps, sizeof caps, 0);
    EQ("permitted only", EXIT_OF({ drop_to(1000); execl("p", "x", "helper", "caps", (char *)0); }), 2);
    EQ("chown takes them away", (chown("p", 0, 0), getxattr("p", "security.capability", buf, 100) == -1 ? errno : 0), ENODATA);
}

CASE(process_control)
{
    char name[20];
    EQ("set name", prctl(PR_SET_NAME, "a-name-of-more-than-fifteen"), 0);
    EQ("get name", prctl(PR_GET_NAME, name), 0);
    STR("cut", name, "a-name-of-more-");
    STR("in /proc", text_of("/proc/self/comm"), "a-name-of-more-\n");
    ERR("unknown", prctl(9999), EINVAL);
    EQ("dumpable", prctl(PR_GET_DUMPABLE), 1);
    EQ("not dumpable", (prctl(PR_SET_DUMPABLE, 0), prctl(PR_GET_DUMPABLE)), 0);
    ERR("dumpable 2 is not for users", prctl(PR_SET_DUMPABLE, 2), EINVAL);
    ERR("a bad death signal", prctl(PR_SET_PDEATHSIG, 99), EINVAL);
    EQ("no_new_privs", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 0);
    ERR("is never 0 again", prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0), EINVAL);
    EQ("set", prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    EQ("inherited", EXIT_OF(_exit(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0))), 1);
    EQ("timer slack", prctl(PR_GET_TIMERSLACK), 50000);
    EQ("seccomp is off", prctl(PR_GET_SECCOMP), 0);
    EQ("tid address", ({ int *p = NULL; prctl(PR_GET_TID_ADDRESS, &p) == 0 || errno == EINVAL; }), 1);
}

CASE(attributes)
{
    char buf[100];
    put_file("a", "", 0600);
    NEEDS(setxattr("a", "user.one", "1", 1, 0));
    EQ("get", getxattr("a", "user.one", buf, sizeof buf), 1);
    EQ("its size", getxattr("a", "user.one", NULL, 0), 1);
    setxattr("a", "user.two", "22", 2, 0);
    ERR("too small", getxattr("a", "user.two", buf, 1), ERANGE);
    ERR("none", getxattr("a", "user.none", buf, 1), ENODATA);
    ERR("CREATE what is there", setxattr("a", "user.one", "x", 1, XATTR_CREATE), EEXIST);
    ERR("REPLACE what is not", setxattr("a", "user.none", "x", 1, XATTR_REPLACE), ENODATA);
    ERR("unknown flags", setxattr("a", "user.none", "x", 1, 8), EINVAL);
    ERR("no name", setxattr("a", "", "x", 1, 0), ERANGE);
    ERR("no prefix", setxattr("a", "plain", "x", 1, 0), EOPNOTSUPP);
    EQ("list", listxattr("a", buf, sizeof buf), 18);
    ERR("list too small", listxattr("a", buf, 5), ERANGE);
    EQ("remove", removexattr("a", "user.one"), 0);
    ERR("remove again", removexattr("a", "user.one"), ENODATA);
    EQ("empty value", setxattr("a", "user.empty", "", 0, 0), 0);
    EQ("read", getxattr("a", "user.empty", buf, sizeof buf), 0);
    MUST(symlink("a", "l"));
    ERR("user attributes of a link", lsetxattr("l", "user.x", "x", 1, 0), EPERM);
    int fd = MUST(open("a", O_RDONLY));
    EQ("by descriptor", fgetxattr(fd, "user.two", buf, sizeof buf), 2);
    ERR("of a missing file", getxattr("none", "user.two", buf, 1), ENOENT);
    static char big[70000];
    ERR("larger than 64 KiB", setxattr("a", "user.big", big, 65537, 0), E2BIG);
    char longest[300] = "user.";
    memset(longest + 5, 'x', 290);
    longest[256] = 0;
    ERR("a name of 256", setxattr("a", longest, "x", 1, 0), ERANGE);
    if (geteuid()) return;
    chmod("a", 0644);
    EQ("a user needs write permission", EXIT_OF({ drop_to(1000); _exit(setxattr("a", "user.q", "x", 1, 0) ? errno : 0); }), EACCES);
    EQ("trusted is for the administrator", EXIT_OF({ drop_to(1000); _exit(setxattr("a", "trusted.q", "x", 1, 0) ? errno : 0); }), EPERM);
}

CASE(limits)
{
    struct rlimit l, old;
    EQ("get", getrlimit(RLIMIT_NOFILE, &old), 0);
    l = (struct rlimit){old.rlim_cur, 10};
    ERR("soft over hard", setrlimit(RLIMIT_NOFILE, &l), EINVAL);
    ERR("no such resource", getrlimit(99, &l), EINVAL);
    ERR("nowhere", syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, 8), EFAULT);
    l = (struct rlimit){10, old.rlim_max};
    EQ("descriptors", EXIT_OF({ setrlimit(RLIMIT_NOFILE, &l); int n = 0, fd; while ((fd = open("/", O_RDONLY)) >= 0) n = fd; _exit(errno == EMFILE ? n : 99); }), 9);
    EQ("pipe at the limit", EXIT_OF({ setrlimit(RLIMIT_NOFILE, &l); int p[2]; while (open("/", O_RDONLY) >= 0) {} close(5); _exit(pipe(p) ? errno : 0); }), EMFILE);
    EQ("file size", KILLER_OF({ struct rlimit f = {100, 100}; setrlimit(RLIMIT_FSIZE, &f); int fd = open("a", O_RDWR | O_CREAT, 0600); static char b[200]; if (write(fd, b, 200) != 100) _exit(1); write(fd, b, 1); }), SIGXFSZ);
    EQ("file size, ignored", EXIT_OF({ struct rlimit f = {100, 100}; signal(SIGXFSZ, SIG_IGN); setrlimit(RLIMIT_FSIZE, &f); int fd = open("b", O_RDWR | O_CREAT, 0600); lseek(fd, 100, SEEK_SET); _exit(write(fd, "x", 1) < 0 ? errno : 0); }), EFBIG);
    EQ("truncate over it", EXIT_OF({ struct rlimit f = {100, 100}; signal(SIGXFSZ, SIG_IGN); setrlimit(RLIMIT_FSIZE, &f); int fd = open("c", O_RDWR | O_CREAT, 0600); _exit(ftruncate(fd, 101) ? errno : 0); }), EFBIG);
    EQ("processor time", KILLER_OF({ struct rlimit c = {0, 1}; setrlimit(RLIMIT_CPU, &c); c.rlim_cur = 1; for (;;) {} }) != 0, 1);
    if (geteuid()) return;
    EQ("processes of a user", EXIT_OF({ struct rlimit p = {1, 1}; drop_to(54321); setrlimit(RLIMIT_NPROC, &p); pid_t c = fork(); if (!c) _exit(0); _exit(c < 0 ? errno : 0); }), EAGAIN);
    EQ("a user cannot raise the hard limit", EXIT_OF({ struct rlimit p = {1, 1}; setrlimit(RLIMIT_CORE, &p); drop_to(1000); p.rlim_max = 2; _exit(setrlimit(RLIMIT_CORE, &p) ? errno : 0); }), EPERM);
    EQ("of another user's process", EXIT_OF({ pid_t c = getppid(); drop_to(1000); _exit(prlimit(c, RLIMIT_CORE, NULL, &l) ? errno : 0); }), EPERM);
}

CASE(priorities)
{
    EQ("nice", nice(5), 5);
    EQ("getpriority", getpriority(PRIO_PROCESS, 0), 5);
    EQ("raw", syscall(SYS_getpriority, PRIO_PROCESS, 0), 15);
    ERR("bad which", getpriority(9, 0), EINVAL);
    ERR("nobody", getpriority(PRIO_PROCESS, 999999), ESRCH);
    EQ("cut at 19", (setpriority(PRIO_PROCESS, 0, 100), getpriority(PRIO_PROCESS, 0)), 19);
    EQ("policy", sched_getscheduler(0), SCHED_OTHER);
    struct sched_param param = {1};
    ERR("a priority for OTHER", sched_setscheduler(0, SCHED_OTHER, &param), EINVAL);
    EQ("range of FIFO", sched_get_priority_max(SCHED_FIFO) * 100 + sched_get_priority_min(SCHED_FIFO), 9901);
    ERR("bad policy", sched_get_priority_max(99), EINVAL);
    ERR("nobody", sched_getscheduler(999999), ESRCH);
    cpu_set_t set;
    CHECK("affinity", sched_getaffinity(0, sizeof set, &set) == 0 && CPU_ISSET(0, &set));
    CPU_ZERO(&set);
    ERR("no processor", sched_setaffinity(0, sizeof set, &set), EINVAL);
    ERR("too small a set", syscall(SYS_sched_getaffinity, 0, 1, &set), EINVAL);
    EQ("yield", sched_yield(), 0);
    if (geteuid()) return;
    EQ("a user cannot lower it", EXIT_OF({ drop_to(1000); _exit(setpriority(PRIO_PROCESS, 0, 0) ? errno : 0); }), EACCES);
    EQ("nor change another's", EXIT_OF({ pid_t p = getppid(); drop_to(1000); _exit(setpriority(PRIO_PROCESS, p, 19) ? errno : 0); }), EPERM);
}

CASE(machine)
{
    struct utsname u;
    struct sysinfo info;
    char buf[300];
    EQ("uname", uname(&u), 0);
    STR("system", u.sysname, "Linux");
    EQ("sysinfo", sysinfo(&info), 0);
    CHECK("memory", info.totalram >= info.freeram && info.mem_unit > 0);
    EQ("getrandom", getrandom(buf, 256, 0), 256);
    ERR("getrandom with unknown flags", getrandom(buf, 1, 0x100), EINVAL);
    ERR("RANDOM and INSECURE", getrandom(buf, 1, GRND_RANDOM | GRND_INSECURE), EINVAL);
    ERR("getrandom to nowhere", getrandom((void *)8, 1, 0), EFAULT);
    ERR("sethostname too long", sethostname(buf, 65), geteuid() ? EPERM : EINVAL);
    ERR("an unknown call", syscall(9999), ENOSYS);
    unsigned cpu = 99, node = 99;
    EQ("getcpu", syscall(SYS_getcpu, &cpu, &node, NULL), 0);
    CHECK("a processor", cpu < 4096 && node == 0);
    struct rusage usage;
    EQ("getrusage", getrusage(RUSAGE_SELF, &usage), 0);
    CHECK("largest size", usage.ru_maxrss > 0);
    ERR("of whom", getrusage(99, &usage), EINVAL);
}
