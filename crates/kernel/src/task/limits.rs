//! Resource limits (`getrlimit(2)`).

use std::cell::Cell;

/// No limit.
pub const RLIM_INFINITY: u64 = u64::MAX;
/// CPU time in seconds.
pub const RLIMIT_CPU: usize = 0;
/// Size of files written.
pub const RLIMIT_FSIZE: usize = 1;
/// Heap.
pub const RLIMIT_DATA: usize = 2;
/// Main thread's stack.
pub const RLIMIT_STACK: usize = 3;
/// Core files.
pub const RLIMIT_CORE: usize = 4;
/// Tasks of the user.
pub const RLIMIT_NPROC: usize = 6;
/// One above the highest descriptor.
pub const RLIMIT_NOFILE: usize = 7;
/// Locked memory.
pub const RLIMIT_MEMLOCK: usize = 8;
/// Address space.
pub const RLIMIT_AS: usize = 9;
/// Queued signals.
pub const RLIMIT_SIGPENDING: usize = 11;
/// Lowest nice value as 20 - n.
pub const RLIMIT_NICE: usize = 13;
/// How many there are.
pub const RLIM_NLIMITS: usize = 16;

/// One limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rlimit {
    /// What binds.
    pub soft: u64,
    /// What the soft one may be raised to.
    pub hard: u64,
}

impl Rlimit {
    const fn both(value: u64) -> Rlimit {
        Rlimit {
            soft: value,
            hard: value,
        }
    }
}

/// The limits of a process.
#[derive(Clone, Debug)]
pub struct Limits([Cell<Rlimit>; RLIM_NLIMITS]);

impl Limits {
    /// What a process of a freshly booted machine has.
    #[must_use]
    pub fn initial(tasks_max: u64) -> Limits {
        let limits = Limits(std::array::from_fn(|_| {
            Cell::new(Rlimit::both(RLIM_INFINITY))
        }));
        limits.set(
            RLIMIT_STACK,
            Rlimit {
                soft: 8 << 20,
                hard: RLIM_INFINITY,
            },
        );
        limits.set(
            RLIMIT_CORE,
            Rlimit {
                soft: 0,
                hard: RLIM_INFINITY,
            },
        );
        limits.set(RLIMIT_NPROC, Rlimit::both(tasks_max));
        limits.set(
            RLIMIT_NOFILE,
            Rlimit {
                soft: 1024,
                hard: 1 << 20,
            },
        );
        limits.set(RLIMIT_MEMLOCK, Rlimit::both(8 << 20));
        limits.set(RLIMIT_SIGPENDING, Rlimit::both(tasks_max));
        limits.set(12, Rlimit::both(819_200));
        limits.set(RLIMIT_NICE, Rlimit::both(0));
        limits.set(14, Rlimit::both(0));
        limits
    }

    /// A limit by its number, which must be below [`RLIM_NLIMITS`].
    #[must_use]
    pub fn get(&self, resource: usize) -> Rlimit {
        self.0[resource].get()
    }

    /// The soft limit.
    #[must_use]
    pub fn soft(&self, resource: usize) -> u64 {
        self.0[resource].get().soft
    }

    /// Sets a limit.
    pub fn set(&self, resource: usize, limit: Rlimit) {
        self.0[resource].set(limit);
    }
}
