//! The report: what was built, and how large it is.

use serde::{Deserialize, Serialize};

/// One row of the report.
#[derive(Clone, Serialize, Deserialize)]
pub struct Line {
    pub image: String,
    pub layers: usize,
    pub entries: usize,
    pub raw: u64,
    pub compressed: u64,
    pub own: u64,
    pub prefetch: u64,
    pub tags: usize,
}

/// Prints the report.
pub fn print_sizes(lines: &[Line]) {
    println!(
        "{:<22} {:>6} {:>7} {:>10} {:>10} {:>10} {:>12} {:>5}",
        "image", "layers", "files", "unpacked", "compressed", "own layer", "first start", "tags"
    );
    for line in lines {
        println!(
            "{:<22} {:>6} {:>7} {:>10} {:>10} {:>10} {:>12} {:>5}",
            line.image,
            line.layers,
            line.entries,
            megabytes(line.raw),
            megabytes(line.compressed),
            megabytes(line.own),
            if line.prefetch == 0 {
                "-".to_string()
            } else {
                megabytes(line.prefetch)
            },
            line.tags
        );
    }
}

/// A size, for people.
pub fn megabytes(bytes: u64) -> String {
    if bytes < 100_000 {
        return format!("{:.1} kB", bytes as f64 / 1e3);
    }
    format!("{:.1} MB", bytes as f64 / 1e6)
}
