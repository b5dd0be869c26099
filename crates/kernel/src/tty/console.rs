//! The host's side of a terminal: what the page or the native console holds.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::Waker;

use vfs::file::Events;

use super::{PtyMaster, Tty, WindowSize};

/// Keyboard and screen of a terminal. Dropping it hangs up.
pub struct Console {
    master: PtyMaster,
    /// Typed faster than the terminal takes it: a paste. Bounded by what the user pastes.
    typed: RefCell<VecDeque<u8>>,
}

impl Console {
    /// The host's side of `master`.
    #[must_use]
    pub fn new(master: PtyMaster) -> Console {
        Console {
            master,
            typed: RefCell::default(),
        }
    }

    /// The terminal.
    #[must_use]
    pub fn tty(&self) -> &Rc<Tty> {
        self.master.tty()
    }

    /// Types `bytes`. What does not fit now is typed as programs read; see [`Console::drain_output`].
    pub fn write_input(&self, bytes: &[u8]) {
        self.typed.borrow_mut().extend(bytes);
        self.type_ahead();
    }

    fn type_ahead(&self) {
        loop {
            let typed = self.typed.borrow();
            if typed.is_empty() {
                return;
            }
            let chunk: Vec<u8> = typed.iter().copied().take(4096).collect();
            drop(typed);
            let Ok(count) = self.tty().type_bytes(&chunk) else {
                return;
            };
            self.typed.borrow_mut().drain(..count);
        }
    }

    /// Takes all output so far, appending it to `into`. Call it each turn: it also types on.
    pub fn drain_output(&self, into: &mut Vec<u8>) {
        let mut buf = [0; 4096];
        while let Some(count) = self.tty().take_output(&mut buf) {
            into.extend_from_slice(&buf[..count]);
        }
        self.type_ahead();
    }

    /// Wakes `waker` once when there may be output. True when there is some now.
    pub fn poll_output(&self, waker: &Waker) -> bool {
        self.tty().master_poll(Some(waker)).contains(Events::IN)
    }

    /// Sets the size of the screen; programs get SIGWINCH.
    pub fn resize(&self, rows: u16, cols: u16) {
        self.tty().set_window(WindowSize {
            rows,
            cols,
            xpixel: 0,
            ypixel: 0,
        });
    }

    /// No program has the terminal open any more.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.tty().slaves_are_gone()
    }
}
