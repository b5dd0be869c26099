//! Output flow control: how much a terminal may be sent before it has drawn it.
//!
//! xterm.js queues what it is given. Without a bound, `yes` fills the page's memory and makes
//! Ctrl+C wait for megabytes of drawing. So the worker takes from a machine's terminal only what
//! fits the window, the page reports what was drawn, and a full window leaves the bytes in the
//! machine's tty, where the writer blocks as on a slow line.

/// What may be on its way per terminal: about two frames of what xterm.js draws.
pub const WINDOW_BYTES: u32 = 64 * 1024;

/// The window of one terminal, as the worker keeps it.
#[derive(Debug, Default)]
pub struct Window {
    in_flight: u32,
}

impl Window {
    /// How many bytes may be sent now.
    pub fn room(&self) -> usize {
        WINDOW_BYTES.saturating_sub(self.in_flight) as usize
    }

    /// `bytes` were sent.
    pub fn sent(&mut self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.in_flight = self.in_flight.saturating_add(bytes);
    }

    /// `bytes` were drawn.
    pub fn drawn(&mut self, bytes: u32) {
        self.in_flight = self.in_flight.saturating_sub(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_fills_and_opens() {
        let mut window = Window::default();
        assert_eq!(window.room(), WINDOW_BYTES as usize);
        window.sent(WINDOW_BYTES as usize - 1);
        assert_eq!(window.room(), 1);
        window.sent(10);
        assert_eq!(window.room(), 0);
        window.drawn(WINDOW_BYTES);
        assert_eq!(window.room(), WINDOW_BYTES as usize - 9);
        window.drawn(u32::MAX);
        assert_eq!(window.room(), WINDOW_BYTES as usize);
    }
}
