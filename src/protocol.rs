//! What the page and the worker say to each other.
//!
//! A message crosses as a pair: JSON text, and the bytes of terminal traffic beside it as a
//! transferred buffer, so that a busy terminal is neither escaped nor copied by the browser.
//! Both sides are one build, so there is no version field; a stale worker file after a
//! deployment shows as `FromWorker::Ready` with another `build`.
//!
//! Nothing here knows a browser: both programs and the native tests use it as it is.

use serde::{Deserialize, Serialize};

use crate::docker::{Look, Part, Transferred};
use crate::network::{Cable, CaptureStep, Captured, Interface, Packet};

/// The build both sides must come from.
pub const BUILD: &str = env!("CARGO_PKG_VERSION");

/// `Progress::what` of the worker's own program, the only one the page translates.
pub const WHAT_ENGINE: &str = "engine";

/// Page to worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ToWorker {
    /// The first message. (Images are in the page's folder, where the worker's program is too.)
    Boot {
        /// Seed of every random choice; the same seed and inputs give the same run.
        seed: u64,
    },
    /// A new machine, please. Answered by `InstanceAdded` or `InstanceFailed`.
    AddInstance,
    /// Drops a machine with everything in it.
    DeleteInstance {
        /// The machine.
        name: String,
    },
    /// Restarts a machine, or switches one on that is off; its disks stay. Answered by `Power`.
    RestartInstance {
        /// The machine.
        name: String,
    },
    /// Keys typed or pasted into a terminal.
    Input {
        /// The machine.
        name: String,
        /// What the terminal sends, UTF-8 or a mouse report.
        #[serde(skip)]
        bytes: Vec<u8>,
    },
    /// The terminal has been drawn in a new size.
    Resize {
        /// The machine.
        name: String,
        /// Columns.
        cols: u16,
        /// Rows.
        rows: u16,
    },
    /// System call tracing of the whole machine on or off.
    Trace {
        /// The machine.
        name: String,
        /// On or off.
        on: bool,
    },
    /// Whether plain HTTP requests of programs go out through the browser.
    Internet {
        /// On or off.
        on: bool,
    },
    /// The terminal has drawn this many more bytes of output (see `flow`).
    Drawn {
        /// The machine.
        name: String,
        /// Bytes since the last such message.
        bytes: u32,
    },
    /// Something is done to a machine's cable. Answered by `Cable`.
    Cable {
        /// The machine.
        name: String,
        /// How it is to be.
        cable: Cable,
    },
    /// Whether the page wants to be told of a machine's interfaces: `Interfaces`, now and then.
    Watch {
        /// The machine.
        name: String,
        /// On or off.
        on: bool,
    },
    /// Something is done with the capture of an interface.
    Capture {
        /// The machine.
        name: String,
        /// The interface.
        link: u32,
        /// What.
        step: CaptureStep,
    },
    /// What the page looks at of a machine's Docker. Answered by `Docker`, whenever it changes.
    Look {
        /// The machine.
        name: String,
        /// `None`: nothing any more.
        look: Option<Look>,
    },
    /// Load an archive of images, a file that travels beside this message: the loader's own. Answered by
    /// `Transfer`.
    LoadImages {
        /// The machine.
        name: String,
        /// Names it.
        id: u32,
    },
    /// Give an image as a file. Answered by `Transfer` and `ImageFile`.
    SaveImage {
        /// The machine.
        name: String,
        /// Names it.
        id: u32,
        /// The image.
        image: String,
    },
    /// A transfer is not wanted any more.
    CancelTransfer {
        /// Which.
        id: u32,
    },
    /// Stop all machines between two instructions. Answered by `Paused`, after which there is no output
    /// until `Save`.
    Pause,
    /// Save everything as it is, and go on.
    Save {
        /// What the page wants back when it is opened again.
        page: String,
        /// Where to.
        place: Place,
    },
    /// Instead of `Boot`: go on from what was saved. Answered by `Restored`, or by `NotRestored`.
    Restore {
        /// Where from.
        place: Place,
        /// Whether this tab kept it: then it waits for the tab's last worker, which may be ending still.
        ours: bool,
    },
    /// The kept playground is not wanted any more. Answered by `Forgotten`.
    Forget,
}

/// Where a playground is saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// A file of the user's.
    File,
    /// This browser, for when the page is loaded again.
    Browser,
}

/// Worker to page.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum FromWorker {
    /// The engine is there and takes instances.
    Ready {
        /// `BUILD` of the worker.
        build: String,
    },
    /// Something is being downloaded, or (`done_bytes == total_bytes`) has been.
    Progress {
        /// What it is, as it should be shown; also the key of the progress bar.
        what: String,
        /// Bytes received.
        done_bytes: u64,
        /// Bytes in all, 0 if the server did not say.
        total_bytes: u64,
    },
    /// A machine is running.
    InstanceAdded {
        /// Its name, `node1`, `node2`, …
        name: String,
        /// Its address.
        ip: String,
        /// Its host name.
        hostname: String,
    },
    /// `AddInstance` could not be done.
    InstanceFailed {
        /// Why.
        text: String,
    },
    /// A machine wrote to its terminal.
    Output {
        /// The machine.
        name: String,
        /// What it wrote.
        #[serde(skip)]
        bytes: Vec<u8>,
    },
    /// Memory and CPU of a machine, about once a second.
    Stats {
        /// The machine.
        name: String,
        /// Bytes in use.
        mem_used: u64,
        /// Bytes it may use.
        mem_limit: u64,
        /// Share of the time it computed.
        cpu_percent: f64,
    },
    /// The TCP ports somebody listens on, about once a second.
    Ports {
        /// The machine.
        name: String,
        /// In order.
        ports: Vec<u16>,
    },
    /// How a machine's cable is.
    Cable {
        /// The machine.
        name: String,
        /// Its cable.
        cable: Cable,
    },
    /// The interfaces of a machine and of its containers.
    Interfaces {
        /// The machine.
        name: String,
        /// Its own first.
        interfaces: Vec<Interface>,
    },
    /// Packets that were captured since the last such message; the newest, if they were many.
    Packets {
        /// The machine.
        name: String,
        /// The interface.
        link: u32,
        /// In order.
        packets: Vec<Packet>,
        /// What there is in all.
        captured: Captured,
    },
    /// A capture as a pcap file.
    CaptureFile {
        /// The machine.
        name: String,
        /// The interface.
        link: u32,
        /// The file.
        #[serde(skip)]
        bytes: Vec<u8>,
    },
    /// Something of a machine's Docker that the page looks at.
    Docker {
        /// The machine.
        name: String,
        /// What it is about.
        part: Part,
        /// JSON.
        #[serde(skip)]
        bytes: Vec<u8>,
    },
    /// What becomes of images on their way in or out.
    Transfer {
        /// Which.
        id: u32,
        /// What.
        state: Transferred,
    },
    /// An image is there as a file, which travels beside this message.
    ImageFile {
        /// Which transfer.
        id: u32,
    },
    /// A machine is gone.
    InstanceDeleted {
        /// The machine.
        name: String,
    },
    /// A machine has switched itself off, or has been switched on again.
    Power {
        /// The machine.
        name: String,
        /// On or off.
        on: bool,
    },
    /// A machine stopped because of a bug of ours; the others go on.
    Crashed {
        /// The machine.
        name: String,
        /// The oops: message, seed and turn.
        cause: String,
    },
    /// A program asked for a name of the Internet, and there is none here; told once.
    NoInternet {
        /// The name.
        name: String,
    },
    /// A program tried HTTPS, which does not go out; told once.
    NoTls,
    /// pip or npm asked for a package that the playground has not; told once.
    NoPackage {
        /// The package.
        name: String,
        /// The address of the list of those there are.
        list: String,
    },
    /// Something else that was asked for could not be done.
    Error {
        /// Why.
        text: String,
    },
    /// All machines stand still.
    Paused,
    /// Part of the playground has been saved, or opened.
    Saving {
        /// Bytes of memory done.
        done_bytes: u64,
        /// Of how many.
        total_bytes: u64,
    },
    /// The playground is saved (to a file: the file travels beside this message).
    Saved {
        /// Where to.
        place: Place,
    },
    /// It could not be saved.
    NotSaved {
        /// Where to.
        place: Place,
        /// Why.
        text: String,
    },
    /// A saved playground goes on; `InstanceAdded` follows for each machine.
    Restored {
        /// What the page gave to `Save`.
        page: String,
    },
    /// There is nothing to restore, or it cannot be: a `Boot` is needed.
    NotRestored {
        /// Where from.
        place: Place,
        /// Why; `None` if nothing was kept.
        why: Option<Refusal>,
    },
    /// Nothing is kept in this browser.
    Forgotten,
    /// The worker itself is dead: nothing runs any more.
    Panicked {
        /// The panic message and where it came from.
        text: String,
    },
}

/// Why a saved playground cannot be opened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Refusal {
    /// Another build of Drydock wrote it: its memory means nothing to this one.
    OtherBuild {
        /// What the page gave to `Save`.
        page: String,
    },
    /// It is no saved playground, or a damaged one.
    Unreadable {
        /// What is wrong.
        text: String,
    },
}

impl ToWorker {
    /// The message as it is posted: JSON, and the bytes that travel beside it.
    pub fn split(mut self) -> (String, Option<Vec<u8>>) {
        let bytes = match &mut self {
            ToWorker::Input { bytes, .. } => Some(std::mem::take(bytes)),
            _ => None,
        };
        (json(&self), bytes)
    }

    /// The opposite of [`ToWorker::split`].
    pub fn join(text: &str, beside: Option<Vec<u8>>) -> Result<ToWorker, serde_json::Error> {
        let mut message = serde_json::from_slice(text.as_bytes())?;
        if let ToWorker::Input { bytes, .. } = &mut message {
            *bytes = beside.unwrap_or_default();
        }
        Ok(message)
    }
}

impl FromWorker {
    /// The message as it is posted: JSON, and the bytes that travel beside it.
    pub fn split(mut self) -> (String, Option<Vec<u8>>) {
        let bytes = match &mut self {
            FromWorker::Output { bytes, .. }
            | FromWorker::CaptureFile { bytes, .. }
            | FromWorker::Docker { bytes, .. } => Some(std::mem::take(bytes)),
            _ => None,
        };
        (json(&self), bytes)
    }

    /// The opposite of [`FromWorker::split`].
    pub fn join(text: &str, beside: Option<Vec<u8>>) -> Result<FromWorker, serde_json::Error> {
        let mut message = serde_json::from_slice(text.as_bytes())?;
        if let FromWorker::Output { bytes, .. }
        | FromWorker::CaptureFile { bytes, .. }
        | FromWorker::Docker { bytes, .. } = &mut message
        {
            *bytes = beside.unwrap_or_default();
        }
        Ok(message)
    }
}

/// Strings and numbers only: there is nothing in a message that JSON cannot say.
fn json<T: Serialize>(message: &T) -> String {
    serde_json::to_string(message).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_survive_the_crossing() {
        let messages = [
            ToWorker::Boot { seed: u64::MAX },
            ToWorker::AddInstance,
            ToWorker::Input {
                name: "node1".into(),
                bytes: b"\xff\x00\"".to_vec(),
            },
            ToWorker::Resize {
                name: "node1".into(),
                cols: 80,
                rows: 24,
            },
        ];
        for message in messages {
            let (text, bytes) = message.clone().split();
            assert_eq!(ToWorker::join(&text, bytes).unwrap(), message);
        }
        let output = FromWorker::Output {
            name: "node1".into(),
            bytes: "한글".into(),
        };
        let (text, bytes) = output.clone().split();
        assert_eq!(text, r#"{"Output":{"name":"node1"}}"#);
        assert_eq!(FromWorker::join(&text, bytes).unwrap(), output);
    }

    #[test]
    fn nonsense_is_an_error() {
        assert!(ToWorker::join("{\"Nothing\":{}}", None).is_err());
        assert!(FromWorker::join("", None).is_err());
    }
}
