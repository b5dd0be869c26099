//! ZIP archives (APPNOTE 6.3) as far as Python's wheels use them: stored and deflated members, no ZIP64.

use std::io::Read;

use anyhow::{Context, bail, ensure};
use flate2::read::DeflateDecoder;

/// A file of an archive.
#[derive(Debug, PartialEq, Eq)]
pub struct Member {
    /// Its path, relative and without `..`.
    pub path: String,
    /// Its content.
    pub bytes: Vec<u8>,
}

const END: &[u8] = b"PK\x05\x06";
const ENTRY: &[u8] = b"PK\x01\x02";
const LOCAL: &[u8] = b"PK\x03\x04";
const ENTRY_BYTES: usize = 46;
const LOCAL_BYTES: usize = 30;
const STORED: u16 = 0;
const DEFLATED: u16 = 8;

/// The files of an archive whose path `wanted` accepts.
pub fn members(archive: &[u8], wanted: impl Fn(&str) -> bool) -> anyhow::Result<Vec<Member>> {
    let end = archive
        .windows(END.len())
        .rposition(|window| window == END)
        .context("not a ZIP archive")?;
    let (count, mut at) = (short(archive, end + 10)?, long(archive, end + 16)?);
    let mut members = Vec::new();
    for _ in 0..count {
        ensure!(
            archive.get(at..at + 4) == Some(ENTRY),
            "no entry where the archive's directory says one is"
        );
        let name_bytes = usize::from(short(archive, at + 28)?);
        let name = archive.get(at + ENTRY_BYTES..at + ENTRY_BYTES + name_bytes);
        let path = String::from_utf8(name.context("the directory is cut off")?.to_vec())?;
        let inside = path
            .split('/')
            .all(|part| !matches!(part, "" | "." | "..") && !part.contains('\\'));
        if !path.ends_with('/') {
            ensure!(inside, "{path} leads out of the archive");
            if wanted(&path) {
                let bytes = content(archive, at).with_context(|| format!("unpacking {path}"))?;
                members.push(Member { path, bytes });
            }
        }
        let rest = short(archive, at + 30)? + short(archive, at + 32)?;
        at += ENTRY_BYTES + name_bytes + usize::from(rest);
    }
    Ok(members)
}

/// What the entry at `at` of the directory is about.
fn content(archive: &[u8], at: usize) -> anyhow::Result<Vec<u8>> {
    let (packed, size) = (long(archive, at + 20)?, long(archive, at + 24)?);
    let local = long(archive, at + 42)?;
    ensure!(archive.get(local..local + 4) == Some(LOCAL), "no header");
    let names = usize::from(short(archive, local + 26)?) + usize::from(short(archive, local + 28)?);
    let start = local + LOCAL_BYTES + names;
    let packed = archive.get(start..start + packed).context("cut off")?;
    let bytes = match short(archive, at + 10)? {
        STORED => packed.to_vec(),
        DEFLATED => {
            let mut bytes = Vec::new();
            let mut decoder = DeflateDecoder::new(packed).take(size as u64 + 1);
            decoder.read_to_end(&mut bytes)?;
            bytes
        }
        method => bail!("compression method {method}"),
    };
    ensure!(
        bytes.len() == size,
        "{} bytes instead of {size}",
        bytes.len()
    );
    Ok(bytes)
}

fn short(bytes: &[u8], at: usize) -> anyhow::Result<u16> {
    let bytes = bytes.get(at..at + 2).context("the archive is cut off")?;
    Ok(u16::from_le_bytes([bytes[0], bytes[1]]))
}

fn long(bytes: &[u8], at: usize) -> anyhow::Result<usize> {
    let bytes = bytes.get(at..at + 4).context("the archive is cut off")?;
    Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize)
}

#[cfg(test)]
pub mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::DeflateEncoder;

    use super::*;

    /// An archive of these files, every second one deflated.
    pub fn archive(files: &[(&str, &str)]) -> Vec<u8> {
        let (mut out, mut directory) = (Vec::new(), Vec::new());
        for (index, (path, text)) in files.iter().enumerate() {
            let (method, packed) = match index % 2 {
                0 => (STORED, text.as_bytes().to_vec()),
                _ => {
                    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
                    encoder.write_all(text.as_bytes()).unwrap();
                    (DEFLATED, encoder.finish().unwrap())
                }
            };
            let sizes = [packed.len() as u32, text.len() as u32].map(u32::to_le_bytes);
            let name = (path.len() as u16).to_le_bytes();
            let mut common = vec![20, 0, 0, 0];
            common.extend(method.to_le_bytes());
            common.extend([0; 8]);
            common.extend(sizes.concat());
            common.extend(name);
            common.extend([0, 0]);
            let local = out.len() as u32;
            out.extend([LOCAL, &common, path.as_bytes(), &packed].concat());
            directory.extend([ENTRY, &[20, 0], &common, &[0; 10]].concat());
            directory.extend(local.to_le_bytes());
            directory.extend(path.as_bytes());
        }
        let (at, count) = (out.len() as u32, files.len() as u16);
        out.extend(&directory);
        out.extend([END, &[0; 4], &count.to_le_bytes(), &count.to_le_bytes()].concat());
        out.extend((directory.len() as u32).to_le_bytes());
        out.extend(at.to_le_bytes());
        out.extend([0, 0]);
        out
    }

    #[test]
    fn members_are_unpacked() {
        let archive = archive(&[
            ("a.py", "pass\n"),
            ("b/c.txt", "text text text"),
            ("d/", ""),
        ]);
        let all = members(&archive, |_| true).unwrap();
        let texts: Vec<(&str, &[u8])> = all.iter().map(|m| (&*m.path, &*m.bytes)).collect();
        let expected: [(&str, &[u8]); 2] = [("a.py", b"pass\n"), ("b/c.txt", b"text text text")];
        assert_eq!(texts, expected);
        let some = members(&archive, |path| path.ends_with(".txt")).unwrap();
        assert_eq!(some.len(), 1);
        for cut in 0..archive.len() - 2 {
            assert!(members(&archive[..cut], |_| true).is_err(), "{cut}");
        }
    }

    #[test]
    fn paths_stay_inside() {
        for path in ["../x", "/x", "a//b", "a/../../b", "a\\..\\b"] {
            assert!(
                members(&archive(&[(path, "x")]), |_| true).is_err(),
                "{path}"
            );
        }
    }
}
