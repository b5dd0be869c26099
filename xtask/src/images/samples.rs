//! What is below `samples/` in the repository, for `/root/samples` of the machines.

use super::tree::Tree;

macro_rules! samples {
    ($($path:literal),* $(,)?) => {
        &[$(($path, include_str!(concat!("../../../samples/", $path)))),*]
    };
}

/// Path below `samples/` and text of every file.
pub const FILES: &[(&str, &str)] = samples![
    "counter/README.ko.md",
    "counter/README.md",
    "counter/app.py",
    "counter/compose.yaml",
    "voting/README.ko.md",
    "voting/README.md",
    "voting/compose.yaml",
    "voting/page.py",
    "voting/redis.py",
    "voting/result.py",
    "voting/vote.py",
    "voting/worker.py",
    "wordpress/.env",
    "wordpress/README.ko.md",
    "wordpress/README.md",
    "wordpress/compose.yaml",
];

/// Puts them in place.
pub fn install(tree: &mut Tree) {
    tree.dir("root/samples", 0o755);
    for (path, text) in FILES {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        tree.dir(&format!("root/samples/{folder}"), 0o755);
        tree.file(&format!("root/samples/{path}"), 0o644, text);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// A file that is not in the list would be missing in the machines.
    #[test]
    fn the_list_is_complete() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples");
        let (mut found, mut pending) = (Vec::new(), vec![root.clone()]);
        while let Some(folder) = pending.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    pending.push(path);
                } else {
                    let path = path.strip_prefix(&root).unwrap();
                    found.push(path.to_str().unwrap().to_string());
                }
            }
        }
        found.sort();
        let listed: Vec<&str> = super::FILES.iter().map(|(path, _)| *path).collect();
        assert_eq!(found, listed);
    }
}
