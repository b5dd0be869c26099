//! The system call table: one row per call with number, name, function, support level, note and the
//! format of its arguments for strace. `docs/syscalls.md` is printed from it.
//!
//! Numbers: asm-generic/unistd.h, as riscv64 uses them.

use super::{SyscallFn, sys_enosys};

/// How much of a call there is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Support {
    /// All that programs use.
    Full,
    /// The note says what is missing.
    Partial,
    /// Refused on purpose; the note says how and why.
    Refused,
}

/// How strace prints an argument.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arg {
    /// Signed decimal.
    Int,
    /// Unsigned decimal.
    Uint,
    /// Hexadecimal.
    Hex,
    /// An address; 0 is NULL.
    Ptr,
    /// A descriptor.
    Fd,
    /// A directory descriptor or AT_FDCWD.
    DirFd,
    /// A string in memory.
    Path,
    /// Bytes in memory; the next argument is their number.
    Buf,
    /// Bytes in memory as the call left them; its value is their number.
    OutBuf,
    /// Octal.
    Mode,
    /// `O_…`.
    OpenFlags,
    /// A signal number.
    Signal,
    /// `PROT_…`.
    Prot,
    /// `MAP_…`.
    MapFlags,
    /// `CLONE_…`.
    CloneFlags,
    /// NULL-terminated list of strings.
    StrList,
    /// `struct timespec`.
    Timespec,
    /// A futex operation.
    FutexOp,
    /// `SIG_BLOCK` and its like.
    SigHow,
    /// A signal set of 8 bytes.
    SigSet,
}

/// One call.
pub struct Row {
    /// Number.
    pub nr: u16,
    /// Name.
    pub name: &'static str,
    /// What does it.
    pub call: SyscallFn,
    /// How much of it there is.
    pub support: Support,
    /// What is missing, or why.
    pub note: &'static str,
    /// Arguments.
    pub args: &'static [Arg],
}

impl Row {
    /// A call that is all there.
    #[must_use]
    pub const fn full(nr: u16, name: &'static str, call: SyscallFn, args: &'static [Arg]) -> Row {
        Row {
            nr,
            name,
            call,
            support: Support::Full,
            note: "",
            args,
        }
    }

    /// A call of which something is missing.
    #[must_use]
    pub const fn partial(
        nr: u16,
        name: &'static str,
        call: SyscallFn,
        args: &'static [Arg],
        note: &'static str,
    ) -> Row {
        Row {
            nr,
            name,
            call,
            support: Support::Partial,
            note,
            args,
        }
    }

    /// A call that is refused by `call`.
    #[must_use]
    pub const fn refused(
        nr: u16,
        name: &'static str,
        call: SyscallFn,
        args: &'static [Arg],
        note: &'static str,
    ) -> Row {
        Row {
            nr,
            name,
            call,
            support: Support::Refused,
            note,
            args,
        }
    }

    /// A call that does not exist here on purpose: `ENOSYS` without a log line.
    #[must_use]
    pub const fn enosys(nr: u16, name: &'static str, note: &'static str) -> Row {
        Row {
            nr,
            name,
            call: sys_enosys,
            support: Support::Refused,
            note,
            args: &[],
        }
    }
}

/// All families.
const FAMILIES: &[&[Row]] = &[
    super::sys_dir::ROWS,
    super::sys_epoll::ROWS,
    super::sys_eventfd::ROWS,
    super::sys_file::ROWS,
    super::sys_futex::ROWS,
    super::sys_id::ROWS,
    super::sys_inotify::ROWS,
    super::sys_ipc::ROWS,
    super::sys_ipc_queues::ROWS,
    super::sys_lock::ROWS,
    super::sys_memory::ROWS,
    super::sys_misc::ROWS,
    super::sys_mount::ROWS,
    super::sys_namespace::ROWS,
    super::sys_pipe::ROWS,
    super::sys_poll::ROWS,
    super::sys_prctl::ROWS,
    super::sys_process::ROWS,
    super::sys_read_write::ROWS,
    super::sys_resource::ROWS,
    super::sys_sched::ROWS,
    super::sys_signal::ROWS,
    super::sys_socket::ROWS,
    super::sys_splice::ROWS,
    super::sys_stat::ROWS,
    super::sys_sync::ROWS,
    super::sys_syslog::ROWS,
    super::sys_time::ROWS,
    super::sys_tty::ROWS,
    super::sys_xattr::ROWS,
];

/// One above the highest number.
const NUMBERS: usize = 512;

/// The rows by number.
pub struct Table(Box<[Option<&'static Row>; NUMBERS]>);

impl Default for Table {
    fn default() -> Self {
        let mut rows = Box::new([None; NUMBERS]);
        for row in all_rows() {
            rows[usize::from(row.nr)] = Some(row);
        }
        Table(rows)
    }
}

impl Table {
    /// The row of a number.
    #[must_use]
    pub fn get(&self, number: u64) -> Option<&'static Row> {
        if number < NUMBERS as u64 {
            self.0[number as usize]
        } else {
            None
        }
    }
}

/// Every row, family by family.
pub fn all_rows() -> impl Iterator<Item = &'static Row> {
    FAMILIES.iter().flat_map(|rows| rows.iter())
}

/// `docs/syscalls.md`.
#[must_use]
pub fn document() -> String {
    let mut rows: Vec<_> = all_rows().collect();
    rows.sort_by_key(|row| row.nr);
    let count = |support| rows.iter().filter(|row| row.support == support).count();
    let mut text = format!(
        "# System calls\n\n\
         Printed from `crates/kernel/src/syscalls/table.rs` by \
         `cargo run -p kernel --example syscalls > docs/syscalls.md`; a test compares.\n\n\
         {} full, {} partial, {} refused on purpose. A call that is not listed answers `ENOSYS` and leaves a \
         line in the kernel log.\n\n\
         | number | name | support | note |\n|---:|---|---|---|\n",
        count(Support::Full),
        count(Support::Partial),
        count(Support::Refused),
    );
    for row in rows {
        let support = match row.support {
            Support::Full => "full",
            Support::Partial => "partial",
            Support::Refused => "refused",
        };
        text.push_str(&format!(
            "| {} | `{}` | {support} | {} |\n",
            row.nr, row.name, row.note
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn every_number_and_name_is_there_once() {
        let (mut numbers, mut names) = (BTreeMap::new(), BTreeMap::new());
        for row in all_rows() {
            assert!(usize::from(row.nr) < NUMBERS);
            assert!(row.args.len() <= 6, "{}", row.name);
            if let Some(other) = numbers.insert(row.nr, row.name) {
                panic!("{} and {} are both {}", other, row.name, row.nr);
            }
            assert!(
                names.insert(row.name, row.nr).is_none(),
                "{} twice",
                row.name
            );
            assert_eq!(
                row.support == Support::Full,
                row.note.is_empty(),
                "{}: a note says why",
                row.name
            );
        }
    }

    #[test]
    fn the_printed_table_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/syscalls.md");
        let kept = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            kept == document(),
            "docs/syscalls.md is old: cargo run -p kernel --example syscalls > docs/syscalls.md"
        );
    }
}
