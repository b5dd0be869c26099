/* signal(7), sigaction(2), sigprocmask(2), sigaltstack(2), sigqueue(3), sigwaitinfo(2), kill(2). */
#define FAMILY "signals"
#include "check.h"
#include <pthread.h>
#include <setjmp.h>
#include <ucontext.h>

static volatile sig_atomic_t count, last, nested;
static siginfo_t seen;
static volatile uintptr_t stack_at;

static void counting(int signal) { count++, last = signal; }
static void telling(int signal, siginfo_t *info, void *context)
{
    (void)context;
    char here;
    seen = *info;
    count++;
    last = signal;
    stack_at = (uintptr_t)&here;
}

static void on(int signal, void (*handler)(int, siginfo_t *, void *), int flags)
{
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = flags | SA_SIGINFO};
    sigemptyset(&action.sa_mask);
    sigaction(signal, &action, NULL);
}

static void block(int signal)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, signal);
    sigprocmask(SIG_BLOCK, &set, NULL);
}

static void unblock(int signal)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, signal);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
}

CASE(actions)
{
    struct sigaction action = {.sa_handler = counting}, old;
    ERR("SIGKILL", sigaction(SIGKILL, &action, NULL), EINVAL);
    ERR("SIGSTOP", sigaction(SIGSTOP, &action, NULL), EINVAL);
    EQ("asking for SIGKILL", syscall(SYS_rt_sigaction, SIGKILL, NULL, &old, 8), 0);
    ERR("0", syscall(SYS_rt_sigaction, 0, NULL, &old, 8), EINVAL);
    ERR("65", syscall(SYS_rt_sigaction, 65, NULL, &old, 8), EINVAL);
    ERR("a set of another size", syscall(SYS_rt_sigaction, SIGUSR1, NULL, &old, 4), EINVAL);
    EQ("set", sigaction(SIGUSR1, &action, NULL), 0);
    EQ("delivered", (raise(SIGUSR1), count), 1);
    action.sa_flags = SA_RESETHAND;
    sigaction(SIGUSR1, &action, NULL);
    raise(SIGUSR1);
    sigaction(SIGUSR1, NULL, &old);
    CHECK("RESETHAND", old.sa_handler == SIG_DFL);
    action.sa_flags = 0;
    sigaction(SIGUSR1, &action, &old);
    count = 0;
    block(SIGUSR1);
    for (int i = 0; i < 3; i++) raise(SIGUSR1);
    EQ("blocked", count, 0);
    sigset_t pending;
    sigpending(&pending);
    EQ("pending", sigismember(&pending, SIGUSR1), 1);
    unblock(SIGUSR1);
    EQ("a standard signal is pending once", count, 1);
    block(SIGUSR1);
    raise(SIGUSR1);
    signal(SIGUSR1, SIG_IGN);
    sigpending(&pending);
    EQ("ignoring throws it away", sigismember(&pending, SIGUSR1), 0);
    raise(SIGUSR1);
    sigpending(&pending);
    EQ("an ignored one that is blocked is kept", sigismember(&pending, SIGUSR1), 1);
    EQ("the mask cannot have KILL and STOP", (sigfillset(&pending), sigprocmask(SIG_SETMASK, &pending, NULL), sigprocmask(SIG_SETMASK, NULL, &pending), sigismember(&pending, SIGKILL) + sigismember(&pending, SIGSTOP)), 0);
    ERR("bad how", syscall(SYS_rt_sigprocmask, 9, &pending, NULL, 8), EINVAL);
    EQ("how does not matter without a set", syscall(SYS_rt_sigprocmask, 9, NULL, &pending, 8), 0);
    ERR("size", syscall(SYS_rt_sigprocmask, 0, NULL, &pending, 4), EINVAL);
}

static void nesting(int signal)
{
    if (nested++ == 0) raise(signal);
    count++;
    if (count == 1) last = nested;
}

CASE(masks_in_handlers)
{
    struct sigaction action = {.sa_handler = nesting};
    sigaction(SIGUSR1, &action, NULL);
    raise(SIGUSR1);
    EQ("the signal is blocked in its handler", last, 1);
    EQ("and comes afterwards", count, 2);
    action.sa_flags = SA_NODEFER;
    sigaction(SIGUSR1, &action, NULL);
    count = nested = 0;
    raise(SIGUSR1);
    EQ("NODEFER", last, 2);
    sigset_t mask;
    sigprocmask(SIG_SETMASK, NULL, &mask);
    EQ("the mask is restored", sigismember(&mask, SIGUSR1), 0);
}

CASE(information)
{
    on(SIGUSR1, telling, 0);
    on(SIGCHLD, telling, 0);
    on(SIGALRM, telling, 0);
    kill(getpid(), SIGUSR1);
    EQ("kill: code", seen.si_code, SI_USER);
    EQ("kill: pid", seen.si_pid, getpid());
    EQ("kill: uid", seen.si_uid, getuid());
    raise(SIGUSR1);
    EQ("tgkill: code", seen.si_code, SI_TKILL);
    sigqueue(getpid(), SIGUSR1, (union sigval){.sival_int = 12345});
    EQ("sigqueue: code", seen.si_code, SI_QUEUE);
    EQ("sigqueue: value", seen.si_value.sival_int, 12345);
    pid_t child = CHILD(_exit(7));
    while (last != SIGCHLD) sched_yield();
    EQ("SIGCHLD: code", seen.si_code, CLD_EXITED);
    EQ("SIGCHLD: pid", seen.si_pid, child);
    EQ("SIGCHLD: status", seen.si_status, 7);
    wait_status(child);
    count = 0;
    child = CHILD({ signal(SIGTERM, SIG_DFL); raise(SIGTERM); });
    while (!count) sched_yield();
    EQ("killed: code", seen.si_code, CLD_KILLED);
    EQ("killed: status", seen.si_status, SIGTERM);
    wait_status(child);
    count = 0;
    child = CHILD(for (;;) pause());
    kill(child, SIGSTOP);
    while (!count) sched_yield();
    EQ("stopped: code", seen.si_code, CLD_STOPPED);
    EQ("stopped: status", seen.si_status, SIGSTOP);
    count = 0;
    kill(child, SIGCONT);
    while (!count) sched_yield();
    EQ("continued: code", seen.si_code, CLD_CONTINUED);
    kill(child, SIGKILL);
    wait_status(child);
    on(SIGCHLD, telling, SA_NOCLDSTOP);
    count = 0;
    child = CHILD(for (;;) pause());
    kill(child, SIGSTOP);
    wait_for_state(child, 'T');
    EQ("NOCLDSTOP", count, 0);
    kill(child, SIGKILL);
    wait_status(child);
    struct itimerval soon = {{0, 0}, {0, 1000}};
    count = last = 0;
    setitimer(ITIMER_REAL, &soon, NULL);
    while (last != SIGALRM) sched_yield();
    EQ("an alarm's code", seen.si_code, SI_KERNEL);
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1, .sigev_value.sival_int = 5};
    timer_t timer;
    MUST(timer_create(CLOCK_MONOTONIC, &event, &timer));
    struct itimerspec its = {{0, 0}, {0, 1000000}};
    last = 0;
    timer_settime(timer, 0, &its, NULL);
    while (last != SIGUSR1) sched_yield();
    EQ("a timer's code", seen.si_code, SI_TIMER);
    EQ("a timer's value", seen.si_value.sival_int, 5);
    ERR("a forged code to others", ({ siginfo_t forged = {.si_signo = SIGUSR1, .si_code = SI_USER}; syscall(SYS_rt_sigqueueinfo, getppid(), SIGUSR1, &forged); }), EPERM);
}

static sigjmp_buf out;
static void jumping(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)context;
    seen = *info;
    siglongjmp(out, 1);
}

#define FAULT(what, code, want_signal, want_code, want_address)                                           \
    do {                                                                                                 \
        memset(&seen, 0, sizeof seen);                                                                   \
        if (!sigsetjmp(out, 1)) { code; }                                                                \
        check(what, seen.si_signo == (want_signal) && seen.si_code == (want_code) && seen.si_addr == (void *)(want_address), \
              "signal %d code %d at %p", seen.si_signo, seen.si_code, seen.si_addr);                     \
    } while (0)

CASE(faults)
{
    on(SIGSEGV, jumping, 0);
    on(SIGBUS, jumping, 0);
    on(SIGILL, jumping, 0);
    on(SIGTRAP, jumping, 0);
    char *page = mmap(NULL, 8192, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    volatile char *v = page;
    FAULT("read of nothing", (void)*(volatile char *)16, SIGSEGV, SEGV_MAPERR, 16);
    FAULT("write to a read-only page", v[5] = 1, SIGSEGV, SEGV_ACCERR, page + 5);
    mprotect(page, 4096, PROT_NONE);
    FAULT("read of PROT_NONE", (void)v[7], SIGSEGV, SEGV_ACCERR, page + 7);
    munmap(page, 4096);
    FAULT("read of what was unmapped", (void)v[9], SIGSEGV, SEGV_MAPERR, page + 9);
    FAULT("execution of data", ((void (*)(void))(page + 4096))(), SIGSEGV, SEGV_ACCERR, page + 4096);
    FAULT("a jump to nothing", ((void (*)(void))64)(), SIGSEGV, SEGV_MAPERR, 64);
    int fd = MUST(open("a", O_RDWR | O_CREAT, 0600));
    ftruncate(fd, 100);
    char *file = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    volatile char *f = file;
    EQ("the rest of the last page is zero", f[200], 0);
    FAULT("behind the end of a file", (void)f[4096 + 3], SIGBUS, BUS_ADRERR, file + 4096 + 3);
    ftruncate(fd, 0);
    FAULT("a file that was cut", (void)f[0], SIGBUS, BUS_ADRERR, file);
    EQ("a blocked fault kills all the same", KILLER_OF({ block(SIGSEGV); (void)*(volatile char *)16; }), SIGSEGV);
    EQ("an ignored fault kills all the same", KILLER_OF({ signal(SIGSEGV, SIG_IGN); (void)*(volatile char *)16; }), SIGSEGV);
    static const unsigned char
#if defined __riscv
        illegal[] = {0, 0, 0, 0}, breakpoint[] = {0x02, 0x90};
#else
        illegal[] = {0x0f, 0x0b}, breakpoint[] = {0xcc};
#endif
    unsigned char *code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memcpy(code, illegal, sizeof illegal);
    memcpy(code + 64, breakpoint, sizeof breakpoint);
    __builtin___clear_cache((char *)code, (char *)code + 128);
    memset(&seen, 0, sizeof seen);
    if (!sigsetjmp(out, 1)) ((void (*)(void))code)();
    check("an illegal instruction", seen.si_signo == SIGILL && (seen.si_code == ILL_ILLOPN || seen.si_code == ILL_ILLOPC) && seen.si_addr == code, "signal %d code %d", seen.si_signo, seen.si_code);
    memset(&seen, 0, sizeof seen);
    if (!sigsetjmp(out, 1)) ((void (*)(void))(code + 64))();
    EQ("a breakpoint", seen.si_signo, SIGTRAP);
}

CASE(alternate_stack)
{
    static char area[65536];
    stack_t ss = {area, 0, sizeof area}, old;
    on(SIGUSR1, telling, SA_ONSTACK);
    on(SIGUSR2, telling, 0);
    EQ("set", sigaltstack(&ss, NULL), 0);
    raise(SIGUSR1);
    CHECK("the handler runs on it", stack_at >= (uintptr_t)area && stack_at < (uintptr_t)area + sizeof area);
    raise(SIGUSR2);
    CHECK("only with SA_ONSTACK", stack_at < (uintptr_t)area || stack_at >= (uintptr_t)area + sizeof area);
    EQ("asked", (sigaltstack(NULL, &old), old.ss_sp == area && old.ss_size == sizeof area && old.ss_flags == 0), 1);
    ss.ss_size = 100;
    ERR("too small", sigaltstack(&ss, NULL), ENOMEM);
    ss.ss_size = sizeof area;
    ss.ss_flags = 99;
    ERR("bad flags", sigaltstack(&ss, NULL), EINVAL);
    ss.ss_flags = SS_DISABLE;
    EQ("off", sigaltstack(&ss, NULL), 0);
    EQ("SS_DISABLE", (sigaltstack(NULL, &old), old.ss_flags), SS_DISABLE);
}

static void on_stack(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)info, (void)context;
    stack_t old, none = {NULL, SS_DISABLE, 0};
    sigaltstack(NULL, &old);
    count = old.ss_flags;
    last = sigaltstack(&none, NULL) ? errno : 0;
}

CASE(on_the_alternate_stack)
{
    stack_t ss = {malloc(65536), 0, 65536};
    sigaltstack(&ss, NULL);
    on(SIGUSR1, on_stack, SA_ONSTACK);
    raise(SIGUSR1);
    EQ("SS_ONSTACK", count, SS_ONSTACK);
    EQ("it cannot be changed from itself", last, EPERM);
    EQ("a child has it", EXIT_OF({ stack_t old; sigaltstack(NULL, &old); _exit(old.ss_sp == ss.ss_sp ? 0 : 1); }), 0);
    EQ("a stack overflow can be handled on it", EXIT_OF({
        struct rlimit small = {1 << 20, 1 << 20};
        setrlimit(RLIMIT_STACK, &small);
        on(SIGSEGV, jumping, SA_ONSTACK);
        if (sigsetjmp(out, 1)) _exit(seen.si_code == SEGV_MAPERR ? 0 : 2);
        volatile char *down = alloca(16);
        for (;;) *(down -= 512) = 1;
    }), 0);
}

CASE(queueing)
{
    sigset_t set;
    siginfo_t info;
    sigemptyset(&set);
    for (int i = 0; i < 4; i++) sigaddset(&set, SIGRTMIN + i);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    for (int i = 0; i < 3; i++) sigqueue(getpid(), SIGRTMIN + 2, (union sigval){.sival_int = i});
    sigqueue(getpid(), SIGRTMIN + 1, (union sigval){.sival_int = 9});
    kill(getpid(), SIGUSR1);
    EQ("standard signals first", sigwaitinfo(&set, &info), SIGUSR1);
    EQ("then the lowest", sigwaitinfo(&set, &info), SIGRTMIN + 1);
    for (int i = 0; i < 3; i++) EQ("in order", (sigwaitinfo(&set, &info), info.si_value.sival_int), i);
    struct timespec zero = {0, 0}, ten = {0, 10000000};
    ERR("nothing more", sigtimedwait(&set, &info, &zero), EAGAIN);
    ERR("time out", sigtimedwait(&set, &info, &ten), EAGAIN);
    ten.tv_nsec = -1;
    ERR("bad time", sigtimedwait(&set, &info, &ten), EINVAL);
    struct rlimit few = {3, 3};
    EQ("RLIMIT_SIGPENDING", EXIT_OF({
        drop_to(12345);
        setrlimit(RLIMIT_SIGPENDING, &few);
        int n = 0;
        while (n < 10 && !sigqueue(getpid(), SIGRTMIN, (union sigval){0})) n++;
        _exit(n == 3 && errno == EAGAIN ? 0 : 1);
    }), 0);
    pid_t child = CHILD({ sleep_ms(20); });
    sigaddset(&set, SIGCHLD);
    EQ("waiting for SIGCHLD, not blocked and ignored by default", ({ block(SIGCHLD); sigwaitinfo(&set, &info); }), SIGCHLD);
    wait_status(child);
    sigdelset(&set, SIGCHLD);
    on(SIGUSR2, telling, 0);
    pid_t self = getpid();
    child = CHILD({ wait_for_state(self, 'S'); kill(self, SIGUSR2); });
    ERR("a handler of another one interrupts", sigwaitinfo(&set, &info), EINTR);
}

static int blocked_read(int flags)
{
    int p[2];
    char c;
    MUST(pipe(p));
    on(SIGUSR1, telling, flags);
    pid_t self = getpid();
    pid_t child = CHILD({
        wait_for_state(self, 'S');
        kill(self, SIGUSR1);
        sleep_ms(20);
        write(p[1], "x", 1);
    });
    long n = read(p[0], &c, 1);
    int error = errno;
    wait_status(child);
    close(p[0]), close(p[1]);
    return n < 0 ? -error : n;
}

CASE(restarting)
{
    count = 0;
    EQ("read without SA_RESTART", blocked_read(0), -EINTR);
    EQ("the handler ran", count, 1);
    EQ("read with SA_RESTART", blocked_read(SA_RESTART), 1);
    EQ("the handler ran", count, 2);
    on(SIGUSR1, telling, SA_RESTART);
    pid_t self = getpid(), child = CHILD({ wait_for_state(self, 'S'); kill(self, SIGUSR1); });
    struct timespec second = {3, 0}, left;
    ERR("nanosleep is not restarted", nanosleep(&second, &left), EINTR);
    CHECK("time left", left.tv_sec == 2 || left.tv_sec == 3);
    wait_status(child);
    child = CHILD({ wait_for_state(self, 'S'); kill(self, SIGUSR1); });
    ERR("pause", pause(), EINTR);
    wait_status(child);
    child = CHILD({ wait_for_state(self, 'S'); kill(self, SIGUSR1); sleep_ms(30); });
    int status;
    EQ("wait is restarted", waitpid(child, &status, 0), child);
    EQ("a stopped and continued sleep goes on", EXIT_OF({
        pid_t sleeper = CHILD({ struct timespec t = {0, 100000000}; _exit(nanosleep(&t, NULL) ? errno : 0); });
        wait_for_state(sleeper, 'S');
        kill(sleeper, SIGSTOP);
        wait_for_state(sleeper, 'T');
        kill(sleeper, SIGCONT);
        _exit(WEXITSTATUS(wait_status(sleeper)));
    }), 0);
    sigset_t none;
    sigemptyset(&none);
    block(SIGUSR1);
    raise(SIGUSR1);
    count = 0;
    ERR("sigsuspend", sigsuspend(&none), EINTR);
    EQ("the handler ran", count, 1);
    sigprocmask(SIG_BLOCK, NULL, &none);
    EQ("the mask is back", sigismember(&none, SIGUSR1), 1);
}

CASE(sending)
{
    pid_t child = CHILD(for (;;) pause());
    ERR("no such process", kill(999999, 0), ESRCH);
    ERR("no such group", kill(-999999, 0), ESRCH);
    ERR("bad number", kill(child, 65), EINVAL);
    ERR("negative number", kill(child, -1), EINVAL);
    EQ("0 asks", kill(child, 0), 0);
    ERR("tgkill of another group's thread", syscall(SYS_tgkill, getpid(), child, 0), ESRCH);
    ERR("tgkill 0", syscall(SYS_tgkill, 0, child, 0), EINVAL);
    ERR("tkill -1", syscall(SYS_tkill, -1, 0), EINVAL);
    kill(child, SIGKILL);
    for (int i = 0; i < 2000 && state_of(child) != 'Z'; i++) usleep(1000);
    EQ("a zombie is there", kill(child, SIGTERM), 0);
    wait_status(child);
    ERR("no more", kill(child, 0), ESRCH);
    if (geteuid()) return;
    child = CHILD(for (;;) pause());
    EQ("another user's", EXIT_OF({ drop_to(1000); _exit(kill(child, SIGTERM) ? errno : 0); }), EPERM);
    EQ("SIGCONT within the session", EXIT_OF({ drop_to(1000); _exit(kill(child, SIGCONT) ? errno : 0); }), 0);
    EQ("not into another session", EXIT_OF({ drop_to(1000); setsid(); _exit(kill(child, SIGCONT) ? errno : 0); }), EPERM);
    kill(child, SIGKILL);
    wait_status(child);
}

CASE(stopping)
{
    pid_t child = CHILD({ signal(SIGUSR1, counting); for (;;) { pause(); if (count) { sleep_ms(30); _exit(3); } } });
    wait_for_state(child, 'S');
    kill(child, SIGSTOP);
    int status;
    EQ("reported with WUNTRACED", waitpid(child, &status, WUNTRACED), child);
    CHECK("stopped by", WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
    EQ("once", waitpid(child, &status, WUNTRACED | WNOHANG), 0);
    kill(child, SIGUSR1);
    sleep_ms(10);
    EQ("a stopped one handles nothing", state_of(child), 'T');
    kill(child, SIGCONT);
    EQ("continued", waitpid(child, &status, WCONTINUED | WUNTRACED), child);
    CHECK("WIFCONTINUED", WIFCONTINUED(status));
    EQ("then it handles", WEXITSTATUS(wait_status(child)), 3);
    child = CHILD({ signal(SIGTSTP, SIG_IGN); for (;;) pause(); });
    wait_for_state(child, 'S');
    kill(child, SIGTSTP);
    sleep_ms(5);
    EQ("SIGTSTP can be ignored", state_of(child), 'S');
    kill(child, SIGSTOP);
    wait_for_state(child, 'T');
    kill(child, SIGKILL);
    EQ("SIGKILL ends a stopped one", WTERMSIG(wait_status(child)), SIGKILL);
    EQ("SIGCONT discards a pending stop", EXIT_OF({
        block(SIGTSTP);
        raise(SIGTSTP);
        kill(getpid(), SIGCONT);
        sigset_t set;
        sigpending(&set);
        _exit(sigismember(&set, SIGTSTP));
    }), 0);
}

CASE(default_actions)
{
    static const int terminating[] = {SIGHUP, SIGINT, SIGQUIT, SIGPIPE, SIGALRM, SIGTERM, SIGUSR1, SIGUSR2, SIGIO, SIGPROF, SIGVTALRM, SIGXCPU, SIGSYS, SIGSTKFLT, SIGPWR, 40, 64};
    static const int ignored[] = {SIGCHLD, SIGCONT, SIGURG, SIGWINCH};
    char what[40];
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    for (unsigned i = 0; i < sizeof terminating / sizeof *terminating; i++) {
        snprintf(what, sizeof what, "signal %d kills", terminating[i]);
        EQ(what, KILLER_OF({ kill(getpid(), terminating[i]); }), terminating[i]);
    }
    for (unsigned i = 0; i < sizeof ignored / sizeof *ignored; i++) {
        snprintf(what, sizeof what, "signal %d does nothing", ignored[i]);
        EQ(what, EXIT_OF({ kill(getpid(), ignored[i]); _exit(4); }), 4);
    }
}

static volatile unsigned long from_context;
static void changing(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)info;
    ucontext_t *uc = context;
    sigaddset(&uc->uc_sigmask, SIGUSR2);
#if defined __riscv
    from_context = uc->uc_mcontext.__gregs[0];
#else
    from_context = uc->uc_mcontext.gregs[REG_RIP];
#endif
}

CASE(context)
{
    on(SIGUSR1, changing, 0);
    raise(SIGUSR1);
    sigset_t mask;
    sigprocmask(SIG_BLOCK, NULL, &mask);
    EQ("a mask changed in the context holds", sigismember(&mask, SIGUSR2), 1);
    CHECK("the program counter is in the program", from_context > 0x1000);
    double kept = 1.5;
    __asm__ volatile("" : "+m"(kept));
    double before = kept * 3;
    raise(SIGUSR1);
    CHECK("floating point survives", before == kept * 3);
}

static void *thread_waits(void *arg)
{
    sigset_t *set = arg;
    int got = 0;
    sigwait(set, &got);
    return (void *)(long)got;
}

CASE(threads)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    pthread_t thread;
    void *result;
    pthread_create(&thread, NULL, thread_waits, &set);
    kill(getpid(), SIGUSR1);
    pthread_join(thread, &result);
    EQ("a thread takes the process's signal", (long)result, SIGUSR1);
    on(SIGUSR1, telling, 0);
    pthread_create(&thread, NULL, thread_waits, &set);
    pthread_kill(thread, SIGUSR1);
    pthread_join(thread, &result);
    EQ("a thread takes its own", (long)result, SIGUSR1);
    EQ("nobody handled it", count, 0);
    EQ("a fatal signal to a thread ends all", KILLER_OF({ sigaddset(&set, SIGUSR2); pthread_create(&thread, NULL, thread_waits, &set); pthread_kill(thread, SIGTERM); for (;;) pause(); }), SIGTERM);
}
