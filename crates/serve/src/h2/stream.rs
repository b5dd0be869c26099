//! One stream of a connection.

use std::fmt;
use std::rc::Rc;

use super::connection::{Shared, Slot};
use super::frame::{Code, flag, kind};
use super::hpack::Fields;

/// Why a stream does not go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StreamError {
    /// The peer gave it up, with this code.
    Reset(u32),
    /// The connection is over.
    Gone,
}

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StreamError::Reset(code) => write!(f, "stream was reset with code {code}"),
            StreamError::Gone => f.write_str("transport is closing"),
        }
    }
}

impl std::error::Error for StreamError {}

/// One exchange. Dropping it before both sides are done gives the stream up.
pub struct Stream {
    shared: Rc<Shared>,
    id: u32,
}

impl Stream {
    pub(super) fn new(shared: Rc<Shared>, id: u32) -> Stream {
        Stream { shared, id }
    }

    /// Waits until `condition` gives something; it is not asked on a stream that has failed.
    async fn wait<T>(
        &self,
        mut condition: impl FnMut(&mut Slot) -> Option<T>,
    ) -> Result<T, StreamError> {
        let look = || {
            let mut state = self.shared.state.borrow_mut();
            let over = state.over;
            let Some(slot) = state.streams.get_mut(&self.id) else {
                return Some(Err(StreamError::Gone));
            };
            if let Some(code) = slot.reset {
                return Some(Err(StreamError::Reset(code)));
            }
            let found = condition(slot).map(Ok);
            found.or(over.then_some(Err(StreamError::Gone)))
        };
        self.shared.changed.wait_for(look).await
    }

    /// The peer's first header fields.
    pub async fn fields(&self) -> Result<Fields, StreamError> {
        self.wait(|slot| slot.fields.clone()).await
    }

    /// The next data; `None` at their end.
    pub async fn data(&self) -> Result<Option<Vec<u8>>, StreamError> {
        let data = self
            .wait(|slot| match slot.data.pop_front() {
                Some(bytes) => Some(Some(bytes)),
                None => slot.received_all.then_some(None),
            })
            .await?;
        if let Some(bytes) = &data {
            self.shared.state.borrow_mut().take(self.id, bytes.len());
            self.shared.output.wake_all();
        }
        Ok(data)
    }

    /// What came after the data.
    #[must_use]
    pub fn trailers(&self) -> Option<Fields> {
        let state = self.shared.state.borrow();
        state.streams.get(&self.id)?.trailers.clone()
    }

    /// Sends header fields: the first, or trailers with `end`.
    pub fn send_fields(&self, fields: &[(String, String)], end: bool) -> Result<(), StreamError> {
        let mut state = self.shared.state.borrow_mut();
        let over = state.over;
        match state.streams.get_mut(&self.id) {
            _ if over => return Err(StreamError::Gone),
            Some(slot) => match slot.reset {
                Some(code) => return Err(StreamError::Reset(code)),
                None if slot.sent_all => return Err(StreamError::Reset(0)),
                None => slot.sent_all |= end,
            },
            None => return Err(StreamError::Gone),
        }
        state.emit_fields(self.id, fields, end);
        drop(state);
        self.shared.output.wake_all();
        Ok(())
    }

    /// Sends data, waiting for the peer's window; with `end` they are the last.
    pub async fn send_data(&self, mut bytes: &[u8], end: bool) -> Result<(), StreamError> {
        loop {
            let room = || {
                let state = self.shared.state.borrow();
                let Some(slot) = state.streams.get(&self.id).filter(|_| !state.over) else {
                    return Some(Err(StreamError::Gone));
                };
                if slot.sent_all {
                    return Some(Err(StreamError::Reset(slot.reset.unwrap_or_default())));
                }
                match state.room(self.id) {
                    0 if !bytes.is_empty() => None,
                    room => Some(Ok(room)),
                }
            };
            let count = self.shared.changed.wait_for(room).await?.min(bytes.len());
            let (piece, rest) = bytes.split_at(count);
            let last = end && rest.is_empty();
            let mut state = self.shared.state.borrow_mut();
            state.send_window -= count as i64;
            if let Some(slot) = state.streams.get_mut(&self.id) {
                slot.send_window -= count as i64;
                slot.sent_all |= last;
            }
            state.emit(
                kind::DATA,
                if last { flag::END_STREAM } else { 0 },
                self.id,
                piece,
            );
            drop(state);
            self.shared.output.wake_all();
            bytes = rest;
            if bytes.is_empty() {
                return Ok(());
            }
        }
    }

    /// Completes when the stream is given up by the peer or the connection ends.
    pub async fn given_up(&self) -> StreamError {
        match self.wait(|_| None::<()>).await {
            Err(error) => error,
            Ok(()) => StreamError::Gone,
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut state = self.shared.state.borrow_mut();
        let Some(slot) = state.streams.remove(&self.id) else {
            return;
        };
        let unread = slot.data.iter().map(Vec::len).sum();
        state.take(self.id, unread);
        if slot.reset.is_none() && !(slot.sent_all && slot.received_all) {
            // A server that has answered needs no more of the question.
            let code = match slot.sent_all {
                true => Code::NoError,
                false => Code::Cancel,
            };
            state.emit_reset(self.id, code);
        }
        drop(state);
        self.shared.wake();
    }
}
