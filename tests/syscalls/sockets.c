/* unix(7), socketpair(2), sendmsg(2), recvmsg(2), getsockopt(2); TCP and UDP on the loopback. */
#define FAMILY "sockets"
#include "check.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

static struct sockaddr_un at(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    return address;
}
#define LEN(path) (offsetof(struct sockaddr_un, sun_path) + strlen(path) + 1)

CASE(creating)
{
    int s[2];
    ERR("no such family", socket(999, SOCK_STREAM, 0), EAFNOSUPPORT);
    ERR("no such type", socket(AF_UNIX, 9, 0), ESOCKTNOSUPPORT);
    ERR("no such protocol", socket(AF_UNIX, SOCK_STREAM, 99), EPROTONOSUPPORT);
    ERR("a pair of TCP", socketpair(AF_INET, SOCK_STREAM, 0, s), EOPNOTSUPP);
    ERR("TCP as datagrams", socket(AF_INET, SOCK_DGRAM, IPPROTO_TCP), EPROTONOSUPPORT);
    int fd = MUST(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)), value;
    socklen_t len = sizeof value;
    EQ("close-on-exec", fcntl(fd, F_GETFD), FD_CLOEXEC);
    EQ("non-blocking", fcntl(fd, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
    EQ("SO_TYPE", (getsockopt(fd, SOL_SOCKET, SO_TYPE, &value, &len), value), SOCK_STREAM);
    EQ("SO_DOMAIN", (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &value, &len), value), AF_UNIX);
    EQ("SO_ACCEPTCONN", (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &value, &len), value), 0);
    EQ("SO_ERROR", (getsockopt(fd, SOL_SOCKET, SO_ERROR, &value, &len), value), 0);
    ERR("an unknown option", setsockopt(fd, SOL_SOCKET, 9999, &value, len), ENOPROTOOPT);
    ERR("an unknown level", getsockopt(fd, 9999, 1, &value, &len), EOPNOTSUPP);
    ERR("not a socket", bind(0, (void *)s, 8), ENOTSOCK);
    ERR("not connected", send(fd, "x", 1, MSG_NOSIGNAL), ENOTCONN);
    ERR("not connected", recv(fd, &value, 1, 0), EINVAL);
    ERR("getpeername", getpeername(fd, (void *)&value, &len), ENOTCONN);
    ERR("accept without listen", accept(fd, NULL, NULL), EINVAL);
    ERR("listen without a name", listen(fd, 1), EINVAL);
    EQ("shutdown of a socket that is not connected", shutdown(socket(AF_UNIX, SOCK_STREAM, 0), SHUT_WR), 0);
    ERR("shutdown of an odd kind", shutdown(fd, 9), EINVAL);
    ERR("read", lseek(fd, 0, SEEK_CUR), ESPIPE);
    struct stat st;
    fstat(fd, &st);
    EQ("fstat", st.st_mode, S_IFSOCK | 0777);
}

CASE(streams)
{
    struct sockaddr_un name = at("sock"), got;
    socklen_t len = sizeof got;
    struct stat st;
    char buf[20];
    int l = MUST(socket(AF_UNIX, SOCK_STREAM, 0)), c = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
    ERR("connect to nothing", connect(c, (void *)&name, sizeof name), ENOENT);
    EQ("bind", bind(l, (void *)&name, LEN("sock")), 0);
    stat("sock", &st);
    EQ("its node", st.st_mode, S_IFSOCK | 0755);
    ERR("bind twice", ({ struct sockaddr_un other = at("other"); bind(l, (void *)&other, LEN("other")); }), EINVAL);
    ERR("bind to the same name", bind(c, (void *)&name, LEN("sock")), EADDRINUSE);
    ERR("connect before listen", connect(c, (void *)&name, LEN("sock")), ECONNREFUSED);
    EQ("listen", listen(l, 1), 0);
    ERR("a datagram socket", ({ int d = socket(AF_UNIX, SOCK_DGRAM, 0); connect(d, (void *)&name, LEN("sock")); }), EPROTOTYPE);
    EQ("connect", connect(c, (void *)&name, LEN("sock")), 0);
    ERR("connect twice", connect(c, (void *)&name, LEN("sock")), EISCONN);
    int a = MUST(accept4(l, (void *)&got, &len, SOCK_CLOEXEC));
    EQ("the client has no name", len, sizeof(sa_family_t));
    len = sizeof got;
    EQ("getpeername of the client", (getpeername(c, (void *)&got, &len), strcmp(got.sun_path, "sock")), 0);
    EQ("its length", len, LEN("sock"));
    len = sizeof got;
    EQ("getsockname of the accepted", (getsockname(a, (void *)&got, &len), strcmp(got.sun_path, "sock")), 0);
    EQ("write", write(c, "hello", 5), 5);
    EQ("peek", recv(a, buf, 5, MSG_PEEK), 5);
    EQ("read a part", recv(a, buf, 2, 0), 2);
    int pending;
    EQ("FIONREAD", (ioctl(a, FIONREAD, &pending), pending), 3);
    EQ("the rest", recv(a, buf, 20, 0), 3);
    ERR("MSG_DONTWAIT", recv(a, buf, 1, MSG_DONTWAIT), EAGAIN);
    EQ("shutdown", shutdown(c, SHUT_WR), 0);
    EQ("the end", recv(a, buf, 1, 0), 0);
    EQ("the other way works", write(a, "x", 1), 1);
    ERR("a closed half", send(c, "x", 1, MSG_NOSIGNAL), EPIPE);
    EQ("SIGPIPE", KILLER_OF(write(c, "x", 1)), SIGPIPE);
    struct pollfd pfd = {a, POLLIN | POLLRDHUP | POLLOUT, 0};
    EQ("poll", (poll(&pfd, 1, 0), pfd.revents), POLLIN | POLLRDHUP | POLLOUT);
    close(c);
    EQ("poll after close", (poll(&pfd, 1, 0), pfd.revents & (POLLHUP | POLLIN)), POLLHUP | POLLIN);
    ERR("data that was not read is a reset", read(a, buf, 1), ECONNRESET);
    ERR("write to nobody", send(a, "x", 1, MSG_NOSIGNAL), EPIPE);
    close(l);
    c = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
    ERR("the name stays, nobody listens", connect(c, (void *)&name, LEN("sock")), ECONNREFUSED);
    EQ("a long wait is taken up", unlink("sock"), 0);
}

CASE(backlog)
{
    struct sockaddr_un name = at("sock");
    int l = MUST(socket(AF_UNIX, SOCK_STREAM, 0)), c[4];
    MUST(bind(l, (void *)&name, LEN("sock")));
    MUST(listen(l, 1));
    for (int i = 0; i < 4; i++) c[i] = MUST(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0));
    EQ("first", connect(c[0], (void *)&name, LEN("sock")), 0);
    EQ("second", connect(c[1], (void *)&name, LEN("sock")), 0);
    ERR("the queue is full", connect(c[2], (void *)&name, LEN("sock")), EAGAIN);
    struct pollfd pfd = {l, POLLIN, 0};
    EQ("poll", poll(&pfd, 1, 0), 1);
    close(accept(l, NULL, NULL));
    EQ("room again", connect(c[2], (void *)&name, LEN("sock")), 0);
    fcntl(l, F_SETFL, O_NONBLOCK);
    close(accept(l, NULL, NULL));
    close(accept(l, NULL, NULL));
    ERR("nobody more", accept(l, NULL, NULL), EAGAIN);
}

CASE(datagrams)
{
    struct sockaddr_un name = at("a"), other = at("b"), got;
    socklen_t len = sizeof got;
    char buf[20];
    int a = MUST(socket(AF_UNIX, SOCK_DGRAM, 0)), b = MUST(socket(AF_UNIX, SOCK_DGRAM, 0));
    MUST(bind(a, (void *)&name, LEN("a")));
    MUST(bind(b, (void *)&other, LEN("b")));
    EQ("sendto", sendto(a, "hello", 5, 0, (void *)&other, LEN("b")), 5);
    EQ("sendto nothing", sendto(a, "", 0, 0, (void *)&other, LEN("b")), 0);
    EQ("cut", recvfrom(b, buf, 3, 0, (void *)&got, &len), 3);
    EQ("from", strcmp(got.sun_path, "a"), 0);
    EQ("an empty one", recv(b, buf, 20, 0), 0);
    ERR("then none", recv(b, buf, 20, MSG_DONTWAIT), EAGAIN);
    sendto(a, "hello", 5, 0, (void *)&other, LEN("b"));
    EQ("MSG_TRUNC gives the real length", recv(b, buf, 2, MSG_TRUNC), 5);
    struct iovec iov = {buf, 2};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    sendto(a, "hello", 5, 0, (void *)&other, LEN("b"));
    EQ("recvmsg", recvmsg(b, &msg, 0), 2);
    EQ("says that it is cut", msg.msg_flags & MSG_TRUNC, MSG_TRUNC);
    EQ("connect", connect(a, (void *)&other, LEN("b")), 0);
    EQ("send", send(a, "x", 1, 0), 1);
    recv(b, buf, 1, 0);
    ERR("without a destination", send(b, "x", 1, 0), ENOTCONN);
    ERR("listen", listen(a, 1), EOPNOTSUPP);
    ERR("accept", accept(a, NULL, NULL), EOPNOTSUPP);
    close(b);
    ERR("the other is gone", send(a, "x", 1, 0), ECONNREFUSED);
    struct sockaddr none = {AF_UNSPEC};
    EQ("disconnect", connect(a, &none, sizeof none), 0);
    ERR("then", send(a, "x", 1, 0), ENOTCONN);
}

CASE(sequenced_packets)
{
    int s[2];
    char buf[20];
    MUST(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, s));
    write(s[0], "one", 3);
    write(s[0], "three", 5);
    EQ("packets stay apart", read(s[1], buf, 20), 3);
    EQ("the rest is lost", read(s[1], buf, 2), 2);
    ERR("nothing more", recv(s[1], buf, 20, MSG_DONTWAIT), EAGAIN);
    close(s[0]);
    EQ("the end", read(s[1], buf, 20), 0);
    ERR("write to nobody", send(s[1], "x", 1, MSG_NOSIGNAL), EPIPE);
}

CASE(abstract_names)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX}, got;
    socklen_t len = sizeof got;
    memcpy(name.sun_path, "\0syscalls-abstract\0x", 20);
    int l = MUST(socket(AF_UNIX, SOCK_STREAM, 0)), c = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
    EQ("bind", bind(l, (void *)&name, 2 + 20), 0);
    listen(l, 1);
    ERR("every byte counts", connect(c, (void *)&name, 2 + 19), ECONNREFUSED);
    EQ("connect", connect(c, (void *)&name, 2 + 20), 0);
    EQ("getsockname", (getsockname(l, (void *)&got, &len), len), 22);
    close(l);
    l = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
    EQ("the name is free at once", bind(l, (void *)&name, 2 + 20), 0);
    int a = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
    EQ("a name is made up", bind(a, (void *)&name, 2), 0);
    len = sizeof got;
    getsockname(a, (void *)&got, &len);
    EQ("of five hex digits", len == 2 + 6 && got.sun_path[0] == 0, 1);
    ERR("too long", bind(c, (void *)&name, 200), EINVAL);
    ERR("another family", ({ name.sun_family = AF_INET; int q = socket(AF_UNIX, SOCK_STREAM, 0); bind(q, (void *)&name, 22); }), EINVAL);
}

CASE(passing_descriptors)
{
    int s[2], p[2];
    char buf[4], control[CMSG_SPACE(sizeof(int) * 2)] = {};
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    MUST(pipe(p));
    struct iovec iov = {"x", 1};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = CMSG_SPACE(sizeof(int) * 2)};
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    *c = (struct cmsghdr){.cmsg_len = CMSG_LEN(8), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
    memcpy(CMSG_DATA(c), p, 8);
    EQ("send", sendmsg(s[0], &msg, 0), 1);
    close(p[1]);
    struct iovec in = {buf, 4};
    struct msghdr rec = {.msg_iov = &in, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    EQ("receive", recvmsg(s[1], &rec, MSG_CMSG_CLOEXEC), 1);
    c = CMSG_FIRSTHDR(&rec);
    EQ("two descriptors", c ? c->cmsg_len : 0, CMSG_LEN(8));
    int got[2] = {-1, -1};
    if (c) memcpy(got, CMSG_DATA(c), 8);
    EQ("close-on-exec", fcntl(got[0], F_GETFD), FD_CLOEXEC);
    EQ("they work", write(got[1], "y", 1), 1);
    EQ("with the old ones", read(p[0], buf, 1), 1);
    msg.msg_controllen = CMSG_SPACE(8);
    c = CMSG_FIRSTHDR(&msg);
    *c = (struct cmsghdr){.cmsg_len = CMSG_LEN(8), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
    memcpy(CMSG_DATA(c), got, 8);
    sendmsg(s[0], &msg, 0);
    char small[CMSG_SPACE(sizeof(int))];
    rec.msg_control = small;
    rec.msg_controllen = CMSG_LEN(sizeof(int));
    recvmsg(s[1], &rec, 0);
    EQ("no room for all", rec.msg_flags & MSG_CTRUNC, MSG_CTRUNC);
    rec.msg_control = control;
    int bad = 99;
    memcpy(CMSG_DATA(c), &bad, 4);
    c->cmsg_len = CMSG_LEN(4);
    msg.msg_controllen = CMSG_SPACE(4);
    ERR("a bad descriptor", sendmsg(s[0], &msg, 0), EBADF);
    MUST(pipe(p));
    memcpy(CMSG_DATA(c), &p[1], 4);
    c->cmsg_len = CMSG_LEN(4);
    sendmsg(s[0], &msg, 0);
    close(p[1]);
    fcntl(p[0], F_SETFL, O_NONBLOCK);
    ERR("in flight it is open", read(p[0], buf, 1), EAGAIN);
    close(s[0]);
    close(s[1]);
    EQ("gone with its socket", read(p[0], buf, 1), 0);
}

CASE(credentials)
{
    int s[2], one = 1;
    char buf[4], control[CMSG_SPACE(sizeof(struct ucred))] = {};
    struct ucred peer = {};
    socklen_t len = sizeof peer;
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    EQ("SO_PEERCRED", getsockopt(s[0], SOL_SOCKET, SO_PEERCRED, &peer, &len), 0);
    EQ("pid", peer.pid, getpid());
    EQ("uid", peer.uid, getuid());
    EQ("SO_PASSCRED", setsockopt(s[1], SOL_SOCKET, SO_PASSCRED, &one, sizeof one), 0);
    pid_t child = CHILD({ write(s[0], "x", 1); });
    struct iovec in = {buf, 4};
    struct msghdr rec = {.msg_iov = &in, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    recvmsg(s[1], &rec, 0);
    struct cmsghdr *c = CMSG_FIRSTHDR(&rec);
    EQ("SCM_CREDENTIALS", c ? c->cmsg_type : -1, SCM_CREDENTIALS);
    if (c) memcpy(&peer, CMSG_DATA(c), sizeof peer);
    EQ("the sender's pid", peer.pid, child);
    wait_status(child);
    NEEDS(geteuid() ? -1 : 0);
    EQ("forged by a user", EXIT_OF({
        drop_to(1000);
        struct iovec iov = {"x", 1};
        struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
        struct cmsghdr *h = CMSG_FIRSTHDR(&msg);
        *h = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof peer), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_CREDENTIALS};
        peer = (struct ucred){getpid(), 0, 0};
        memcpy(CMSG_DATA(h), &peer, sizeof peer);
        _exit(sendmsg(s[0], &msg, 0) < 0 ? errno : 0);
    }), EPERM);
    chmod(".", 0777);
    struct sockaddr_un name = at("private");
    int l = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
    bind(l, (void *)&name, LEN("private"));
    listen(l, 1);
    chmod("private", 0700);
    EQ("connecting needs write permission", EXIT_OF({ drop_to(1000); int q = socket(AF_UNIX, SOCK_STREAM, 0); _exit(connect(q, (void *)&name, LEN("private")) ? errno : 0); }), EACCES);
}

CASE(many_messages)
{
    int s[2];
    MUST(socketpair(AF_UNIX, SOCK_DGRAM, 0, s));
    char a[2][4];
    struct iovec out[2] = {{"one", 3}, {"two", 3}}, in[2] = {{a[0], 4}, {a[1], 4}};
    struct mmsghdr messages[2] = {{.msg_hdr = {.msg_iov = &out[0], .msg_iovlen = 1}}, {.msg_hdr = {.msg_iov = &out[1], .msg_iovlen = 1}}};
    EQ("sendmmsg", sendmmsg(s[0], messages, 2, 0), 2);
    EQ("lengths", messages[0].msg_len + messages[1].msg_len, 6);
    struct mmsghdr got[2] = {{.msg_hdr = {.msg_iov = &in[0], .msg_iovlen = 1}}, {.msg_hdr = {.msg_iov = &in[1], .msg_iovlen = 1}}};
    EQ("recvmmsg", recvmmsg(s[1], got, 2, MSG_DONTWAIT, NULL), 2);
    CHECK("content", !memcmp(a[0], "one", 3) && !memcmp(a[1], "two", 3));
    struct timeval tv = {0, 20000};
    setsockopt(s[1], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
    long before = now_ms();
    ERR("SO_RCVTIMEO", recv(s[1], a, 1, 0), EAGAIN);
    CHECK("after that time", now_ms() - before >= 19);
    tv = (struct timeval){0, 2000000};
    ERR("a bad time", setsockopt(s[1], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv), EDOM);
    int n = 0;
    while (send(s[0], "x", 1, MSG_DONTWAIT) == 1 && n < 100000) n++;
    CHECK("a full queue", errno == EAGAIN && n > 5);
}

CASE(tcp)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}, got;
    socklen_t len = sizeof got;
    char buf[20];
    int value, one = 1;
    int l = MUST(socket(AF_INET, SOCK_STREAM, 0)), c = MUST(socket(AF_INET, SOCK_STREAM, 0));
    MUST(bind(l, (void *)&name, sizeof name));
    getsockname(l, (void *)&name, &len);
    CHECK("a port is chosen", ntohs(name.sin_port) >= 1024);
    ERR("nobody listens", connect(c, (void *)&name, sizeof name), ECONNREFUSED);
    EQ("listen", listen(l, 5), 0);
    c = MUST(socket(AF_INET, SOCK_STREAM, 0));
    EQ("connect", connect(c, (void *)&name, sizeof name), 0);
    len = sizeof got;
    int a = MUST(accept(l, (void *)&got, &len));
    EQ("address of the client", got.sin_addr.s_addr, htonl(INADDR_LOOPBACK));
    len = sizeof buf;
    EQ("SO_BINDTODEVICE", getsockopt(c, SOL_SOCKET, SO_BINDTODEVICE, buf, &len), 0);
    EQ("to none", len, 0);
    int bound = MUST(socket(AF_INET, SOCK_DGRAM, 0));
    EQ("to lo", setsockopt(bound, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3), 0);
    len = sizeof buf;
    EQ("whose name", (getsockopt(bound, SOL_SOCKET, SO_BINDTODEVICE, buf, &len), len), 3);
    EQ("is told", strcmp(buf, "lo"), 0);
    len = 8;
    ERR("with room for any name", getsockopt(bound, SOL_SOCKET, SO_BINDTODEVICE, buf, &len), EINVAL);
    ERR("no such device", setsockopt(bound, SOL_SOCKET, SO_BINDTODEVICE, "no0", 4), ENODEV);
    EQ("TCP_NODELAY", setsockopt(c, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one), 0);
    len = sizeof value;
    EQ("kept", (getsockopt(c, IPPROTO_TCP, TCP_NODELAY, &value, &len), value), 1);
    EQ("send", send(c, "hello", 5, 0), 5);
    EQ("receive all", recv(a, buf, 5, MSG_WAITALL), 5);
    shutdown(c, SHUT_WR);
    EQ("the end", recv(a, buf, 5, 0), 0);
    EQ("the other half is open", send(a, "x", 1, 0), 1);
    EQ("receive", recv(c, buf, 5, 0), 1);
    int second = MUST(socket(AF_INET, SOCK_STREAM, 0));
    ERR("the port is in use", bind(second, (void *)&name, sizeof name), EADDRINUSE);
    int n = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    int first = connect(n, (void *)&name, sizeof name);
    CHECK("a non-blocking connect", first == 0 || errno == EINPROGRESS);
    struct pollfd pfd = {n, POLLOUT, 0};
    EQ("is writable when it is there", poll(&pfd, 1, 2000), 1);
    EQ("without an error", (getsockopt(n, SOL_SOCKET, SO_ERROR, &value, &len), value), 0);
    close(accept(l, NULL, NULL));
    name.sin_addr.s_addr = htonl(0xc0000201);
    ERR("a name that is not ours", bind(second, (void *)&name, sizeof name), EADDRNOTAVAIL);
    ERR("a short address", bind(second, (void *)&name, 4), EINVAL);
    struct linger hard = {1, 0};
    setsockopt(a, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    close(a);
    ERR("SO_LINGER 0 resets", ({ usleep(2000); recv(c, buf, 1, 0); }), ECONNRESET);
}

CASE(udp)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}, got;
    socklen_t len = sizeof name;
    char buf[20];
    int a = MUST(socket(AF_INET, SOCK_DGRAM, 0)), b = MUST(socket(AF_INET, SOCK_DGRAM, 0));
    MUST(bind(a, (void *)&name, sizeof name));
    getsockname(a, (void *)&name, &len);
    EQ("sendto", sendto(b, "hello", 5, 0, (void *)&name, sizeof name), 5);
    len = sizeof got;
    EQ("recvfrom", recvfrom(a, buf, 3, 0, (void *)&got, &len), 3);
    ERR("the rest is lost", recv(a, buf, 3, MSG_DONTWAIT), EAGAIN);
    EQ("answer", sendto(a, "x", 1, 0, (void *)&got, sizeof got), 1);
    EQ("received", recv(b, buf, 20, 0), 1);
    ERR("no destination", send(b, "x", 1, 0), EDESTADDRREQ);
    EQ("connect", connect(b, (void *)&name, sizeof name), 0);
    EQ("send", send(b, "x", 1, 0), 1);
    close(a);
    send(b, "x", 1, 0);
    ERR("nobody is there", ({ usleep(2000); send(b, "x", 1, 0); }), ECONNREFUSED);
}
