//! Signal numbers, sets, actions and `siginfo_t` (asm-generic/signal.h, asm-generic/siginfo.h).

/// Highest signal number.
pub const SIGNAL_MAX: u32 = 64;
/// First real-time signal as the kernel counts them.
pub const SIGRTMIN: u32 = 32;

macro_rules! signals {
    ($($name:ident = $number:literal;)*) => {
        $(#[doc = concat!("`", stringify!($name), "`")] pub const $name: u32 = $number;)*

        /// The symbol, such as `SIGINT`; `SIGRT_n` for real-time signals.
        #[must_use]
        pub fn signal_name(signal: u32) -> String {
            match signal {
                $($number => stringify!($name).to_string(),)*
                32..=64 => format!("SIGRT_{}", signal - SIGRTMIN),
                _ => format!("{signal}"),
            }
        }
    };
}

signals! {
    SIGHUP = 1;
    SIGINT = 2;
    SIGQUIT = 3;
    SIGILL = 4;
    SIGTRAP = 5;
    SIGABRT = 6;
    SIGBUS = 7;
    SIGFPE = 8;
    SIGKILL = 9;
    SIGUSR1 = 10;
    SIGSEGV = 11;
    SIGUSR2 = 12;
    SIGPIPE = 13;
    SIGALRM = 14;
    SIGTERM = 15;
    SIGSTKFLT = 16;
    SIGCHLD = 17;
    SIGCONT = 18;
    SIGSTOP = 19;
    SIGTSTP = 20;
    SIGTTIN = 21;
    SIGTTOU = 22;
    SIGURG = 23;
    SIGXCPU = 24;
    SIGXFSZ = 25;
    SIGVTALRM = 26;
    SIGPROF = 27;
    SIGWINCH = 28;
    SIGIO = 29;
    SIGPWR = 30;
    SIGSYS = 31;
}

/// A set of signals: bit `n - 1` is signal `n`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct SigSet(pub u64);

impl SigSet {
    /// No signal.
    pub const EMPTY: SigSet = SigSet(0);

    /// The set of one signal; empty for a number that is none.
    #[must_use]
    pub const fn of(signal: u32) -> SigSet {
        if signal == 0 || signal > SIGNAL_MAX {
            SigSet(0)
        } else {
            SigSet(1 << (signal - 1))
        }
    }

    /// The set of several signals.
    #[must_use]
    pub const fn of_all(signals: &[u32]) -> SigSet {
        let mut bits = 0;
        let mut i = 0;
        while i < signals.len() {
            bits |= SigSet::of(signals[i]).0;
            i += 1;
        }
        SigSet(bits)
    }

    /// True when `signal` is in it.
    #[must_use]
    pub const fn has(self, signal: u32) -> bool {
        self.0 & SigSet::of(signal).0 != 0
    }

    /// Signals in either.
    #[must_use]
    pub const fn union(self, other: SigSet) -> SigSet {
        SigSet(self.0 | other.0)
    }

    /// Signals in `self` but not in `other`.
    #[must_use]
    pub const fn minus(self, other: SigSet) -> SigSet {
        SigSet(self.0 & !other.0)
    }

    /// Signals in both.
    #[must_use]
    pub const fn and(self, other: SigSet) -> SigSet {
        SigSet(self.0 & other.0)
    }

    /// True when there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The lowest signal in it.
    #[must_use]
    pub const fn first(self) -> Option<u32> {
        if self.0 == 0 {
            None
        } else {
            Some(self.0.trailing_zeros() + 1)
        }
    }
}

/// `sa_flags`.
pub mod sa {
    /// No `SIGCHLD` when a child stops.
    pub const NOCLDSTOP: u64 = 1;
    /// Children do not become zombies.
    pub const NOCLDWAIT: u64 = 2;
    /// The handler gets three arguments.
    pub const SIGINFO: u64 = 4;
    /// Run on the alternate stack.
    pub const ONSTACK: u64 = 0x0800_0000;
    /// Restart interrupted system calls.
    pub const RESTART: u64 = 0x1000_0000;
    /// The signal is not blocked in its own handler.
    pub const NODEFER: u64 = 0x4000_0000;
    /// Back to the default action once the handler runs.
    pub const RESETHAND: u64 = 0x8000_0000;
}

/// `si_code` values.
#[allow(missing_docs, reason = "named as in sigaction(2)")]
pub mod si {
    pub const USER: i32 = 0;
    pub const KERNEL: i32 = 0x80;
    pub const QUEUE: i32 = -1;
    pub const TIMER: i32 = -2;
    pub const MESGQ: i32 = -3;
    pub const ASYNCIO: i32 = -4;
    pub const SIGIO: i32 = -5;
    pub const TKILL: i32 = -6;
    pub const ILL_ILLOPC: i32 = 1;
    pub const FPE_INTDIV: i32 = 1;
    pub const SEGV_MAPERR: i32 = 1;
    pub const SEGV_ACCERR: i32 = 2;
    pub const BUS_ADRALN: i32 = 1;
    pub const BUS_ADRERR: i32 = 2;
    pub const TRAP_BRKPT: i32 = 1;
    pub const CLD_EXITED: i32 = 1;
    pub const CLD_KILLED: i32 = 2;
    pub const CLD_DUMPED: i32 = 3;
    pub const CLD_TRAPPED: i32 = 4;
    pub const CLD_STOPPED: i32 = 5;
    pub const CLD_CONTINUED: i32 = 6;
}

/// What is known about why a signal was sent, besides number and code.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum SigFields {
    /// Nothing.
    #[default]
    None,
    /// Who sent it, as the receiver numbers him, and the value of `sigqueue(3)`.
    Sender {
        /// Process.
        pid: u32,
        /// Real user.
        uid: u32,
        /// `si_value`.
        value: u64,
    },
    /// A POSIX timer expired.
    Timer {
        /// Timer id.
        id: i32,
        /// Expirations beyond the first.
        overrun: i32,
        /// `si_value`.
        value: u64,
    },
    /// A child changed state.
    Child {
        /// Its pid.
        pid: u32,
        /// Its real user.
        uid: u32,
        /// Exit code or signal.
        status: i32,
        /// User time in ticks.
        utime: i64,
        /// System time in ticks.
        stime: i64,
    },
    /// A bad access.
    Fault {
        /// The address.
        addr: u64,
    },
    /// Something happened on a descriptor.
    Poll {
        /// `si_band`.
        band: i64,
        /// Descriptor.
        fd: i32,
    },
}

/// Bytes of `siginfo_t`.
pub const SIGINFO_SIZE: usize = 128;

/// A `siginfo_t` as a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SigInfo {
    /// `si_signo`.
    pub signal: u32,
    /// `si_errno`.
    pub errno: i32,
    /// `si_code`.
    pub code: i32,
    /// The rest.
    pub fields: SigFields,
}

impl SigInfo {
    /// As the kernel itself sends it.
    #[must_use]
    pub fn kernel(signal: u32) -> SigInfo {
        SigInfo {
            signal,
            errno: 0,
            code: si::KERNEL,
            fields: SigFields::None,
        }
    }

    /// As `kill(2)` sends it.
    #[must_use]
    pub fn user(signal: u32, code: i32, pid: u32, uid: u32) -> SigInfo {
        SigInfo {
            signal,
            errno: 0,
            code,
            fields: SigFields::Sender { pid, uid, value: 0 },
        }
    }

    /// A fault at `addr`.
    #[must_use]
    pub fn fault(signal: u32, code: i32, addr: u64) -> SigInfo {
        SigInfo {
            signal,
            errno: 0,
            code,
            fields: SigFields::Fault { addr },
        }
    }

    /// The bytes of `siginfo_t`.
    #[must_use]
    pub fn emit(&self) -> [u8; SIGINFO_SIZE] {
        let mut out = [0; SIGINFO_SIZE];
        put32(&mut out, 0, self.signal);
        put32(&mut out, 4, self.errno as u32);
        put32(&mut out, 8, self.code as u32);
        match self.fields {
            SigFields::None => {}
            SigFields::Sender { pid, uid, value } => {
                put32(&mut out, 16, pid);
                put32(&mut out, 20, uid);
                put64(&mut out, 24, value);
            }
            SigFields::Timer { id, overrun, value } => {
                put32(&mut out, 16, id as u32);
                put32(&mut out, 20, overrun as u32);
                put64(&mut out, 24, value);
            }
            SigFields::Child {
                pid,
                uid,
                status,
                utime,
                stime,
            } => {
                put32(&mut out, 16, pid);
                put32(&mut out, 20, uid);
                put32(&mut out, 24, status as u32);
                put64(&mut out, 32, utime as u64);
                put64(&mut out, 40, stime as u64);
            }
            SigFields::Fault { addr } => put64(&mut out, 16, addr),
            SigFields::Poll { band, fd } => {
                put64(&mut out, 16, band as u64);
                put32(&mut out, 24, fd as u32);
            }
        }
        out
    }

    /// Reads what `rt_sigqueueinfo(2)` was given.
    #[must_use]
    pub fn parse(bytes: &[u8; SIGINFO_SIZE]) -> SigInfo {
        let word = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        SigInfo {
            signal: word(0),
            errno: word(4) as i32,
            code: word(8) as i32,
            fields: SigFields::Sender {
                pid: word(16),
                uid: word(20),
                value: u64::from(word(24)) | u64::from(word(28)) << 32,
            },
        }
    }
}

fn put32(out: &mut [u8], at: usize, value: u32) {
    out[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

fn put64(out: &mut [u8], at: usize, value: u64) {
    out[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queued_signal_survives_the_layout() {
        let info = SigInfo {
            signal: SIGUSR1,
            errno: 0,
            code: si::QUEUE,
            fields: SigFields::Sender {
                pid: 7,
                uid: 1000,
                value: 0x1122_3344_5566,
            },
        };
        assert_eq!(SigInfo::parse(&info.emit()), info);
    }

    #[test]
    fn sets_count_from_one() {
        let set = SigSet::of_all(&[SIGHUP, SIGTERM, 64]);
        assert!(set.has(1) && set.has(15) && set.has(64) && !set.has(2));
        assert_eq!(set.first(), Some(1));
        assert_eq!(signal_name(34), "SIGRT_2");
    }
}
