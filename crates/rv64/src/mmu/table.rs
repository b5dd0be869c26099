//! The page table: a sparse tree of counted nodes.
//!
//! fork clones the root and with it everything: a node with more than one owner is copied when one of
//! them changes it (`Rc::make_mut`). So a page is a process's own only when *every* node above it is, and
//! that is what [`Table::get`] reports; no entry needs to be rewritten to make it copy-on-write.
//!
//! Nodes are charged to who made them, as page tables. That is never refused here: whoever fills the
//! table asks [`Table::take_grown`] and then looks whether it was too much.

use std::collections::BTreeMap;
use std::rc::Rc;

use mem::{Account, Charge, Kind, PAGE_SIZE, Page};

use super::{Prot, Sharing, USER_END};

const LEAF_BITS: u32 = 9;
const FAN: usize = 1 << LEAF_BITS;
/// Bits of the address below a leaf's index, a middle node's, and the root's.
const PAGE_SHIFT: u32 = 12;
const LEAF_SHIFT: u32 = PAGE_SHIFT + LEAF_BITS;
const ROOT_SHIFT: u32 = LEAF_SHIFT + LEAF_BITS;

/// One mapped page.
#[derive(Clone)]
pub struct Entry {
    pub page: Page,
    pub prot: Prot,
    pub sharing: Sharing,
}

/// 2 MiB of address space.
struct Leaf {
    entries: [Option<Entry>; FAN],
    populated: u32,
    charge: Option<Charge>,
}

/// 1 GiB of address space.
struct Middle {
    leaves: [Option<Rc<Leaf>>; FAN],
    charge: Option<Charge>,
}

/// A copy is charged by who makes it.
impl Clone for Leaf {
    fn clone(&self) -> Leaf {
        Leaf {
            entries: self.entries.clone(),
            populated: self.populated,
            charge: None,
        }
    }
}

impl Clone for Middle {
    fn clone(&self) -> Middle {
        Middle {
            leaves: self.leaves.clone(),
            charge: None,
        }
    }
}

/// The tree.
#[derive(Clone)]
pub struct Table {
    root: BTreeMap<u32, Rc<Middle>>,
    populated: u64,
    payer: Payer,
}

/// Who pays for new nodes, and whether there were any.
#[derive(Clone)]
struct Payer {
    account: Rc<Account>,
    grown: bool,
}

impl Payer {
    fn charge(&mut self) -> Option<Charge> {
        self.grown = true;
        Some(Charge::unchecked(
            &self.account,
            Kind::PageTables,
            PAGE_SIZE as u64,
        ))
    }

    fn own_middle<'a>(&mut self, middle: &'a mut Rc<Middle>) -> &'a mut Middle {
        let middle = Rc::make_mut(middle);
        if middle.charge.is_none() {
            middle.charge = self.charge();
        }
        middle
    }

    fn own_leaf<'a>(&mut self, leaf: &'a mut Rc<Leaf>) -> &'a mut Leaf {
        let leaf = Rc::make_mut(leaf);
        if leaf.charge.is_none() {
            leaf.charge = self.charge();
        }
        leaf
    }
}

fn root_index(va: u64) -> u32 {
    (va >> ROOT_SHIFT) as u32
}

fn middle_index(va: u64) -> usize {
    (va >> LEAF_SHIFT) as usize % FAN
}

fn leaf_index(va: u64) -> usize {
    (va >> PAGE_SHIFT) as usize % FAN
}

impl Table {
    pub fn new(account: Rc<Account>) -> Table {
        Table {
            root: BTreeMap::new(),
            populated: 0,
            payer: Payer {
                account,
                grown: false,
            },
        }
    }

    /// Who pays for pages and nodes from now on.
    pub fn set_account(&mut self, account: Rc<Account>) {
        self.payer.account = account;
    }

    pub fn account(&self) -> &Rc<Account> {
        &self.payer.account
    }

    /// True when nodes were made since the last call.
    pub fn take_grown(&mut self) -> bool {
        std::mem::take(&mut self.payer.grown)
    }

    pub fn populated(&self) -> u64 {
        self.populated
    }

    /// The entry of the page with `va` in it, and whether the path to it is this table's alone.
    pub fn get(&self, va: u64) -> Option<(&Entry, bool)> {
        if va >= USER_END {
            return None;
        }
        let middle = self.root.get(&root_index(va))?;
        let leaf = middle.leaves[middle_index(va)].as_ref()?;
        let entry = leaf.entries[leaf_index(va)].as_ref()?;
        Some((
            entry,
            Rc::strong_count(middle) == 1 && Rc::strong_count(leaf) == 1,
        ))
    }

    /// The same entry to change it; shared nodes on the way to it are copied.
    pub fn get_mut(&mut self, va: u64) -> Option<&mut Entry> {
        self.get(va)?;
        let middle = self.payer.own_middle(self.root.get_mut(&root_index(va))?);
        let leaf = self
            .payer
            .own_leaf(middle.leaves[middle_index(va)].as_mut()?);
        leaf.entries[leaf_index(va)].as_mut()
    }

    /// Sets an entry, replacing what was there. `va` is below `USER_END`.
    pub fn insert(&mut self, va: u64, entry: Entry) {
        let middle = self.root.entry(root_index(va)).or_insert_with(|| {
            Rc::new(Middle {
                leaves: [const { None }; FAN],
                charge: None,
            })
        });
        let middle = self.payer.own_middle(middle);
        let leaf = middle.leaves[middle_index(va)].get_or_insert_with(|| {
            Rc::new(Leaf {
                entries: [const { None }; FAN],
                populated: 0,
                charge: None,
            })
        });
        let leaf = self.payer.own_leaf(leaf);
        if leaf.entries[leaf_index(va)].replace(entry).is_none() {
            leaf.populated += 1;
            self.populated += 1;
        }
    }

    /// Removes all entries in `start..end`. Absent parts of the tree cost nothing.
    pub fn remove(&mut self, start: u64, end: u64) {
        let mut removed = 0;
        let mut empty = Vec::new();
        for (&index, middle) in self.root.range_mut(root_index(start)..=root_index(end - 1)) {
            let base = u64::from(index) << ROOT_SHIFT;
            if start <= base && base + (1 << ROOT_SHIFT) <= end {
                removed += middle
                    .leaves
                    .iter()
                    .flatten()
                    .map(|leaf| u64::from(leaf.populated))
                    .sum::<u64>();
                empty.push(index);
                continue;
            }
            removed += remove_in_middle(&mut self.payer, middle, base, start, end);
            if middle.leaves.iter().all(Option::is_none) {
                empty.push(index);
            }
        }
        for index in empty {
            self.root.remove(&index);
        }
        self.populated -= removed;
    }

    /// Calls `f` for the address of every populated page in `start..end`.
    pub fn for_each(&self, start: u64, end: u64, mut f: impl FnMut(u64, &Entry, bool)) {
        if start >= end {
            return;
        }
        for (&index, middle) in self.root.range(root_index(start)..=root_index(end - 1)) {
            let base = u64::from(index) << ROOT_SHIFT;
            for (i, leaf) in middle.leaves.iter().enumerate() {
                let base = base + ((i as u64) << LEAF_SHIFT);
                let Some(leaf) = leaf else { continue };
                if base >= end || base + (1 << LEAF_SHIFT) <= start {
                    continue;
                }
                let own = Rc::strong_count(middle) == 1 && Rc::strong_count(leaf) == 1;
                for (i, entry) in leaf.entries.iter().enumerate() {
                    let va = base + ((i as u64) << PAGE_SHIFT);
                    if let Some(entry) = entry
                        && (start..end).contains(&va)
                    {
                        f(va, entry, own);
                    }
                }
            }
        }
    }
}

fn remove_in_middle(
    payer: &mut Payer,
    middle: &mut Rc<Middle>,
    base: u64,
    start: u64,
    end: u64,
) -> u64 {
    let mut removed = 0;
    for i in 0..FAN {
        let low = base + ((i as u64) << LEAF_SHIFT);
        let high = low + (1 << LEAF_SHIFT);
        if high <= start || end <= low || middle.leaves[i].is_none() {
            continue;
        }
        let slot = &mut payer.own_middle(middle).leaves[i];
        let Some(leaf) = slot else { continue };
        if start <= low && high <= end {
            removed += u64::from(leaf.populated);
            *slot = None;
            continue;
        }
        let first = leaf_index(start.max(low));
        let last = leaf_index(end.min(high) - 1);
        if leaf.entries[first..=last].iter().all(Option::is_none) {
            continue;
        }
        let leaf = payer.own_leaf(leaf);
        for entry in &mut leaf.entries[first..=last] {
            if entry.take().is_some() {
                leaf.populated -= 1;
                removed += 1;
            }
        }
        if leaf.populated == 0 {
            *slot = None;
        }
    }
    removed
}
