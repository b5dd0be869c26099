//! `prctl(2)` and `personality(2)`.

use std::rc::Rc;

use abi::Errno;
use abi::signal::SIGNAL_MAX;
use vfs::{Capability, Credentials};

use super::SysResult;
use super::table::{Arg, Row};
use crate::kernel::Kernel;
use crate::task::Task;

use Arg::{Hex, Int};

/// The rows of this family.
pub const ROWS: &[Row] = &[
    Row::partial(
        167,
        "prctl",
        sys_prctl,
        &[Int, Hex, Hex, Hex, Hex],
        "no PR_SET_MM, no speculation or vector control (EINVAL)",
    ),
    Row::partial(
        92,
        "personality",
        sys_personality,
        &[Hex],
        "only PER_LINUX; flags are accepted",
    ),
];

const CAP_LAST: u64 = 40;

fn sys_personality(_: &Rc<Kernel>, _: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    match args[0] as u32 {
        u32::MAX => Ok(0),
        persona if persona & 0xff == 0 => Ok(0),
        _ => Err(Errno::EINVAL.into()),
    }
}

fn sys_prctl(_: &Rc<Kernel>, t: &Rc<Task>, args: &[u64; 6]) -> SysResult {
    let [option, a, b, c, d, _] = *args;
    let group = &t.group;
    let no_more = |words: &[u64]| {
        if words.iter().all(|&word| word == 0) {
            Ok(())
        } else {
            Err(Errno::EINVAL)
        }
    };
    match option as i32 {
        // PR_SET_PDEATHSIG, PR_GET_PDEATHSIG
        1 if a <= u64::from(SIGNAL_MAX) => t.parent_death_signal.set(a as u32),
        2 => t.write_u32(a, t.parent_death_signal.get())?,
        // PR_GET_DUMPABLE, PR_SET_DUMPABLE
        3 => return Ok(u64::from(group.dumpable.get())),
        4 if a <= 1 => group.dumpable.set(a as u32),
        // PR_GET_KEEPCAPS, PR_SET_KEEPCAPS
        7 => return Ok(u64::from(t.creds().securebits >> 4 & 1)),
        8 if a <= 1 => {
            let creds = t.creds();
            let securebits = creds.securebits & !16 | (a as u32) << 4;
            t.set_creds(Credentials {
                securebits,
                ..(*creds).clone()
            });
        }
        // PR_SET_NAME, PR_GET_NAME
        15 => {
            let mut name = [0; 16];
            for (index, byte) in name[..15].iter_mut().enumerate() {
                let mut one = [0];
                t.read_memory(a.wrapping_add(index as u64), &mut one)?;
                if one[0] == 0 {
                    break;
                }
                *byte = one[0];
            }
            t.set_comm(&name);
        }
        16 => {
            let mut name = t.comm();
            name.resize(16, 0);
            t.write_memory(a, &name)?;
        }
        // PR_GET_SECCOMP, PR_SET_SECCOMP
        21 => return Ok(u64::from(t.seccomp_mode().0)),
        22 => return crate::seccomp::prctl(t, a, b),
        // PR_CAPBSET_READ, PR_CAPBSET_DROP
        23 if a <= CAP_LAST => return Ok(t.creds().bounding >> a & 1),
        24 if a <= CAP_LAST => {
            t.require(Capability::Setpcap)?;
            let creds = t.creds();
            let bounding = creds.bounding & !(1 << a);
            t.set_creds(Credentials {
                bounding,
                ..(*creds).clone()
            });
        }
        // PR_GET_SECUREBITS, PR_SET_SECUREBITS
        27 => return Ok(u64::from(t.creds().securebits)),
        28 => {
            t.require(Capability::Setpcap)?;
            let creds = t.creds();
            // A locked bit stays as it is.
            let locked = creds.securebits >> 1 & 0x55;
            if (creds.securebits ^ a as u32) & (locked | locked << 1) != 0 || a > 0xff {
                return Err(Errno::EPERM.into());
            }
            t.set_creds(Credentials {
                securebits: a as u32,
                ..(*creds).clone()
            });
        }
        // PR_SET_TIMERSLACK, PR_GET_TIMERSLACK
        29 => group.timer_slack.set(if a == 0 { 50_000 } else { a }),
        30 => return Ok(group.timer_slack.get()),
        // PR_SET_CHILD_SUBREAPER, PR_GET_CHILD_SUBREAPER
        36 => group.subreaper.set(a != 0),
        37 => t.write_u32(a, u32::from(group.subreaper.get()))?,
        // PR_SET_NO_NEW_PRIVS, PR_GET_NO_NEW_PRIVS
        38 if a == 1 => {
            no_more(&[b, c, d])?;
            t.set_creds(Credentials {
                no_new_privs: true,
                ..(*t.creds()).clone()
            });
        }
        39 => {
            no_more(&[a, b, c, d])?;
            return Ok(u64::from(t.creds().no_new_privs));
        }
        // PR_GET_TID_ADDRESS
        40 => t.write_u64(a, t.clear_child_tid.get())?,
        // PR_SET_THP_DISABLE, PR_GET_THP_DISABLE: there are no huge pages.
        41 => no_more(&[b, c, d])?,
        42 => return Ok(0),
        // PR_CAP_AMBIENT
        47 => return ambient(t, a, b),
        _ => return Err(Errno::EINVAL.into()),
    }
    Ok(0)
}

fn ambient(t: &Rc<Task>, command: u64, capability: u64) -> SysResult {
    let creds = t.creds();
    if command == 4 {
        t.set_creds(Credentials {
            ambient: 0,
            ..(*creds).clone()
        });
        return Ok(0);
    }
    if capability > CAP_LAST {
        return Err(Errno::EINVAL.into());
    }
    let bit = 1 << capability;
    let ambient = match command {
        1 => return Ok(u64::from(creds.ambient & bit != 0)),
        2 => {
            const SECBIT_NO_CAP_AMBIENT_RAISE: u32 = 64;
            let may = creds.permitted & creds.inheritable & bit != 0;
            if !may || creds.securebits & SECBIT_NO_CAP_AMBIENT_RAISE != 0 {
                return Err(Errno::EPERM.into());
            }
            creds.ambient | bit
        }
        3 => creds.ambient & !bit,
        _ => return Err(Errno::EINVAL.into()),
    };
    t.set_creds(Credentials {
        ambient,
        ..(*creds).clone()
    });
    Ok(0)
}
