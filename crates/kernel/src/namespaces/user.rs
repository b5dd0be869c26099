//! User namespaces: id maps, and what a capability is worth where (`user_namespaces(7)`).
//!
//! Credentials always hold global ids, those of the initial namespace; a namespace's maps translate
//! at the edge (`getuid`, `stat`, `/proc`). A capability counts in the namespace of its holder and
//! everything that descends from it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use abi::{Errno, Result};

/// What an id without a mapping shows as.
pub const OVERFLOW_ID: u32 = 65_534;
/// Deepest nesting.
pub const LEVEL_MAX: u32 = 32;
/// Most lines of a map.
pub const EXTENTS_MAX: usize = 340;

/// One line of `uid_map`: `count` ids from `inside` are global ids from `outside`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extent {
    /// First id inside.
    pub inside: u32,
    /// First global id.
    pub outside: u32,
    /// How many.
    pub count: u32,
}

/// A map of ids; an empty one has not been written yet.
#[derive(Default, Debug)]
pub struct IdMap(RefCell<Vec<Extent>>);

impl IdMap {
    /// True when it has been written: it can be only once.
    #[must_use]
    pub fn is_set(&self) -> bool {
        !self.0.borrow().is_empty()
    }

    /// The lines.
    #[must_use]
    pub fn extents(&self) -> Vec<Extent> {
        self.0.borrow().clone()
    }

    fn to_global(&self, inside: u32) -> Option<u32> {
        self.0.borrow().iter().find_map(|extent| {
            let offset = inside.checked_sub(extent.inside)?;
            (offset < extent.count).then(|| extent.outside + offset)
        })
    }

    fn to_local(&self, global: u32) -> Option<u32> {
        self.0.borrow().iter().find_map(|extent| {
            let offset = global.checked_sub(extent.outside)?;
            (offset < extent.count).then(|| extent.inside + offset)
        })
    }
}

/// Which map of a namespace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IdKind {
    /// `uid_map`.
    User,
    /// `gid_map`.
    Group,
}

/// A user namespace.
pub struct UserNs {
    /// Inode number.
    pub inum: u64,
    /// The namespace it was made in; `None`: the initial one.
    pub parent: Option<Rc<UserNs>>,
    /// Depth, 0 for the initial one.
    pub level: u32,
    /// Global uid of its maker: has all capabilities in it when in the parent.
    pub owner_uid: u32,
    /// Global gid of its maker.
    pub owner_gid: u32,
    uid_map: IdMap,
    gid_map: IdMap,
    /// `/proc/PID/setgroups` says `allow`.
    pub setgroups_allowed: Cell<bool>,
}

impl UserNs {
    /// The initial namespace: every id is itself.
    #[must_use]
    pub fn initial() -> Rc<UserNs> {
        let identity = || {
            IdMap(RefCell::new(vec![Extent {
                inside: 0,
                outside: 0,
                count: u32::MAX,
            }]))
        };
        Rc::new(UserNs {
            inum: 4_026_531_837,
            parent: None,
            level: 0,
            owner_uid: 0,
            owner_gid: 0,
            uid_map: identity(),
            gid_map: identity(),
            setgroups_allowed: Cell::new(true),
        })
    }

    /// A child of `parent`, made by somebody with these global ids. `EPERM` when the maker's ids have
    /// no mapping in `parent`, `ENOSPC` when too deep.
    pub fn new(parent: &Rc<UserNs>, inum: u64, uid: u32, gid: u32) -> Result<Rc<UserNs>> {
        if parent.level >= LEVEL_MAX {
            return Err(Errno::ENOSPC);
        }
        if parent.local_uid(uid).is_none() || parent.local_gid(gid).is_none() {
            return Err(Errno::EPERM);
        }
        Ok(Rc::new(UserNs {
            inum,
            parent: Some(Rc::clone(parent)),
            level: parent.level + 1,
            owner_uid: uid,
            owner_gid: gid,
            uid_map: IdMap::default(),
            gid_map: IdMap::default(),
            setgroups_allowed: Cell::new(parent.setgroups_allowed.get()),
        }))
    }

    /// True for the machine's first namespace.
    #[must_use]
    pub fn is_initial(&self) -> bool {
        self.level == 0
    }

    /// The map of a kind.
    #[must_use]
    pub fn map(&self, kind: IdKind) -> &IdMap {
        match kind {
            IdKind::User => &self.uid_map,
            IdKind::Group => &self.gid_map,
        }
    }

    /// A global uid as this namespace shows it; `None` without a mapping.
    #[must_use]
    pub fn local_uid(&self, global: u32) -> Option<u32> {
        if self.is_initial() {
            Some(global)
        } else {
            self.uid_map.to_local(global)
        }
    }

    /// A global gid as this namespace shows it.
    #[must_use]
    pub fn local_gid(&self, global: u32) -> Option<u32> {
        if self.is_initial() {
            Some(global)
        } else {
            self.gid_map.to_local(global)
        }
    }

    /// As [`UserNs::local_uid`], with 65534 for ids without a mapping: what `getuid` and `stat` show.
    #[must_use]
    pub fn shown_uid(&self, global: u32) -> u32 {
        self.local_uid(global).unwrap_or(OVERFLOW_ID)
    }

    /// As [`UserNs::shown_uid`], for groups.
    #[must_use]
    pub fn shown_gid(&self, global: u32) -> u32 {
        self.local_gid(global).unwrap_or(OVERFLOW_ID)
    }

    /// The global uid behind an id given in this namespace; `EINVAL` without a mapping.
    pub fn global_uid(&self, local: u32) -> Result<u32> {
        if self.is_initial() {
            return Ok(local);
        }
        self.uid_map.to_global(local).ok_or(Errno::EINVAL)
    }

    /// The global gid behind an id given in this namespace.
    pub fn global_gid(&self, local: u32) -> Result<u32> {
        if self.is_initial() {
            return Ok(local);
        }
        self.gid_map.to_global(local).ok_or(Errno::EINVAL)
    }

    /// True when this namespace is `ancestor` or was made, at some remove, in it.
    #[must_use]
    pub fn descends_from(self: &Rc<Self>, ancestor: &Rc<UserNs>) -> bool {
        let mut current = Some(Rc::clone(self));
        while let Some(ns) = current {
            if Rc::ptr_eq(&ns, ancestor) {
                return true;
            }
            current = ns.parent.clone();
        }
        false
    }

    /// Whether somebody in namespace `holder` with effective uid `euid` and the effective capability
    /// bits `effective` has capability number `cap` over what `self` owns.
    #[must_use]
    pub fn allows(
        self: &Rc<Self>,
        holder: &Rc<UserNs>,
        euid: u32,
        effective: u64,
        cap: u32,
    ) -> bool {
        let mut target = Rc::clone(self);
        loop {
            if Rc::ptr_eq(&target, holder) {
                return effective & (1 << cap) != 0;
            }
            if target.level <= holder.level {
                return false;
            }
            let Some(parent) = target.parent.clone() else {
                return false;
            };
            if Rc::ptr_eq(&parent, holder) && target.owner_uid == euid {
                return true;
            }
            target = parent;
        }
    }

    /// A write to `uid_map` or `gid_map`. `writer` describes who writes.
    pub fn write_map(self: &Rc<Self>, kind: IdKind, text: &str, writer: &MapWriter) -> Result<()> {
        let map = self.map(kind);
        let parent = self.parent.as_ref().ok_or(Errno::EPERM)?;
        if map.is_set() {
            return Err(Errno::EPERM);
        }
        let extents = parse_extents(text)?;
        let privileged = writer.has_setid_in_parent;
        if !privileged && !self.unprivileged_map_allowed(kind, &extents, writer) {
            return Err(Errno::EPERM);
        }
        // The ids on the right are those of the parent namespace; the map keeps global ones.
        let mut global = Vec::with_capacity(extents.len());
        for extent in &extents {
            let first = match kind {
                IdKind::User => parent.global_uid(extent.outside),
                IdKind::Group => parent.global_gid(extent.outside),
            };
            global.push(Extent {
                outside: first.map_err(|_| Errno::EPERM)?,
                ..*extent
            });
        }
        *map.0.borrow_mut() = global;
        Ok(())
    }

    /// Without CAP_SETUID in the parent one may map exactly one's own id; groups only after
    /// `setgroups` was denied.
    fn unprivileged_map_allowed(
        &self,
        kind: IdKind,
        extents: &[Extent],
        writer: &MapWriter,
    ) -> bool {
        let [extent] = extents else { return false };
        let Some(parent) = &self.parent else {
            return false;
        };
        if extent.count != 1 || writer.euid != self.owner_uid {
            return false;
        }
        match kind {
            IdKind::User => parent.global_uid(extent.outside) == Ok(writer.euid),
            IdKind::Group => {
                !self.setgroups_allowed.get()
                    && parent.global_gid(extent.outside) == Ok(writer.egid)
            }
        }
    }

    /// A write to `/proc/PID/setgroups`.
    pub fn write_setgroups(&self, text: &str) -> Result<()> {
        match text.trim_end() {
            "allow" if self.setgroups_allowed.get() => Ok(()),
            "allow" => Err(Errno::EPERM),
            // Too late once groups are mapped.
            "deny" if self.gid_map.is_set() && self.setgroups_allowed.get() => Err(Errno::EPERM),
            "deny" => {
                self.setgroups_allowed.set(false);
                Ok(())
            }
            _ => Err(Errno::EINVAL),
        }
    }
}

/// Who writes a map.
pub struct MapWriter {
    /// Global effective uid.
    pub euid: u32,
    /// Global effective gid.
    pub egid: u32,
    /// CAP_SETUID (or CAP_SETGID) in the parent namespace.
    pub has_setid_in_parent: bool,
}

fn parse_extents(text: &str) -> Result<Vec<Extent>> {
    let mut extents: Vec<Extent> = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let numbers: Vec<u32> = line
            .split_ascii_whitespace()
            .map(|word| word.parse().map_err(|_| Errno::EINVAL))
            .collect::<Result<_>>()?;
        let [inside, outside, count] = numbers[..] else {
            return Err(Errno::EINVAL);
        };
        let overlaps = |a: u32, b: u32, other: u32| {
            u64::from(a) < u64::from(b) + u64::from(other)
                && u64::from(b) < u64::from(a) + u64::from(count)
        };
        let clash = extents.iter().any(|known| {
            overlaps(inside, known.inside, known.count)
                || overlaps(outside, known.outside, known.count)
        });
        let wraps = inside.checked_add(count).is_none() || outside.checked_add(count).is_none();
        if count == 0 || wraps || clash || extents.len() == EXTENTS_MAX {
            return Err(Errno::EINVAL);
        }
        extents.push(Extent {
            inside,
            outside,
            count,
        });
    }
    if extents.is_empty() {
        Err(Errno::EINVAL)
    } else {
        Ok(extents)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAP_SYS_ADMIN: u32 = 21;

    fn writer(euid: u32, egid: u32, privileged: bool) -> MapWriter {
        MapWriter {
            euid,
            egid,
            has_setid_in_parent: privileged,
        }
    }

    #[test]
    fn root_maps_itself_and_nested_maps_keep_global_ids() {
        let init = UserNs::initial();
        let outer = UserNs::new(&init, 1, 1000, 1000).unwrap();
        assert_eq!(outer.shown_uid(1000), OVERFLOW_ID);
        outer
            .write_map(IdKind::User, "0 100000 65536\n", &writer(0, 0, true))
            .unwrap();
        outer
            .write_map(IdKind::Group, "0 100000 65536", &writer(0, 0, true))
            .unwrap();
        assert_eq!(
            (outer.shown_uid(100_005), outer.global_uid(5)),
            (5, Ok(100_005))
        );
        let inner = UserNs::new(&outer, 2, 100_000, 100_000).unwrap();
        inner
            .write_map(IdKind::User, "7 5 1", &writer(100_000, 100_000, true))
            .unwrap();
        assert_eq!(inner.global_uid(7), Ok(100_005));
        assert_eq!(inner.global_uid(8), Err(Errno::EINVAL));
        assert_eq!(
            inner.write_map(IdKind::User, "0 0 1", &writer(0, 0, true)),
            Err(Errno::EPERM),
            "a map is written once"
        );
    }

    #[test]
    fn without_privilege_only_ones_own_id_and_groups_after_deny() {
        let init = UserNs::initial();
        let ns = UserNs::new(&init, 1, 1000, 1000).unwrap();
        let me = writer(1000, 1000, false);
        assert_eq!(ns.write_map(IdKind::User, "0 0 1", &me), Err(Errno::EPERM));
        assert_eq!(
            ns.write_map(IdKind::User, "0 1000 2", &me),
            Err(Errno::EPERM)
        );
        ns.write_map(IdKind::User, "0 1000 1", &me).unwrap();
        assert_eq!(
            ns.write_map(IdKind::Group, "0 1000 1", &me),
            Err(Errno::EPERM)
        );
        ns.write_setgroups("deny\n").unwrap();
        ns.write_map(IdKind::Group, "0 1000 1", &me).unwrap();
        assert_eq!(ns.write_setgroups("allow"), Err(Errno::EPERM));
    }

    #[test]
    fn bad_maps_are_refused() {
        let init = UserNs::initial();
        for text in [
            "",
            "0 0",
            "0 0 0",
            "x 0 1",
            "4294967295 0 2",
            "0 0 10\n5 100 1",
            "0 0 10\n100 9 3",
        ] {
            let ns = UserNs::new(&init, 1, 0, 0).unwrap();
            assert_eq!(
                ns.write_map(IdKind::User, text, &writer(0, 0, true)),
                Err(Errno::EINVAL),
                "{text:?}"
            );
        }
    }

    #[test]
    fn capabilities_count_downwards_and_for_the_owner() {
        let init = UserNs::initial();
        let mine = UserNs::new(&init, 1, 1000, 1000).unwrap();
        let other = UserNs::new(&init, 2, 1001, 1001).unwrap();
        let all = u64::MAX;
        assert!(mine.allows(&init, 0, all, CAP_SYS_ADMIN), "root above");
        assert!(mine.allows(&init, 1000, 0, CAP_SYS_ADMIN), "owner above");
        assert!(mine.allows(&mine, 1000, all, CAP_SYS_ADMIN), "inside");
        assert!(!mine.allows(&mine, 1000, 0, CAP_SYS_ADMIN));
        assert!(!init.allows(&mine, 1000, all, CAP_SYS_ADMIN), "not upwards");
        assert!(
            !other.allows(&mine, 1000, all, CAP_SYS_ADMIN),
            "not sideways"
        );
        assert!(mine.descends_from(&init) && !init.descends_from(&mine));
    }
}
