//! A connection: what both directions share, and the future that moves the bytes.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use clock::WaitQueue;

use super::frame::{self, Code, HEAD_BYTES, PAYLOAD_BYTES_MAX, PREFACE, flag, kind, setting};
use super::hpack::{self, Fields};
use super::receive::Receiver;
use super::stream::{Stream, StreamError};
use crate::{Io, IoStream};

/// Octets of one stream that may wait for its reader.
pub(super) const STREAM_WINDOW: i64 = 256 * 1024;
/// Octets of all streams that may wait for their readers.
pub(super) const CONNECTION_WINDOW: i64 = 1024 * 1024;
/// Windows before anybody has said anything (§6.9.2).
const WINDOW_AT_START: i64 = 65_535;
/// Octets on their way out above which streams wait and nothing more is read.
const OUTPUT_BYTES_MAX: usize = 64 * 1024;

/// What a peer may do.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Streams that it may have open at a time.
    pub streams: usize,
    /// Streams it may give up over the life of the connection.
    pub resets: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            streams: 128,
            resets: 10_000,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    Client,
    Server,
}

/// One stream, as the connection sees it.
pub(super) struct Slot {
    /// The first header block that came.
    pub(super) fields: Option<Fields>,
    /// The one after the data.
    pub(super) trailers: Option<Fields>,
    pub(super) data: VecDeque<Vec<u8>>,
    /// The peer has said everything.
    pub(super) received_all: bool,
    /// We have.
    pub(super) sent_all: bool,
    pub(super) reset: Option<u32>,
    pub(super) send_window: i64,
    pub(super) receive_window: i64,
    /// Octets that were read and of which the peer was not told yet.
    taken: i64,
}

pub(super) struct State {
    pub(super) role: Role,
    pub(super) limits: Limits,
    /// Octets to send.
    output: Vec<u8>,
    /// How many of them are no data. (Two peers that both wait until the other reads would wait forever, so
    /// data do not keep anybody from reading; windows bound them.)
    control: usize,
    pub(super) streams: BTreeMap<u32, Slot>,
    /// Streams the peer has begun and nobody has taken.
    pub(super) incoming: VecDeque<u32>,
    /// The next stream of ours.
    next_id: u32,
    /// The peer's newest stream.
    pub(super) peer_id: u32,
    pub(super) send_window: i64,
    pub(super) receive_window: i64,
    taken: i64,
    /// The window a new stream has for what we send.
    pub(super) peer_stream_window: i64,
    pub(super) resets: u32,
    /// The peer begins nothing new and wants nothing new.
    pub(super) going_away: bool,
    /// Nothing goes on but the output's end.
    pub(super) over: bool,
}

impl State {
    /// Makes a stream.
    pub(super) fn insert(&mut self, id: u32) -> &mut Slot {
        let send_window = self.peer_stream_window;
        self.streams.entry(id).or_insert(Slot {
            fields: None,
            trailers: None,
            data: VecDeque::new(),
            received_all: false,
            sent_all: false,
            reset: None,
            send_window,
            receive_window: STREAM_WINDOW,
            taken: 0,
        })
    }

    /// True for streams nobody has begun yet.
    pub(super) fn is_idle(&self, id: u32) -> bool {
        match (id % 2 == 1) == (self.role == Role::Client) {
            true => id >= self.next_id,
            false => id > self.peer_id,
        }
    }

    pub(super) fn emit(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        if kind != kind::DATA {
            self.control += HEAD_BYTES + payload.len();
        }
        frame::emit(&mut self.output, kind, flags, stream, payload);
    }

    pub(super) fn emit_reset(&mut self, stream: u32, code: Code) {
        self.emit(kind::RST_STREAM, 0, stream, &(code as u32).to_be_bytes());
    }

    /// Gives room back to the peer, in pieces that are worth a frame.
    pub(super) fn take(&mut self, id: u32, count: usize) {
        self.taken += count as i64;
        if self.taken >= CONNECTION_WINDOW / 2 {
            let taken = std::mem::take(&mut self.taken);
            self.receive_window += taken;
            self.emit(kind::WINDOW_UPDATE, 0, 0, &(taken as u32).to_be_bytes());
        }
        let Some(slot) = self.streams.get_mut(&id).filter(|slot| !slot.received_all) else {
            return;
        };
        slot.taken += count as i64;
        if slot.taken >= STREAM_WINDOW / 2 {
            let taken = std::mem::take(&mut slot.taken);
            slot.receive_window += taken;
            self.emit(kind::WINDOW_UPDATE, 0, id, &(taken as u32).to_be_bytes());
        }
    }

    /// Ends the connection with a reason.
    fn end(&mut self, code: Code) {
        if !std::mem::replace(&mut self.over, true) {
            let mut payload = self.peer_id.to_be_bytes().to_vec();
            payload.extend_from_slice(&(code as u32).to_be_bytes());
            self.emit(kind::GOAWAY, 0, 0, &payload);
        }
    }

    pub(super) fn emit_fields(&mut self, id: u32, fields: &[(String, String)], end: bool) {
        let block = hpack::emit(fields);
        let mut pieces = block.chunks(PAYLOAD_BYTES_MAX).peekable();
        let mut kind = kind::HEADERS;
        let mut flags = if end { flag::END_STREAM } else { 0 };
        while let Some(piece) = pieces.next() {
            if pieces.peek().is_none() {
                flags |= flag::END_HEADERS;
            }
            self.emit(kind, flags, id, piece);
            (kind, flags) = (kind::CONTINUATION, 0);
        }
    }

    /// How much a stream may send now.
    pub(super) fn room(&self, id: u32) -> usize {
        let window = self.streams.get(&id).map_or(0, |slot| slot.send_window);
        let window = usize::try_from(window.min(self.send_window)).unwrap_or(0);
        match self.output.len() < OUTPUT_BYTES_MAX {
            true => window.min(PAYLOAD_BYTES_MAX),
            false => 0,
        }
    }
}

pub(super) struct Shared {
    pub(super) state: RefCell<State>,
    /// Something came, went out or ended.
    pub(super) changed: WaitQueue,
    /// There is something to send.
    pub(super) output: WaitQueue,
}

impl Shared {
    pub(super) fn wake(&self) {
        self.changed.wake_all();
        self.output.wake_all();
    }
}

/// A handle to a connection. Clones share it.
#[derive(Clone)]
pub struct Connection(Rc<Shared>);

impl Connection {
    /// The server's side of a connection whose preface has not been read; the future moves its bytes.
    pub fn server(io: Io, limits: Limits) -> (Connection, impl Future<Output = ()> + 'static) {
        Connection::new(io, Role::Server, limits)
    }

    /// The client's side.
    pub fn client(io: Io, limits: Limits) -> (Connection, impl Future<Output = ()> + 'static) {
        Connection::new(io, Role::Client, limits)
    }

    fn new(io: Io, role: Role, limits: Limits) -> (Connection, impl Future<Output = ()> + 'static) {
        let mut state = State {
            role,
            limits,
            output: Vec::new(),
            control: 0,
            streams: BTreeMap::new(),
            incoming: VecDeque::new(),
            next_id: if role == Role::Client { 1 } else { 2 },
            peer_id: 0,
            send_window: WINDOW_AT_START,
            receive_window: CONNECTION_WINDOW,
            taken: 0,
            peer_stream_window: WINDOW_AT_START,
            resets: 0,
            going_away: false,
            over: false,
        };
        let (own, value) = match role {
            Role::Client => {
                state.output.extend_from_slice(PREFACE);
                (setting::ENABLE_PUSH, 0)
            }
            Role::Server => (setting::MAX_CONCURRENT_STREAMS, limits.streams as u32),
        };
        let mut settings = Vec::new();
        for (id, value) in [
            (own, value),
            (setting::INITIAL_WINDOW_SIZE, STREAM_WINDOW as u32),
        ] {
            settings.extend_from_slice(&id.to_be_bytes());
            settings.extend_from_slice(&value.to_be_bytes());
        }
        state.emit(kind::SETTINGS, 0, 0, &settings);
        let more = (CONNECTION_WINDOW - WINDOW_AT_START) as u32;
        state.emit(kind::WINDOW_UPDATE, 0, 0, &more.to_be_bytes());
        let shared = Rc::new(Shared {
            state: RefCell::new(state),
            changed: WaitQueue::new(),
            output: WaitQueue::new(),
        });
        (Connection(Rc::clone(&shared)), run(shared, io))
    }

    /// The next stream the peer begins; `None` when none will come.
    pub async fn accept(&self) -> Option<Stream> {
        let shared = &self.0;
        let next = || {
            let mut state = shared.state.borrow_mut();
            match state.incoming.pop_front() {
                Some(id) => Some(Some(Stream::new(Rc::clone(shared), id))),
                None => state.over.then_some(None),
            }
        };
        shared.changed.wait_for(next).await
    }

    /// Begins a stream.
    pub fn open(&self, fields: &[(String, String)], end: bool) -> Result<Stream, StreamError> {
        let mut state = self.0.state.borrow_mut();
        if state.over || state.going_away || state.next_id > 0x7fff_fff0 {
            return Err(StreamError::Gone);
        }
        let id = state.next_id;
        state.next_id += 2;
        state.insert(id).sent_all = end;
        state.emit_fields(id, fields, end);
        drop(state);
        self.0.output.wake_all();
        Ok(Stream::new(Rc::clone(&self.0), id))
    }

    /// True once nothing goes on here any more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.0.state.borrow().over
    }

    /// Completes when the connection is over.
    pub async fn closed(&self) {
        let over = || self.is_over().then_some(());
        self.0.changed.wait_for(over).await;
    }

    /// Ends the connection once what waits has been sent.
    pub fn close(&self) {
        self.0.state.borrow_mut().end(Code::NoError);
        self.0.wake();
    }
}

/// Moves bytes until either side ends.
async fn run(shared: Rc<Shared>, io: Io) {
    let (mut read, mut write) = (pin!(read(&shared, &io)), pin!(write(&shared, &io)));
    let mut reading = true;
    poll_fn(|cx| {
        // After the end of reading the last words still go out.
        if reading && read.as_mut().poll(cx).is_ready() {
            reading = false;
            shared.state.borrow_mut().over = true;
            shared.wake();
        }
        write.as_mut().poll(cx)
    })
    .await;
    shared.state.borrow_mut().over = true;
    shared.wake();
    io.shutdown_write();
}

async fn read(shared: &Shared, io: &Io) {
    let mut receiver = Receiver::new(shared.state.borrow().role);
    let mut buf = vec![0; PAYLOAD_BYTES_MAX];
    loop {
        // A peer that does not take answers is not asked for more.
        let may_read = || {
            let state = shared.state.borrow();
            (state.over || state.control < OUTPUT_BYTES_MAX).then_some(state.over)
        };
        if shared.changed.wait_for(may_read).await {
            return;
        }
        let interrupted = poll_fn(|cx| {
            if shared.state.borrow().over {
                return Poll::Ready(None);
            }
            shared.changed.register(cx.waker());
            io.poll_read(cx, &mut buf).map(Some)
        });
        let Some(Ok(count @ 1..)) = interrupted.await else {
            return;
        };
        let mut state = shared.state.borrow_mut();
        let outcome = receiver.feed(&buf[..count], &mut state);
        if let Err(code) = outcome {
            state.end(code);
        }
        drop(state);
        shared.wake();
    }
}

async fn write(shared: &Shared, io: &Io) {
    loop {
        let piece = || {
            let mut state = shared.state.borrow_mut();
            let ended = state.over;
            state.control = 0;
            let piece = std::mem::take(&mut state.output);
            (ended || !piece.is_empty()).then_some(piece)
        };
        let piece = shared.output.wait_for(piece).await;
        if piece.is_empty() || io.write_all(&piece).await.is_err() {
            return;
        }
        shared.changed.wake_all();
    }
}
