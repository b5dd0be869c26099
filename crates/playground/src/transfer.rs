//! Images in and out: an archive of the user's goes to `POST /images/load`, an image comes from
//! `GET /images/{name}/get`.
//!
//! Both come and go in pieces, and only as fast as they are taken: of an archive the next piece is asked for when
//! the engine has the last one, of an image no more is read than [`PIECES_MAX`] pieces that the browser has not
//! taken. What the engine says meanwhile is handed on.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use bytes::Bytes;
use clock::{JoinHandle, WaitQueue};
use engine::Engine;
use serde_json::Value;
use serve::{Body, BodyError, BodySender, Request, Service};

use crate::machine::Machine;

/// Pieces of an image that the browser has not taken.
const PIECES_MAX: usize = 4;
/// Transfers at once.
const TRANSFERS_MAX: usize = 8;
/// Bytes of an error's document.
const ERROR_BYTES_MAX: usize = 64 * 1024;

/// What becomes of a transfer, by its number.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TransferEvent {
    /// The engine has so many bytes of the archive: the next piece, please.
    Wanted {
        /// Which transfer.
        id: u32,
        /// Bytes so far.
        done_bytes: u64,
    },
    /// The engine unpacks a layer: so many bytes of so many.
    Layer {
        /// Which transfer.
        id: u32,
        /// The layer, as the engine calls it.
        layer: String,
        /// Bytes done, and in all.
        bytes: (u64, u64),
    },
    /// A piece of an image's archive.
    Piece {
        /// Which transfer.
        id: u32,
        /// The bytes.
        bytes: Vec<u8>,
        /// Bytes so far, with these.
        done_bytes: u64,
    },
    /// It is over.
    Ended {
        /// Which transfer.
        id: u32,
        /// What the engine said at last, or why it failed.
        outcome: Result<String, String>,
    },
}

/// Pieces between the two sides of a transfer.
#[derive(Default)]
struct Flow {
    /// Of an archive: pieces that the engine does not have. An empty one is the end, `None` that there is none.
    given: RefCell<VecDeque<Option<Vec<u8>>>>,
    /// Of an image: pieces that the browser has not taken.
    untaken: Cell<usize>,
    wait: WaitQueue,
}

struct Running {
    machine: String,
    flow: Rc<Flow>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Inner {
    running: RefCell<BTreeMap<u32, Running>>,
    events: RefCell<VecDeque<TransferEvent>>,
}

/// See the module's comment. Clones share it.
#[derive(Clone, Default)]
pub struct Transfers(Rc<Inner>);

impl Transfers {
    /// Begins to load an archive, whose pieces are given by [`Transfers::give`].
    pub(crate) fn load(&self, machine: &Machine, id: u32) -> Result<(), String> {
        let (engine, all) = (Rc::clone(machine.engine()), self.clone());
        let executor = machine.os().executor();
        self.begin(machine, id, |flow| async move {
            let (sender, body) = Body::channel();
            let feeding = executor.spawn(all.clone().feed(id, flow, sender));
            let outcome = all.clone().loading(id, &engine, body).await;
            feeding.abort();
            outcome
        })
    }

    /// Begins to read an image; [`TransferEvent::Piece`]s follow.
    pub(crate) fn save(&self, machine: &Machine, id: u32, image: &str) -> Result<(), String> {
        let (engine, all) = (Rc::clone(machine.engine()), self.clone());
        let path = format!("/images/{image}/get");
        self.begin(machine, id, |flow| async move {
            all.saving(id, &engine, &path, &flow).await
        })
    }

    fn begin<F>(
        &self,
        machine: &Machine,
        id: u32,
        body: impl FnOnce(Rc<Flow>) -> F,
    ) -> Result<(), String>
    where
        F: Future<Output = Result<String, String>> + 'static,
    {
        if self.0.running.borrow().len() >= TRANSFERS_MAX {
            return Err("too many transfers at once".to_string());
        }
        let flow = Rc::<Flow>::default();
        let (all, work) = (self.clone(), body(Rc::clone(&flow)));
        let task = machine.os().executor().spawn(async move {
            let outcome = work.await;
            all.0.running.borrow_mut().remove(&id);
            all.tell(TransferEvent::Ended { id, outcome });
        });
        let machine = machine.config().name.clone();
        let running = Running {
            machine,
            flow,
            task,
        };
        self.0.running.borrow_mut().insert(id, running);
        Ok(())
    }

    /// The next piece of an archive; an empty one is the end.
    pub fn give(&self, id: u32, bytes: Vec<u8>) {
        if let Some(Running { flow, .. }) = self.0.running.borrow().get(&id) {
            flow.given.borrow_mut().push_back(Some(bytes));
            flow.wait.wake_all();
        }
    }

    /// The browser has a piece of an image.
    pub fn taken(&self, id: u32) {
        if let Some(Running { flow, .. }) = self.0.running.borrow().get(&id) {
            flow.untaken.set(flow.untaken.get().saturating_sub(1));
            flow.wait.wake_all();
        }
    }

    /// Ends a transfer; what the engine has begun it drops.
    pub fn cancel(&self, id: u32) {
        let gone = self.0.running.borrow_mut().remove(&id);
        if let Some(Running { flow, task, .. }) = gone {
            task.abort();
            flow.given.borrow_mut().push_back(None);
            flow.wait.wake_all();
        }
    }

    /// A machine is gone, and its transfers with it.
    pub(crate) fn forget(&self, machine: &str) {
        let running = self.0.running.borrow();
        let of = running.iter().filter(|(_, it)| it.machine == machine);
        let ids: Vec<u32> = of.map(|(id, _)| *id).collect();
        drop(running);
        for id in ids {
            self.cancel(id);
            let outcome = Err(format!("{machine} is gone"));
            self.tell(TransferEvent::Ended { id, outcome });
        }
    }

    /// Who asked is gone with the page it was.
    pub(crate) fn cancel_all(&self) {
        let ids: Vec<u32> = self.0.running.borrow().keys().copied().collect();
        for id in ids {
            self.cancel(id);
        }
        self.0.events.borrow_mut().clear();
    }

    /// What has happened since the last call.
    #[must_use]
    pub fn take_events(&self) -> Vec<TransferEvent> {
        self.0.events.borrow_mut().drain(..).collect()
    }

    fn tell(&self, event: TransferEvent) {
        self.0.events.borrow_mut().push_back(event);
    }

    /// Moves pieces to the engine until the last one.
    async fn feed(self, id: u32, flow: Rc<Flow>, sender: BodySender) {
        let mut done_bytes = 0;
        loop {
            self.tell(TransferEvent::Wanted { id, done_bytes });
            let given = || flow.given.borrow_mut().pop_front();
            let Some(piece) = flow.wait.wait_for(given).await else {
                return sender.abort(BodyError::Aborted);
            };
            if piece.is_empty() {
                return;
            }
            done_bytes += piece.len() as u64;
            if sender.send(Bytes::from(piece)).await.is_err() {
                return;
            }
        }
    }

    async fn loading(self, id: u32, engine: &Engine, body: Body) -> Result<String, String> {
        let request = http::Request::post("/images/load?quiet=0")
            .header(http::header::CONTENT_TYPE, "application/x-tar")
            .body(body)
            .map_err(|error| error.to_string())?;
        let mut answer = call(engine, request).await?;
        let (mut rest, mut said) = (Vec::new(), String::new());
        while let Some(bytes) = answer.next().await {
            rest.extend_from_slice(&bytes.map_err(|error| error.to_string())?);
            while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = rest.drain(..=end).collect();
                self.line(id, &line, &mut said)?;
            }
        }
        Ok(said)
    }

    /// A line of what the engine says while it loads.
    fn line(&self, id: u32, line: &[u8], said: &mut String) -> Result<(), String> {
        let line: Value = serde_json::from_slice(line).unwrap_or_default();
        if let Some(error) = line["error"].as_str() {
            return Err(error.to_string());
        }
        said.push_str(line["stream"].as_str().unwrap_or_default());
        let detail = |name: &str| line["progressDetail"][name].as_u64();
        if let (Some(layer), Some(total)) = (line["id"].as_str(), detail("total")) {
            let (layer, done) = (layer.to_string(), detail("current").unwrap_or(0));
            let bytes = (done, total);
            self.tell(TransferEvent::Layer { id, layer, bytes });
        }
        Ok(())
    }

    async fn saving(
        self,
        id: u32,
        engine: &Engine,
        path: &str,
        flow: &Flow,
    ) -> Result<String, String> {
        let request = http::Request::get(path).body(Body::empty());
        let request = request.map_err(|error| error.to_string())?;
        let mut answer = call(engine, request).await?;
        let mut done_bytes = 0;
        while let Some(bytes) = answer.next().await {
            let bytes = bytes.map_err(|error| error.to_string())?.to_vec();
            let room = || (flow.untaken.get() < PIECES_MAX).then_some(());
            flow.wait.wait_for(room).await;
            flow.untaken.set(flow.untaken.get() + 1);
            done_bytes += bytes.len() as u64;
            self.tell(TransferEvent::Piece {
                id,
                bytes,
                done_bytes,
            });
        }
        Ok(String::new())
    }
}

/// The body of a good answer, or what a bad one says.
async fn call(engine: &Engine, request: Request) -> Result<Body, String> {
    let response = engine.call(request).await;
    if response.status().is_success() {
        return Ok(response.into_body());
    }
    let status = response.status();
    let text = response.into_body().collect(ERROR_BYTES_MAX).await;
    let document: Value = serde_json::from_slice(&text.unwrap_or_default()).unwrap_or_default();
    let message = document["message"].as_str();
    Err(message.map_or_else(|| status.to_string(), str::to_string))
}
