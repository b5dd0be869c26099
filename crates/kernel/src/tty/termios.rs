//! Terminal settings (`termios(3)`): the bits and control characters of asm-generic/termbits.h.

/// `c_iflag`: mark parity errors with 0xff 0x00.
pub const PARMRK: u32 = 0o10;
/// Strip the eighth bit.
pub const ISTRIP: u32 = 0o40;
/// Newline to carriage return.
pub const INLCR: u32 = 0o100;
/// Ignore carriage return.
pub const IGNCR: u32 = 0o200;
/// Carriage return to newline.
pub const ICRNL: u32 = 0o400;
/// Upper to lower case.
pub const IUCLC: u32 = 0o1000;
/// `^S` and `^Q` stop and start output.
pub const IXON: u32 = 0o2000;
/// Any character starts output.
pub const IXANY: u32 = 0o4000;
/// Ring the bell when the input queue is full.
pub const IMAXBEL: u32 = 0o20000;
/// Input is UTF-8.
pub const IUTF8: u32 = 0o40000;

/// `c_oflag`: process output.
pub const OPOST: u32 = 0o1;
/// Lower to upper case.
pub const OLCUC: u32 = 0o2;
/// Newline to carriage return and newline.
pub const ONLCR: u32 = 0o4;
/// Carriage return to newline.
pub const OCRNL: u32 = 0o10;
/// No carriage return at column 0.
pub const ONOCR: u32 = 0o20;
/// Newline also returns the carriage.
pub const ONLRET: u32 = 0o40;
/// Tabs to spaces.
pub const XTABS: u32 = 0o14000;

/// `c_lflag`: control characters send signals.
pub const ISIG: u32 = 0o1;
/// Lines, editable until they are complete.
pub const ICANON: u32 = 0o2;
/// Echo.
pub const ECHO: u32 = 0o10;
/// Echo erasing as backspace, space, backspace.
pub const ECHOE: u32 = 0o20;
/// A newline after the kill character.
pub const ECHOK: u32 = 0o40;
/// Echo the newline even without ECHO.
pub const ECHONL: u32 = 0o100;
/// Signals do not flush.
pub const NOFLSH: u32 = 0o200;
/// Background writes stop.
pub const TOSTOP: u32 = 0o400;
/// Echo control characters as `^X`.
pub const ECHOCTL: u32 = 0o1000;
/// Echo erased characters between `\` and `/`.
pub const ECHOPRT: u32 = 0o2000;
/// The kill character erases on the screen.
pub const ECHOKE: u32 = 0o4000;
/// Extended processing: WERASE, LNEXT, REPRINT, EOL2.
pub const IEXTEN: u32 = 0o100_000;

/// Indices into `c_cc`.
pub const VINTR: usize = 0;
/// `^\`.
pub const VQUIT: usize = 1;
/// Backspace.
pub const VERASE: usize = 2;
/// `^U`.
pub const VKILL: usize = 3;
/// `^D`.
pub const VEOF: usize = 4;
/// Tenths of a second a raw read waits.
pub const VTIME: usize = 5;
/// Bytes a raw read waits for.
pub const VMIN: usize = 6;
/// `^Q`.
pub const VSTART: usize = 8;
/// `^S`.
pub const VSTOP: usize = 9;
/// `^Z`.
pub const VSUSP: usize = 10;
/// One more end of line.
pub const VEOL: usize = 11;
/// `^R`.
pub const VREPRINT: usize = 12;
/// `^W`.
pub const VWERASE: usize = 14;
/// `^V`.
pub const VLNEXT: usize = 15;
/// One more end of line.
pub const VEOL2: usize = 16;

/// Bytes of `struct termios` as `TCGETS` gives it.
pub const TERMIOS_LEN: usize = 36;
/// Bytes of `struct termios2` as `TCGETS2` gives it.
pub const TERMIOS2_LEN: usize = 44;

/// Settings of a terminal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Termios {
    /// Input modes.
    pub iflag: u32,
    /// Output modes.
    pub oflag: u32,
    /// Control modes: nothing here acts on them.
    pub cflag: u32,
    /// Local modes.
    pub lflag: u32,
    /// Line discipline number.
    pub line: u8,
    /// Control characters; 0 is "none".
    pub cc: [u8; 19],
    /// Input and output speed.
    pub speed: [u32; 2],
}

impl Default for Termios {
    /// What a new terminal has (`tty_std_termios`), with IUTF8, which every terminal program sets today.
    fn default() -> Termios {
        Termios {
            iflag: ICRNL | IXON | IUTF8,
            oflag: OPOST | ONLCR,
            // 38400 baud, 8 bits, receiver on.
            cflag: 0o17 | 0o60 | 0o200,
            lflag: ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN,
            line: 0,
            cc: [
                3, 0x1c, 0x7f, 0x15, 4, 0, 1, 0, 0x11, 0x13, 0x1a, 0, 0x12, 0x0f, 0x17, 0x16, 0, 0,
                0,
            ],
            speed: [38400, 38400],
        }
    }
}

impl Termios {
    /// The layout of `TCGETS2`, of which `TCGETS` is the first [`TERMIOS_LEN`] bytes.
    #[must_use]
    pub fn emit(&self) -> [u8; TERMIOS2_LEN] {
        let mut raw = [0; TERMIOS2_LEN];
        for (at, flags) in [self.iflag, self.oflag, self.cflag, self.lflag]
            .into_iter()
            .enumerate()
        {
            raw[at * 4..at * 4 + 4].copy_from_slice(&flags.to_le_bytes());
        }
        raw[16] = self.line;
        raw[17..36].copy_from_slice(&self.cc);
        raw[36..40].copy_from_slice(&self.speed[0].to_le_bytes());
        raw[40..44].copy_from_slice(&self.speed[1].to_le_bytes());
        raw
    }

    /// Reads `TCSETS` (36 bytes) or `TCSETS2` (44 bytes); what the short form lacks stays as in `self`.
    #[must_use]
    pub fn parse(mut self, raw: &[u8]) -> Termios {
        let word = |at: usize| {
            raw.get(at..at + 4)
                .map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        };
        [self.iflag, self.oflag, self.cflag, self.lflag] = [word(0), word(4), word(8), word(12)];
        self.line = raw[16];
        self.cc.copy_from_slice(&raw[17..36]);
        if raw.len() >= TERMIOS2_LEN {
            self.speed = [word(36), word(40)];
        }
        self
    }

    /// A local mode is on.
    #[must_use]
    pub fn local(&self, bit: u32) -> bool {
        self.lflag & bit != 0
    }

    /// An input mode is on.
    #[must_use]
    pub fn input(&self, bit: u32) -> bool {
        self.iflag & bit != 0
    }

    /// An output mode is on.
    #[must_use]
    pub fn output(&self, bit: u32) -> bool {
        self.oflag & bit != 0
    }

    /// `byte` is the control character at `index`, which is not disabled.
    #[must_use]
    pub fn is(&self, byte: u8, index: usize) -> bool {
        byte != 0 && self.cc[index] == byte
    }
}
