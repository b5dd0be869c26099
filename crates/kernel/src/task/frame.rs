//! The frame a signal handler runs on: `struct rt_sigframe` of riscv64 (asm/ucontext.h, asm/ptrace.h).
//!
//! Programs read and change it (Go's preemption, JVM null checks), so every field is where Linux has it:
//! `siginfo_t` (128 bytes), then `ucontext_t` with the mask, the integer registers (pc first) and the
//! floating-point registers with fcsr.

use std::rc::Rc;

use abi::signal::{SIGINFO_SIZE, SigInfo, SigSet, sa};
use abi::{Errno, Result};

use super::signals::{SigAction, UNBLOCKABLE};
use super::{AltStack, Task};
use crate::kernel::Kernel;

const UCONTEXT: usize = SIGINFO_SIZE;
const UC_STACK: usize = UCONTEXT + 16;
const UC_SIGMASK: usize = UCONTEXT + 40;
const SC_REGS: usize = UCONTEXT + 176;
const SC_FPREGS: usize = SC_REGS + 256;
const FCSR: usize = SC_FPREGS + 256;
const FRAME: usize = SC_FPREGS + 528;

/// Bytes of a frame: `AT_MINSIGSTKSZ`.
pub const SIGNAL_FRAME_SIZE: u64 = FRAME as u64;

/// The task runs on the alternate stack.
const SS_ONSTACK: u32 = 1;
/// There is no alternate stack.
const SS_DISABLE: u32 = 2;
/// It is given up while a handler runs on it.
const SS_AUTODISARM: u32 = 1 << 31;

fn put(frame: &mut [u8; FRAME], at: usize, value: u64) {
    frame[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

fn get(frame: &[u8; FRAME], at: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&frame[at..at + 8]);
    u64::from_le_bytes(bytes)
}

/// `ss_flags` as `sigaltstack(2)` shows them.
pub(crate) fn altstack_flags(stack: AltStack, sp: u64) -> u32 {
    if stack.size == 0 {
        SS_DISABLE
    } else if stack.flags & SS_AUTODISARM == 0 && stack.contains(sp) {
        SS_ONSTACK
    } else {
        stack.flags
    }
}

impl Kernel {
    /// Puts the frame on the stack and sets the registers for the handler.
    pub(super) fn push_frame(
        &self,
        task: &Rc<Task>,
        info: &SigInfo,
        action: SigAction,
        mask: SigSet,
    ) -> Result<()> {
        let stack = task.altstack.get();
        let sp = task.hart.borrow().x[2];
        let on_stack = stack.flags & SS_AUTODISARM == 0 && stack.contains(sp);
        let uses_stack = action.flags & sa::ONSTACK != 0 && stack.size != 0;
        let top = if uses_stack && !on_stack {
            stack.base.wrapping_add(stack.size)
        } else {
            sp
        };
        let base = top.wrapping_sub(FRAME as u64) & !15;
        if on_stack && !stack.contains(base.wrapping_add(1)) {
            return Err(Errno::EFAULT);
        }

        let mut frame = [0; FRAME];
        frame[..SIGINFO_SIZE].copy_from_slice(&info.emit());
        put(&mut frame, UC_STACK, stack.base);
        put(
            &mut frame,
            UC_STACK + 8,
            u64::from(altstack_flags(stack, sp)),
        );
        put(&mut frame, UC_STACK + 16, stack.size);
        put(&mut frame, UC_SIGMASK, mask.0);
        {
            let hart = task.hart.borrow();
            put(&mut frame, SC_REGS, hart.pc);
            for register in 1..32 {
                put(&mut frame, SC_REGS + 8 * register, hart.x[register]);
            }
            for register in 0..32 {
                put(&mut frame, SC_FPREGS + 8 * register, hart.f[register]);
            }
            put(&mut frame, FCSR, u64::from(hart.fcsr));
        }
        task.write_memory(base, &frame)?;

        if stack.flags & SS_AUTODISARM != 0 {
            task.altstack.set(AltStack::NONE);
        }
        let mm = task.mm();
        let mut hart = task.hart.borrow_mut();
        hart.x[1] = mm.vdso.get() + self.vdso.sigreturn;
        hart.x[2] = base;
        hart.x[10] = u64::from(info.signal);
        hart.x[11] = base;
        hart.x[12] = base + UCONTEXT as u64;
        hart.pc = action.handler;
        hart.clear_reservation();
        Ok(())
    }

    /// `rt_sigreturn(2)`: the registers, mask and alternate stack of the frame.
    pub(crate) fn pop_frame(&self, task: &Rc<Task>) -> Result<()> {
        let base = task.hart.borrow().x[2];
        let mut frame = [0; FRAME];
        task.read_memory(base, &mut frame)?;
        task.sigmask
            .set(SigSet(get(&frame, UC_SIGMASK)).minus(UNBLOCKABLE));
        {
            let mut hart = task.hart.borrow_mut();
            hart.pc = get(&frame, SC_REGS) & !1;
            for register in 1..32 {
                hart.x[register] = get(&frame, SC_REGS + 8 * register);
            }
            for register in 0..32 {
                hart.f[register] = get(&frame, SC_FPREGS + 8 * register);
            }
            hart.fcsr = get(&frame, FCSR) as u32 & 0xff;
            hart.clear_reservation();
        }
        let flags = get(&frame, UC_STACK + 8) as u32;
        let size = get(&frame, UC_STACK + 16);
        let stack = if flags & SS_DISABLE != 0 {
            AltStack::NONE
        } else {
            AltStack {
                base: get(&frame, UC_STACK),
                size,
                flags: flags & SS_AUTODISARM,
            }
        };
        task.altstack.set(stack);
        Ok(())
    }
}
