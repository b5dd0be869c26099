/* fork(2), clone(2), vfork(2), wait4(2), waitid(2), exit codes, orphans, groups and sessions. */
#define FAMILY "processes"
#include "check.h"
#include <linux/sched.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

CASE(exit_codes)
{
    EQ("exit 0", EXIT_OF(_exit(0)), 0);
    EQ("exit 255", EXIT_OF(_exit(255)), 255);
    EQ("eight bits", EXIT_OF(_exit(0x1234)), 0x34);
    EQ("negative", EXIT_OF(_exit(-1)), 255);
    EQ("killed", STATUS_OF(raise(SIGKILL)) & 0xff7f, SIGKILL);
    EQ("SYS_exit of the only thread", EXIT_OF(syscall(SYS_exit, 9)), 9);
}

CASE(waiting)
{
    int status;
    siginfo_t info = {};
    struct rusage usage;
    ERR("no children", wait(&status), ECHILD);
    ERR("unknown options", waitpid(-1, &status, 0x100), EINVAL);
    pid_t a = CHILD({ pause(); });
    EQ("WNOHANG", waitpid(-1, &status, WNOHANG), 0);
    ERR("not a child", waitpid(getppid(), &status, 0), ECHILD);
    ERR("waitid without a state", waitid(P_ALL, 0, &info, WNOHANG), EINVAL);
    EQ("waitid with nothing to tell", waitid(P_ALL, 0, &info, WEXITED | WNOHANG), 0);
    EQ("says so", info.si_pid, 0);
    ERR("waitid of an odd type", waitid(17, 0, &info, WEXITED), EINVAL);
    kill(a, SIGTERM);
    EQ("WNOWAIT leaves it", waitid(P_PID, a, &info, WEXITED | WNOWAIT), 0);
    EQ("its code", info.si_code, CLD_KILLED);
    EQ("its status", info.si_status, SIGTERM);
    EQ("its pid", info.si_pid, a);
    EQ("its signal", info.si_signo, SIGCHLD);
    EQ("wait4", wait4(a, &status, 0, &usage), a);
    EQ("status", status, SIGTERM);
    a = CHILD({ setpgid(0, 0); sleep_ms(5); _exit(1); });
    setpgid(a, a);
    EQ("by group", waitpid(-a, &status, 0), a);
    a = CHILD(_exit(2));
    EQ("any of my group", waitpid(0, &status, 0), a);
    pid_t children[3];
    for (int i = 0; i < 3; i++) children[i] = CHILD(_exit(i));
    int sum = 0;
    for (int i = 0; i < 3; i++) waitpid(children[2 - i], &status, 0), sum += WEXITSTATUS(status);
    EQ("in any order", sum, 3);
    signal(SIGCHLD, SIG_IGN);
    a = CHILD(_exit(0));
    ERR("ignored SIGCHLD: no zombies", waitpid(a, &status, 0), ECHILD);
    signal(SIGCHLD, SIG_DFL);
    int pidfd = MUST(syscall(SYS_pidfd_open, a = CHILD(_exit(5)), 0));
    EQ("P_PIDFD", waitid(P_PIDFD, pidfd, &info, WEXITED), 0);
    EQ("status", info.si_status, 5);
    ERR("status nowhere", (a = CHILD(_exit(0)), wait4(a, (int *)8, 0, NULL)), EFAULT);
    EQ("INT_MIN is no group", waitpid(INT_MIN, &status, 0) == -1 ? errno : 0, ESRCH);
}

CASE(inheritance)
{
    EQ("pid and parent", EXIT_OF({ _exit(getppid() > 1 && getpid() != getppid() ? 0 : 1); }), 0);
    alarm(100);
    EQ("alarms are not", EXIT_OF(_exit(alarm(0))), 0);
    alarm(20);
    raise(0);
    sigset_t set;
    sigfillset(&set);
    sigprocmask(SIG_BLOCK, &set, NULL);
    raise(SIGUSR1);
    EQ("pending signals are not", EXIT_OF({ sigpending(&set); _exit(sigismember(&set, SIGUSR1)); }), 0);
    EQ("the mask is", EXIT_OF({ sigprocmask(SIG_BLOCK, NULL, &set); _exit(sigismember(&set, SIGUSR1)); }), 1);
    sigemptyset(&set);
    signal(SIGUSR1, SIG_IGN);
    sigprocmask(SIG_SETMASK, &set, NULL);
    EQ("ignored stays ignored", EXIT_OF({ raise(SIGUSR1); _exit(3); }), 3);
    umask(0123);
    EQ("the umask is", EXIT_OF(_exit(umask(0))), 0123);
    int fd = MUST(open("a", O_RDWR | O_CREAT, 0600));
    STATUS_OF(lseek(fd, 77, SEEK_SET));
    EQ("positions are shared", lseek(fd, 0, SEEK_CUR), 77);
    volatile int *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    volatile int *private = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    STATUS_OF({ *shared = 1; *private = 1; });
    EQ("shared memory", *shared, 1);
    EQ("private memory", *private, 0);
    setpriority(PRIO_PROCESS, 0, 5);
    EQ("nice", EXIT_OF(_exit(getpriority(PRIO_PROCESS, 0))), 5);
    prctl(PR_SET_PDEATHSIG, SIGUSR2);
    EQ("the death signal is not", EXIT_OF({ int s = 9; prctl(PR_GET_PDEATHSIG, &s); _exit(s); }), 0);
}

CASE(vfork_waits)
{
    volatile int *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t child = vfork();
    if (!child) {
        sleep_ms(20);
        *shared = 1;
        _exit(0);
    }
    EQ("the parent waits for the child", *shared, 1);
    EQ("and gets its status", wait_status(child), 0);
}

static int thread_like(void *arg) { *(volatile int *)arg += 1; return 7; }

CASE(clone_flags)
{
    static char stack[65536] __attribute__((aligned(16)));
    volatile int value = 0;
    int status, ptid = 0;
    pid_t child = MUST(clone(thread_like, stack + sizeof stack, CLONE_VM | SIGCHLD, (void *)&value));
    EQ("wait", waitpid(child, &status, 0), child);
    EQ("its result is the exit code", WEXITSTATUS(status), 7);
    EQ("memory is shared with CLONE_VM", value, 1);
    child = MUST(clone(thread_like, stack + sizeof stack, SIGCHLD, (void *)&value));
    waitpid(child, &status, 0);
    EQ("and not without", value, 1);
    child = MUST(clone(thread_like, stack + sizeof stack, CLONE_VM | CLONE_PARENT_SETTID, (void *)&value, &ptid));
    EQ("PARENT_SETTID", ptid, child);
    ERR("a child without a signal needs __WALL or __WCLONE", waitpid(child, &status, 0), ECHILD);
    EQ("__WALL", waitpid(child, &status, __WALL), child);
    ERR("THREAD without SIGHAND", clone(thread_like, stack + sizeof stack, CLONE_THREAD | CLONE_VM, NULL), EINVAL);
    ERR("SIGHAND without VM", clone(thread_like, stack + sizeof stack, CLONE_SIGHAND, NULL), EINVAL);
    ERR("FS and NEWNS", clone(thread_like, stack + sizeof stack, CLONE_FS | CLONE_NEWNS, NULL), EINVAL);
    ERR("NEWPID in a thread", clone(thread_like, stack + sizeof stack, CLONE_NEWPID | CLONE_THREAD | CLONE_SIGHAND | CLONE_VM, NULL), EINVAL);
    int fd = -1;
    child = MUST(clone(thread_like, stack + sizeof stack, CLONE_VM | CLONE_PIDFD | SIGCHLD, (void *)&value, &fd));
    struct pollfd pfd = {fd, POLLIN, 0};
    EQ("a pidfd becomes readable at the end", poll(&pfd, 1, 5000), 1);
    waitpid(child, &status, 0);
    int grand[2];
    MUST(pipe(grand));
    pid_t self = getpid();
    STATUS_OF({
        static char st[32768] __attribute__((aligned(16)));
        (void)st;
        pid_t p = syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0);
        if (!p) { pid_t parent = getppid(); write(grand[1], &parent, sizeof parent); _exit(0); }
    });
    pid_t parent = 0;
    read(grand[0], &parent, sizeof parent);
    EQ("CLONE_PARENT", parent, self);
    wait(&status);
}

CASE(clone3_call)
{
    struct clone_args args = {.exit_signal = SIGCHLD};
    long child = syscall(SYS_clone3, &args, sizeof args);
    if (child == 0) _exit(6);
    CHECK("clone3 forks", child > 0);
    if (child > 0) EQ("exit code", WEXITSTATUS(wait_status(child)), 6);
    ERR("a short structure", syscall(SYS_clone3, &args, 32), EINVAL);
    args.exit_signal = 65;
    ERR("a bad signal", syscall(SYS_clone3, &args, sizeof args), EINVAL);
    args.exit_signal = SIGCHLD;
    args.stack = 4096;
    ERR("a stack without a size", syscall(SYS_clone3, &args, sizeof args), EINVAL);
    args.stack = 0;
    int fd = -1;
    args.flags = CLONE_PIDFD;
    args.pidfd = (uintptr_t)&fd;
    child = syscall(SYS_clone3, &args, sizeof args);
    if (child == 0) _exit(0);
    CHECK("PIDFD", child > 0 && fd >= 0);
    if (child > 0) wait_status(child);
    ERR("a long structure with content", ({ char big[256] = {}; memcpy(big, &args, sizeof args); big[200] = 1; syscall(SYS_clone3, big, sizeof big); }), E2BIG);
}

CASE(orphans)
{
    int p[2];
    pid_t parent = 0;
    MUST(pipe(p));
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    pid_t child = CHILD({
        if (fork()) _exit(0);
        while (getppid() != 1 && state_of(getppid()) != '-' && getppid() != *(volatile pid_t *)&parent) {
            pid_t now = getppid();
            sleep_ms(5);
            if (now == getppid()) break;
        }
        sleep_ms(10);
        parent = getppid();
        write(p[1], &parent, sizeof parent);
        _exit(42);
    });
    EQ("the middle one", WEXITSTATUS(wait_status(child)), 0);
    read(p[0], &parent, sizeof parent);
    EQ("the subreaper is the new parent", parent, getpid());
    int status = 0;
    CHECK("it can wait", wait(&status) > 0 && WEXITSTATUS(status) == 42);
    int is = 0;
    prctl(PR_GET_CHILD_SUBREAPER, &is);
    EQ("PR_GET_CHILD_SUBREAPER", is, 1);
    EQ("children do not inherit it", EXIT_OF({ int sub = 9; prctl(PR_GET_CHILD_SUBREAPER, &sub); _exit(sub); }), 0);
    child = CHILD({
        pid_t inner = CHILD({ prctl(PR_SET_PDEATHSIG, SIGUSR1); write(p[1], "r", 1); pause(); });
        (void)inner;
        char c;
        read(p[0], &c, 1);
        _exit(0);
    });
    wait_status(child);
    CHECK("PR_SET_PDEATHSIG", wait(&status) > 0 && WIFSIGNALED(status) && WTERMSIG(status) == SIGUSR1);
}

CASE(groups_and_sessions)
{
    pid_t self = getpid();
    EQ("this case leads a group", getpgrp(), self);
    EQ("getpgid(0)", getpgid(0), self);
    ERR("getpgid of nobody", getpgid(999999), ESRCH);
    ERR("getsid of nobody", getsid(999999), ESRCH);
    ERR("a leader cannot setsid", setsid(), EPERM);
    EQ("a child can", EXIT_OF({ _exit(setsid() == getpid() && getsid(0) == getpid() && getpgrp() == getpid() ? 0 : 1); }), 0);
    EQ("a session leader cannot setpgid", EXIT_OF({ setsid(); _exit(setpgid(0, 0) ? errno : 0); }), EPERM);
    ERR("negative", setpgid(0, -1), EINVAL);
    ERR("nobody", setpgid(999999, 0), ESRCH);
    ERR("a group that is not there", setpgid(0, 999999), EPERM);
    pid_t child = CHILD({ pause(); });
    EQ("of a child", setpgid(child, child), 0);
    EQ("seen", getpgid(child), child);
    EQ("back", setpgid(child, self), 0);
    kill(child, SIGKILL);
    wait_status(child);
    child = CHILD({ setsid(); pause(); });
    wait_for_state(child, 'S');
    ERR("a child in another session", setpgid(child, self), EPERM);
    kill(child, SIGKILL);
    wait_status(child);
    int p[2];
    MUST(pipe(p));
    child = CHILD({ execl(program, program, "helper", "sleeper", (char *)0); });
    for (int i = 0; i < 1000 && setpgid(child, child) == 0; i++) usleep(1000);
    ERR("a child that has executed", setpgid(child, child), EACCES);
    kill(child, SIGKILL);
    wait_status(child);
    pid_t a = CHILD({ setpgid(0, 0); pause(); }), b;
    setpgid(a, a);
    b = CHILD({ setpgid(0, a); pause(); });
    setpgid(b, a);
    EQ("kill of a group", killpg(a, SIGTERM), 0);
    EQ("first", WTERMSIG(wait_status(a)), SIGTERM);
    EQ("second", WTERMSIG(wait_status(b)), SIGTERM);
}

HELPER(sleeper)
{
    (void)argc, (void)argv;
    sleep_ms(20000);
    return 0;
}

CASE(orphaned_groups)
{
    int p[2];
    char c = 0;
    EQ("a stopped orphaned group gets SIGHUP and SIGCONT", EXIT_OF({
        MUST(pipe(p));
        pid_t middle = CHILD({
            setpgid(0, 0);
            pid_t inner = CHILD({ close(p[0]); write(p[1], "x", 1); raise(SIGSTOP); write(p[1], "!", 1); });
            wait_for_state(inner, 'T');
            _exit(0);
        });
        close(p[1]);
        wait_status(middle);
        read(p[0], &c, 1);
        /* The inner one dies of SIGHUP, so that the pipe ends without the second byte. */
        _exit(read(p[0], &c, 1));
    }), 0);
}

static void *ends_late(void *arg) { (void)arg; sleep_ms(20); syscall(SYS_exit_group, 5); return NULL; }
static void *execs(void *arg) { (void)arg; execl(program, program, "helper", "pids", (char *)0); return NULL; }
static void *sleeps(void *arg) { (void)arg; for (;;) pause(); return NULL; }

HELPER(pids)
{
    (void)argc, (void)argv;
    return syscall(SYS_gettid) == getpid() ? 33 : 34;
}

CASE(threads)
{
    pthread_t t;
    EQ("the first thread may end before the others", EXIT_OF({ pthread_create(&t, NULL, ends_late, NULL); syscall(SYS_exit, 1); }), 5);
    EQ("exec by another thread", EXIT_OF({ pthread_create(&t, NULL, sleeps, NULL); pthread_create(&t, NULL, execs, NULL); for (;;) pause(); }), 33);
    EQ("fork takes the calling thread only", EXIT_OF({
        pthread_create(&t, NULL, sleeps, NULL);
        _exit(EXIT_OF({ DIR *d = opendir("/proc/self/task"); int n = 0; while (readdir(d)) n++; _exit(n - 2); }));
    }), 1);
    EQ("a leader that ended shows as a zombie", EXIT_OF({
        pid_t inner = CHILD({ pthread_create(&t, NULL, sleeps, NULL); syscall(SYS_exit, 1); });
        wait_for_state(inner, 'Z');
        int status;
        char state = state_of(inner);
        int waited = waitpid(inner, &status, WNOHANG);
        kill(inner, SIGKILL);
        waitpid(inner, &status, 0);
        _exit(state == 'Z' && waited == 0 ? 0 : 1);
    }), 0);
}

CASE(pid_descriptors)
{
    pid_t child = CHILD(pause());
    int fd = MUST(syscall(SYS_pidfd_open, child, 0));
    EQ("close-on-exec", fcntl(fd, F_GETFD), FD_CLOEXEC);
    ERR("unknown flags", syscall(SYS_pidfd_open, child, 1), EINVAL);
    ERR("nobody", syscall(SYS_pidfd_open, 999999, 0), ESRCH);
    ERR("negative", syscall(SYS_pidfd_open, -1, 0), EINVAL);
    struct pollfd pfd = {fd, POLLIN, 0};
    EQ("it lives", poll(&pfd, 1, 0), 0);
    EQ("signal 0", syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0), 0);
    ERR("a signal to a pipe", ({ int p[2]; pipe(p); syscall(SYS_pidfd_send_signal, p[0], 0, NULL, 0); }), EBADF);
    EQ("SIGKILL", syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0), 0);
    EQ("it ends", poll(&pfd, 1, 5000), 1);
    wait_status(child);
    ERR("afterwards", syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0), ESRCH);
    int p[2];
    MUST(pipe(p));
    child = CHILD({ dup2(p[1], 77); pause(); });
    wait_for_state(child, 'S');
    fd = MUST(syscall(SYS_pidfd_open, child, 0));
    int got = syscall(SYS_pidfd_getfd, fd, 77, 0);
    CHECK("pidfd_getfd", got >= 0 && write(got, "x", 1) == 1);
    ERR("pidfd_getfd of what is closed", syscall(SYS_pidfd_getfd, fd, 78, 0), EBADF);
    kill(child, SIGKILL);
}
