#!/usr/bin/env python3
"""Runs tests/transcripts/*.txt on the kernel of this machine: the reference that judges us.

As root: unshare -m python3 tests/on_linux.py [FILE…]. Each file gets an empty tmpfs as its root.
With -u, answers that differ are written into the file. Lines behind "# not on Linux" are skipped
until an empty line. The language is that of tests/suite/script.rs.
"""
import ctypes
import errno
import os
import stat
import sys
import tempfile

libc = ctypes.CDLL(None, use_errno=True)
MS = {"ro": 1, "nosuid": 2, "nodev": 4, "noexec": 8}
REMOUNT, BIND, MOVE, REC = 32, 4096, 8192, 16384
KINDS = {"private": 1 << 18, "slave": 1 << 19, "shared": 1 << 20, "unbindable": 1 << 17}
OPEN = {"r": 0, "w": os.O_WRONLY, "rw": os.O_RDWR, "creat": os.O_CREAT, "excl": os.O_EXCL,
        "trunc": os.O_TRUNC, "append": os.O_APPEND, "directory": os.O_DIRECTORY,
        "nofollow": os.O_NOFOLLOW, "path": os.O_PATH, "tmpfile": os.O_TMPFILE}
files, inodes = {}, {}


def call(function, *args):
    if function(*args) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def mount(source, target, fstype, flags, data=""):
    enc = lambda text: text.encode() if text else None
    call(libc.mount, enc(source), target.encode(), enc(fstype), ctypes.c_ulong(flags), enc(data))


def rename(old, new, flags):
    call(libc.renameat2, -100, old.encode(), -100, new.encode(), flags)


def content(fd, count):
    return os.read(fd, count).decode(errors="replace").replace("\0", ".")


def write(path, flags, words):
    fd = os.open(path, flags, 0o666)
    try:
        os.write(fd, " ".join(words).encode())
    finally:
        os.close(fd)


def kind(mode):
    return {stat.S_IFDIR: "dir", stat.S_IFREG: "file", stat.S_IFLNK: "link", stat.S_IFCHR: "char",
            stat.S_IFBLK: "block", stat.S_IFIFO: "fifo"}.get(stat.S_IFMT(mode), "socket")


def run(words):
    name, args = words[0], words[1:]
    if name == "mkdir":
        os.mkdir(args[0], int(args[1], 8) if args[1:] else 0o777)
    elif name == "write":
        write(args[0], os.O_CREAT | os.O_TRUNC | os.O_WRONLY, args[1:])
    elif name == "append":
        write(args[0], os.O_APPEND | os.O_WRONLY, args[1:])
    elif name == "cat":
        fd = os.open(args[0], os.O_RDONLY)
        try:
            return content(fd, 65536)
        finally:
            os.close(fd)
    elif name == "ls":
        fd = os.open(args[0], os.O_RDONLY | os.O_DIRECTORY)
        try:
            return " ".join(sorted(os.listdir(fd)))
        finally:
            os.close(fd)
    elif name == "rm":
        os.unlink(args[0])
    elif name == "rmdir":
        os.rmdir(args[0])
    elif name == "mv":
        rename(*args, 0)
    elif name == "mv-noreplace":
        rename(*args, 1)
    elif name == "mv-exchange":
        rename(*args, 2)
    elif name == "ln":
        os.link(*args, follow_symlinks=False)
    elif name == "symlink":
        os.symlink(*args)
    elif name == "readlink":
        return os.readlink(args[0])
    elif name == "stat":
        s = os.lstat(args[0])
        size = 0 if stat.S_ISDIR(s.st_mode) else s.st_size
        return f"{kind(s.st_mode)} {stat.S_IMODE(s.st_mode):o} {s.st_uid}:{s.st_gid} {size}"
    elif name == "nlink":
        return str(os.lstat(args[0]).st_nlink)
    elif name == "mtime":
        return str(int(os.lstat(args[0]).st_mtime))
    elif name == "rdev":
        return str(os.lstat(args[0]).st_rdev)
    elif name == "touch":
        os.utime(args[0], (int(args[1]), int(args[1])))
    elif name == "touch-now":
        os.utime(args[0])
    elif name == "chmod":
        os.chmod(args[1], int(args[0], 8))
    elif name == "chown":
        os.chown(args[2], int(args[0]), int(args[1]), follow_symlinks=False)
    elif name == "truncate":
        os.truncate(args[0], int(args[1]))
    elif name == "access":
        call(libc.faccessat, -100, args[0].encode(), int(args[1]), 0x200)
    elif name == "mknod":
        mode = {"c": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}.get(args[1], stat.S_IFSOCK)
        os.mknod(args[0], mode | 0o666, os.makedev(int(args[2]), int(args[3])))
    elif name == "mount":
        mount(args[0], args[1], args[0], 0, args[2] if args[2:] else "")
    elif name in ("bind", "rbind", "move"):
        mount(args[0], args[1], "", {"bind": BIND, "rbind": BIND | REC, "move": MOVE}[name])
    elif name == "remount":
        mount("", args[0], "", REMOUNT | BIND | sum(MS.get(word, 0) for word in args[1].split(",")))
    elif name == "propagate":
        mount("", args[0], "", KINDS[args[1]])
    elif name == "umount":
        call(libc.umount2, args[0].encode(), 0)
    elif name == "umount-lazy":
        call(libc.umount2, args[0].encode(), 2)
    elif name == "setx":
        os.setxattr(args[0], args[1], args[2].encode())
    elif name == "getx":
        return os.getxattr(args[0], args[1]).decode()
    elif name == "rmx":
        os.removexattr(args[0], args[1])
    elif name == "listx":
        return " ".join(sorted(os.listxattr(args[0])))
    elif name == "open":
        flags = 0
        for word in args[2].split(","):
            flags |= OPEN[word]
        fd = os.open(args[1], flags, int(args[3], 8) if args[3:] else 0o666)
        if args[0] in files:
            os.close(files[args[0]])
        files[args[0]] = fd
    elif name == "read":
        return content(files[args[0]], int(args[1]))
    elif name == "put":
        os.write(files[args[0]], " ".join(args[1:]).encode())
    elif name == "seek":
        os.lseek(files[args[0]], int(args[1]), 0)
    elif name == "fstat":
        s = os.fstat(files[args[0]])
        return f"{kind(s.st_mode)} {s.st_size}"
    elif name == "fchmod":
        os.fchmod(files[args[0]], int(args[1], 8))
    elif name == "fname":
        return os.readlink(f"/proc/self/fd/{files[args[0]]}", dir_fd=None)
    elif name == "close":
        os.close(files.pop(args[0]))
    elif name == "inode":
        s = os.lstat(args[1])
        inodes[args[0]] = (s.st_dev, s.st_ino)
    elif name == "same-inode":
        s = os.lstat(args[1])
        folder, base = os.path.split(args[1])
        listed = [entry.inode() for entry in os.scandir(folder) if entry.name == base]
        same = inodes[args[0]] == (s.st_dev, s.st_ino)
        return f"{same} {listed == [s.st_ino]}".lower()
    elif name == "su":
        os.seteuid(0)
        os.setegid(int(args[1]))
        os.setgroups([int(word) for word in args[2:]])
        os.seteuid(int(args[0]))
    elif name == "cd":
        os.chdir(args[0])
    elif name == "pwd":
        buf = ctypes.create_string_buffer(8192)
        libc.syscall(79, buf, 8192)
        return buf.value.decode()
    elif name == "chroot":
        os.chroot(args[0])
    elif name == "pivot":
        call(libc.syscall, 155, args[0].encode(), args[1].encode())
    else:
        raise SystemExit(f"no such command: {words}")
    return ""


def answer(line):
    try:
        return run(line.split())
    except OSError as error:
        return "! " + errno.errorcode[error.errno].replace("ENOTSUP", "EOPNOTSUPP")


def transcript(path, update):
    lines = open(path).read().split("\n")
    folder = tempfile.mkdtemp()
    mount("", "/", "", KINDS["private"] | REC)
    mount("root", folder, "tmpfs", 0, "mode=755")
    result = open(path, "r+") if update else None
    os.umask(0o22)
    os.chdir(folder)
    os.chroot(folder)
    out, bad, index, skip = [], 0, 0, False
    while index < len(lines):
        line = lines[index]
        index += 1
        skip = (skip or line.startswith("# not on Linux")) and line != ""
        out.append(line)
        if skip or not line.startswith("$ "):
            continue
        expected = ""
        if index < len(lines) and lines[index] and lines[index][0] not in "$#":
            expected = lines[index]
            index += 1
        got = answer(line[2:])
        if got != expected:
            bad += 1
            print(f"{path}:{index}: {line[2:]}: {got!r}, transcript says {expected!r}")
        if got:
            out.append(got)
    if result and bad:
        result.seek(0)
        result.truncate()
        result.write("\n".join(out))
        result.close()
    return bad


def main():
    update = "-u" in sys.argv
    here = os.path.dirname(os.path.abspath(__file__)) + "/transcripts"
    names = [name for name in sys.argv[1:] if name != "-u"]
    names = names or sorted(f"{here}/{name}" for name in os.listdir(here))
    failed = 0
    for name in names:
        pid = os.fork()
        if pid == 0:
            os._exit(min(transcript(name, update), 100))
        failed += os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    print(f"{len(names)} files, {failed} differences")
    sys.exit(bool(failed))


main()
