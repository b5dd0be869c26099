//! `reboot(2)`: the machine's end by its own will. Whoever owns the machine sees it after the turn and makes a new
//! one on the same disks, or none.

use std::rc::Rc;

use abi::Errno;
use vfs::Capability;

use crate::kernel::Kernel;
use crate::syscalls::{Block, SysResult};
use crate::task::{Task, WaitStatus};

/// What is asked of the machine's owner.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Power {
    /// Begin anew.
    Restart,
    /// Switch it off.
    Off,
    /// It stands still with its power on; nobody can tell the difference.
    Halt,
}

impl Kernel {
    /// The machine stops where it is: no program runs any more.
    pub fn go_down(&self, power: Power) {
        self.log(match power {
            Power::Restart => "reboot: Restarting system",
            Power::Off => "reboot: Power down",
            Power::Halt => "reboot: System halted",
        });
        self.power.set(Some(power));
    }

    /// Whether it has, and what is to become of it.
    #[must_use]
    pub fn power(&self) -> Option<Power> {
        self.power.get()
    }
}

/// `reboot(magic, magic2, command, argument)`. In a pid namespace of its own it is that namespace's init that
/// ends, by SIGHUP or SIGINT (`pid_namespaces(7)`).
pub(crate) fn sys_reboot(k: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    const MAGIC: u32 = 0xfee1_dead;
    const MAGIC2: [u32; 4] = [0x2812_1969, 0x0512_1996, 0x1604_1998, 0x2011_2000];
    const CAD_ON: u32 = 0x89ab_cdef;
    const CAD_OFF: u32 = 0;
    const SIGHUP: u32 = 1;
    const SIGINT: u32 = 2;
    let namespace = t.pid_ns();
    let owner = namespace.owner.borrow().clone();
    let owner = owner.unwrap_or_else(|| Rc::clone(&k.init_ns.user));
    if !k.capable_in(t, &owner, Capability::SysBoot) {
        return Err(Errno::EPERM.into());
    }
    if args[0] as u32 != MAGIC || !MAGIC2.contains(&(args[1] as u32)) {
        return Err(Errno::EINVAL.into());
    }
    let power = match args[2] as u32 {
        0x0123_4567 | 0xa1b2_c3d4 => Power::Restart,
        0x4321_fedc => Power::Off,
        0xcdef_0123 => Power::Halt,
        CAD_ON | CAD_OFF if namespace.level == 0 => return Ok(0),
        _ => return Err(Errno::EINVAL.into()),
    };
    if namespace.level == 0 {
        k.go_down(power);
    } else if let Some(init) = namespace.init() {
        let signal = match power {
            Power::Restart => SIGHUP,
            Power::Off | Power::Halt => SIGINT,
        };
        let core = false;
        k.begin_group_exit(&init, WaitStatus::Signaled { signal, core });
    }
    Err(Block::uninterruptible())
}
