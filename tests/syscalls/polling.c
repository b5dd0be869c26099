/* poll(2), select(2), epoll(7), eventfd(2), timerfd_create(2), signalfd(2). */
#define FAMILY "polling"
#include "check.h"
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>

static void nothing(int signal) { (void)signal; }

CASE(poll_call)
{
    int p[2];
    MUST(pipe(p));
    struct pollfd fds[3] = {{p[0], POLLIN, 9}, {-1, POLLIN, 9}, {99, POLLIN, 9}};
    EQ("a closed one counts", poll(fds, 3, 0), 1);
    EQ("POLLNVAL", fds[2].revents, POLLNVAL);
    EQ("negative ones are left out", fds[1].revents, 0);
    EQ("nothing to look at", poll(NULL, 0, 0), 0);
    long before = now_ms();
    EQ("time out", poll(fds, 1, 30), 0);
    CHECK("it took that long", now_ms() - before >= 30);
    ERR("nowhere", poll((void *)8, 1, 0), EFAULT);
    struct timespec bad = {0, 1000000000}, zero = {0, 0};
    ERR("a bad time", ppoll(fds, 1, &bad, NULL), EINVAL);
    EQ("no time", ppoll(fds, 1, &zero, NULL), 0);
    struct rlimit limit = {10, 10};
    EQ("more than the limit of descriptors", EXIT_OF({ setrlimit(RLIMIT_NOFILE, &limit); struct pollfd many[20] = {}; _exit(poll(many, 20, 0) == -1 ? errno : 0); }), EINVAL);
    int file = MUST(open("a", O_RDWR | O_CREAT, 0600));
    struct pollfd regular = {file, POLLIN | POLLOUT | POLLPRI, 0};
    EQ("a file is always ready", (poll(&regular, 1, 0), regular.revents), POLLIN | POLLOUT);
    signal(SIGUSR1, nothing);
    pid_t self = getpid();
    pid_t child = CHILD({ wait_for_state(self, 'S'); kill(self, SIGUSR1); });
    ERR("a signal", poll(fds, 1, 3000), EINTR);
    wait_status(child);
    sigset_t none, usr1;
    sigemptyset(&none);
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    sigprocmask(SIG_BLOCK, &usr1, NULL);
    raise(SIGUSR1);
    struct timespec second = {1, 0};
    ERR("ppoll lets the signal in", ppoll(fds, 1, &second, &none), EINTR);
    EQ("and blocks it again", (sigprocmask(SIG_BLOCK, NULL, &none), sigismember(&none, SIGUSR1)), 1);
}

CASE(select_call)
{
    int p[2];
    MUST(pipe(p));
    fd_set r, w;
    FD_ZERO(&r);
    FD_ZERO(&w);
    FD_SET(p[0], &r);
    FD_SET(p[1], &w);
    struct timeval tv = {0, 0};
    EQ("select", select(p[1] + 1, &r, &w, NULL, &tv), 1);
    CHECK("the writer", !FD_ISSET(p[0], &r) && FD_ISSET(p[1], &w));
    write(p[1], "x", 1);
    FD_SET(p[0], &r);
    EQ("both", select(p[1] + 1, &r, &w, NULL, NULL), 2);
    FD_ZERO(&r);
    FD_SET(99, &r);
    ERR("a closed one", select(100, &r, NULL, NULL, &tv), EBADF);
    ERR("negative", select(-1, NULL, NULL, NULL, &tv), EINVAL);
    tv.tv_usec = -1;
    ERR("negative time", select(0, NULL, NULL, NULL, &tv), EINVAL);
    tv = (struct timeval){5, 0};
    FD_ZERO(&r);
    FD_SET(p[0], &r);
    select(p[0] + 1, &r, NULL, NULL, &tv);
    CHECK("what is left of the time", tv.tv_sec == 4 || tv.tv_sec == 5);
    tv = (struct timeval){0, 10000};
    EQ("as a sleep", select(0, NULL, NULL, NULL, &tv), 0);
    EQ("no time is left", tv.tv_sec + tv.tv_usec, 0);
}

CASE(epoll_control)
{
    int p[2], e = MUST(epoll_create1(EPOLL_CLOEXEC));
    MUST(pipe(p));
    struct epoll_event ev = {EPOLLIN, {.u64 = 42}}, got[4];
    EQ("close-on-exec", fcntl(e, F_GETFD), FD_CLOEXEC);
    ERR("epoll_create of 0", epoll_create(0), EINVAL);
    ERR("unknown flags", epoll_create1(1), EINVAL);
    EQ("add", epoll_ctl(e, EPOLL_CTL_ADD, p[0], &ev), 0);
    ERR("twice", epoll_ctl(e, EPOLL_CTL_ADD, p[0], &ev), EEXIST);
    ERR("modify what is not there", epoll_ctl(e, EPOLL_CTL_MOD, p[1], &ev), ENOENT);
    ERR("delete what is not there", epoll_ctl(e, EPOLL_CTL_DEL, p[1], NULL), ENOENT);
    ERR("itself", epoll_ctl(e, EPOLL_CTL_ADD, e, &ev), EINVAL);
    ERR("a file", epoll_ctl(e, EPOLL_CTL_ADD, open("a", O_RDWR | O_CREAT, 0600), &ev), EPERM);
    ERR("a directory", epoll_ctl(e, EPOLL_CTL_ADD, open(".", O_RDONLY), &ev), EPERM);
    ERR("closed", epoll_ctl(e, EPOLL_CTL_ADD, 99, &ev), EBADF);
    ERR("no epoll", epoll_ctl(p[0], EPOLL_CTL_ADD, p[1], &ev), EINVAL);
    ERR("bad operation", epoll_ctl(e, 9, p[0], &ev), EINVAL);
    ERR("event nowhere", epoll_ctl(e, EPOLL_CTL_ADD, p[1], (void *)8), EFAULT);
    EQ("nothing yet", epoll_wait(e, got, 4, 0), 0);
    write(p[1], "x", 1);
    EQ("ready", epoll_wait(e, got, 4, 0), 1);
    EQ("data", got[0].data.u64, 42);
    EQ("level: again", epoll_wait(e, got, 4, 0), 1);
    ERR("no room", epoll_wait(e, got, 0, 0), EINVAL);
    ERR("events nowhere", epoll_wait(e, (void *)8, 1, 0), EFAULT);
    ERR("wait on a pipe", epoll_wait(p[0], got, 1, 0), EINVAL);
    int outer = MUST(epoll_create1(0));
    EQ("nested", epoll_ctl(outer, EPOLL_CTL_ADD, e, &ev), 0);
    EQ("ready through it", epoll_wait(outer, got, 4, 0), 1);
    ERR("a circle", epoll_ctl(e, EPOLL_CTL_ADD, outer, &ev), ELOOP);
    int copy = MUST(dup(p[0]));
    close(p[0]);
    EQ("a closed descriptor whose description lives still reports", epoll_wait(e, got, 4, 0), 1);
    close(copy);
    EQ("the last one takes it out", epoll_wait(e, got, 4, 0), 0);
}

CASE(epoll_modes)
{
    int p[2], e = MUST(epoll_create1(0));
    char c;
    MUST(pipe2(p, O_NONBLOCK));
    struct epoll_event ev = {EPOLLIN | EPOLLET, {.u32 = 1}}, got[4];
    MUST(epoll_ctl(e, EPOLL_CTL_ADD, p[0], &ev));
    write(p[1], "x", 1);
    EQ("edge: once", epoll_wait(e, got, 4, 0), 1);
    EQ("edge: not again", epoll_wait(e, got, 4, 0), 0);
    write(p[1], "x", 1);
    EQ("edge: more data is a new edge", epoll_wait(e, got, 4, 0), 1);
    EQ("edge: modify looks again", (epoll_ctl(e, EPOLL_CTL_MOD, p[0], &ev), epoll_wait(e, got, 4, 0)), 1);
    ev.events = EPOLLIN | EPOLLONESHOT;
    epoll_ctl(e, EPOLL_CTL_MOD, p[0], &ev);
    EQ("one shot", epoll_wait(e, got, 4, 0), 1);
    EQ("is over", epoll_wait(e, got, 4, 0), 0);
    epoll_ctl(e, EPOLL_CTL_MOD, p[0], &ev);
    EQ("until armed again", epoll_wait(e, got, 4, 0), 1);
    while (read(p[0], &c, 1) > 0) {}
    close(p[1]);
    ev.events = 0;
    epoll_ctl(e, EPOLL_CTL_MOD, p[0], &ev);
    EQ("hang-up comes unasked", (epoll_wait(e, got, 4, 0), got[0].events), EPOLLHUP);
    struct epoll_event out = {EPOLLOUT | EPOLLET, {.u32 = 2}};
    MUST(pipe2(p, O_NONBLOCK));
    MUST(epoll_ctl(e, EPOLL_CTL_ADD, p[1], &out));
    epoll_wait(e, got, 4, 0);
    long before = now_ms();
    epoll_ctl(e, EPOLL_CTL_DEL, MUST(p[1]), NULL);
    int quiet = MUST(epoll_create1(0));
    EQ("time out", epoll_wait(quiet, got, 4, 20), 0);
    CHECK("it took that long", now_ms() - before >= 20);
    ev.events = EPOLLEXCLUSIVE | EPOLLONESHOT;
    ERR("EXCLUSIVE with ONESHOT", epoll_ctl(quiet, EPOLL_CTL_ADD, p[1], &ev), EINVAL);
}

CASE(event_counter)
{
    uint64_t v = 5;
    int e = MUST(eventfd(3, EFD_NONBLOCK));
    EQ("read", read(e, &v, 8), 8);
    EQ("start value", v, 3);
    ERR("empty", read(e, &v, 8), EAGAIN);
    ERR("short read", read(e, &v, 4), EINVAL);
    ERR("short write", write(e, &v, 4), EINVAL);
    v = ~0ULL;
    ERR("the largest is not allowed", write(e, &v, 8), EINVAL);
    v = ~0ULL - 1;
    EQ("one less", write(e, &v, 8), 8);
    v = 1;
    ERR("full", write(e, &v, 8), EAGAIN);
    struct pollfd pfd = {e, POLLIN | POLLOUT, 0};
    EQ("poll when full", (poll(&pfd, 1, 0), pfd.revents), POLLIN);
    read(e, &v, 8);
    EQ("poll when empty", (poll(&pfd, 1, 0), pfd.revents), POLLOUT);
    ERR("unknown flags", eventfd(0, 0x10), EINVAL);
    int s = MUST(eventfd(2, EFD_SEMAPHORE | EFD_NONBLOCK));
    EQ("semaphore", (read(s, &v, 8), v), 1);
    EQ("again", (read(s, &v, 8), v), 1);
    ERR("then empty", read(s, &v, 8), EAGAIN);
    ERR("pread", pread(e, &v, 8, 0), ESPIPE);
}

CASE(timer_descriptor)
{
    uint64_t v = 0;
    struct itimerspec its = {{0, 0}, {0, 20000000}}, old;
    int t = MUST(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK));
    ERR("not armed", read(t, &v, 8), EAGAIN);
    EQ("arm", timerfd_settime(t, 0, &its, NULL), 0);
    EQ("time left", (timerfd_gettime(t, &old), old.it_value.tv_sec == 0 && old.it_value.tv_nsec > 0 && old.it_value.tv_nsec <= 20000000), 1);
    ERR("not yet", read(t, &v, 8), EAGAIN);
    struct pollfd pfd = {t, POLLIN, 0};
    EQ("poll", poll(&pfd, 1, 1000), 1);
    EQ("read", read(t, &v, 8), 8);
    EQ("once", v, 1);
    ERR("then nothing", read(t, &v, 8), EAGAIN);
    ERR("short", read(t, &v, 4), EINVAL);
    its = (struct itimerspec){{0, 5000000}, {0, 1}};
    timerfd_settime(t, 0, &its, NULL);
    sleep_ms(30);
    read(t, &v, 8);
    CHECK("expirations are counted", v >= 6);
    EQ("the old setting", (its.it_value.tv_nsec = 0, timerfd_settime(t, 0, &its, &old), old.it_interval.tv_nsec), 5000000);
    EQ("disarmed", (timerfd_gettime(t, &old), old.it_value.tv_nsec), 0);
    its.it_value.tv_nsec = 1000000000;
    ERR("bad time", timerfd_settime(t, 0, &its, NULL), EINVAL);
    its.it_value = (struct timespec){0, 1};
    EQ("an absolute time that is over", timerfd_settime(t, TFD_TIMER_ABSTIME, &its, NULL), 0);
    CHECK("is there at once", read(t, &v, 8) == 8);
    ERR("unknown flags", timerfd_settime(t, 0x10, &its, NULL), EINVAL);
    ERR("bad clock", timerfd_create(99, 0), EINVAL);
    ERR("clock of a process", timerfd_create(CLOCK_PROCESS_CPUTIME_ID, 0), EINVAL);
    ERR("no timer", timerfd_settime(0, 0, &its, NULL), EINVAL);
    ERR("write", write(t, &v, 8), EINVAL);
}

CASE(signal_descriptor)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGRTMIN + 3);
    sigprocmask(SIG_BLOCK, &set, NULL);
    int s = MUST(signalfd(-1, &set, SFD_NONBLOCK));
    struct signalfd_siginfo info[3];
    ERR("nothing", read(s, info, sizeof info), EAGAIN);
    kill(getpid(), SIGUSR1);
    sigqueue(getpid(), SIGRTMIN + 3, (union sigval){.sival_int = 77});
    EQ("two at once", read(s, info, sizeof info), 2 * sizeof *info);
    EQ("number", info[0].ssi_signo, SIGUSR1);
    EQ("code", info[0].ssi_code, SI_USER);
    EQ("sender", info[0].ssi_pid, getpid());
    EQ("queued code", info[1].ssi_code, SI_QUEUE);
    EQ("its value", info[1].ssi_int, 77);
    ERR("too short", read(s, info, 100), EINVAL);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    EQ("changed", signalfd(s, &set, 0), s);
    kill(getpid(), SIGUSR1);
    ERR("not in the set any more", read(s, info, sizeof info), EAGAIN);
    ERR("no signalfd", signalfd(0, &set, 0), EINVAL);
    ERR("unknown flags", signalfd(-1, &set, 1), EINVAL);
}
