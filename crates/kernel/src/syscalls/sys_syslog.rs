//! System calls: the kernel log (`syslog(2)`), which `dmesg` reads.

use std::cell::Cell;
use std::rc::Rc;

use abi::{Errno, Result};
use vfs::Capability;

use super::table::{Arg, Row};
use super::{Block, SysResult};
use crate::kernel::{Kernel, LogLine};
use crate::task::Task;

/// The rows of this family.
pub const ROWS: &[Row] = &[Row::full(
    116,
    "syslog",
    sys_syslog,
    &[Arg::Int, Arg::Ptr, Arg::Int],
)];

/// What `SYSLOG_ACTION_SIZE_BUFFER` says.
const BUFFER_SIZE: u64 = 1 << 17;

#[allow(missing_docs, reason = "named as in syslog(2)")]
mod action {
    pub const CLOSE: u64 = 0;
    pub const OPEN: u64 = 1;
    pub const READ: u64 = 2;
    pub const READ_ALL: u64 = 3;
    pub const READ_CLEAR: u64 = 4;
    pub const CLEAR: u64 = 5;
    pub const CONSOLE_OFF: u64 = 6;
    pub const CONSOLE_ON: u64 = 7;
    pub const CONSOLE_LEVEL: u64 = 8;
    pub const SIZE_UNREAD: u64 = 9;
    pub const SIZE_BUFFER: u64 = 10;
}

/// How far the log was read and cleared, as numbers of lines.
#[derive(Default)]
struct Marks {
    read: Cell<u64>,
    cleared: Cell<u64>,
}

fn text_of(k: &Kernel, line: &LogLine) -> String {
    let micros = line.at.since(k.boot) / 1000;
    let (seconds, rest) = (micros / 1_000_000, micros % 1_000_000);
    format!("<6>[{seconds:>5}.{rest:06}] {}\n", line.text)
}

fn may_read(k: &Kernel, t: &Task, what: u64) -> Result<()> {
    let for_all = matches!(what, action::READ_ALL | action::SIZE_BUFFER);
    if for_all || k.capable(t, Capability::Syslog) || k.capable(t, Capability::SysAdmin) {
        Ok(())
    } else {
        Err(Errno::EPERM)
    }
}

fn sys_syslog(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
    let (what, address, len) = (u64::from(a[0] as u32), a[1], a[2] as i32);
    may_read(k, t, what)?;
    let marks = k.extension(Marks::default);
    let lines = k.log_lines();
    let end = lines.last().map_or(0, |line| line.sequence + 1);
    let reads = matches!(what, action::READ | action::READ_ALL | action::READ_CLEAR);
    if reads && (address == 0 || len < 0) {
        return Err(Errno::EINVAL.into());
    }
    if reads && len == 0 {
        return Ok(0);
    }
    match what {
        action::CLOSE | action::OPEN | action::CONSOLE_OFF | action::CONSOLE_ON => Ok(0),
        action::CONSOLE_LEVEL if (1..=8).contains(&len) => Ok(0),
        action::READ => {
            let mut text = String::new();
            for line in lines
                .iter()
                .filter(|line| line.sequence >= marks.read.get())
            {
                let more = text_of(k, line);
                if text.len() + more.len() > len as usize {
                    break;
                }
                text.push_str(&more);
                marks.read.set(line.sequence + 1);
            }
            if text.is_empty() {
                k.log_wait.register(t.waker());
                return Err(Block::restartable());
            }
            t.write_memory(address, text.as_bytes())?;
            Ok(text.len() as u64)
        }
        action::READ_ALL | action::READ_CLEAR => {
            // The newest lines that fit, whole ones.
            let shown = lines
                .iter()
                .filter(|line| line.sequence >= marks.cleared.get());
            let texts: Vec<String> = shown.map(|line| text_of(k, line)).collect();
            let mut room = len as usize;
            let mut first = texts.len();
            while first > 0 && texts[first - 1].len() <= room {
                first -= 1;
                room -= texts[first].len();
            }
            let text = texts[first..].concat();
            t.write_memory(address, text.as_bytes())?;
            if what == action::READ_CLEAR {
                marks.cleared.set(end);
            }
            Ok(text.len() as u64)
        }
        action::CLEAR => {
            marks.cleared.set(end);
            Ok(0)
        }
        action::SIZE_UNREAD => {
            let unread = lines
                .iter()
                .filter(|line| line.sequence >= marks.read.get());
            Ok(unread.map(|line| text_of(k, line).len() as u64).sum())
        }
        action::SIZE_BUFFER => Ok(BUFFER_SIZE),
        _ => Err(Errno::EINVAL.into()),
    }
}
