/* proc(5): what programs parse. */
#define FAMILY "proc"
#include "check.h"
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/sysinfo.h>

/* The value behind `name:` in a text, -1 when it is not there. */
static long value_of(const char *text, const char *name)
{
    char key[64];
    snprintf(key, sizeof key, "\n%s:", name);
    const char *found = strncmp(text, key + 1, strlen(key) - 1) ? strstr(text, key) : text - 1;
    return found ? strtol(found + strlen(key), NULL, 0) : -1;
}

static int lines_of(const char *text)
{
    int count = 0;
    for (; *text; text++) count += *text == '\n';
    return count;
}

CASE(stat_line)
{
    prctl(PR_SET_NAME, "a) (b");
    const char *text = text_of("/proc/self/stat");
    int pid = 0;
    char name[20], state;
    int ppid, pgrp, session, tty, tpgid;
    EQ("head", sscanf(text, "%d (%5c) %c %d %d %d %d %d", &pid, name, &state, &ppid, &pgrp, &session, &tty, &tpgid), 8);
    EQ("pid", pid, getpid());
    EQ("parent", ppid, getppid());
    EQ("group", pgrp, getpgrp());
    EQ("session", session, getsid(0));
    EQ("running", state, 'R');
    int fields = 2;
    for (const char *at = strrchr(text, ')'); *at; at++) fields += *at == ' ';
    EQ("fields", fields, 52);
    EQ("the last ends the line", text[strlen(text) - 1], '\n');
    EQ("statm has seven numbers", ({ long a, b, c, d, e, f, g; sscanf(text_of("/proc/self/statm"), "%ld %ld %ld %ld %ld %ld %ld", &a, &b, &c, &d, &e, &f, &g); }), 7);
}

CASE(status_file)
{
    const char *text = text_of("/proc/self/status");
    EQ("Pid", value_of(text, "Pid"), getpid());
    EQ("Tgid", value_of(text, "Tgid"), getpid());
    EQ("PPid", value_of(text, "PPid"), getppid());
    EQ("Uid", value_of(text, "Uid"), getuid());
    EQ("Threads", value_of(text, "Threads"), 1);
    EQ("TracerPid", value_of(text, "TracerPid"), 0);
    CHECK("VmRSS", value_of(text, "VmRSS") > 0);
    CHECK("VmPeak is not less than VmSize", value_of(text, "VmPeak") >= value_of(text, "VmSize"));
    EQ("NoNewPrivs", value_of(text, "NoNewPrivs"), 0);
    EQ("Seccomp", value_of(text, "Seccomp"), 0);
    CHECK("Umask", strstr(text, "\nUmask:\t0022\n"));
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGUSR2, SIG_IGN);
    raise(SIGUSR1);
    text = text_of("/proc/self/status");
    CHECK("SigBlk", strstr(text, "\nSigBlk:\t0000000000000200\n"));
    CHECK("SigIgn has SIGUSR2", strstr(text, "SigIgn:\t") && strtoul(strstr(text, "SigIgn:\t") + 8, NULL, 16) & 0x800);
    CHECK("SigPnd or ShdPnd has SIGUSR1", strstr(text, "0000000000000200\nSigBlk") || strstr(text, "SigPnd:\t0000000000000200"));
    static const char *order[] = {"Name:", "Umask:", "State:", "Tgid:", "Ngid:", "Pid:", "PPid:", "TracerPid:", "Uid:", "Gid:", "FDSize:", "Groups:", "VmPeak:", "VmSize:", "VmLck:", "VmPin:", "VmHWM:", "VmRSS:", "RssAnon:", "RssFile:", "RssShmem:", "VmData:", "VmStk:", "VmExe:", "VmLib:", "VmPTE:", "VmSwap:", "Threads:", "SigQ:", "SigPnd:", "ShdPnd:", "SigBlk:", "SigIgn:", "SigCgt:", "CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:", "NoNewPrivs:", "Seccomp:", "Cpus_allowed:", "Mems_allowed:", "voluntary_ctxt_switches:", "nonvoluntary_ctxt_switches:"};
    const char *at = text;
    const char *missing = "none";
    for (unsigned i = 0; i < sizeof order / sizeof *order && !strcmp(missing, "none"); i++) {
        const char *next = strstr(at, order[i]);
        if (!next) missing = order[i];
        else at = next;
    }
    STR("fields in order, missing", missing, "none");
}

CASE(mappings)
{
    char want[200];
    char *page = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(page + 4096, 4096, PROT_NONE);
    snprintf(want, sizeof want, "%lx-%lx ---p 00000000 00:00 0", (long)page + 4096, (long)page + 8192);
    CHECK("a line of maps", strstr(text_of("/proc/self/maps"), want));
    int fd = MUST(open("a", O_RDWR | O_CREAT, 0600));
    ftruncate(fd, 8192);
    char *file = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 4096);
    snprintf(want, sizeof want, "%lx-%lx rw-s 00001000 ", (long)file, (long)file + 4096);
    const char *line = strstr(text_of("/proc/self/maps"), want);
    CHECK("a file", line && strstr(line, "/a\n"));
    unlink("a");
    line = strstr(text_of("/proc/self/maps"), want);
    CHECK("a removed one", line && strstr(line, "/a (deleted)\n"));
    const char *maps = text_of("/proc/self/maps");
    CHECK("stack, heap and vdso", strstr(maps, "[stack]\n") && strstr(maps, "[heap]\n") && strstr(maps, "[vdso]\n"));
    CHECK("smaps_rollup", value_of(text_of("/proc/self/smaps_rollup"), "Rss") > 0);
}

CASE(descriptors)
{
    char path[64], to[300];
    int p[2], fd = MUST(open("a", O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
    MUST(pipe(p));
    write(fd, "hello", 5);
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
    const char *text = text_of(path);
    EQ("pos", value_of(text, "pos"), 5);
    EQ("flags", value_of(text, "flags") & ~0100000, O_RDWR | O_APPEND | O_CLOEXEC);
    CHECK("mnt_id", value_of(text, "mnt_id") > 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", p[0]);
    ssize_t len = readlink(path, to, sizeof to - 1);
    to[len < 0 ? 0 : len] = 0;
    CHECK("a pipe", !strncmp(to, "pipe:[", 6));
    struct stat st;
    lstat(path, &st);
    EQ("its mode says how it is open", st.st_mode, S_IFLNK | 0500);
    int w = open(path, O_WRONLY);
    CHECK("opened again for the other direction", w >= 0 && write(w, "x", 1) == 1);
    ERR("a closed one", readlink("/proc/self/fd/99", to, sizeof to), ENOENT);
    EQ("links", (len = readlink("/proc/self", to, sizeof to), to[len] = 0, atoi(to)), getpid());
    EQ("thread-self", (len = readlink("/proc/thread-self", to, sizeof to), to[len] = 0, atoi(to)), getpid());
    EQ("cwd", (len = readlink("/proc/self/cwd", to, sizeof to), len > 0), 1);
    EQ("exe", (len = readlink("/proc/self/exe", to, sizeof to), to[len] = 0, strcmp(to, program)), 0);
    ERR("nobody", open("/proc/999999/stat", O_RDONLY), ENOENT);
    ERR("making things there", open("/proc/self/new", O_RDWR | O_CREAT, 0600), ENOENT);
    ERR("removing them", unlink("/proc/self/stat"), EPERM);
}

CASE(machine_files)
{
    double up, idle, a, b, c;
    int running, total, last;
    EQ("uptime", sscanf(text_of("/proc/uptime"), "%lf %lf", &up, &idle), 2);
    EQ("loadavg", sscanf(text_of("/proc/loadavg"), "%lf %lf %lf %d/%d %d", &a, &b, &c, &running, &total, &last), 6);
    const char *mem = text_of("/proc/meminfo");
    static const char *keys[] = {"MemTotal", "MemFree", "MemAvailable", "Buffers", "Cached", "SwapTotal", "SwapFree", "Shmem", "Slab", "SReclaimable"};
    for (unsigned i = 0; i < 10; i++) CHECK(keys[i], value_of(mem, keys[i]) >= 0);
    struct sysinfo info;
    sysinfo(&info);
    EQ("MemTotal is sysinfo's", value_of(mem, "MemTotal") / 1024, info.totalram * info.mem_unit / 1024 / 1024);
    const char *stat = text_of("/proc/stat");
    CHECK("cpu", !strncmp(stat, "cpu  ", 5) && strstr(stat, "\ncpu0 ") && strstr(stat, "\nbtime ") && strstr(stat, "\nprocesses ") && strstr(stat, "\nprocs_running "));
    CHECK("version", !strncmp(text_of("/proc/version"), "Linux version ", 14));
    CHECK("file systems", strstr(text_of("/proc/filesystems"), "nodev\ttmpfs\n"));
    CHECK("mounts", strstr(text_of("/proc/mounts"), " /proc proc "));
    int fields = 0;
    char line[1000];
    strncpy(line, text_of("/proc/self/mountinfo"), sizeof line - 1);
    line[999] = 0;
    *strchrnul(line, '\n') = 0;
    for (char *word = strtok(line, " "); word; word = strtok(NULL, " ")) fields++;
    CHECK("mountinfo", fields >= 10);
    EQ("boot_id is a UUID", strlen(text_of("/proc/sys/kernel/random/boot_id")), 37);
    char first[64];
    strcpy(first, text_of("/proc/sys/kernel/random/uuid"));
    CHECK("uuid changes", strcmp(first, text_of("/proc/sys/kernel/random/uuid")));
    EQ("pid_max", atoi(text_of("/proc/sys/kernel/pid_max")) >= 32768, 1);
    EQ("ostype", strcmp(text_of("/proc/sys/kernel/ostype"), "Linux\n"), 0);
    EQ("limits", lines_of(text_of("/proc/self/limits")), 17);
    CHECK("a line of limits", strstr(text_of("/proc/self/limits"), "Max open files            "));
    EQ("cgroup", !strncmp(text_of("/proc/self/cgroup"), "0::/", 4) || strstr(text_of("/proc/self/cgroup"), ":/"), 1);
    EQ("oom_score_adj", atoi(text_of("/proc/self/oom_score_adj")), 0);
    EQ("oom_score_adj is written", write(open("/proc/self/oom_score_adj", O_WRONLY), "500", 3), 3);
    EQ("set", atoi(text_of("/proc/self/oom_score_adj")), 500);
    ERR("too much", write(open("/proc/self/oom_score_adj", O_WRONLY), "1001", 4), EINVAL);
    EQ("comm can be written", ({ int fd = open("/proc/self/comm", O_WRONLY); write(fd, "renamed", 7); close(fd); strcmp(text_of("/proc/self/comm"), "renamed\n"); }), 0);
    EQ("io", value_of(text_of("/proc/self/io"), "rchar") > 0, 1);
}

CASE(small_reads)
{
    char whole[5000], parts[5000] = "";
    strcpy(whole, text_of("/proc/filesystems"));
    int fd = MUST(open("/proc/filesystems", O_RDONLY)), len = 0, n;
    while ((n = read(fd, parts + len, 3)) > 0) len += n;
    EQ("three bytes at a time", strncmp(whole, parts, len) || len != (int)strlen(whole), 0);
    EQ("from the middle", pread(fd, parts, 4, 5), 4);
    EQ("the same", memcmp(parts, whole + 5, 4), 0);
    EQ("rewound", lseek(fd, 0, SEEK_SET), 0);
    EQ("again", read(fd, parts, 5) == 5 && !memcmp(parts, whole, 5), 1);
    struct stat st;
    fstat(fd, &st);
    EQ("no size", st.st_size, 0);
    EQ("mode", st.st_mode, S_IFREG | 0444);
}

struct io_counts { long rchar, wchar, syscr, syscw, len; };

/* One read of the file; that read counts from the next one on. */
static struct io_counts io_counts(void)
{
    char text[1000];
    struct io_counts io = { .len = -1 };
    int fd = open("/proc/self/io", O_RDONLY);
    io.len = read(fd, text, sizeof text - 1);
    close(fd);
    text[io.len > 0 ? io.len : 0] = 0;
    io.rchar = value_of(text, "rchar");
    io.wchar = value_of(text, "wchar");
    io.syscr = value_of(text, "syscr");
    io.syscw = value_of(text, "syscw");
    return io;
}

CASE(io_counters)
{
    char buf[100] = "";
    int one = MUST(open("one", O_RDWR | O_CREAT, 0600)), two = MUST(open("two", O_RDWR | O_CREAT, 0600));
    int ends[2];
    MUST(pipe(ends));
    off_t at = 0;
    loff_t from = 0;
    /* No check in between: printing it would count. */
    struct io_counts before = io_counts();
    long results[] = {
        write(one, buf, 100), pread(one, buf, 60, 0), sendfile(two, one, &at, 30),
        copy_file_range(one, &from, two, NULL, 20, 0),
    };
    struct io_counts after = io_counts();
    long piped = write(ends[1], buf, 7) + read(ends[0], buf, 7);
    struct io_counts last = io_counts();
    EQ("write", results[0], 100);
    EQ("pread", results[1], 60);
    EQ("sendfile", results[2], 30);
    EQ("copy_file_range", results[3], 20);
    EQ("bytes read, with those of the first look", after.rchar - before.rchar, before.len + 60 + 30 + 20);
    EQ("bytes written", after.wchar - before.wchar, 100 + 30 + 20);
    EQ("reading calls", after.syscr - before.syscr, 4);
    EQ("writing calls", after.syscw - before.syscw, 3);
    EQ("through a pipe", piped, 14);
    EQ("written to it", last.wchar - after.wchar, 7);
    EQ("read from it", last.rchar - after.rchar, after.len + 7);
}

CASE(load_averages)
{
    struct sysinfo info;
    double loads[3] = { -1, -1, -1 };
    int running = 0, all = 0, last = 0;
    EQ("loadavg", sscanf(text_of("/proc/loadavg"), "%lf %lf %lf %d/%d %d", loads, loads + 1, loads + 2, &running, &all, &last), 6);
    EQ("sysinfo", sysinfo(&info), 0);
    for (int i = 0; i < 3; i++) {
        double difference = info.loads[i] / 65536.0 - loads[i];
        CHECK("the same in sysinfo", difference < 0.2 && difference > -0.2);
    }
    CHECK("somebody runs", running >= 1 && running <= all);
    CHECK("the last pid", last >= getpid());
}

CASE(schedstat)
{
    unsigned long long run = 0, waited = 0, slices = 0, later = 0;
    EQ("three numbers", sscanf(text_of("/proc/self/schedstat"), "%llu %llu %llu", &run, &waited, &slices), 3);
    struct timespec start, now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &start);
    do clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    while ((now.tv_sec - start.tv_sec) * 1000000000L + now.tv_nsec - start.tv_nsec < 20000000);
    sscanf(text_of("/proc/self/schedstat"), "%llu %llu %llu", &later, &waited, &slices);
    CHECK("it has run", later > 0 && slices > 0);
    CHECK("the time it ran", later - run >= 15000000);
}
