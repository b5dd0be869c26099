// Small work for the kernel and the network: the same program runs in a machine and under qemu-riscv64.
//
//   bench getpid N                 N system calls that do nothing
//   bench byte N                   N writes of a byte to /dev/null and as many reads from /dev/zero
//   bench pipe N                   a byte goes to another process and back, N times
//   bench loop MIB                 MIB mebibytes through a TCP connection over loopback
//   bench udp N                    a datagram goes to another process over loopback and back, N times
//   bench sink PORT                takes connections, and counts what each sends
//   bench send HOST PORT MIB       sends that much to a sink, and waits until it has come
//   bench echo PORT                sends every datagram back
//   bench ping HOST PORT N         N datagrams to an echo, one after the other
//   bench http HOST PORT N         N requests, each with a connection of its own
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static char buffer[1 << 16];

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static long must(long result, const char *what) {
    if (result < 0)
        fail(what);
    return result;
}

static struct sockaddr_in address(const char *host, int port) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    if (inet_aton(host, &to.sin_addr) == 0) {
        fprintf(stderr, "no address: %s\n", host);
        exit(1);
    }
    return to;
}

static int bound(int type, int port, struct sockaddr_in *at) {
    int fd = must(socket(AF_INET, type, 0), "socket");
    int on = 1;
    socklen_t length = sizeof *at;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    *at = address(port ? "0.0.0.0" : "127.0.0.1", port);
    must(bind(fd, (struct sockaddr *)at, sizeof *at), "bind");
    must(getsockname(fd, (struct sockaddr *)at, &length), "getsockname");
    return fd;
}

static int connected(struct sockaddr_in to) {
    int fd = must(socket(AF_INET, SOCK_STREAM, 0), "socket");
    must(connect(fd, (struct sockaddr *)&to, sizeof to), "connect");
    return fd;
}

static void reap(void) {
    int status;
    must(wait(&status), "wait");
    if (status != 0) {
        fprintf(stderr, "the other side failed\n");
        exit(1);
    }
}

// Reads to the end and says how much it was.
static void drain(int fd) {
    unsigned long total = 0;
    long count;
    while ((count = must(read(fd, buffer, sizeof buffer), "read")) > 0)
        total += count;
    must(write(fd, &total, sizeof total), "write");
    close(fd);
}

static void fill(int fd, long mebibytes) {
    unsigned long sent = 0, total = (unsigned long)mebibytes << 20, came = 0;
    memset(buffer, 'x', sizeof buffer);
    while (sent < total)
        sent += must(write(fd, buffer, sizeof buffer), "write");
    shutdown(fd, SHUT_WR);
    must(read(fd, &came, sizeof came), "read");
    if (came != total) {
        fprintf(stderr, "%lu of %lu came\n", came, total);
        exit(1);
    }
    close(fd);
}

static void getpids(long n) {
    for (long i = 0; i < n; i++)
        syscall(SYS_getpid);
}

static void bytes(long n) {
    int null = must(open("/dev/null", O_WRONLY), "open"), zero = must(open("/dev/zero", O_RDONLY), "open");
    for (long i = 0; i < n; i++) {
        must(write(null, buffer, 1), "write");
        must(read(zero, buffer, 1), "read");
    }
}

static void pipes(long n) {
    int there[2], back[2];
    must(pipe(there), "pipe");
    must(pipe(back), "pipe");
    if (must(fork(), "fork") == 0) {
        for (long i = 0; i < n; i++) {
            must(read(there[0], buffer, 1), "read");
            must(write(back[1], buffer, 1), "write");
        }
        _exit(0);
    }
    for (long i = 0; i < n; i++) {
        must(write(there[1], buffer, 1), "write");
        must(read(back[0], buffer, 1), "read");
    }
    reap();
}

static void loop(long mebibytes) {
    struct sockaddr_in at;
    int listener = bound(SOCK_STREAM, 0, &at);
    must(listen(listener, 1), "listen");
    if (must(fork(), "fork") == 0) {
        drain(must(accept(listener, NULL, NULL), "accept"));
        _exit(0);
    }
    fill(connected(at), mebibytes);
    reap();
}

static void echo(int fd, long n) {
    struct sockaddr_in from;
    for (long i = 0; n == 0 || i < n; i++) {
        socklen_t length = sizeof from;
        long count = must(recvfrom(fd, buffer, sizeof buffer, 0, (struct sockaddr *)&from, &length), "recvfrom");
        must(sendto(fd, buffer, count, 0, (struct sockaddr *)&from, length), "sendto");
    }
}

static void ping(struct sockaddr_in to, long n) {
    int fd = must(socket(AF_INET, SOCK_DGRAM, 0), "socket");
    must(connect(fd, (struct sockaddr *)&to, sizeof to), "connect");
    for (long i = 0; i < n; i++) {
        must(send(fd, buffer, 64, 0), "send");
        must(recv(fd, buffer, sizeof buffer, 0), "recv");
    }
}

static void datagrams(long n) {
    struct sockaddr_in at;
    int fd = bound(SOCK_DGRAM, 0, &at);
    if (must(fork(), "fork") == 0) {
        echo(fd, n);
        _exit(0);
    }
    ping(at, n);
    reap();
}

static void sink(int port) {
    struct sockaddr_in at;
    int listener = bound(SOCK_STREAM, port, &at);
    must(listen(listener, 16), "listen");
    for (;;)
        drain(must(accept(listener, NULL, NULL), "accept"));
}

static void http(struct sockaddr_in to, long n) {
    static const char request[] = "GET / HTTP/1.0\r\nHost: bench\r\n\r\n";
    for (long i = 0; i < n; i++) {
        int fd = connected(to);
        long count, total = 0;
        must(write(fd, request, sizeof request - 1), "write");
        while ((count = must(read(fd, buffer, sizeof buffer), "read")) > 0) {
            if (total == 0 && (count < 12 || memcmp(buffer + 8, " 200", 4) != 0)) {
                fprintf(stderr, "not 200\n");
                exit(1);
            }
            total += count;
        }
        if (total == 0) {
            fprintf(stderr, "no answer\n");
            exit(1);
        }
        close(fd);
    }
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";
    long n = argc > 2 ? atol(argv[argc - 1]) : 0;
    signal(SIGPIPE, SIG_IGN);
    if (argc == 3 && strcmp(what, "getpid") == 0)
        getpids(n);
    else if (argc == 3 && strcmp(what, "byte") == 0)
        bytes(n);
    else if (argc == 3 && strcmp(what, "pipe") == 0)
        pipes(n);
    else if (argc == 3 && strcmp(what, "loop") == 0)
        loop(n);
    else if (argc == 3 && strcmp(what, "udp") == 0)
        datagrams(n);
    else if (argc == 3 && strcmp(what, "sink") == 0)
        sink(n);
    else if (argc == 3 && strcmp(what, "echo") == 0) {
        struct sockaddr_in at;
        echo(bound(SOCK_DGRAM, n, &at), 0);
    } else if (argc == 5 && strcmp(what, "send") == 0)
        fill(connected(address(argv[2], atoi(argv[3]))), n);
    else if (argc == 5 && strcmp(what, "ping") == 0)
        ping(address(argv[2], atoi(argv[3])), n);
    else if (argc == 5 && strcmp(what, "http") == 0)
        http(address(argv[2], atoi(argv[3])), n);
    else {
        fprintf(stderr, "bench: see the source\n");
        return 2;
    }
    return 0;
}
