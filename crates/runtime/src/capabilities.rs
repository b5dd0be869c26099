//! Capability names (`capabilities(7)`) and Docker's choice of them.

/// Names in the order of their numbers, without `CAP_`.
pub const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// Every capability.
pub const ALL: u64 = (1 << NAMES.len()) - 1;

/// What root in an ordinary container has.
pub const DEFAULT: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

/// The set of one name, with or without `CAP_`, in any case.
#[must_use]
pub fn parse(name: &str) -> Option<u64> {
    let upper = name.to_ascii_uppercase();
    let short = upper.strip_prefix("CAP_").unwrap_or(&upper);
    NAMES
        .iter()
        .position(|&known| known == short)
        .map(|number| 1 << number)
}

/// Names of a set, with `CAP_`, in the order of their numbers.
pub fn names(set: u64) -> impl Iterator<Item = String> {
    (0..NAMES.len())
        .filter(move |number| set >> number & 1 == 1)
        .map(|number| format!("CAP_{}", NAMES[number]))
}

/// Docker's set after `--cap-add`, `--cap-drop` and `--privileged`; the unknown name on an error.
pub fn tweak(add: &[String], drop: &[String], privileged: bool) -> Result<u64, String> {
    let is_all = |name: &String| name.eq_ignore_ascii_case("ALL");
    let union = |list: &[String]| {
        list.iter()
            .filter(|name| !is_all(name))
            .try_fold(0, |set, name| {
                parse(name).map(|bit| set | bit).ok_or_else(|| name.clone())
            })
    };
    let (added, dropped) = (union(add)?, union(drop)?);
    if privileged {
        return Ok(ALL);
    }
    let default = DEFAULT.iter().filter_map(|name| parse(name)).sum::<u64>();
    Ok(match (add.iter().any(is_all), drop.iter().any(is_all)) {
        (true, true) => added,
        (true, false) => ALL & !dropped,
        (false, true) => added,
        (false, false) => (default & !dropped) | added,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets() {
        let text = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        // The mask /proc/self/status shows in an ordinary Docker container.
        assert_eq!(tweak(&[], &[], false), Ok(0xa804_25fb));
        let cases: &[(&[&str], &[&str], u64)] = &[
            (&["NET_ADMIN"], &[], 0xa804_25fb | 1 << 12),
            (&["cap_sys_admin"], &["CHOWN"], (0xa804_25fb & !1) | 1 << 21),
            (&[], &["ALL"], 0),
            (&["KILL"], &["all"], 1 << 5),
            (&["ALL"], &["KILL"], ALL & !(1 << 5)),
        ];
        for (add, drop, expected) in cases {
            assert_eq!(tweak(&text(add), &text(drop), false), Ok(*expected));
        }
        assert_eq!(tweak(&text(&["NOPE"]), &[], false), Err("NOPE".to_string()));
        assert_eq!(
            names(0b101).collect::<Vec<_>>(),
            ["CAP_CHOWN", "CAP_DAC_READ_SEARCH"]
        );
    }
}
