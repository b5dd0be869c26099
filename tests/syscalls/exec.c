/* execve(2): arguments, scripts, errors, what is kept and what is not. */
#define FAMILY "exec"
#include "check.h"
#include <elf.h>
#include <sys/auxv.h>
#include <sys/prctl.h>

extern char **environ;

/* Prints its arguments, one a line, to descriptor 7 or what there is. */
HELPER(args)
{
    FILE *out = fopen("out", "w");
    for (int i = 0; i < argc; i++) fprintf(out, "%s\n", argv[i]);
    fclose(out);
    return argc;
}

HELPER(code) { return argc ? atoi(argv[0]) : 0; }

/* Whole command line as a script's interpreter gets it. */
static const char *script_arguments(const char *path)
{
    pid_t child = CHILD({ execl(path, "zero", "one", (char *)0); _exit(errno); });
    int status = wait_status(child);
    static char failed[40];
    snprintf(failed, sizeof failed, "status 0x%x", status);
    return WIFEXITED(status) && access("out", F_OK) == 0 ? text_of("out") : failed;
}

CASE(errors)
{
    char *none[] = {"x", NULL};
    ERR("missing", execv("none", none), ENOENT);
    ERR("empty", execv("", none), ENOENT);
    put_file("plain", "hello", 0644);
    ERR("no x bit, even for root", execv("plain", none), EACCES);
    ERR("a directory", execv(".", none), EACCES);
    put_file("text", "hello", 0755);
    ERR("no format", execv("text", none), ENOEXEC);
    put_file("empty", "", 0755);
    ERR("no content", execv("empty", none), ENOEXEC);
    put_file("lost", "#!/none/there\n", 0755);
    ERR("a script without its interpreter", execv("lost", none), ENOENT);
    put_file("bare", "#!\n", 0755);
    ERR("a script that names none", execv("bare", none), ENOEXEC);
    put_file("noexec", "#!plain\n", 0755);
    ERR("an interpreter without x", execv("noexec", none), EACCES);
    MUST(symlink("loop", "loop"));
    ERR("a loop", execv("loop", none), ELOOP);
    ERR("a file as a directory", execv("plain/x", none), ENOTDIR);
    ERR("arguments nowhere", execv(program, (char **)8), EFAULT);
    char *bad[] = {"x", (char *)8, NULL};
    ERR("an argument nowhere", execv(program, bad), EFAULT);
    char *big = malloc(200000);
    memset(big, 'x', 199999);
    big[199999] = 0;
    char *huge[] = {"x", big, NULL};
    ERR("an argument of more than 128 KiB", execv(program, huge), E2BIG);
    big[100000] = 0;
    static char *many[40];
    for (int i = 0; i < 39; i++) many[i] = big;
    ERR("more than a quarter of the stack limit", ({ struct rlimit l = {8 << 20, RLIM_INFINITY}; setrlimit(RLIMIT_STACK, &l); execv(program, many); }), E2BIG);
    int fd = MUST(open("busy", O_WRONLY | O_CREAT, 0755));
    write(fd, "#!/bin/sh\n", 10);
    ERR("open for writing", execv("busy", none), ETXTBSY);
    close(fd);
    put_file("short-elf", "\177ELF\2\1\1", 0755);
    ERR("a cut ELF", execv("short-elf", none), ENOEXEC);
}

CASE(running_text)
{
    int in = MUST(open(program, O_RDONLY)), out = MUST(open("copy", O_WRONLY | O_CREAT, 0755));
    char buf[65536];
    ssize_t n;
    while ((n = read(in, buf, sizeof buf)) > 0) write(out, buf, n);
    close(out);
    int p[2];
    MUST(pipe(p));
    pid_t child = CHILD({ execl("copy", "copy", "helper", "sleeper", (char *)0); });
    for (int i = 0; i < 1000; i++) {
        char path[64];
        char to[PATH_MAX];
        snprintf(path, sizeof path, "/proc/%d/exe", child);
        ssize_t len = readlink(path, to, sizeof to - 1);
        if (len > 5 && !strncmp(to + len - 5, "/copy", 5)) break;
        usleep(1000);
    }
    ERR("writing to a running program", open("copy", O_WRONLY), ETXTBSY);
    ERR("truncating it", truncate("copy", 0), ETXTBSY);
    CHECK("reading it", open("copy", O_RDONLY) >= 0);
    EQ("removing it", unlink("copy"), 0);
    kill(child, SIGKILL);
    wait_status(child);
}

CASE(arguments)
{
    EQ("none at all becomes one empty", EXIT_OF({ char *none[] = {NULL}; char *env[] = {NULL}; execve(program, none, env); _exit(77); }), 76);
    EQ("environment", EXIT_OF({ char *a[] = {"p", "helper", "env", "A", NULL}; char *e[] = {"A=12", NULL}; execve(program, a, e); }), 12);
    char *weird[] = {"p", "helper", "args", "", "two words", "\xff", NULL};
    EQ("as they are", EXIT_OF({ execv(program, weird); }), 3);
    STR("empty, spaces, bytes", text_of("out"), "\ntwo words\n\xff\n");
}

HELPER(env) { return argc && getenv(argv[0]) ? atoi(getenv(argv[0])) : 0; }

CASE(scripts)
{
    char text[PATH_MAX + 100];
    snprintf(text, sizeof text, "#!%s helper\n", program);
    put_file("s", text, 0755);
    /* The interpreter gets: helper, the script's path, one. */
    EQ("one argument", EXIT_OF({ execl("./s", "zero", (char *)0); _exit(errno); }), 98);
    MUST(symlink(program, "args-of"));
    snprintf(text, sizeof text, "#!  %s \t helper args  x \n", program);
    put_file("args", text, 0755);
    /* All that follows the interpreter is one argument: there is no such helper, so main ends otherwise. */
    EQ("what follows is one argument", EXIT_OF({ execl("./args", "zero", (char *)0); _exit(errno); }) != 3, 1);
    MUST(mkdir("bin", 0755));
    snprintf(text, sizeof text, "#!%s helper", program);
    put_file("bin/args", text, 0755);
    chdir("bin");
    /* "helper" then the script's own name, which is the helper's name here. */
    STR("without a line break, name as given", script_arguments("args"), "one\n");
    chdir("..");
    int depth;
    for (depth = 0; depth < 8; depth++) {
        char name[20];
        snprintf(name, sizeof name, "n%d", depth);
        if (depth) snprintf(text, sizeof text, "#!n%d\n", depth - 1);
        else snprintf(text, sizeof text, "#!%s helper\n", program);
        put_file(name, text, 0755);
    }
    EQ("an interpreter that is a script", EXIT_OF({ execl("n1", "n1", (char *)0); _exit(errno); }), 98);
    EQ("five deep", EXIT_OF({ execl("n4", "n4", (char *)0); _exit(errno); }), 98);
    EQ("six", EXIT_OF({ execl("n5", "n5", (char *)0); _exit(errno); }), ELOOP);
    char longest[400];
    memset(longest, 'x', sizeof longest);
    memcpy(longest, "#!/", 3);
    longest[399] = 0;
    put_file("long", longest, 0755);
    EQ("an interpreter longer than 256 bytes", EXIT_OF({ execl("long", "long", (char *)0); _exit(errno); }), ENOEXEC);
}

HELPER(kept)
{
    (void)argc;
    struct sigaction action;
    sigset_t set;
    char name[17];
    int result = 0;
    sigaction(SIGUSR1, NULL, &action);
    if (action.sa_handler != SIG_DFL) result |= 1;
    sigaction(SIGUSR2, NULL, &action);
    if (action.sa_handler != SIG_IGN) result |= 2;
    sigprocmask(SIG_BLOCK, NULL, &set);
    if (!sigismember(&set, SIGHUP)) result |= 4;
    sigpending(&set);
    if (!sigismember(&set, SIGHUP)) result |= 8;
    if (fcntl(50, F_GETFD) != -1 || fcntl(51, F_GETFD) != 0) result |= 16;
    prctl(PR_GET_NAME, name);
    if (strncmp(name, argv[0], 15)) result |= 32;
    stack_t ss;
    sigaltstack(NULL, &ss);
    if (ss.ss_flags != SS_DISABLE) result |= 64;
    return result;
}

static void ignored(int signal) { (void)signal; }

CASE(what_is_kept)
{
    MUST(symlink(program, "a-name-of-more-than-15"));
    EQ("signals, descriptors, name", EXIT_OF({
        signal(SIGUSR1, ignored);
        signal(SIGUSR2, SIG_IGN);
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, SIGHUP);
        sigprocmask(SIG_BLOCK, &set, NULL);
        raise(SIGHUP);
        dup3(1, 50, O_CLOEXEC);
        dup3(1, 51, 0);
        stack_t ss = {malloc(65536), 0, 65536};
        sigaltstack(&ss, NULL);
        execl("a-name-of-more-than-15", "x", "helper", "kept", "a-name-of-more-than-15", (char *)0);
    }), 0);
    EQ("an alarm goes on", EXIT_OF({ alarm(50); execl(program, "x", "helper", "alarm", (char *)0); }), 1);
    EQ("by descriptor", EXIT_OF({ int fd = open(program, O_PATH); char *a[] = {"x", "helper", "code", "21", NULL}; syscall(SYS_execveat, fd, "", a, environ, AT_EMPTY_PATH); }), 21);
    EQ("fexecve of a script that is close-on-exec", EXIT_OF({ put_file("s", "#!/bin/sh\n", 0755); int fd = open("s", O_RDONLY | O_CLOEXEC); char *a[] = {"x", NULL}; syscall(SYS_execveat, fd, "", a, environ, AT_EMPTY_PATH); _exit(errno); }), ENOENT);
    EQ("AT_SYMLINK_NOFOLLOW", EXIT_OF({ char *a[] = {"x", NULL}; syscall(SYS_execveat, AT_FDCWD, "a-name-of-more-than-15", a, environ, AT_SYMLINK_NOFOLLOW); _exit(errno); }), ELOOP);
    EQ("unknown flags", EXIT_OF({ char *a[] = {"x", NULL}; syscall(SYS_execveat, AT_FDCWD, program, a, environ, 0x1); _exit(errno); }), EINVAL);
}

HELPER(alarm) { (void)argc, (void)argv; return alarm(0) > 0; }

HELPER(ids)
{
    (void)argc, (void)argv;
    uid_t r, e, s;
    gid_t rg, eg, sg;
    getresuid(&r, &e, &s);
    getresgid(&rg, &eg, &sg);
    if (r != 1000 || rg != 1000) return 1;
    return (e == 0 && s == 0 ? 10 : 0) + (eg == 5 && sg == 5 ? 20 : 0) + (getauxval(AT_SECURE) ? 40 : 0);
}

CASE(set_id_programs)
{
    NEEDS(geteuid() ? -1 : 0);
    char buf[65536];
    int in = MUST(open(program, O_RDONLY)), out = MUST(open("suid", O_WRONLY | O_CREAT, 0755));
    ssize_t n;
    while ((n = read(in, buf, sizeof buf)) > 0) write(out, buf, n);
    close(out);
    MUST(chown("suid", 0, 5));
    MUST(chmod("suid", 04755));
    int plain = EXIT_OF({ drop_to(1000); execl("suid", "x", "helper", "ids", (char *)0); });
    NEEDS(plain == 0 ? -1 : 0);
    EQ("set-uid, AT_SECURE", plain, 50);
    chmod("suid", 02755);
    EQ("set-gid", EXIT_OF({ drop_to(1000); execl("suid", "x", "helper", "ids", (char *)0); }), 60);
    chmod("suid", 02745);
    EQ("set-gid without the group's x", EXIT_OF({ drop_to(1000); execl("suid", "x", "helper", "ids", (char *)0); }), 0);
    chmod("suid", 06755);
    EQ("both", EXIT_OF({ drop_to(1000); execl("suid", "x", "helper", "ids", (char *)0); }), 70);
    EQ("no_new_privs", EXIT_OF({ drop_to(1000); prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); execl("suid", "x", "helper", "ids", (char *)0); }), 0);
    char text[PATH_MAX + 100];
    snprintf(text, sizeof text, "#!%s helper", program);
    put_file("ids", text, 0755);
    chmod("ids", 06755);
    chown("ids", 0, 5);
    chmod("ids", 06755);
    EQ("a script's bits do not count", EXIT_OF({ drop_to(1000); execl("ids", "ids", (char *)0); }), 0);
}

CASE(auxiliary_vector)
{
    EQ("page size", getauxval(AT_PAGESZ), 4096);
    EQ("ticks", getauxval(AT_CLKTCK), 100);
    EQ("uid", getauxval(AT_UID), getuid());
    EQ("not secure", getauxval(AT_SECURE), 0);
    CHECK("random bytes", getauxval(AT_RANDOM) != 0);
    CHECK("the file's name", getauxval(AT_EXECFN) && strstr((char *)getauxval(AT_EXECFN), "syscalls"));
    CHECK("the vDSO", getauxval(AT_SYSINFO_EHDR) && !memcmp((char *)getauxval(AT_SYSINFO_EHDR), ELFMAG, 4));
}
