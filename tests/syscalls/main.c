/* Runs the cases: `syscalls [FAMILY [CASE]]`. Lines: `PASS|FAIL|SKIP FAMILY CASE: what[: got]`. */
#define FAMILY "main"
#include "check.h"
#include <ftw.h>
#include <stdarg.h>
#include <sys/utsname.h>

#define CASES_MAX 1024

static struct { const char *family, *name; case_fn run; } cases[CASES_MAX];
static int case_count;
static struct { const char *name; helper_fn run; } helpers[64];
static int helper_count;
static const char *family, *name;
static int line_fd = 1;
char program[PATH_MAX];

void add_case(const char *f, const char *n, case_fn run)
{
    cases[case_count].family = f;
    cases[case_count].name = n;
    cases[case_count++].run = run;
}

void add_helper(const char *n, helper_fn run)
{
    helpers[helper_count].name = n;
    helpers[helper_count++].run = run;
}

static void line(const char *verdict, const char *what, const char *got)
{
    char text[1024];
    int len = snprintf(text, sizeof text, "%s %s %s: %s%s%s\n", verdict, family, name, what, *got ? ": " : "", got);
    if (len >= (int)sizeof text) len = sizeof text - 1;
    int kept = errno;
    if (write(line_fd, text, len) < 0) abort();
    errno = kept;
}

void check(const char *what, int holds, const char *format, ...)
{
    char got[512] = "";
    if (!holds) {
        va_list list;
        va_start(list, format);
        vsnprintf(got, sizeof got, format, list);
        va_end(list);
    }
    line(holds ? "PASS" : "FAIL", what, got);
}

const char *errno_name(int error)
{
    const char *known = error ? strerrorname_np(error) : "none";
    return known ? known : "unknown";
}

void check_value(const char *what, long got, int error, long want)
{
    if (got == -1 && want != -1) check(what, 0, "%s, want %ld", errno_name(error), want);
    else check(what, got == want, "%ld (0x%lx), want %ld (0x%lx)", got, got, want, want);
}

void check_errno(const char *what, long got, int error, int want)
{
    if (got == -1) check(what, error == want, "%s, want %s", errno_name(error), errno_name(want));
    else check(what, 0, "%ld, want %s", got, errno_name(want));
}

long must(long value, const char *expression, const char *file, int at)
{
    if (value == -1) {
        char got[300];
        snprintf(got, sizeof got, "%s (%s:%d)", errno_name(errno), strrchr(file, '/') ? strrchr(file, '/') + 1 : file, at);
        line("FAIL", expression, got);
        _exit(0);
    }
    return value;
}

int in_drydock(void)
{
    struct utsname names;
    return !uname(&names) && strstr(names.release, "drydock");
}

void needs(long value, const char *expression)
{
    if (value != -1) return;
    line(in_drydock() ? "FAIL" : "SKIP", expression, errno_name(errno));
    _exit(0);
}

int wait_status(pid_t pid)
{
    int status = -1;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
    return status;
}

void put_file(const char *path, const char *text, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, mode);
    if (fd < 0 || write(fd, text, strlen(text)) < 0 || fchmod(fd, mode) || close(fd)) must(-1, path, __FILE__, __LINE__);
}

const char *text_of(const char *path)
{
    static char text[65536];
    int fd = open(path, O_RDONLY | O_CLOEXEC), len = 0, more;
    if (fd < 0) return "";
    while (len < (int)sizeof text - 1 && (more = read(fd, text + len, sizeof text - 1 - len)) > 0) len += more;
    text[len] = 0;
    close(fd);
    return text;
}

void sleep_ms(long ms)
{
    struct timespec left = {ms / 1000, ms % 1000 * 1000000};
    while (nanosleep(&left, &left) && errno == EINTR) {}
}

long now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

char state_of(pid_t pid)
{
    char path[40], text[512];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return '-';
    int len = read(fd, text, sizeof text - 1);
    close(fd);
    if (len <= 0) return '-';
    text[len] = 0;
    char *end = strrchr(text, ')');
    return end ? end[2] : '-';
}

void wait_for_state(pid_t pid, char state)
{
    /* Twice, because a process also sleeps for a moment elsewhere. */
    for (int i = 0, seen = 0; i < 2000 && seen < 2; i++, usleep(1000)) seen = state_of(pid) == state ? seen + 1 : 0;
}

void drop_to(uid_t uid)
{
    if (syscall(SYS_setgroups, 0, NULL) || syscall(SYS_setresgid, uid, uid, uid) || syscall(SYS_setresuid, uid, uid, uid)) _exit(99);
}

static void run_case(int index, const char *top)
{
    char directory[PATH_MAX];
    family = cases[index].family;
    name = cases[index].name;
    snprintf(directory, sizeof directory, "%s/%d.%s", top, index, name);
    if (mkdir(directory, 0755)) must(-1, "mkdir", __FILE__, __LINE__);
    fflush(NULL);
    int pid = fork();
    if (!pid) {
        /* Lines go to a descriptor out of the way of cases that count descriptors. */
        line_fd = fcntl(1, F_DUPFD_CLOEXEC, 200);
        if (chdir(directory)) _exit(1);
        umask(022);
        setpgid(0, 0);
        signal(SIGPIPE, SIG_IGN);
        signal(SIGPIPE, SIG_DFL);
        signal(SIGALRM, SIG_DFL);
        alarm(20);
        cases[index].run();
        _exit(0);
    }
    int status = wait_status(pid);
    if (WIFSIGNALED(status)) {
        char got[40];
        snprintf(got, sizeof got, "signal %d", WTERMSIG(status));
        line("FAIL", "the case ends", got);
    } else if (WEXITSTATUS(status)) line("FAIL", "the case ends", "exit code");
    kill(-pid, SIGKILL);
    while (waitpid(-1, NULL, WNOHANG) > 0) {}
}

static int forget(const char *path, const struct stat *st, int type, struct FTW *walk)
{
    (void)st, (void)type, (void)walk;
    return remove(path) && 0;
}

int main(int argc, char **argv)
{
    ssize_t len = readlink("/proc/self/exe", program, sizeof program - 1);
    if (len > 0) program[len] = 0;
    if (!argc || !*argv[0]) return 75 + argc;
    if (argc > 2 && !strcmp(argv[1], "helper")) {
        for (int i = 0; i < helper_count; i++)
            if (!strcmp(helpers[i].name, argv[2])) return helpers[i].run(argc - 3, argv + 3);
        return 98;
    }
    /* Not /tmp, which may be mounted without set-id programs. */
    char top[] = "/var/tmp/syscalls.XXXXXX";
    if (!mkdtemp(top)) { perror(top); return 2; }
    chmod(top, 0755);
    for (int i = 0; i < case_count; i++)
        if ((argc < 2 || !strcmp(argv[1], cases[i].family)) && (argc < 3 || !strcmp(argv[2], cases[i].name)))
            run_case(i, top);
    nftw(top, forget, 16, FTW_DEPTH | FTW_PHYS);
    return 0;
}
