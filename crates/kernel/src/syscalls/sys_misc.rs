//! System calls that belong to no family: uname, getrandom, hwprobe, and those refused on purpose.
//!
//! Source: `uname(2)`, `getrandom(2)`; linux/Documentation/arch/riscv/hwprobe.rst.

use std::rc::Rc;

use abi::Errno;

use super::table::{Arg, Row};
use super::{SysResult, sys_eperm};
use crate::kernel::Kernel;
use crate::task::Task;

use Arg::{Hex, Int, Ptr, Uint};

/// The rows of this family.
pub const ROWS: &[Row] = &[
    Row::full(160, "uname", sys_uname, &[Ptr]),
    Row::full(278, "getrandom", sys_getrandom, &[Ptr, Uint, Hex]),
    Row::full(
        258,
        "riscv_hwprobe",
        sys_riscv_hwprobe,
        &[Ptr, Uint, Uint, Ptr, Hex],
    ),
    Row::full(
        259,
        "riscv_flush_icache",
        sys_flush_icache,
        &[Ptr, Ptr, Hex],
    ),
    Row::partial(
        crate::builtin::NUMBER,
        "builtin",
        crate::builtin::sys_builtin,
        &[Uint, Ptr],
        "not of Linux: how builtin programs (dockerd) are carried out",
    ),
    Row::partial(
        142,
        "reboot",
        crate::power::sys_reboot,
        &[Hex, Hex, Hex, Ptr],
        "no second kernel (KEXEC), no suspension (SW_SUSPEND): EINVAL",
    ),
    Row::partial(
        277,
        "seccomp",
        crate::seccomp::sys_seccomp,
        &[Uint, Hex, Ptr],
        "no user notification, no tracer (ENOSYS)",
    ),
    Row::refused(
        117,
        "ptrace",
        sys_eperm,
        &[Int, Int, Ptr, Ptr],
        "use the built-in strace",
    ),
    Row::refused(
        105,
        "init_module",
        sys_eperm,
        &[Ptr, Uint, Ptr],
        "there are no modules",
    ),
    Row::refused(
        106,
        "delete_module",
        sys_eperm,
        &[Ptr, Hex],
        "there are no modules",
    ),
    Row::refused(
        273,
        "finit_module",
        sys_eperm,
        &[Int, Ptr, Hex],
        "there are no modules",
    ),
    Row::refused(224, "swapon", sys_eperm, &[Ptr, Hex], "there is no swap"),
    Row::refused(225, "swapoff", sys_eperm, &[Ptr], "there is no swap"),
    Row::enosys(0, "io_setup", "Linux AIO: programs fall back to threads"),
    Row::enosys(1, "io_destroy", "see io_setup"),
    Row::enosys(2, "io_submit", "see io_setup"),
    Row::enosys(3, "io_cancel", "see io_setup"),
    Row::enosys(4, "io_getevents", "see io_setup"),
    Row::enosys(18, "lookup_dcookie", "no profiler"),
    Row::enosys(42, "nfsservctl", "obsolete"),
    Row::enosys(60, "quotactl", "no quotas"),
    Row::enosys(104, "kexec_load", "no second kernel"),
    Row::enosys(217, "add_key", "no key rings"),
    Row::enosys(218, "request_key", "no key rings"),
    Row::enosys(219, "keyctl", "no key rings"),
    Row::enosys(238, "migrate_pages", "no NUMA"),
    Row::enosys(239, "move_pages", "no NUMA"),
    Row::enosys(241, "perf_event_open", "no performance counters"),
    Row::enosys(272, "kcmp", "no checkpointing"),
    Row::enosys(280, "bpf", "no BPF"),
    Row::enosys(282, "userfaultfd", "no user fault handling"),
    Row::enosys(293, "rseq", "glibc goes on without it"),
    Row::enosys(425, "io_uring_setup", "libuv and MariaDB fall back"),
    Row::enosys(426, "io_uring_enter", "see io_uring_setup"),
    Row::enosys(427, "io_uring_register", "see io_uring_setup"),
    Row::enosys(444, "landlock_create_ruleset", "no Landlock"),
    Row::enosys(445, "landlock_add_rule", "no Landlock"),
    Row::enosys(446, "landlock_restrict_self", "no Landlock"),
    Row::enosys(447, "memfd_secret", "no secret memory"),
];

/// Length of a field of `struct utsname`.
const FIELD: usize = 65;
/// Most bytes one getrandom gives at once, as Linux for large requests.
const RANDOM_MAX: u64 = 32 << 20;
const RANDOM_CHUNK: usize = 4096;

fn sys_uname(k: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    let ns = t.ns();
    let (host, domain) = (ns.uts.hostname(), ns.uts.domainname());
    let version = b"#1 SMP Drydock";
    let fields: [&[u8]; 6] = [
        b"Linux",
        &host,
        k.config.release.as_bytes(),
        version,
        b"riscv64",
        &domain,
    ];
    let mut out = [0; 6 * FIELD];
    for (index, field) in fields.iter().enumerate() {
        let len = field.len().min(FIELD - 1);
        out[index * FIELD..index * FIELD + len].copy_from_slice(&field[..len]);
    }
    t.write_memory(args[0], &out)?;
    Ok(0)
}

fn sys_getrandom(k: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    const NONBLOCK: u64 = 1;
    const RANDOM: u64 = 2;
    const INSECURE: u64 = 4;
    let [address, len, flags, ..] = *args;
    if flags & !(NONBLOCK | RANDOM | INSECURE) != 0
        || flags & (RANDOM | INSECURE) == RANDOM | INSECURE
    {
        return Err(Errno::EINVAL.into());
    }
    let len = len.min(RANDOM_MAX);
    let mut done = 0;
    let mut chunk = [0; RANDOM_CHUNK];
    while done < len {
        let part = ((len - done) as usize).min(RANDOM_CHUNK);
        k.rng.fill(&mut chunk[..part]);
        match t.write_memory(address.wrapping_add(done), &chunk[..part]) {
            Ok(()) => done += part as u64,
            Err(Errno::EFAULT) if done > 0 => break,
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(done)
}

/// Which answers to hardware questions there are: IMA, F and D, C; no vectors, no bit manipulation.
fn hwprobe(key: i64) -> Option<u64> {
    const IMA: u64 = 1;
    const FD: u64 = 1;
    const C: u64 = 2;
    const MISALIGNED_EMULATED: u64 = 1;
    match key {
        // mvendorid, marchid, mimpid
        0..=2 => Some(0),
        3 => Some(IMA),
        4 => Some(FD | C),
        // Speed of misaligned accesses, as a bit field and as a number.
        5 | 9 => Some(MISALIGNED_EMULATED),
        // Block size for cbo.zero: none.
        6 => Some(0),
        // Highest user address.
        7 => Some(crate::mm::USER_END - 1),
        // Frequency of `time`.
        8 => Some(1_000_000_000),
        _ => None,
    }
}

fn sys_riscv_hwprobe(_: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    const WHICH_CPUS: u64 = 1;
    let [pairs, count, set_size, cpus, flags, _] = *args;
    if flags & !WHICH_CPUS != 0 || count > 1024 {
        return Err(Errno::EINVAL.into());
    }
    if flags & WHICH_CPUS != 0 {
        if set_size == 0 || cpus == 0 {
            return Err(Errno::EINVAL.into());
        }
        let mut matches = true;
        for index in 0..count {
            let at = pairs.wrapping_add(16 * index);
            let (key, value) = t.read_time_pair(at)?;
            match hwprobe(key) {
                Some(known) => matches &= known & value as u64 == value as u64,
                None => {
                    t.write_words(at, &[u64::MAX, 0])?;
                    matches = false;
                }
            }
        }
        t.clear_memory(cpus, set_size.min(128) as usize)?;
        t.write_memory(cpus, &[u8::from(matches)])?;
        return Ok(0);
    }
    if set_size != 0 && cpus != 0 {
        let mut first = [0];
        t.read_memory(cpus, &mut first)?;
        if first[0] & 1 == 0 {
            return Err(Errno::EINVAL.into());
        }
    }
    for index in 0..count {
        let at = pairs.wrapping_add(16 * index);
        let key = t.read_u64(at)? as i64;
        match hwprobe(key) {
            Some(value) => t.write_u64(at.wrapping_add(8), value)?,
            None => t.write_words(at, &[u64::MAX, 0])?,
        }
    }
    Ok(0)
}

fn sys_flush_icache(_: &Rc<Kernel>, _: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    // Stores to code are seen as they happen; there is nothing left to do.
    if args[2] & !1 != 0 {
        Err(Errno::EINVAL.into())
    } else {
        Ok(0)
    }
}
