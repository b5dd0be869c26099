//! Mount propagation (`mount_namespaces(7)`): what is mounted on a shared mount shows on its peers and
//! slaves too, in whatever namespace they are, and what is unmounted there goes.

use std::collections::BTreeMap;
use std::rc::Rc;

use abi::{Errno, Result};

use crate::mount::{Mount, MountFlags, MountTable, Propagation};
use crate::path::Path;

/// A mount that is to get a copy, and how much of the original's group it shares.
struct Receiver {
    mount: Rc<Mount>,
    /// A slave (of a slave …) of the group, not a peer.
    is_slave: bool,
}

/// The mounts, hung somewhere, that see what happens at `place`: those of its mount's group, their slaves,
/// and on from those slaves that are shared themselves.
fn receivers(place: &Path) -> Vec<Receiver> {
    let Some(group) = place.mount.propagation.get().shared else {
        return Vec::new();
    };
    let all = place.mount.table().attached();
    let mut found: Vec<Receiver> = Vec::new();
    let mut groups = vec![group];
    let mut next = 0;
    while next < groups.len() {
        let group = groups[next];
        next += 1;
        for mount in &all {
            let Propagation { shared, master, .. } = mount.propagation.get();
            let known = Rc::ptr_eq(mount, &place.mount)
                || found.iter().any(|other| Rc::ptr_eq(&other.mount, mount));
            if known || shared != Some(group) && master != Some(group) {
                continue;
            }
            groups.extend(shared.filter(|shared| !groups.contains(shared)));
            found.push(Receiver {
                mount: Rc::clone(mount),
                is_slave: next > 1 || master == Some(group),
            });
        }
    }
    found.retain(|receiver| place.dentry.is_within(receiver.mount.root()));
    found
}

/// Hangs `mount`, with what is on it, at `place`, and copies of it where that is seen.
pub(crate) fn hang(mount: &Rc<Mount>, place: &Path) -> Result<()> {
    if place.mount.propagation.get().shared.is_some() {
        for part in mount.subtree() {
            if part.propagation.get().shared.is_none() {
                part.set_propagation(MountFlags::SHARED);
            }
        }
    }
    let receivers = receivers(place);
    let size = mount.subtree().len();
    for namespace in receivers.iter().filter_map(|one| one.mount.namespace()) {
        namespace.check_room(size)?;
    }
    // Copies on the members of one slave group are peers of each other.
    let mut groups: BTreeMap<(u32, u32), u32> = BTreeMap::new();
    for receiver in receivers {
        let at = Path {
            mount: Rc::clone(&receiver.mount),
            dentry: Rc::clone(&place.dentry),
        };
        if receiver.mount.mounted_at(&place.dentry).is_some() {
            // It would lie below what is there, where nobody sees it.
            continue;
        }
        let table = receiver.mount.table();
        let copy = mount.copy_tree(mount.root(), true, true, &mut |_, _| {});
        for part in copy.subtree().iter().filter(|_| receiver.is_slave) {
            let master = part.propagation.get().shared;
            let shared = receiver.mount.propagation.get().shared.map(|group| {
                *groups
                    .entry((group, master.unwrap_or_default()))
                    .or_insert_with(|| table.next_group())
            });
            part.propagation.set(Propagation {
                shared,
                master,
                unbindable: false,
            });
        }
        copy.attach(&at);
    }
    mount.attach(place);
    Ok(())
}

/// Takes a mount out, and its copies where its going is seen. A copy that something is mounted on stays.
pub(crate) fn take(mount: &Rc<Mount>) -> Result<()> {
    let place = mount.mount_point().ok_or(Errno::EINVAL)?;
    for receiver in receivers(&place) {
        if let Some(copy) = receiver.mount.mounted_at(&place.dentry)
            && copy.children().is_empty()
        {
            copy.detach();
        }
    }
    mount.detach();
    Ok(())
}

impl MountTable {
    /// No mount but `mount` itself is in that group.
    pub(crate) fn is_alone(&self, mount: &Mount, group: u32) -> bool {
        self.attached().iter().all(|other| {
            std::ptr::eq(&**other, mount) || other.propagation.get().shared != Some(group)
        })
    }
}
