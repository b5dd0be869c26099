//! System call traces on their way to a terminal.
//!
//! A traced machine prints far more than it works, and its own output must not wait for that: the
//! lines go into a bounded buffer of their own, and what does not fit is counted.

use std::cell::RefCell;
use std::rc::Rc;

/// Bytes kept until the terminal takes them: a few screens.
const BYTES_MAX: usize = 32 * 1024;

#[derive(Default)]
struct Lines {
    text: Vec<u8>,
    left_out: u64,
}

/// The trace of one machine. Clones share it.
#[derive(Clone, Default)]
pub struct Trace(Rc<RefCell<Lines>>);

impl Trace {
    /// A line of the trace.
    pub fn line(&self, line: &str) {
        let mut lines = self.0.borrow_mut();
        if lines.text.len() + line.len() > BYTES_MAX {
            lines.left_out += 1;
            return;
        }
        // Dim, and over whatever the line of the terminal holds.
        for part in ["\r\x1b[2m", line.trim_end(), "\x1b[0m\x1b[K\r\n"] {
            lines.text.extend_from_slice(part.as_bytes());
        }
    }

    /// Whether there is something to show.
    pub fn is_empty(&self) -> bool {
        self.0.borrow().text.is_empty()
    }

    /// Takes what there is, if it fits.
    pub fn take(&self, bytes_max: usize) -> Vec<u8> {
        let mut lines = self.0.borrow_mut();
        if lines.text.len() > bytes_max {
            return Vec::new();
        }
        let mut text = std::mem::take(&mut lines.text);
        let left_out = std::mem::take(&mut lines.left_out);
        if left_out > 0 {
            let note = format!("\r\x1b[2m… {left_out} calls left out\x1b[0m\x1b[K\r\n");
            text.extend_from_slice(note.as_bytes());
        }
        text
    }
}
