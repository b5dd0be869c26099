//! The line discipline between keyboard and program (`termios(3)`, Linux's N_TTY): editing of lines,
//! echo, signal characters, output processing. Bytes in, bytes out; who owns it delivers the signals
//! and moves the output.

use std::collections::VecDeque;

use super::termios::{self as t, Termios};

/// Most bytes of input that wait for a reader (N_TTY_BUF_SIZE).
const INPUT_MAX: usize = 4096;

/// `SIGINT`.
const SIGINT: u32 = 2;
/// `SIGQUIT`.
const SIGQUIT: u32 = 3;
/// `SIGTSTP`.
const SIGTSTP: u32 = 20;

/// What a byte of input caused besides echo and input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Signal for the foreground process group.
    Signal(u32),
    /// Output that nobody has seen yet is to be thrown away.
    FlushOutput,
}

/// The state of one terminal's line discipline.
#[derive(Default)]
pub struct LineDiscipline {
    termios: Termios,
    /// Complete lines, then the line being edited (or, in raw mode, just bytes).
    input: VecDeque<u8>,
    /// Lengths of the complete lines at the front of `input`; 0 is an end of file.
    lines: VecDeque<usize>,
    /// Bytes of the complete lines: the line being edited starts here.
    complete: usize,
    /// The next byte is taken literally.
    literal_next: bool,
    /// Between `\` and `/` of ECHOPRT.
    erasing: bool,
    /// Output column, and the column where the line being edited starts.
    column: usize,
    line_column: usize,
    /// Output is stopped by `^S` or TCOOFF.
    stopped: bool,
    /// Echo and processed output that is on its way to the terminal.
    echo: Vec<u8>,
    effects: Vec<Effect>,
}

impl LineDiscipline {
    /// A line discipline with these settings.
    #[must_use]
    pub fn new(termios: Termios) -> LineDiscipline {
        LineDiscipline {
            termios,
            ..LineDiscipline::default()
        }
    }

    /// The settings.
    #[must_use]
    pub fn termios(&self) -> &Termios {
        &self.termios
    }

    /// Changes the settings. Between canonical and raw mode, what was typed ahead stays readable.
    pub fn set_termios(&mut self, termios: Termios) {
        let was_canonical = self.termios.local(t::ICANON);
        self.termios = termios;
        if was_canonical != termios.local(t::ICANON) {
            self.lines.clear();
            self.complete = 0;
            if termios.local(t::ICANON) && !self.input.is_empty() {
                self.lines.push_back(self.input.len());
                self.complete = self.input.len();
            }
            self.literal_next = false;
        }
        if !termios.input(t::IXON) {
            self.stopped = false;
        }
    }

    /// Output is stopped.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Stops or starts output (`TCXONC`).
    pub fn set_stopped(&mut self, stopped: bool) {
        self.stopped = stopped;
    }

    /// Takes the echo that has gathered; nothing while output is stopped.
    pub fn take_echo(&mut self, into: &mut VecDeque<u8>) {
        if !self.stopped {
            into.extend(self.echo.drain(..));
        }
    }

    /// Takes the next effect of the input so far.
    pub fn take_effect(&mut self) -> Option<Effect> {
        if self.effects.is_empty() {
            None
        } else {
            Some(self.effects.remove(0))
        }
    }

    /// How many more bytes of input are welcome. While a line is being edited it is never zero: what
    /// does not fit is dropped, as otherwise nobody could finish the line.
    #[must_use]
    pub fn room(&self) -> usize {
        let room = INPUT_MAX - 1 - self.input.len().min(INPUT_MAX - 1);
        if self.termios.local(t::ICANON) && self.lines.is_empty() {
            room.max(1)
        } else {
            room
        }
    }

    /// Bytes a read could take now (`FIONREAD`).
    #[must_use]
    pub fn readable(&self) -> usize {
        if self.termios.local(t::ICANON) {
            self.complete
        } else {
            self.input.len()
        }
    }

    /// A read would find something: a line (an end of file too), or bytes.
    #[must_use]
    pub fn has_input(&self) -> bool {
        if self.termios.local(t::ICANON) {
            !self.lines.is_empty()
        } else {
            !self.input.is_empty()
        }
    }

    /// Takes input: at most one line in canonical mode. `None` when there is nothing.
    pub fn read(&mut self, buf: &mut [u8]) -> Option<usize> {
        if !self.has_input() {
            return None;
        }
        let canonical = self.termios.local(t::ICANON);
        let available = if canonical {
            self.lines[0]
        } else {
            self.input.len()
        };
        let count = available.min(buf.len());
        for slot in &mut buf[..count] {
            *slot = self.input.pop_front().unwrap_or(0);
        }
        if canonical {
            self.complete -= count;
            if count == available {
                self.lines.pop_front();
            } else {
                self.lines[0] -= count;
            }
        }
        Some(count)
    }

    /// Throws away all input (`TCIFLUSH`).
    pub fn flush_input(&mut self) {
        self.input.clear();
        self.lines.clear();
        self.complete = 0;
        self.literal_next = false;
        self.erasing = false;
    }

    /// Throws away echo (`TCOFLUSH`).
    pub fn flush_output(&mut self) {
        self.echo.clear();
    }

    /// Takes one byte from the keyboard.
    pub fn receive(&mut self, byte: u8) {
        let mut byte = byte;
        if self.termios.input(t::ISTRIP) {
            byte &= 0x7f;
        }
        if self.termios.input(t::IUCLC) && self.termios.local(t::IEXTEN) {
            byte = byte.to_ascii_lowercase();
        }
        if self.literal_next {
            self.literal_next = false;
            self.receive_ordinary(byte);
            return;
        }
        if self.receive_flow(byte) || self.receive_signal(byte) {
            return;
        }
        match byte {
            b'\r' if self.termios.input(t::IGNCR) => return,
            b'\r' if self.termios.input(t::ICRNL) => byte = b'\n',
            b'\n' if self.termios.input(t::INLCR) => byte = b'\r',
            _ => {}
        }
        if self.termios.local(t::ICANON) && self.receive_editing(byte) {
            return;
        }
        self.receive_ordinary(byte);
    }

    /// `^S`, `^Q` and, with IXANY, everything that starts output again.
    fn receive_flow(&mut self, byte: u8) -> bool {
        if !self.termios.input(t::IXON) {
            return false;
        }
        if self.termios.is(byte, t::VSTART) {
            self.stopped = false;
            return true;
        }
        if self.termios.is(byte, t::VSTOP) {
            self.stopped = true;
            return true;
        }
        if self.stopped && self.termios.input(t::IXANY) {
            self.stopped = false;
        }
        false
    }

    fn receive_signal(&mut self, byte: u8) -> bool {
        if !self.termios.local(t::ISIG) {
            return false;
        }
        let signal = if self.termios.is(byte, t::VINTR) {
            SIGINT
        } else if self.termios.is(byte, t::VQUIT) {
            SIGQUIT
        } else if self.termios.is(byte, t::VSUSP) {
            SIGTSTP
        } else {
            return false;
        };
        if !self.termios.local(t::NOFLSH) {
            self.flush_input();
            self.flush_output();
            self.effects.push(Effect::FlushOutput);
        }
        self.effects.push(Effect::Signal(signal));
        if self.termios.input(t::IXON) {
            self.stopped = false;
        }
        if self.termios.local(t::ECHO) {
            self.echo_char(byte);
        }
        true
    }

    /// Characters that edit or end the line. False for all others.
    fn receive_editing(&mut self, byte: u8) -> bool {
        let extended = self.termios.local(t::IEXTEN);
        if self.termios.is(byte, t::VERASE)
            || self.termios.is(byte, t::VKILL)
            || (extended && self.termios.is(byte, t::VWERASE))
        {
            self.erase(byte);
            return true;
        }
        if extended && self.termios.is(byte, t::VLNEXT) {
            self.literal_next = true;
            if self.termios.local(t::ECHO) {
                self.finish_erasing();
                if self.termios.local(t::ECHOCTL) {
                    self.output(b'^');
                    self.output(8);
                }
            }
            return true;
        }
        if extended && self.termios.local(t::ECHO) && self.termios.is(byte, t::VREPRINT) {
            self.finish_erasing();
            self.echo_char(byte);
            self.output(b'\n');
            for at in self.complete..self.input.len() {
                self.echo_char(self.input[at]);
            }
            return true;
        }
        if byte == b'\n' {
            if self.termios.local(t::ECHO) || self.termios.local(t::ECHONL) {
                self.finish_erasing();
                self.output(b'\n');
            }
            self.end_line(Some(byte));
            return true;
        }
        if self.termios.is(byte, t::VEOF) {
            self.end_line(None);
            return true;
        }
        if self.termios.is(byte, t::VEOL) || (extended && self.termios.is(byte, t::VEOL2)) {
            if self.termios.local(t::ECHO) {
                self.start_of_line_column();
                self.echo_char(byte);
            }
            self.end_line(Some(byte));
            return true;
        }
        false
    }

    fn end_line(&mut self, last: Option<u8>) {
        // A full buffer still takes the end of the line: one byte is kept free for it.
        if let Some(byte) = last {
            self.input.push_back(byte);
        }
        self.lines.push_back(self.input.len() - self.complete);
        self.complete = self.input.len();
    }

    fn receive_ordinary(&mut self, byte: u8) {
        if self.input.len() >= INPUT_MAX - 1 {
            if self.termios.input(t::IMAXBEL) {
                self.output(7);
            }
            return;
        }
        if self.termios.local(t::ECHO) {
            self.finish_erasing();
            if byte == b'\n' {
                self.output(b'\n');
            } else {
                self.start_of_line_column();
                self.echo_char(byte);
            }
        }
        if self.termios.input(t::PARMRK) && byte == 0xff {
            self.input.push_back(0xff);
        }
        self.input.push_back(byte);
    }

    fn start_of_line_column(&mut self) {
        if self.input.len() == self.complete {
            self.line_column = self.column;
        }
    }

    /// ERASE takes one character away, WERASE a word, KILL the line.
    fn erase(&mut self, byte: u8) {
        if self.input.len() == self.complete {
            return;
        }
        let echo = self.termios.local(t::ECHO);
        let word = self.termios.is(byte, t::VWERASE) && self.termios.local(t::IEXTEN);
        let single = self.termios.is(byte, t::VERASE);
        if !single && !word {
            let visible = self.termios.local(t::ECHOK)
                && self.termios.local(t::ECHOKE)
                && self.termios.local(t::ECHOE);
            if !echo || !visible {
                self.input.truncate(self.complete);
                if echo {
                    self.finish_erasing();
                    self.echo_char(self.termios.cc[t::VKILL]);
                    if self.termios.local(t::ECHOK) {
                        self.output(b'\n');
                    }
                }
                return;
            }
        }
        let mut seen_word = false;
        while let Some(head) = self.last_character() {
            let first = self.input[head];
            if word {
                if is_word(first) {
                    seen_word = true;
                } else if seen_word {
                    break;
                }
            }
            if echo && self.termios.local(t::ECHOPRT) {
                if !self.erasing {
                    self.output(b'\\');
                    self.erasing = true;
                }
                for at in head..self.input.len() {
                    self.echo_char(self.input[at]);
                }
            }
            self.input.truncate(head);
            if echo && !self.termios.local(t::ECHOPRT) {
                if single && !self.termios.local(t::ECHOE) {
                    self.echo_char(self.termios.cc[t::VERASE]);
                } else if first == b'\t' {
                    self.echo_erased_tab();
                } else {
                    self.echo_erased(first);
                }
            }
            if single {
                break;
            }
        }
        if self.input.len() == self.complete && echo {
            self.finish_erasing();
        }
    }

    /// Where the last character of the line being edited starts. `None`: there is none, or only the
    /// rest of a multi-byte character.
    fn last_character(&self) -> Option<usize> {
        let mut head = self.input.len();
        while head > self.complete {
            head -= 1;
            if !self.is_continuation(self.input[head]) {
                return Some(head);
            }
        }
        None
    }

    fn is_continuation(&self, byte: u8) -> bool {
        self.termios.input(t::IUTF8) && byte & 0xc0 == 0x80
    }

    fn finish_erasing(&mut self) {
        if self.erasing {
            self.output(b'/');
            self.erasing = false;
        }
    }

    fn echo_erased(&mut self, first: u8) {
        let control = first.is_ascii_control();
        let cells = match (control, self.termios.local(t::ECHOCTL)) {
            (true, true) => 2,
            (true, false) => 0,
            (false, _) => 1,
        };
        for _ in 0..cells {
            for byte in [8, b' ', 8] {
                self.output(byte);
            }
        }
    }

    /// Goes back to the column where the erased tab began: that of the text before it.
    fn echo_erased_tab(&mut self) {
        let mut column = self.line_column;
        for at in self.complete..self.input.len() {
            let byte = self.input[at];
            column += match byte {
                b'\t' => 8 - column % 8,
                _ if byte.is_ascii_control() => {
                    if self.termios.local(t::ECHOCTL) {
                        2
                    } else {
                        0
                    }
                }
                _ if self.is_continuation(byte) => 0,
                _ => 1,
            };
        }
        while self.column > column {
            self.output(8);
        }
    }

    fn echo_char(&mut self, byte: u8) {
        if self.termios.local(t::ECHOCTL) && byte.is_ascii_control() && byte != b'\t' {
            self.output(b'^');
            self.output(byte ^ 0o100);
        } else {
            self.output(byte);
        }
    }

    /// Puts one byte through output processing into the echo buffer.
    fn output(&mut self, byte: u8) {
        // Echo that nobody reads is dropped in the end, as the terminal is stopped or gone.
        if self.echo.len() < INPUT_MAX {
            let mut echo = std::mem::take(&mut self.echo);
            self.process_byte(byte, &mut |byte| echo.push(byte));
            self.echo = echo;
        }
    }

    /// Output processing (OPOST) of what a program writes.
    pub fn process_output(&mut self, bytes: &[u8], into: &mut VecDeque<u8>) {
        if !self.termios.output(t::OPOST) {
            into.extend(bytes);
            return;
        }
        for &byte in bytes {
            self.process_byte(byte, &mut |byte| into.push_back(byte));
        }
    }

    fn process_byte(&mut self, byte: u8, emit: &mut dyn FnMut(u8)) {
        if !self.termios.output(t::OPOST) {
            emit(byte);
            return;
        }
        match byte {
            b'\n' => {
                if self.termios.output(t::ONLRET) {
                    self.column = 0;
                }
                if self.termios.output(t::ONLCR) {
                    self.column = 0;
                    emit(b'\r');
                }
                emit(b'\n');
            }
            b'\r' => {
                if self.termios.output(t::ONOCR) && self.column == 0 {
                    return;
                }
                if self.termios.output(t::OCRNL) {
                    if self.termios.output(t::ONLRET) {
                        self.column = 0;
                    }
                    emit(b'\n');
                } else {
                    self.column = 0;
                    emit(b'\r');
                }
            }
            b'\t' => {
                let spaces = 8 - self.column % 8;
                self.column += spaces;
                if self.termios.output(t::XTABS) && self.termios.oflag & t::XTABS == t::XTABS {
                    (0..spaces).for_each(|_| emit(b' '));
                } else {
                    emit(b'\t');
                }
            }
            8 => {
                self.column = self.column.saturating_sub(1);
                emit(8);
            }
            _ => {
                if !byte.is_ascii_control() && !self.is_continuation(byte) {
                    self.column += 1;
                }
                emit(if self.termios.output(t::OLCUC) {
                    byte.to_ascii_uppercase()
                } else {
                    byte
                });
            }
        }
    }
}

/// A character of a word for WERASE: letters, digits, underscore. As in Linux the first byte decides,
/// read as Latin-1; so every character beyond ASCII is a letter.
fn is_word(first: u8) -> bool {
    first.is_ascii_alphanumeric() || first == b'_' || first >= 0xc0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Types `keys` into a terminal changed by `change`; gives (what the screen got, what reads got).
    fn check(change: impl Fn(&mut Termios), keys: &str, screen: &str, reads: &[&str]) {
        let mut termios = Termios::default();
        change(&mut termios);
        let mut discipline = LineDiscipline::new(termios);
        for byte in keys.bytes() {
            discipline.receive(byte);
        }
        let mut output = VecDeque::new();
        discipline.take_echo(&mut output);
        let output: Vec<u8> = output.into();
        assert_eq!(
            String::from_utf8_lossy(&output),
            screen,
            "screen after {keys:?}"
        );
        let mut got = Vec::new();
        let mut buf = [0; 100];
        while let Some(count) = discipline.read(&mut buf) {
            got.push(String::from_utf8_lossy(&buf[..count]).into_owned());
        }
        assert_eq!(got, reads, "reads after {keys:?}");
    }

    #[test]
    fn canonical_editing() {
        let plain = |_: &mut Termios| {};
        check(plain, "ls\r", "ls\r\n", &["ls\n"]);
        check(
            plain,
            "one\rtwo\rthr",
            "one\r\ntwo\r\nthr",
            &["one\n", "two\n"],
        );
        check(plain, "ab\x7fc\r", "ab\x08 \x08c\r\n", &["ac\n"]);
        check(plain, "\x7f\x7fa\r", "a\r\n", &["a\n"]);
        check(
            plain,
            "ab cd\x17e\r",
            "ab cd\x08 \x08\x08 \x08e\r\n",
            &["ab e\n"],
        );
        check(
            plain,
            "ab  \x17\r",
            "ab  \x08 \x08\x08 \x08\x08 \x08\x08 \x08\r\n",
            &["\n"],
        );
        check(
            plain,
            "abc\x15x\r",
            "abc\x08 \x08\x08 \x08\x08 \x08x\r\n",
            &["x\n"],
        );
        check(plain, "\x01\x7f\r", "^A\x08 \x08\x08 \x08\r\n", &["\n"]);
        check(
            plain,
            "a\tb\x7f\x7fc\r",
            "a\tb\x08 \x08\x08\x08\x08\x08\x08\x08\x08c\r\n",
            &["ac\n"],
        );
        check(plain, "\x16\x03\r", "^\x08^C\r\n", &["\x03\n"]);
        check(plain, "ab\x12c\r", "ab^R\r\nabc\r\n", &["abc\n"]);
        check(plain, "\x1b[A\r", "^[[A\r\n", &["\x1b[A\n"]);
    }

    #[test]
    fn korean_is_erased_by_the_character() {
        check(|_| {}, "한글\x7f\r", "한글\x08 \x08\r\n", &["한\n"]);
        check(
            |_| {},
            "a 한글\x17\r",
            "a 한글\x08 \x08\x08 \x08\r\n",
            &["a \n"],
        );
        check(
            |termios| termios.iflag &= !t::IUTF8,
            "é\x7f\x7f\r",
            "é\x08 \x08\x08 \x08\r\n",
            &["\n"],
        );
    }

    #[test]
    fn end_of_file() {
        check(|_| {}, "\x04", "", &[""]);
        check(|_| {}, "abc\x04\x04", "abc", &["abc", ""]);
        check(|_| {}, "abc\r\x04", "abc\r\n", &["abc\n", ""]);
    }

    #[test]
    fn echo_modes() {
        check(
            |termios| termios.lflag &= !t::ECHO,
            "secret\r",
            "",
            &["secret\n"],
        );
        check(
            |termios| termios.lflag &= !t::ECHO | t::ECHONL,
            "x\r",
            "",
            &["x\n"],
        );
        check(
            |termios| termios.lflag = (termios.lflag & !t::ECHO) | t::ECHONL,
            "x\r",
            "\r\n",
            &["x\n"],
        );
        check(
            |termios| termios.lflag &= !t::ECHOE,
            "ab\x7f\r",
            "ab^?\r\n",
            &["a\n"],
        );
        check(
            |termios| termios.lflag &= !t::ECHOKE,
            "ab\x15c\r",
            "ab^U\r\nc\r\n",
            &["c\n"],
        );
        check(
            |termios| termios.lflag &= !t::ECHOCTL,
            "\x01\r",
            "\x01\r\n",
            &["\x01\n"],
        );
        check(
            |termios| termios.lflag |= t::ECHOPRT,
            "abc\x7f\x7fd\r",
            "abc\\cb/d\r\n",
            &["ad\n"],
        );
    }

    #[test]
    fn input_modes() {
        check(
            |termios| termios.iflag &= !t::ICRNL,
            "a\r\n",
            "a^M\r\n",
            &["a\r\n"],
        );
        check(
            |termios| termios.iflag |= t::IGNCR,
            "a\r\n",
            "a\r\n",
            &["a\n"],
        );
        check(
            |termios| termios.lflag &= !t::ICANON,
            "ab\x7f\r",
            "ab^?\r\n",
            &["ab\x7f\n"],
        );
        check(|termios| termios.lflag = 0, "a\x03\x04", "", &["a\x03\x04"]);
        check(|termios| termios.iflag |= t::INLCR, "a\n", "a^M", &[]);
        check(|termios| termios.cc[t::VEOL] = b';', "a;b", "a;b", &["a;"]);
    }

    #[test]
    fn signals_flush_and_echo() {
        let mut discipline = LineDiscipline::default();
        for byte in b"half a line\x03" {
            discipline.receive(*byte);
        }
        let mut output = VecDeque::new();
        discipline.take_echo(&mut output);
        assert_eq!(output, b"^C");
        assert_eq!(discipline.take_effect(), Some(Effect::FlushOutput));
        assert_eq!(discipline.take_effect(), Some(Effect::Signal(SIGINT)));
        assert_eq!(discipline.take_effect(), None);
        for (key, signal) in [(0x1c, SIGQUIT), (0x1a, SIGTSTP)] {
            discipline.receive(key);
            discipline.take_effect();
            assert_eq!(discipline.take_effect(), Some(Effect::Signal(signal)));
        }
    }

    #[test]
    fn stop_and_start() {
        let mut discipline = LineDiscipline::default();
        let mut output = VecDeque::new();
        discipline.receive(0x13);
        discipline.receive(b'a');
        assert!(discipline.is_stopped());
        discipline.take_echo(&mut output);
        assert!(output.is_empty());
        discipline.receive(0x11);
        discipline.take_echo(&mut output);
        assert_eq!(output, b"a");
    }

    #[test]
    fn output_processing() {
        let check = |oflag: u32, bytes: &str, expected: &str| {
            let mut discipline = LineDiscipline::new(Termios {
                oflag,
                ..Termios::default()
            });
            let mut output = VecDeque::new();
            discipline.process_output(bytes.as_bytes(), &mut output);
            let output: Vec<u8> = output.into();
            assert_eq!(String::from_utf8_lossy(&output), expected);
        };
        check(t::OPOST | t::ONLCR, "a\nb", "a\r\nb");
        check(0, "a\nb", "a\nb");
        check(t::OPOST, "a\nb", "a\nb");
        check(t::OPOST | t::OCRNL, "a\rb", "a\nb");
        check(t::OPOST | t::ONOCR, "\ra\r", "a\r");
        check(t::OPOST | t::XTABS, "ab\tc", "ab      c");
        check(t::OPOST | t::OLCUC, "abc", "ABC");
    }

    #[test]
    fn typed_ahead_survives_a_change_of_mode() {
        let mut discipline = LineDiscipline::default();
        for byte in b"ls\npw" {
            discipline.receive(*byte);
        }
        let canonical = *discipline.termios();
        discipline.set_termios(Termios {
            lflag: 0,
            ..canonical
        });
        let mut buf = [0; 3];
        assert_eq!(discipline.read(&mut buf), Some(3));
        discipline.set_termios(canonical);
        assert_eq!(discipline.read(&mut buf), Some(2));
        assert_eq!(&buf[..2], b"pw");
    }

    #[test]
    fn a_full_buffer_still_takes_the_end_of_the_line() {
        let mut discipline = LineDiscipline::default();
        for _ in 0..INPUT_MAX * 2 {
            discipline.receive(b'x');
        }
        assert_eq!(discipline.room(), 1);
        discipline.receive(b'\n');
        let mut buf = vec![0; INPUT_MAX * 2];
        assert_eq!(discipline.read(&mut buf), Some(INPUT_MAX));
        assert_eq!(buf[INPUT_MAX - 1], b'\n');
    }
}
