//! `RUN --mount=type=…,target=…`.

use crate::instruction::{Mount, MountKind};

/// Cuts at commas outside double quotes, as CSV does.
fn fields(text: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    for ch in text.chars() {
        match ch {
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            _ => {
                if let Some(last) = fields.last_mut() {
                    last.push(ch);
                }
            }
        }
    }
    fields
}

/// `64m` and so on, in bytes.
fn size(text: &str) -> Option<u64> {
    let lower = text.trim().to_lowercase();
    let lower = lower.trim_end_matches("ib").trim_end_matches('b');
    let (digits, shift) = match lower.chars().last()? {
        'k' => (&lower[..lower.len() - 1], 10),
        'm' => (&lower[..lower.len() - 1], 20),
        'g' => (&lower[..lower.len() - 1], 30),
        't' => (&lower[..lower.len() - 1], 40),
        _ => (lower, 0),
    };
    digits.trim().parse::<u64>().ok()?.checked_shl(shift)
}

fn boolean(key: &str, value: Option<&str>) -> Result<bool, String> {
    match value.map(str::to_lowercase).as_deref() {
        None | Some("true" | "1" | "t") => Ok(true),
        Some("false" | "0" | "f") => Ok(false),
        Some(other) => Err(format!("invalid value for {key}: {other}")),
    }
}

/// Reads one flag's value. `newest`: with what the newest Dockerfile frontend knows.
pub(crate) fn parse(text: &str, newest: bool) -> Result<Mount, String> {
    let mut mount = Mount::default();
    let mut readonly = None;
    for field in fields(text) {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key.trim().to_lowercase(), Some(value)),
            None => (field.trim().to_lowercase(), None),
        };
        match (key.as_str(), value) {
            ("readonly" | "ro", value) => {
                readonly = Some(boolean(&key, value)?);
                continue;
            }
            ("readwrite" | "rw", value) => {
                readonly = Some(!boolean(&key, value)?);
                continue;
            }
            ("required", value) => {
                mount.required = boolean(&key, value)?;
                continue;
            }
            _ => {}
        }
        let Some(value) = value else {
            return Err(format!("invalid field '{field}' must be a key=value pair"));
        };
        let number = |base: u32| {
            u32::from_str_radix(value, base).map_err(|_| format!("invalid value {value} for {key}"))
        };
        match key.as_str() {
            "type" => {
                mount.kind = match value.to_lowercase().as_str() {
                    "bind" => MountKind::Bind,
                    "cache" => MountKind::Cache,
                    "tmpfs" => MountKind::Tmpfs,
                    "secret" => MountKind::Secret,
                    "ssh" => MountKind::Ssh,
                    _ => return Err(format!("unsupported mount type {value:?}")),
                };
            }
            "from" => mount.from = value.to_string(),
            "source" | "src" => mount.source = value.to_string(),
            "target" | "dst" | "destination" => mount.target = value.to_string(),
            "id" => mount.id = value.to_string(),
            "sharing" => match value {
                "shared" | "private" | "locked" => mount.sharing = value.to_string(),
                _ => return Err(format!("unsupported sharing value {value:?}")),
            },
            "mode" => mount.mode = Some(number(8)?),
            "uid" => mount.uid = number(10)?,
            "gid" => mount.gid = number(10)?,
            "size" => {
                mount.size =
                    size(value).ok_or_else(|| format!("invalid value for size: {value}"))?;
            }
            "env" if newest => mount.env = Some(value.to_string()),
            _ => return Err(format!("unexpected key '{key}' in '{field}'")),
        }
    }
    let bind_or_cache = matches!(mount.kind, MountKind::Bind | MountKind::Cache);
    if !mount.from.is_empty() && !bind_or_cache {
        return Err("mount type does not support 'from'".to_string());
    }
    if matches!(
        mount.kind,
        MountKind::Bind | MountKind::Cache | MountKind::Tmpfs
    ) && mount.target.is_empty()
    {
        return Err("target is required".to_string());
    }
    // A secret may be told by its file's name alone.
    if mount.kind == MountKind::Secret && mount.id.is_empty() {
        let path = if mount.target.is_empty() {
            &mount.source
        } else {
            &mount.target
        };
        mount.id = path.rsplit('/').next().unwrap_or_default().to_string();
        if mount.id.is_empty() {
            return Err("one of source, target required".to_string());
        }
    }
    mount.readonly = readonly.unwrap_or(mount.kind == MountKind::Bind);
    Ok(mount)
}
