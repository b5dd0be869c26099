/* pty(7), termios(3), tty_ioctl(4), credentials(7): job control, hang-up, modes. */
#define FAMILY "terminals"
#include "check.h"
#include <termios.h>

static int open_pair(int *slave)
{
    char name[64];
    int number, unlock = 0;
    int master = MUST(open("/dev/ptmx", O_RDWR | O_NOCTTY));
    MUST(ioctl(master, TIOCSPTLCK, &unlock));
    MUST(ioctl(master, TIOCGPTN, &number));
    snprintf(name, sizeof name, "/dev/pts/%d", number);
    *slave = MUST(open(name, O_RDWR | O_NOCTTY));
    return master;
}

static const char *read_all(int fd)
{
    static char text[4200];
    usleep(1000);
    int flags = fcntl(fd, F_GETFL), len;
    fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    len = read(fd, text, sizeof text - 1);
    fcntl(fd, F_SETFL, flags);
    text[len < 0 ? 0 : len] = 0;
    return len < 0 ? errno_name(errno) : text;
}

static void mode(int fd, int off, int on)
{
    struct termios t;
    tcgetattr(fd, &t);
    t.c_lflag = (t.c_lflag & ~off) | on;
    tcsetattr(fd, TCSANOW, &t);
}

CASE(defaults)
{
    int s, m = open_pair(&s);
    struct termios t;
    struct winsize w = {};
    struct stat st;
    EQ("a terminal", isatty(s), 1);
    EQ("the master too", isatty(m), 1);
    EQ("tcgetattr", tcgetattr(s, &t), 0);
    EQ("input modes", t.c_iflag & ~IUTF8, ICRNL | IXON);
    EQ("output modes", t.c_oflag, OPOST | ONLCR);
    EQ("control modes", t.c_cflag, B38400 | CS8 | CREAD);
    EQ("local modes", t.c_lflag, ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN);
    EQ("VINTR", t.c_cc[VINTR], 3);
    EQ("VEOF", t.c_cc[VEOF], 4);
    EQ("VSUSP", t.c_cc[VSUSP], 26);
    EQ("VMIN", t.c_cc[VMIN], 1);
    EQ("window size", (ioctl(s, TIOCGWINSZ, &w), w.ws_row + w.ws_col), 0);
    w.ws_row = 24;
    EQ("set", ioctl(m, TIOCSWINSZ, &w), 0);
    EQ("seen", (ioctl(s, TIOCGWINSZ, &w), w.ws_row), 24);
    EQ("major number", (fstat(s, &st), major(st.st_rdev)), 136);
    ERR("not a terminal", tcgetattr(open("a", O_RDWR | O_CREAT, 0600), &t), ENOTTY);
    EQ("the driver name", EXIT_OF({ char b[8]; int f = open("/dev/tty", O_RDWR); (void)b; setsid(); f = open("/dev/tty", O_RDWR); _exit(f < 0 ? errno : 0); }), ENXIO);
}

CASE(lines)
{
    int s, m = open_pair(&s), n;
    write(m, "hel", 3);
    STR("nothing before the line ends", read_all(s), "EAGAIN");
    STR("echo", read_all(m), "hel");
    EQ("FIONREAD", (ioctl(s, FIONREAD, &n), n), 0);
    write(m, "lo\r", 3);
    STR("a line", read_all(s), "hello\n");
    STR("echo of the end", read_all(m), "lo\r\n");
    write(m, "abc\177\177d\n", 7);
    STR("erase", read_all(s), "ad\n");
    STR("as seen", read_all(m), "abc\b \b\b \bd\r\n");
    write(m, "one two\027x\n", 10);
    STR("word erase", read_all(s), "one x\n");
    read_all(m);
    write(m, "junk\025ok\n", 8);
    STR("kill", read_all(s), "ok\n");
    read_all(m);
    write(m, "part\004", 5);
    STR("end of file behind text gives the text", read_all(s), "part");
    write(m, "\004", 1);
    STR("alone it is the end", read_all(s), "");
    write(m, "\026\003\n", 3);
    STR("a literal character", read_all(s), "\003\n");
    read_all(m);
    write(m, "\001", 1);
    STR("control characters as seen", read_all(m), "^A");
    write(m, "\n", 1);
    read_all(s), read_all(m);
    write(s, "a\nb\tc", 5);
    STR("output", read_all(m), "a\r\nb\tc");
    write(m, "two\nlines\n", 10);
    char buf[20] = "";
    EQ("one line at a time", read(s, buf, sizeof buf), 4);
    EQ("in parts", read(s, buf, 3), 3);
    EQ("the rest", read(s, buf, 20), 3);
    mode(s, ECHO, 0);
    read_all(m);
    write(m, "secret\n", 7);
    STR("no echo", read_all(m), "EAGAIN");
    STR("but read", read_all(s), "secret\n");
    mode(s, 0, ECHONL);
    write(m, "x\n", 2);
    STR("ECHONL", read_all(m), "\r\n");
    read_all(s);
    tcflush(s, TCIFLUSH);
    static char longest[5000];
    memset(longest, 'x', sizeof longest);
    write(m, longest, sizeof longest);
    write(m, "\n", 1);
    STR("4095 characters of a line at most", ({ const char *t = read_all(s); strlen(t) == 4096 && t[4095] == '\n' ? "ok" : "not"; }), "ok");
}

CASE(raw)
{
    int s, m = open_pair(&s);
    struct termios t;
    char buf[20];
    tcgetattr(s, &t);
    cfmakeraw(&t);
    tcsetattr(s, TCSANOW, &t);
    write(m, "a\r\003", 3);
    STR("every byte as it comes", read_all(s), "a\r\003");
    write(s, "x\n", 2);
    STR("output as it is", read_all(m), "x\n");
    t.c_cc[VMIN] = 0;
    t.c_cc[VTIME] = 0;
    tcsetattr(s, TCSANOW, &t);
    EQ("MIN 0, TIME 0: at once", read(s, buf, 1), 0);
    t.c_cc[VTIME] = 1;
    tcsetattr(s, TCSANOW, &t);
    long before = now_ms();
    EQ("TIME: a time out", read(s, buf, 1), 0);
    CHECK("of a tenth of a second", now_ms() - before >= 90);
    t.c_cc[VMIN] = 3;
    t.c_cc[VTIME] = 0;
    tcsetattr(s, TCSANOW, &t);
    pid_t child = CHILD({ write(m, "a", 1); sleep_ms(10); write(m, "bc", 2); });
    EQ("MIN 3", read(s, buf, 20), 3);
    wait_status(child);
    write(m, "zz", 2);
    EQ("a read of less than MIN", read(s, buf, 2), 2);
    struct pollfd pfd = {s, POLLIN, 0};
    t.c_cc[VMIN] = 1;
    tcsetattr(s, TCSANOW, &t);
    EQ("poll: nothing", poll(&pfd, 1, 0), 0);
    write(m, "q", 1);
    EQ("poll: one", poll(&pfd, 1, 100), 1);
    EQ("TCIFLUSH", (tcflush(s, TCIFLUSH), poll(&pfd, 1, 0)), 0);
}

/* The signal that a key sends to a session leader whose terminal it is. */
static int signal_of_key(const char *key)
{
    int s, m = open_pair(&s), p[2];
    char c;
    struct rlimit none = {0, 0};
    MUST(pipe(p));
    pid_t child = CHILD({
        setsid();
        setrlimit(RLIMIT_CORE, &none);
        ioctl(s, TIOCSCTTY, 0);
        write(p[1], "x", 1);
        for (;;) pause();
    });
    read(p[0], &c, 1);
    write(m, key, 1);
    int status = wait_status(child);
    close(m), close(s);
    return WTERMSIG(status);
}

CASE(signals_from_keys)
{
    int s, m, status, p[2];
    char c;
    MUST(pipe(p));
    EQ("interrupt", signal_of_key("\003"), SIGINT);
    EQ("quit", signal_of_key("\034"), SIGQUIT);
    m = open_pair(&s);
    pid_t child = CHILD({
        setsid();
        ioctl(s, TIOCSCTTY, 0);
        pid_t job = CHILD({ setpgid(0, 0); for (;;) pause(); });
        setpgid(job, job);
        tcsetpgrp(s, job);
        write(p[1], "x", 1);
        waitpid(job, &status, WUNTRACED);
        kill(job, SIGKILL);
        _exit(WIFSTOPPED(status) ? WSTOPSIG(status) : 0);
    });
    read(p[0], &c, 1);
    write(m, "\032", 1);
    EQ("suspend", WEXITSTATUS(wait_status(child)), SIGTSTP);
    close(m), close(s);
    m = open_pair(&s);
    child = CHILD({
        setsid();
        ioctl(s, TIOCSCTTY, 0);
        struct winsize w = {10, 10, 0, 0};
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, SIGWINCH);
        sigprocmask(SIG_BLOCK, &set, NULL);
        ioctl(m, TIOCSWINSZ, &w);
        int got;
        sigwait(&set, &got);
        _exit(got);
    });
    EQ("window size", WEXITSTATUS(wait_status(child)), SIGWINCH);
    close(m), close(s);
    m = open_pair(&s);
    child = CHILD({ setsid(); ioctl(s, TIOCSCTTY, 0); close(m), close(s); write(p[1], "x", 1); for (;;) pause(); });
    read(p[0], &c, 1);
    close(s), close(m);
    EQ("hang-up when the master closes", WTERMSIG(wait_status(child)), SIGHUP);
}

CASE(job_control)
{
    int s, m = open_pair(&s), status;
    EQ("background reading stops", EXIT_OF({
        setsid();
        ioctl(s, TIOCSCTTY, 0);
        pid_t job = CHILD({ char c; setpgid(0, 0); read(s, &c, 1); });
        setpgid(job, job);
        waitpid(job, &status, WUNTRACED);
        kill(job, SIGKILL);
        _exit(WIFSTOPPED(status) ? WSTOPSIG(status) : 0);
    }), SIGTTIN);
    close(m), close(s);
    m = open_pair(&s);
    EQ("an ignored SIGTTIN is an error", EXIT_OF({
        setsid();
        ioctl(s, TIOCSCTTY, 0);
        _exit(EXIT_OF({ char c; setpgid(0, 0); signal(SIGTTIN, SIG_IGN); _exit(read(s, &c, 1) < 0 ? errno : 0); }));
    }), EIO);
    close(m), close(s);
    m = open_pair(&s);
    EQ("background writing goes on", EXIT_OF({
        setsid();
        ioctl(s, TIOCSCTTY, 0);
        _exit(EXIT_OF({ setpgid(0, 0); _exit(write(s, "x", 1) == 1 ? 0 : errno); }));
    }), 0);
    close(m), close(s);
    m = open_pair(&s);
    EQ("but for TOSTOP", EXIT_OF({
        setsid();
        ioctl(s, TIOCSCTTY, 0);
        mode(s, 0, TOSTOP);
        pid_t job = CHILD({ setpgid(0, 0); write(s, "x", 1); });
        setpgid(job, job);
        waitpid(job, &status, WUNTRACED);
        kill(job, SIGKILL);
        _exit(WIFSTOPPED(status) ? WSTOPSIG(status) : 0);
    }), SIGTTOU);
    close(m), close(s);
    m = open_pair(&s);
    EQ("tcsetattr from the background", EXIT_OF({
        setsid();
        ioctl(s, TIOCSCTTY, 0);
        pid_t job = CHILD({ setpgid(0, 0); mode(s, ECHO, 0); });
        setpgid(job, job);
        waitpid(job, &status, WUNTRACED);
        kill(job, SIGKILL);
        _exit(WIFSTOPPED(status) ? WSTOPSIG(status) : 0);
    }), SIGTTOU);
    close(m), close(s);
    m = open_pair(&s);
    EQ("tcsetpgrp from the background", EXIT_OF({
        setsid();
        ioctl(s, TIOCSCTTY, 0);
        pid_t job = CHILD({ setpgid(0, 0); tcsetpgrp(s, getpid()); });
        setpgid(job, job);
        waitpid(job, &status, WUNTRACED);
        kill(job, SIGKILL);
        _exit(WIFSTOPPED(status) ? WSTOPSIG(status) : 0);
    }), SIGTTOU);
    close(m), close(s);
    m = open_pair(&s);
    EQ("groups of a terminal", EXIT_OF({
        if (tcgetpgrp(s) != -1 || errno != ENOTTY) _exit(1);
        setsid();
        if (ioctl(s, TIOCSCTTY, 0)) _exit(2);
        if (tcgetpgrp(s) != getpid()) _exit(3);
        if (tcgetsid(s) != getpid()) _exit(4);
        if (tcsetpgrp(s, 999999) != -1 || errno != ESRCH) _exit(5);
        if (tcsetpgrp(s, getppid()) != -1 || errno != EPERM) _exit(6);
        if (tcsetpgrp(s, -1) != -1 || errno != EINVAL) _exit(7);
        if (open("/dev/tty", O_RDWR) < 0) _exit(8);
        signal(SIGHUP, SIG_IGN);
        if (ioctl(s, TIOCNOTTY)) _exit(9);
        if (open("/dev/tty", O_RDWR) >= 0 || errno != ENXIO) _exit(10);
    }), 0);
    close(m), close(s);
    m = open_pair(&s);
    EQ("only a session leader gets one", EXIT_OF({ setsid(); _exit(EXIT_OF(_exit(ioctl(s, TIOCSCTTY, 0) ? errno : 0))); }), EPERM);
}

CASE(hang_up)
{
    int s, m = open_pair(&s);
    char c;
    close(m);
    EQ("read gives the end", read(s, &c, 1), 0);
    ERR("write fails", write(s, "x", 1), EIO);
    struct pollfd pfd = {s, POLLIN | POLLOUT, 0};
    EQ("poll", (poll(&pfd, 1, 0), pfd.revents & (POLLHUP | POLLERR)), POLLHUP | POLLERR);
    m = open_pair(&s);
    write(s, "last", 4);
    close(s);
    EQ("what was written is read", read(m, (char[8]){}, 8), 4);
    ERR("then there is nobody", read(m, &c, 1), EIO);
    pfd = (struct pollfd){m, POLLIN, 0};
    EQ("poll of the master", (poll(&pfd, 1, 0), pfd.revents & POLLHUP), POLLHUP);
    char name[64];
    int number;
    ioctl(m, TIOCGPTN, &number);
    snprintf(name, sizeof name, "/dev/pts/%d", number);
    s = open(name, O_RDWR | O_NOCTTY);
    CHECK("it can be opened again", s >= 0);
    EQ("and works", (write(s, "again", 5), read(m, (char[8]){}, 8)), 5);
    int locked = open("/dev/ptmx", O_RDWR | O_NOCTTY);
    ioctl(locked, TIOCGPTN, &number);
    snprintf(name, sizeof name, "/dev/pts/%d", number);
    ERR("a locked one cannot", open(name, O_RDWR | O_NOCTTY), EIO);
    int excl = 1;
    ioctl(s, TIOCEXCL, &excl);
    if (geteuid() == 0) EQ("TIOCEXCL", EXIT_OF({ ioctl(m, TIOCGPTN, &number); snprintf(name, sizeof name, "/dev/pts/%d", number); chmod(name, 0666); drop_to(1000); _exit(open(name, O_RDWR | O_NOCTTY) < 0 ? errno : 0); }), EBUSY);
}

CASE(packet_mode)
{
    int s, m = open_pair(&s), on = 1;
    char buf[8] = {};
    EQ("TIOCPKT", ioctl(m, TIOCPKT, &on), 0);
    write(s, "ab", 2);
    EQ("data has a byte in front", read(m, buf, 8), 3);
    EQ("which is 0", buf[0], 0);
    tcflush(s, TCIFLUSH);
    struct pollfd pfd = {m, POLLPRI, 0};
    EQ("a flush is urgent", poll(&pfd, 1, 100), 1);
    EQ("its byte", (read(m, buf, 8), buf[0] & TIOCPKT_FLUSHREAD), TIOCPKT_FLUSHREAD);
}
