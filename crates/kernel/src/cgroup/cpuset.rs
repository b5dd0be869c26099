//! The cpuset controller of a machine with one processor and one memory node: a cgroup names them or names
//! none, and has them either way.

use std::cell::Cell;

use abi::{Errno, Result};

/// What was written to one of the two lists.
#[derive(Default)]
pub struct Set(Cell<bool>);

impl Set {
    /// As it was written.
    #[must_use]
    pub fn list(&self) -> &'static str {
        if self.0.get() { "0\n" } else { "\n" }
    }

    /// A list such as `0`, `0-0`, or nothing.
    pub fn write(&self, text: &str) -> Result<()> {
        let text = text.trim();
        for range in text.split(',').filter(|_| !text.is_empty()) {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let number = |text: &str| text.trim().parse::<u32>().map_err(|_| Errno::EINVAL);
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return Err(Errno::EINVAL);
            }
            // There is no other, and there is no place for one.
            if last > 0 {
                return Err(Errno::ERANGE);
            }
        }
        self.0.set(!text.is_empty());
        Ok(())
    }

    /// Forgets what was written.
    pub fn clear(&self) {
        self.0.set(false);
    }
}

/// State of the cpuset controller of one cgroup.
#[derive(Default)]
pub struct Cpuset {
    /// `cpuset.cpus`.
    pub cpus: Set,
    /// `cpuset.mems`.
    pub mems: Set,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_what_is_there() {
        let set = Set::default();
        for right in ["0", "0-0\n", "0,0"] {
            assert_eq!((set.write(right), set.list()), (Ok(()), "0\n"), "{right}");
        }
        for (wrong, error) in [
            ("1", Errno::ERANGE),
            ("0-3", Errno::ERANGE),
            ("1-0", Errno::EINVAL),
            ("x", Errno::EINVAL),
            ("0,", Errno::EINVAL),
            ("-1", Errno::EINVAL),
        ] {
            assert_eq!(set.write(wrong), Err(error), "{wrong}");
        }
        assert_eq!((set.write("\n"), set.list()), (Ok(()), "\n"));
    }
}
