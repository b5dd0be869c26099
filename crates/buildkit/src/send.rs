//! Sends results to the client (`moby.filesync.v1.FileSend/DiffCopy`): a directory, or one file.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use os::{Errno, OpenFlags, Os, View, ext};
use serve::h2::Fields;

use crate::stat::{Packet, Stat};
use crate::wire::Message;
use crate::{Call, Session, Status};

const METHOD: &str = "/moby.filesync.v1.FileSend/DiffCopy";
/// Bytes of content in one packet.
const PIECE: usize = 32 * 1024;

/// `number` is the exporter's place among those of the build.
fn open(session: &Session, number: usize) -> Result<Call, Status> {
    if !session.supports(METHOD) {
        let method = METHOD.to_ascii_lowercase();
        return Err(Status::unknown(format!(
            "method {method} not supported by the client"
        )));
    }
    let metadata: Fields = vec![(
        "buildkit-attachable-exporter-id".to_string(),
        number.to_string(),
    )];
    session.call(METHOD, &metadata)
}

/// Sends what is in `dir`, seen as `view`; gives the bytes that were sent.
pub async fn send_directory(
    session: &Session,
    exporter: usize,
    os: &Rc<dyn Os>,
    view: View,
    dir: &[u8],
    mut progress: impl FnMut(u64),
) -> Result<u64, Status> {
    let mut call = open(session, exporter)?;
    let mut files = BTreeMap::new();
    let mut number = 0;
    let mut total = 0;
    // Files with several names: the first one has the content.
    let mut names = BTreeMap::new();
    // Depth first, names in order: as the other side expects it.
    let mut pending = VecDeque::from([Vec::new()]);
    while let Some(path) = pending.pop_front() {
        let full = [dir, b"/", &path].concat();
        let failed =
            |error: Errno| Status::unknown(format!("{}: {error}", String::from_utf8_lossy(&full)));
        let metadata = os.metadata(view, &full, false).map_err(failed)?;
        if metadata.is_dir() {
            let entries = os.read_dir(view, &full).map_err(failed)?;
            let inside: BTreeSet<_> = entries.into_iter().map(|entry| entry.name).collect();
            for name in inside.into_iter().rev() {
                let slash: &[u8] = if path.is_empty() { b"" } else { b"/" };
                pending.push_front([&path[..], slash, &name].concat());
            }
        }
        if path.is_empty() {
            continue;
        }
        let mut stat = Stat {
            mode: metadata.mode,
            uid: metadata.uid,
            gid: metadata.gid,
            mtime: metadata.mtime.sec * 1_000_000_000 + i64::from(metadata.mtime.nsec),
            device: (
                (metadata.rdev >> 8 & 0xfff) as u32,
                (metadata.rdev & 0xff) as u32,
            ),
            path,
            ..Stat::default()
        };
        if stat.is_file() {
            stat.size = metadata.size;
            if metadata.nlink > 1 {
                match names.entry((metadata.dev, metadata.ino)) {
                    std::collections::btree_map::Entry::Occupied(first) => {
                        stat.link = Vec::clone(first.get())
                    }
                    std::collections::btree_map::Entry::Vacant(slot) => {
                        slot.insert(stat.path.clone());
                    }
                }
            }
            files.insert(number, full.clone());
        } else if stat.is_symlink() {
            stat.link = os.read_link(view, &full).map_err(failed)?;
            stat.size = stat.link.len() as u64;
        }
        number += 1;
        let bytes = Packet::Stat(Some(stat)).emit();
        total += bytes.len() as u64;
        progress(total);
        call.send(&bytes).await?;
    }
    call.send(&Packet::Stat(None).emit()).await?;
    loop {
        let Some(bytes) = call.receive().await? else {
            return Err(Status::unknown("unexpected EOF"));
        };
        match Packet::parse(&bytes) {
            Ok(Packet::Request(number)) => {
                let Some(full) = files.remove(&number) else {
                    return Err(Status::unknown(format!("invalid file id {number}")));
                };
                send_content(&mut call, os, view, number, &full, &mut |count| {
                    total += count;
                    progress(total);
                })
                .await?;
            }
            Ok(Packet::Finish) => {
                call.send(&Packet::Finish.emit()).await?;
                call.half_close().await?;
                call.receive().await?;
                return Ok(total);
            }
            Ok(Packet::Error(text)) => {
                return Err(Status::unknown(format!("error from receiver: {text}")));
            }
            _ => return Err(Status::unknown("unexpected packet")),
        }
    }
}

async fn send_content(
    call: &mut Call,
    os: &Rc<dyn Os>,
    view: View,
    number: u32,
    full: &[u8],
    sent: &mut impl FnMut(u64),
) -> Result<(), Status> {
    let failed =
        |error: Errno| Status::unknown(format!("{}: {error}", String::from_utf8_lossy(full)));
    let flags = OpenFlags {
        read: true,
        no_follow: true,
        ..OpenFlags::default()
    };
    let handle = os.open(view, full, flags, 0).map_err(failed)?;
    let mut buf = vec![0; PIECE];
    let mut at = 0;
    loop {
        let count = ext::read_at(&handle, at, &mut buf).await.map_err(failed)?;
        let bytes = Packet::Data(number, buf[..count].to_vec()).emit();
        call.send(&bytes).await?;
        if count == 0 {
            return Ok(());
        }
        sent(bytes.len() as u64);
        at += count as u64;
    }
}

/// Sends one file, piece by piece.
pub struct FileWriter {
    call: Call,
    /// Bytes that were sent.
    pub total: u64,
}

impl FileWriter {
    /// Begins.
    pub fn open(session: &Session, exporter: usize) -> Result<FileWriter, Status> {
        Ok(FileWriter {
            call: open(session, exporter)?,
            total: 0,
        })
    }

    /// Sends a piece.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), Status> {
        for piece in bytes.chunks(1 << 20) {
            let mut message = Message::new();
            message.bytes(1, piece);
            self.call.send(&message.0).await?;
            self.total += piece.len() as u64;
        }
        Ok(())
    }

    /// Ends the file.
    pub async fn finish(mut self) -> Result<(), Status> {
        self.call.half_close().await?;
        self.call.receive().await.map(|_| ())
    }
}
