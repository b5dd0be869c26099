/* clock_gettime(2), nanosleep(2), timer_create(2), setitimer(2), alarm(2), times(2). */
#define FAMILY "time"
#include "check.h"
#include <sys/times.h>

static volatile int count;
static void counting(int signal) { (void)signal; count++; }

CASE(clocks)
{
    struct timespec a, b, r;
    static const int clocks[] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_MONOTONIC_RAW, CLOCK_BOOTTIME, CLOCK_REALTIME_COARSE, CLOCK_MONOTONIC_COARSE, CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID, CLOCK_TAI};
    for (unsigned i = 0; i < sizeof clocks / sizeof *clocks; i++) {
        char what[40];
        snprintf(what, sizeof what, "clock %d", clocks[i]);
        EQ(what, clock_gettime(clocks[i], &a), 0);
        snprintf(what, sizeof what, "resolution of clock %d", clocks[i]);
        EQ(what, clock_getres(clocks[i], &r), 0);
    }
    ERR("no such clock", clock_gettime(99, &a), EINVAL);
    ERR("resolution of no clock", clock_getres(99, &a), EINVAL);
    ERR("setting the monotonic clock", clock_settime(CLOCK_MONOTONIC, &a), EINVAL);
    clock_gettime(CLOCK_MONOTONIC, &a);
    sleep_ms(5);
    clock_gettime(CLOCK_MONOTONIC, &b);
    CHECK("it goes on", (b.tv_sec - a.tv_sec) * 1000000000L + b.tv_nsec - a.tv_nsec >= 5000000);
    clock_getres(CLOCK_MONOTONIC, &r);
    EQ("a nanosecond", r.tv_nsec, 1);
    clockid_t mine;
    EQ("clock of a process", clock_getcpuclockid(getpid(), &mine), 0);
    EQ("can be read", clock_gettime(mine, &a), 0);
    EQ("of no process", clock_getcpuclockid(999999, &mine), ESRCH);
    struct timeval tv;
    gettimeofday(&tv, NULL);
    EQ("time is gettimeofday", time(NULL) - tv.tv_sec <= 1, 1);
    struct tms t;
    CHECK("times", times(&t) != -1);
}

CASE(sleeping)
{
    struct timespec t = {0, 1000000000}, left;
    ERR("a bad time", nanosleep(&t, NULL), EINVAL);
    t.tv_nsec = -1;
    ERR("negative", nanosleep(&t, NULL), EINVAL);
    ERR("nowhere", syscall(SYS_nanosleep, 8, NULL), EFAULT);
    t.tv_nsec = 10000000;
    long before = now_ms();
    EQ("nanosleep", nanosleep(&t, NULL), 0);
    CHECK("not less", now_ms() - before >= 10);
    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_nsec += 10000000;
    if (t.tv_nsec >= 1000000000) t.tv_sec++, t.tv_nsec -= 1000000000;
    before = now_ms();
    EQ("until a time", clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL), 0);
    CHECK("it was waited for", now_ms() - before >= 9);
    EQ("a time that is over", clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL), 0);
    EQ("a clock of a thread", clock_nanosleep(CLOCK_THREAD_CPUTIME_ID, 0, &t, NULL), EINVAL);
    EQ("no clock", clock_nanosleep(99, 0, &t, NULL), EINVAL);
    signal(SIGALRM, counting);
    struct itimerval soon = {{0, 0}, {0, 10000}};
    setitimer(ITIMER_REAL, &soon, NULL);
    t = (struct timespec){5, 0};
    ERR("a signal", nanosleep(&t, &left), EINTR);
    CHECK("time left", left.tv_sec == 4);
    setitimer(ITIMER_REAL, &soon, NULL);
    EQ("clock_nanosleep returns the error", clock_nanosleep(CLOCK_REALTIME, 0, &t, &left), EINTR);
}

CASE(interval_timers)
{
    struct itimerval it = {{0, 5000}, {0, 5000}}, old;
    signal(SIGALRM, counting);
    EQ("set", setitimer(ITIMER_REAL, &it, NULL), 0);
    while (count < 3) pause();
    EQ("again and again", count >= 3, 1);
    it = (struct itimerval){};
    EQ("off", setitimer(ITIMER_REAL, &it, &old), 0);
    EQ("the old interval", old.it_interval.tv_usec, 5000);
    EQ("nothing is left", (getitimer(ITIMER_REAL, &old), old.it_value.tv_sec + old.it_value.tv_usec), 0);
    ERR("no such timer", setitimer(9, &it, NULL), EINVAL);
    it.it_value.tv_usec = 1000000;
    ERR("a bad time", setitimer(ITIMER_REAL, &it, NULL), EINVAL);
    EQ("alarm", alarm(100), 0);
    CHECK("its rest", alarm(0) >= 99);
    EQ("off", alarm(0), 0);
    signal(SIGVTALRM, counting);
    signal(SIGPROF, counting);
    count = 0;
    it = (struct itimerval){{0, 0}, {0, 20000}};
    setitimer(ITIMER_VIRTUAL, &it, NULL);
    while (!count) {}
    EQ("of processor time", count, 1);
    setitimer(ITIMER_PROF, &it, NULL);
    while (count < 2) {}
    EQ("of all processor time", count, 2);
}

CASE(posix_timers)
{
    timer_t timer, other;
    struct sigevent event = {.sigev_notify = SIGEV_NONE};
    struct itimerspec its = {{0, 0}, {10, 0}}, old;
    signal(SIGALRM, counting);
    EQ("without a signal", timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
    EQ("armed", timer_settime(timer, 0, &its, NULL), 0);
    EQ("its rest", (timer_gettime(timer, &old), old.it_value.tv_sec == 9 || (old.it_value.tv_sec == 10 && !old.it_value.tv_nsec)), 1);
    EQ("overrun", timer_getoverrun(timer), 0);
    EQ("delete", timer_delete(timer), 0);
    ERR("no such timer", syscall(SYS_timer_settime, 12345, 0, &its, NULL), EINVAL);
    ERR("delete no timer", syscall(SYS_timer_delete, 12345), EINVAL);
    event.sigev_notify = 99;
    ERR("an unknown way", syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &other), EINVAL);
    event.sigev_notify = SIGEV_SIGNAL;
    event.sigev_signo = 65;
    ERR("a bad signal", syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &other), EINVAL);
    ERR("a bad clock", syscall(SYS_timer_create, 99, NULL, &other), EINVAL);
    EQ("SIGALRM by default", timer_create(CLOCK_REALTIME, NULL, &timer), 0);
    its = (struct itimerspec){{0, 2000000}, {0, 2000000}};
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGALRM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    timer_settime(timer, 0, &its, NULL);
    sleep_ms(25);
    siginfo_t info;
    sigwaitinfo(&set, &info);
    CHECK("one signal, its overruns counted", info.si_overrun >= 8);
    CHECK("timer_getoverrun says the same", timer_getoverrun(timer) >= 8);
    its.it_value.tv_nsec = -1;
    ERR("a bad time", timer_settime(timer, 0, &its, NULL), EINVAL);
    EQ("timers are not inherited", EXIT_OF(_exit(syscall(SYS_timer_delete, 0) ? errno : 0)), EINVAL);
}
