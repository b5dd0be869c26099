//! The heap: `brk(2)`.

use abi::{Errno, Result};
use rv64::Prot;

use super::{Backing, Mm, Vma, VmaFlags, page_up};

impl Mm {
    /// Where the heap ends.
    #[must_use]
    pub fn brk(&self) -> u64 {
        self.brk.get()
    }

    /// Puts the (empty) heap behind the program.
    pub fn set_brk_start(&self, address: u64) {
        self.brk.set(address);
        let mut layout = self.layout.get();
        layout.start_brk = address;
        self.layout.set(layout);
    }

    /// Moves the end of the heap. `data_limit` is RLIMIT_DATA.
    pub fn move_brk(&self, new: u64, data_limit: u64) -> Result<()> {
        let start = self.layout.get().start_brk;
        let old = self.brk.get();
        if new < start || new - start > data_limit {
            return Err(Errno::ENOMEM);
        }
        let (old_end, new_end) = (page_up(old), page_up(new));
        if new_end < old_end {
            let taken = self.vmas.borrow_mut().take(new_end, old_end);
            self.drop_pages(new_end, old_end - new_end);
            drop(taken);
        } else if new_end > old_end {
            let mut vmas = self.vmas.borrow_mut();
            // Linux keeps a page away from what is mapped above.
            if new_end >= super::USER_END || !vmas.is_free(old_end, new_end + super::PAGE) {
                return Err(Errno::ENOMEM);
            }
            vmas.insert(Vma {
                start: old_end,
                end: new_end,
                prot: Prot::READ | Prot::WRITE,
                flags: VmaFlags::empty(),
                backing: Backing::Anon,
                name: "[heap]",
            });
        }
        self.brk.set(new);
        self.note_size();
        Ok(())
    }
}
