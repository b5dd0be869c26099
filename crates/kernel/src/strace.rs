//! The built-in strace: prints system calls of traced tasks as strace(1) does, from the formats in the
//! system call table.

use std::fmt::Write as _;
use std::rc::Rc;

use abi::Errno;
use abi::signal::{SIGNAL_MAX, SigInfo, SigSet, signal_name};

use crate::kernel::Kernel;
use crate::syscalls::table::{Arg, Row};
use crate::task::{Task, WaitStatus};

/// Bytes of a string that are shown.
const STRING_MAX: usize = 64;

/// Where the lines go.
pub type TraceSink = Box<dyn FnMut(&str)>;

impl Kernel {
    /// Sends the lines of all traced tasks to `sink`.
    pub fn set_trace_sink(&self, sink: Option<TraceSink>) {
        *self.trace_sink.borrow_mut() = sink;
    }

    /// Takes the sink, for a kernel that follows this one.
    pub fn take_trace_sink(&self) -> Option<TraceSink> {
        self.trace_sink.borrow_mut().take()
    }

    fn trace_line(&self, task: &Task, text: &str) {
        // Taken out while it is called: a sink may look at the kernel.
        let sink = self.trace_sink.borrow_mut().take();
        let Some(mut sink) = sink else { return };
        sink(&format!("[pid {:5}] {text}", task.tid()));
        let mut slot = self.trace_sink.borrow_mut();
        if slot.is_none() {
            *slot = Some(sink);
        }
    }

    /// A call begins. Nothing is printed yet, but for calls that do not come back.
    pub(crate) fn trace_enter(&self, task: &Rc<Task>) {
        let number = task.syscall.number.get();
        if matches!(number, 93 | 94 | 221) {
            let call = self.format_call(task, None);
            self.trace_line(task, &call);
        }
    }

    /// A call has completed; `None`: it has no value.
    pub(crate) fn trace_exit(&self, task: &Rc<Task>, value: Option<u64>) {
        let mut line = self.format_call(task, value);
        match value {
            None => line.push_str(" = ?"),
            Some(value) => {
                let signed = value as i64;
                if (-4095..0).contains(&signed) {
                    let errno = Errno(-signed as i32);
                    let _ = write!(line, " = -1 {} ({})", errno.name(), errno.description());
                } else if value > 0xffff_ffff {
                    let _ = write!(line, " = {value:#x}");
                } else {
                    let _ = write!(line, " = {value}");
                }
            }
        }
        self.trace_line(task, &line);
    }

    /// A signal is delivered.
    pub(crate) fn trace_signal(&self, task: &Rc<Task>, info: &SigInfo) {
        let name = signal_name(info.signal);
        self.trace_line(
            task,
            &format!("--- {name} {{si_signo={name}, si_code={}}} ---", info.code),
        );
    }

    /// The task has ended.
    pub(crate) fn trace_end(&self, task: &Rc<Task>, status: WaitStatus) {
        let line = match status {
            WaitStatus::Exited(code) => format!("+++ exited with {code} +++"),
            WaitStatus::Signaled { signal, .. } => {
                format!("+++ killed by {} +++", signal_name(signal))
            }
        };
        self.trace_line(task, &line);
    }

    fn format_call(&self, task: &Rc<Task>, value: Option<u64>) -> String {
        let number = task.syscall.number.get();
        let args = task.syscall.args.get();
        let Some(row) = self.syscall_table.get(number) else {
            return format!(
                "syscall_{number:#x}({:#x}, {:#x}, {:#x})",
                args[0], args[1], args[2]
            );
        };
        let mut text = format!("{}(", row.name);
        for index in 0..row.args.len() {
            if index > 0 {
                text.push_str(", ");
            }
            format_arg(&mut text, task, row, index, &args, value);
        }
        text.push(')');
        text
    }
}

fn format_arg(
    out: &mut String,
    task: &Task,
    row: &Row,
    index: usize,
    args: &[u64; 6],
    value: Option<u64>,
) {
    let arg = args[index];
    let _ = match row.args[index] {
        Arg::Int => write!(out, "{}", arg as i32),
        Arg::Uint => write!(out, "{arg}"),
        Arg::Hex => write!(out, "{arg:#x}"),
        Arg::Ptr if arg == 0 => write!(out, "NULL"),
        Arg::Ptr => write!(out, "{arg:#x}"),
        Arg::Fd => write!(out, "{}", arg as i32),
        Arg::DirFd if arg as i32 == -100 => write!(out, "AT_FDCWD"),
        Arg::DirFd => write!(out, "{}", arg as i32),
        Arg::Path => {
            match peek_string(task, arg) {
                Some(text) => quote(out, &text, false),
                None => {
                    let _ = write!(out, "{arg:#x}");
                }
            }
            Ok(())
        }
        Arg::Buf | Arg::OutBuf => {
            let len = match row.args[index] {
                Arg::OutBuf => value.filter(|&count| (count as i64) >= 0),
                _ => args.get(index + 1).copied(),
            };
            format_buffer(out, task, arg, len);
            Ok(())
        }
        Arg::Mode => write!(out, "{arg:#o}"),
        Arg::OpenFlags => {
            flags(
                out,
                arg & !3,
                OPEN,
                ["O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE"][arg as usize & 3],
            );
            Ok(())
        }
        Arg::Signal => write!(out, "{}", signal_name(arg as u32)),
        Arg::Prot => {
            flags(out, arg, PROT, if arg == 0 { "PROT_NONE" } else { "" });
            Ok(())
        }
        Arg::MapFlags => {
            flags(out, arg, MAP, "");
            Ok(())
        }
        Arg::CloneFlags => {
            flags(out, arg & !0xff, CLONE, "");
            if arg & 0xff != 0 {
                out.push('|');
                out.push_str(&signal_name(arg as u32 & 0xff));
            }
            Ok(())
        }
        Arg::StrList => {
            format_list(out, task, arg);
            Ok(())
        }
        Arg::Timespec => match task.read_time_pair(arg) {
            Ok((sec, nsec)) if arg != 0 => write!(out, "{{tv_sec={sec}, tv_nsec={nsec}}}"),
            _ => write!(out, "NULL"),
        },
        Arg::FutexOp => {
            let name = FUTEX
                .get(arg as usize & 0x7f)
                .copied()
                .unwrap_or("FUTEX_???");
            out.push_str(name);
            if arg & 0x80 != 0 {
                out.push_str("_PRIVATE");
            }
            if arg & 0x100 != 0 {
                out.push_str("|FUTEX_CLOCK_REALTIME");
            }
            Ok(())
        }
        Arg::SigHow => write!(
            out,
            "{}",
            ["SIG_BLOCK", "SIG_UNBLOCK", "SIG_SETMASK"]
                .get(arg as usize)
                .unwrap_or(&"?")
        ),
        Arg::SigSet => match task.read_u64(arg) {
            Ok(bits) if arg != 0 => {
                format_set(out, SigSet(bits));
                Ok(())
            }
            _ => write!(out, "NULL"),
        },
    };
}

fn format_set(out: &mut String, set: SigSet) {
    out.push('[');
    let mut first = true;
    for signal in 1..=SIGNAL_MAX {
        if set.has(signal) {
            if !first {
                out.push(' ');
            }
            first = false;
            out.push_str(signal_name(signal).trim_start_matches("SIG"));
        }
    }
    out.push(']');
}

fn format_buffer(out: &mut String, task: &Task, address: u64, len: Option<u64>) {
    let Some(len) = len.filter(|_| address != 0) else {
        let _ = write!(out, "{address:#x}");
        return;
    };
    let mut bytes = vec![0; (len as usize).min(STRING_MAX)];
    if task.mm().peek(address, &mut bytes).is_ok() {
        quote(out, &bytes, len as usize > STRING_MAX);
    } else {
        let _ = write!(out, "{address:#x}");
    }
}

fn format_list(out: &mut String, task: &Task, address: u64) {
    if address == 0 {
        out.push_str("NULL");
        return;
    }
    let mut count = 0;
    let mut shown = String::from("[");
    while let Ok(pointer) = task.read_u64(address + 8 * count) {
        if pointer == 0 {
            break;
        }
        if count >= 32 {
            shown.push_str(", ...");
            break;
        }
        if count > 0 {
            shown.push_str(", ");
        }
        match peek_string(task, pointer) {
            Some(text) => quote(&mut shown, &text, false),
            None => shown.push('?'),
        }
        count += 1;
    }
    shown.push(']');
    if count > 6 && shown.len() > 400 {
        let _ = write!(out, "{address:#x} /* {count} vars */");
    } else {
        out.push_str(&shown);
    }
}

fn peek_string(task: &Task, address: u64) -> Option<Vec<u8>> {
    if address == 0 {
        return None;
    }
    task.read_string(address, 4096).ok().flatten()
}

fn quote(out: &mut String, bytes: &[u8], cut: bool) {
    out.push('"');
    for &byte in bytes {
        match byte {
            b'\n' => out.push_str("\\n"),
            b'\t' => out.push_str("\\t"),
            b'\r' => out.push_str("\\r"),
            b'"' | b'\\' => {
                out.push('\\');
                out.push(byte as char);
            }
            0x20..0x7f => out.push(byte as char),
            _ => {
                let _ = write!(out, "\\{byte:o}");
            }
        }
    }
    out.push('"');
    if cut {
        out.push_str("...");
    }
}

fn flags(out: &mut String, bits: u64, names: &[(u64, &str)], first: &str) {
    out.push_str(first);
    let mut empty = first.is_empty();
    let mut left = bits;
    for &(bit, name) in names {
        if left & bit == bit {
            left &= !bit;
            if !empty {
                out.push('|');
            }
            empty = false;
            out.push_str(name);
        }
    }
    if left != 0 || empty {
        if !empty {
            out.push('|');
        }
        let _ = write!(out, "{left:#x}");
    }
}

const OPEN: &[(u64, &str)] = &[
    (0o100, "O_CREAT"),
    (0o200, "O_EXCL"),
    (0o400, "O_NOCTTY"),
    (0o1000, "O_TRUNC"),
    (0o2000, "O_APPEND"),
    (0o4000, "O_NONBLOCK"),
    (0o20_200_000, "O_TMPFILE"),
    (0o200_000, "O_DIRECTORY"),
    (0o400_000, "O_NOFOLLOW"),
    (0o2_000_000, "O_CLOEXEC"),
    (0o10_000_000, "O_PATH"),
    (0o100_000, "O_LARGEFILE"),
];
const PROT: &[(u64, &str)] = &[(1, "PROT_READ"), (2, "PROT_WRITE"), (4, "PROT_EXEC")];
const MAP: &[(u64, &str)] = &[
    (1, "MAP_SHARED"),
    (2, "MAP_PRIVATE"),
    (0x10, "MAP_FIXED"),
    (0x20, "MAP_ANONYMOUS"),
    (0x800, "MAP_DENYWRITE"),
    (0x4000, "MAP_NORESERVE"),
    (0x8000, "MAP_POPULATE"),
    (0x2_0000, "MAP_STACK"),
    (0x10_0000, "MAP_FIXED_NOREPLACE"),
];
const CLONE: &[(u64, &str)] = &[
    (0x100, "CLONE_VM"),
    (0x200, "CLONE_FS"),
    (0x400, "CLONE_FILES"),
    (0x800, "CLONE_SIGHAND"),
    (0x1000, "CLONE_PIDFD"),
    (0x4000, "CLONE_VFORK"),
    (0x1_0000, "CLONE_THREAD"),
    (0x2_0000, "CLONE_NEWNS"),
    (0x4_0000, "CLONE_SYSVSEM"),
    (0x8_0000, "CLONE_SETTLS"),
    (0x10_0000, "CLONE_PARENT_SETTID"),
    (0x20_0000, "CLONE_CHILD_CLEARTID"),
    (0x100_0000, "CLONE_CHILD_SETTID"),
    (0x200_0000, "CLONE_NEWCGROUP"),
    (0x400_0000, "CLONE_NEWUTS"),
    (0x800_0000, "CLONE_NEWIPC"),
    (0x1000_0000, "CLONE_NEWUSER"),
    (0x2000_0000, "CLONE_NEWPID"),
    (0x4000_0000, "CLONE_NEWNET"),
];
const FUTEX: &[&str] = &[
    "FUTEX_WAIT",
    "FUTEX_WAKE",
    "FUTEX_FD",
    "FUTEX_REQUEUE",
    "FUTEX_CMP_REQUEUE",
    "FUTEX_WAKE_OP",
    "FUTEX_LOCK_PI",
    "FUTEX_UNLOCK_PI",
    "FUTEX_TRYLOCK_PI",
    "FUTEX_WAIT_BITSET",
    "FUTEX_WAKE_BITSET",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_and_strings_look_like_strace() {
        let mut out = String::new();
        flags(&mut out, 0o2_000_100, OPEN, "O_WRONLY");
        out.push(' ');
        flags(&mut out, 3, PROT, "");
        out.push(' ');
        quote(&mut out, b"a\n\"\x01", true);
        assert_eq!(
            out,
            "O_WRONLY|O_CREAT|O_CLOEXEC PROT_READ|PROT_WRITE \"a\\n\\\"\\1\"..."
        );
    }
}
