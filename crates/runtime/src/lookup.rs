//! Which file a command is: the search of Go's `exec.LookPath`, with its error texts.

use std::rc::Rc;

use os::{Errno, Metadata, Os, View};

use crate::user::User;

/// The file to execute for `name`, or the text after `exec: "name": `.
pub(crate) fn find_executable(
    os: &Rc<dyn Os>,
    view: View,
    name: &str,
    path: Option<&str>,
    cwd: &str,
    user: &User,
) -> Result<String, String> {
    if name.contains('/') {
        let file = absolute(name, cwd);
        return match check(os, view, &file, user) {
            Ok(()) => Ok(file),
            Err(errno @ (Errno::EISDIR | Errno::EACCES)) => Err(errno.go_description()),
            Err(errno) => Err(format!("stat {name}: {}", errno.go_description())),
        };
    }
    if !name.is_empty() {
        for directory in path.unwrap_or_default().split(':') {
            let directory = if directory.is_empty() { "." } else { directory };
            let file = absolute(&format!("{}/{name}", directory.trim_end_matches('/')), cwd);
            if check(os, view, &file, user).is_ok() {
                return Ok(file);
            }
        }
    }
    Err("executable file not found in $PATH".to_string())
}

fn absolute(path: &str, cwd: &str) -> String {
    if path.starts_with('/') {
        path.to_string()
    } else {
        format!("{}/{path}", cwd.trim_end_matches('/'))
    }
}

fn check(os: &Rc<dyn Os>, view: View, file: &str, user: &User) -> Result<(), Errno> {
    let metadata = os.metadata(view, file.as_bytes(), true)?;
    if metadata.is_dir() {
        return Err(Errno::EISDIR);
    }
    match may_execute(&metadata, user) {
        true => Ok(()),
        false => Err(Errno::EACCES),
    }
}

fn may_execute(metadata: &Metadata, user: &User) -> bool {
    let bit = if user.uid == 0 {
        0o111
    } else if metadata.uid == user.uid {
        0o100
    } else if metadata.gid == user.gid || user.groups.contains(&metadata.gid) {
        0o010
    } else {
        0o001
    };
    metadata.mode & bit != 0
}
