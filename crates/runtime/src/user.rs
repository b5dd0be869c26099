//! Users and groups of a container: `user[:group]` looked up in its `/etc/passwd` and `/etc/group`
//! (`passwd(5)`, `group(5)`), with the error texts of the library Docker uses.

/// Who a process is to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Home directory.
    pub home: String,
}

struct Passwd<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

fn passwd_entries(file: &str) -> impl Iterator<Item = Passwd<'_>> {
    file.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let name = fields.next()?;
        let _password = fields.next()?;
        Some(Passwd {
            name,
            uid: fields.next()?.parse().ok()?,
            gid: fields.next()?.parse().ok()?,
            home: fields.nth(1).unwrap_or_default(),
        })
    })
}

fn group_entries(file: &str) -> impl Iterator<Item = Group<'_>> {
    file.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let name = fields.next()?;
        let _password = fields.next()?;
        Some(Group {
            name,
            gid: fields.next()?.parse().ok()?,
            members: fields.next().unwrap_or_default(),
        })
    })
}

/// An id given as a number; Docker accepts those of 31 bits.
fn numeric(text: &str) -> Option<u32> {
    text.parse::<u32>().ok().filter(|&id| id <= i32::MAX as u32)
}

/// Resolves `spec` and the additional groups.
pub fn resolve(
    spec: &str,
    additional: &[String],
    passwd: &str,
    group: &str,
) -> Result<User, String> {
    let (user_part, group_part) = match spec.split_once(':') {
        Some((user, group)) => (user, group),
        None => (spec, ""),
    };
    let wanted_uid = match user_part {
        "" => Some(0),
        text => numeric(text),
    };
    let entry = passwd_entries(passwd)
        .find(|entry| entry.name == user_part || wanted_uid == Some(entry.uid));
    let mut user = User {
        home: "/".to_string(),
        ..User::default()
    };
    match (&entry, wanted_uid) {
        (Some(entry), _) => {
            (user.uid, user.gid) = (entry.uid, entry.gid);
            user.home = entry.home.to_string();
        }
        (None, Some(uid)) => user.uid = uid,
        (None, None) => {
            return Err(format!(
                "unable to find user {user_part}: no matching entries in passwd file"
            ));
        }
    }
    if !group_part.is_empty() {
        user.gid = group_id(group_part, group)?;
    } else if let Some(entry) = &entry {
        user.groups = group_entries(group)
            .filter(|group| group.members.split(',').any(|member| member == entry.name))
            .map(|group| group.gid)
            .collect();
    }
    for name in additional {
        let gid = group_id(name, group)?;
        if !user.groups.contains(&gid) {
            user.groups.push(gid);
        }
    }
    // Since a container must not get around group permissions by not being in its own group.
    if !user.groups.contains(&user.gid) {
        user.groups.insert(0, user.gid);
    }
    Ok(user)
}

fn group_id(name: &str, group: &str) -> Result<u32, String> {
    let number = numeric(name);
    match group_entries(group).find(|entry| entry.name == name || number == Some(entry.gid)) {
        Some(entry) => Ok(entry.gid),
        None => number.ok_or_else(|| {
            format!("unable to find group {name}: no matching entries in group file")
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/sh\n# comment\nwww:x:33:33:w:/var/www:/bin/false\n";
    const GROUP: &str = "root:x:0:\nwww:x:33:\nstaff:x:50:www,root\n";

    #[test]
    fn lookups() {
        type Expected = Result<(u32, u32, &'static [u32], &'static str), &'static str>;
        let cases: &[(&str, Expected)] = &[
            ("", Ok((0, 0, &[0, 50], "/root"))),
            ("root", Ok((0, 0, &[0, 50], "/root"))),
            ("www", Ok((33, 33, &[33, 50], "/var/www"))),
            ("33", Ok((33, 33, &[33, 50], "/var/www"))),
            ("www:root", Ok((33, 0, &[0], "/var/www"))),
            ("1000", Ok((1000, 0, &[0], "/"))),
            ("1000:1001", Ok((1000, 1001, &[1001], "/"))),
            ("1000:staff", Ok((1000, 50, &[50], "/"))),
            (
                "nobody",
                Err("unable to find user nobody: no matching entries in passwd file"),
            ),
            (
                "www:x",
                Err("unable to find group x: no matching entries in group file"),
            ),
        ];
        for (spec, expected) in cases {
            let got = resolve(spec, &[], PASSWD, GROUP);
            match expected {
                Ok((uid, gid, groups, home)) => {
                    let user = got.unwrap_or_else(|error| panic!("{spec}: {error}"));
                    assert_eq!(
                        (user.uid, user.gid, &user.groups[..], user.home.as_str()),
                        (*uid, *gid, *groups, *home),
                        "{spec}"
                    );
                }
                Err(text) => assert_eq!(got.unwrap_err(), *text),
            }
        }
        let added = resolve(
            "1000",
            &["staff".to_string(), "7".to_string()],
            PASSWD,
            GROUP,
        );
        assert_eq!(added.unwrap().groups, [0, 50, 7]);
    }
}
