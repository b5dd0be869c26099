//! What pays for data that waits in the kernel: pipes, sockets, tables of descriptors.

use std::cell::RefCell;
use std::rc::Rc;

use abi::{Errno, Result};
use mem::{Charge, Kind, Payer};

/// Bytes that are charged together. What was charged once for a queue stays, so that one that is filled
/// and emptied all the time is not charged each time.
const STEP: usize = 4096;

/// The charge of something that grows, paid by whoever made it grow first.
pub struct QueueCharge {
    payer: Option<Rc<Payer>>,
    kind: Kind,
    charge: RefCell<Option<Charge>>,
}

impl QueueCharge {
    /// Nothing charged yet; without a payer, ever.
    #[must_use]
    pub fn new(payer: Option<&Rc<Payer>>, kind: Kind) -> QueueCharge {
        QueueCharge {
            payer: payer.cloned(),
            kind,
            charge: RefCell::new(None),
        }
    }

    /// Who pays.
    #[must_use]
    pub fn payer(&self) -> Option<&Rc<Payer>> {
        self.payer.as_ref()
    }

    /// Pays for `bytes`, before they are there. `OVER_LIMIT` when that is too much for a task, `ENOMEM` for the
    /// machine's daemons.
    pub fn grow(&self, bytes: usize) -> Result<()> {
        let mut charge = self.charge.borrow_mut();
        let paid = charge.as_ref().map_or(0, Charge::bytes);
        if bytes as u64 <= paid {
            return Ok(());
        }
        let Some(payer) = &self.payer else {
            return Ok(());
        };
        let bytes = bytes.next_multiple_of(STEP) as u64;
        let outcome = match &mut *charge {
            Some(charge) => charge.resize(bytes),
            None => Charge::new(&payer.account(), self.kind, bytes).map(|new| {
                *charge = Some(new);
            }),
        };
        outcome.map_err(|full| match payer.is_task() {
            true => {
                payer.refuse(full);
                Errno::OVER_LIMIT
            }
            false => Errno::ENOMEM,
        })
    }

    /// As [`QueueCharge::grow`] for what is there already: then the next charge is the one that is refused.
    pub fn grow_unchecked(&self, bytes: usize) {
        if let Some(payer) = &self.payer {
            let bytes = bytes.next_multiple_of(STEP) as u64;
            let charge = Charge::unchecked(&payer.account(), self.kind, bytes);
            *self.charge.borrow_mut() = Some(charge);
        }
    }

    /// Nothing is left.
    pub fn emptied(&self) {
        if let Some(charge) = &mut *self.charge.borrow_mut()
            && charge.bytes() > STEP as u64
        {
            // Giving back cannot fail.
            let _ = charge.resize(STEP as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use mem::Account;

    use super::*;

    #[test]
    fn a_queue_pays_in_steps_and_gives_back_when_it_is_empty() {
        let machine = Account::new(None);
        machine.set_max(Some(8192));
        let payer = Payer::new(&machine);
        let charge = QueueCharge::new(Some(&payer), Kind::Sock);
        assert_eq!(charge.grow(1), Ok(()));
        assert_eq!(machine.current(), 4096);
        assert_eq!(charge.grow(4097), Ok(()));
        assert_eq!(charge.grow(8193), Err(Errno::ENOMEM));
        payer.switch(&machine, true);
        assert_eq!(charge.grow(8193), Err(Errno::OVER_LIMIT));
        assert!(payer.take_refusal().is_some());
        charge.emptied();
        assert_eq!(machine.of_kind(Kind::Sock), 4096);
        drop(charge);
        assert_eq!(machine.current(), 0);
        assert_eq!(QueueCharge::new(None, Kind::Sock).grow(1 << 40), Ok(()));
    }
}
