//! Layers on their way: two pulls that want the same layer download it once, and what a pull needs stays
//! while it needs it.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use clock::WaitQueue;
use oci::Digest;

use crate::store::Store;

/// What is told of a layer: a status, and bytes done of how many.
pub(crate) type Told = (Cow<'static, str>, Option<(u64, u64)>);

/// A layer that somebody is bringing.
#[derive(Default)]
pub(crate) struct Transfer {
    told: RefCell<Option<Told>>,
    changes: Cell<u64>,
    over: Cell<bool>,
    changed: WaitQueue,
}

impl Transfer {
    /// Passes on what is told of it until it is over, well or not.
    pub(crate) async fn follow(&self, tell: &dyn Fn(Told)) {
        let mut seen = 0;
        loop {
            let news = || (self.over.get() || self.changes.get() > seen).then_some(());
            self.changed.wait_for(news).await;
            if self.changes.get() > seen {
                seen = self.changes.get();
                let told = self.told.borrow().clone();
                told.into_iter().for_each(tell);
            }
            if self.over.get() {
                return;
            }
        }
    }
}

/// Layers that are being brought, by chain id, and how many pulls need each layer.
#[derive(Default)]
pub(crate) struct Transfers {
    coming: RefCell<BTreeMap<Digest, Rc<Transfer>>>,
    needed: RefCell<BTreeMap<Digest, usize>>,
}

/// The right to bring a layer.
pub(crate) struct Claim {
    store: Store,
    chain: Digest,
    transfer: Rc<Transfer>,
}

impl Claim {
    /// Tells those who wait for the layer too.
    pub(crate) fn tell(&self, told: Told) {
        *self.transfer.told.borrow_mut() = Some(told);
        self.transfer.changes.set(self.transfer.changes.get() + 1);
        self.transfer.changed.wake_all();
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let transfers = self.store.transfers();
        transfers.coming.borrow_mut().remove(&self.chain);
        self.transfer.over.set(true);
        self.transfer.changed.wake_all();
    }
}

/// Keeps layers from being removed. When the last pin of a layer goes and no image has it, it goes too: so a
/// pull that was cut leaves nothing.
pub struct Pin {
    store: Store,
    chains: Vec<Digest>,
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut needed = self.store.transfers().needed.borrow_mut();
        for chain in &self.chains {
            match needed.get_mut(chain) {
                Some(count) if *count > 1 => *count -= 1,
                _ => {
                    needed.remove(chain);
                }
            }
        }
        drop(needed);
        self.store.drop_unused(&self.chains);
    }
}

impl Store {
    /// Keeps these layers, present and future, as long as the pin is there.
    pub(crate) fn pin(&self, chains: &[Digest]) -> Pin {
        let mut needed = self.transfers().needed.borrow_mut();
        for chain in chains {
            *needed.entry(*chain).or_default() += 1;
        }
        Pin {
            store: self.clone(),
            chains: chains.to_vec(),
        }
    }

    /// Layers that are pinned.
    pub(crate) fn pinned(&self) -> Vec<Digest> {
        self.transfers().needed.borrow().keys().copied().collect()
    }

    /// Takes on to bring a layer; the other's transfer if somebody does already.
    pub(crate) fn claim(&self, chain: Digest) -> Result<Claim, Rc<Transfer>> {
        let mut coming = self.transfers().coming.borrow_mut();
        if let Some(other) = coming.get(&chain) {
            return Err(Rc::clone(other));
        }
        let transfer = Rc::<Transfer>::default();
        coming.insert(chain, Rc::clone(&transfer));
        Ok(Claim {
            store: self.clone(),
            chain,
            transfer,
        })
    }
}
