//! `--security-opt seccomp=…`: Docker's own profile, one of the user's, or none.

use engine_api::error::{ApiError, Result};
use engine_api::types::HostConfig;
use runtime::capabilities;
use runtime::seccomp::{Action, Comparison, Condition, Rule, Seccomp};
use serde::Deserialize;

use crate::Engine;

const EPERM: u16 = 1;
const ENOSYS: u16 = 38;

/// Calls that Docker's profile keeps for those who have one of the capabilities; without any: for nobody.
/// It allows all others that riscv64 has.
const KEPT: &[(&str, &str)] = &[
    (
        "",
        "add_key builtin io_uring_enter io_uring_register io_uring_setup kexec_file_load kexec_load keyctl \
         migrate_pages move_pages nfsservctl pivot_root request_key swapoff swapon userfaultfd",
    ),
    (
        "SYS_ADMIN",
        "fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount mount_setattr move_mount open_tree \
         quotactl quotactl_fd setdomainname sethostname setns umount2 unshare",
    ),
    ("SYS_ADMIN BPF", "bpf"),
    ("SYS_ADMIN PERFMON", "perf_event_open"),
    ("SYS_ADMIN SYSLOG", "syslog"),
    ("DAC_READ_SEARCH", "open_by_handle_at"),
    ("SYS_BOOT", "reboot"),
    ("SYS_CHROOT", "chroot"),
    ("SYS_MODULE", "delete_module finit_module init_module"),
    (
        "SYS_NICE",
        "get_mempolicy mbind set_mempolicy set_mempolicy_home_node",
    ),
    ("SYS_PACCT", "acct"),
    ("SYS_PTRACE", "kcmp pidfd_getfd process_madvise"),
    ("SYS_TIME", "clock_settime settimeofday"),
    ("SYS_TTY_CONFIG", "vhangup"),
];

/// `CLONE_NEW…` but for that of time, which `clone(2)` cannot take.
const NEW_NAMESPACES: u64 = 0x7e02_0000;
/// Execution domains programs ask for.
const PERSONALITIES: [u64; 5] = [0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff];
const AF_VSOCK: u64 = 40;

/// A profile as the user writes it.
#[derive(Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[derive(Default)]
struct Profile {
    default_action: String,
    default_errno_ret: Option<u16>,
    syscalls: Vec<Group>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Group {
    name: String,
    names: Vec<String>,
    action: String,
    errno_ret: Option<u16>,
    args: Vec<Argument>,
    includes: Filter,
    excludes: Filter,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Argument {
    index: u32,
    value: u64,
    value_two: u64,
    op: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Filter {
    caps: Vec<String>,
    arches: Vec<String>,
}

impl Filter {
    fn has_arch(&self) -> bool {
        self.arches.iter().any(|arch| arch == "riscv64")
    }

    fn caps_in(&self, held: u64) -> impl Iterator<Item = bool> {
        let bits = self.caps.iter().map(|name| capabilities::parse(name));
        bits.map(move |bit| bit.is_some_and(|bit| held & bit != 0))
    }
}

impl Group {
    fn applies(&self, held: u64) -> bool {
        let excluded = self.excludes.caps_in(held).any(|has| has) || self.excludes.has_arch();
        let arches = self.includes.arches.is_empty() || self.includes.has_arch();
        !excluded && arches && self.includes.caps_in(held).all(|has| has)
    }
}

fn failed(why: impl std::fmt::Display) -> ApiError {
    ApiError::system(format!("Decoding seccomp profile failed: {why}"))
}

fn action(name: &str, errno: Option<u16>) -> Result<Action> {
    Action::parse(name, errno.unwrap_or(EPERM))
        .ok_or_else(|| failed(format!("invalid action \"{name}\"")))
}

/// A profile of the user's, for a container with these capabilities.
fn parse(text: &str, held: u64) -> Result<Seccomp> {
    let document = engine_api::json::parse_value(text.as_bytes());
    let profile = document.and_then(|document| engine_api::json::fit::<Profile>(&document));
    let profile =
        profile.map_err(|error| failed(error.message.trim_start_matches("invalid JSON: ")))?;
    let mut rules = Vec::new();
    for group in profile.syscalls.iter().filter(|group| group.applies(held)) {
        let conditions = group.args.iter().map(|argument| {
            let comparison = Comparison::parse(&argument.op);
            Ok(Condition {
                index: argument.index.min(5),
                comparison: comparison
                    .ok_or_else(|| failed(format!("invalid operator \"{}\"", argument.op)))?,
                value: argument.value,
                masked: argument.value_two,
            })
        });
        let mut names = group.names.clone();
        names.extend(Some(group.name.clone()).filter(|name| !name.is_empty()));
        if group.args.len() > 6 {
            return Err(failed("a call has six arguments"));
        }
        rules.push(Rule {
            names,
            action: action(&group.action, group.errno_ret)?,
            conditions: conditions.collect::<Result<_>>()?,
        });
    }
    Ok(Seccomp {
        default: action(&profile.default_action, profile.default_errno_ret)?,
        rules,
    })
}

/// Docker's profile for a container with these capabilities, on a kernel with these calls.
fn builtin(calls: &[(&'static str, u32)], held: u64) -> Seccomp {
    let has = |names: &str| {
        let bits = names.split_whitespace().filter_map(capabilities::parse);
        bits.into_iter().any(|bit| held & bit != 0)
    };
    let admin = has("SYS_ADMIN");
    let kept = |call: &str| {
        let found = KEPT
            .iter()
            .find(|(_, calls)| calls.split_whitespace().any(|one| one == call));
        found.is_some_and(|(names, _)| !has(names))
    };
    let special = |call: &str| match call {
        "clone" | "clone3" => !admin,
        "personality" | "socket" => true,
        _ => false,
    };
    let is = |comparison, value| Condition {
        index: 0,
        comparison,
        value,
        masked: 0,
    };
    let rule = |name: &str, action, conditions| Rule {
        names: vec![name.to_string()],
        action,
        conditions,
    };
    let names = calls.iter().map(|(name, _)| *name);
    let mut rules = vec![Rule {
        names: names
            .filter(|name| !kept(name) && !special(name))
            .map(str::to_string)
            .collect(),
        action: Action::ALLOW,
        conditions: Vec::new(),
    }];
    let other_family = is(Comparison::Ne, AF_VSOCK);
    rules.push(rule("socket", Action::ALLOW, vec![other_family]));
    for personality in PERSONALITIES {
        let same = is(Comparison::Eq, personality);
        rules.push(rule("personality", Action::ALLOW, vec![same]));
    }
    if !admin {
        let none = is(Comparison::MaskedEq, NEW_NAMESPACES);
        rules.push(rule("clone", Action::ALLOW, vec![none]));
        // Its flags are in memory, where a filter cannot look. Libraries then use clone.
        rules.push(rule("clone3", Action::errno(ENOSYS), Vec::new()));
    }
    Seccomp {
        default: Action::errno(EPERM),
        rules,
    }
}

impl Engine {
    /// The filter of a container's system calls.
    pub(crate) fn seccomp(
        &self,
        host: &HostConfig,
        held: u64,
    ) -> Result<Option<Vec<os::FilterInstruction>>> {
        let said = host.security_opt.iter().flatten();
        let said = said
            .filter_map(|option| option.split_once('=').or_else(|| option.split_once(':')))
            .filter(|(key, _)| *key == "seccomp")
            .map(|(_, value)| value)
            .next_back();
        let calls = self.os.system_calls();
        let profile = match said {
            Some("unconfined") => return Ok(None),
            Some(text) if text != "builtin" => parse(text, held)?,
            _ if host.privileged => return Ok(None),
            _ => builtin(&calls, held),
        };
        Ok(Some(profile.compile(&calls)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALLS: [(&str, u32); 5] = [
        ("read", 63),
        ("mount", 40),
        ("keyctl", 219),
        ("clone3", 435),
        ("socket", 198),
    ];

    fn allowed(profile: &Seccomp) -> Vec<&str> {
        let rules = profile
            .rules
            .iter()
            .filter(|rule| rule.action == Action::ALLOW);
        let known = |name: &&str| CALLS.iter().any(|(call, _)| call == name);
        let names = rules.flat_map(|rule| rule.names.iter().map(String::as_str));
        names.filter(known).collect()
    }

    #[test]
    fn dockers_profile_follows_the_capabilities() {
        assert_eq!(allowed(&builtin(&CALLS, 0)), ["read", "socket"]);
        assert_eq!(
            allowed(&builtin(&CALLS, capabilities::ALL)),
            ["read", "mount", "clone3", "socket"]
        );
    }

    #[test]
    fn a_users_profile() {
        let text = r#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "syscalls": [
            {"names": ["read"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
            {"name": "socket", "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]}]}"#;
        let profile = parse(text, 0).expect("a good profile");
        assert_eq!(profile.default, Action::errno(38));
        assert_eq!(allowed(&profile), ["read", "socket"]);
        let profile = parse(text, capabilities::ALL).expect("a good profile");
        assert_eq!(allowed(&profile), ["read", "mount", "socket"]);
        assert_eq!(
            parse("{}", 0).expect_err("no action").message,
            "Decoding seccomp profile failed: invalid action \"\""
        );
    }
}
