//! What lies below a line of `docker diff`: the file that copy-up copied, and the layer it came from.
//!
//! A container's file system is an overlay: what the container wrote is in the upper directory, its image's layers
//! are the lower ones. The kernel marks a file that it copied up (`trusted.overlay.origin`); one without that mark
//! is a new file in the place of an old one.

use os::{Metadata, Os, View};
use serde_json::Value;

/// Lines that are looked at; of the others it is said how many there are.
const CHANGES_MAX: usize = 300;
/// The mark of a copy.
const ORIGIN: &[u8] = b"trusted.overlay.origin";

/// The rows of `GET /containers/{id}/changes` with `Size` of files, `Directory`, and for what was there before
/// `Below`: its size, whether it was copied up, and the number of its layer, counted from the base.
/// `directories` is the `GraphDriver.Data` of the container.
pub(super) fn describe(os: &dyn Os, directories: &Value, mut rows: Vec<Value>) -> Vec<Value> {
    let directory = |name: &str| directories[name].as_str().unwrap_or_default();
    let upper = directory("UpperDir");
    // The first is Docker's own layer for mount points.
    let lower: Vec<&str> = directory("LowerDir").split(':').collect();
    rows.truncate(CHANGES_MAX);
    for row in &mut rows {
        let path = row["Path"].as_str().unwrap_or_default().to_string();
        let deleted = row["Kind"] == 2;
        let now = look(os, upper, &path).filter(|_| !deleted);
        if let Some(now) = &now {
            row["Directory"] = now.is_dir().into();
            if now.is_file() {
                row["Size"] = now.size.into();
            }
        }
        // What was added has nothing below, and of directories only the entries are copied.
        if row["Kind"] == 1 || now.as_ref().is_some_and(Metadata::is_dir) {
            continue;
        }
        let below = lower.iter().enumerate().find_map(|(depth, layer)| {
            let below = look(os, layer, &path)?;
            Some((lower.len().checked_sub(depth + 1)?, below))
        });
        if let Some((number, below)) = below.filter(|(_, below)| below.is_file()) {
            let here = format!("{upper}{path}");
            let copied = os.get_xattr(View::Host, here.as_bytes(), ORIGIN).is_ok();
            row["Below"] = serde_json::json!({
                // Number 0 of the list is the base; above the image's layers lies Docker's own.
                "Layer": (number + 1 < lower.len()).then_some(number),
                "Size": below.size,
                "Copied": copied && !deleted,
            });
        }
    }
    rows
}

fn look(os: &dyn Os, directory: &str, path: &str) -> Option<Metadata> {
    let path = format!("{directory}{path}");
    os.metadata(View::Host, path.as_bytes(), false).ok()
}
