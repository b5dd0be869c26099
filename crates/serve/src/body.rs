//! Bodies: nothing, bytes that are there, or a bounded stream.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;

use bytes::Bytes;
use clock::WaitQueue;

use crate::upgrade::OnUpgrade;

/// Chunks a channel holds before its sender has to wait.
const CHANNEL_CHUNKS: usize = 16;

/// Why a body ended before its end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BodyError {
    /// The other side went away.
    Aborted,
    /// [`Body::collect`] met more bytes than its limit.
    TooLarge,
    /// What came is not a body: the framing is broken.
    Malformed(&'static str),
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BodyError::Aborted => f.write_str("unexpected EOF"),
            BodyError::TooLarge => f.write_str("http: request body too large"),
            BodyError::Malformed(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for BodyError {}

#[derive(Default)]
struct Channel {
    chunks: RefCell<VecDeque<Bytes>>,
    /// How the stream ended, once it has.
    end: RefCell<Option<Result<(), BodyError>>>,
    receiver_gone: Cell<bool>,
    readable: WaitQueue,
    writable: WaitQueue,
}

enum Kind {
    Full(Option<Bytes>),
    Stream(Rc<Channel>),
}

/// The body of a request or response.
pub struct Body {
    kind: Kind,
    /// See [`crate::upgrade`].
    upgrade: Option<OnUpgrade>,
}

impl Body {
    fn new(kind: Kind) -> Body {
        Body {
            kind,
            upgrade: None,
        }
    }

    pub(crate) fn set_upgrade(&mut self, upgrade: OnUpgrade) {
        self.upgrade = Some(upgrade);
    }

    pub(crate) fn take_upgrade(&mut self) -> Option<OnUpgrade> {
        self.upgrade.take()
    }

    /// No bytes.
    #[must_use]
    pub fn empty() -> Body {
        Body::new(Kind::Full(None))
    }

    /// A stream and its sending side.
    #[must_use]
    pub fn channel() -> (BodySender, Body) {
        let channel = Rc::new(Channel::default());
        (
            BodySender(Rc::clone(&channel)),
            Body::new(Kind::Stream(channel)),
        )
    }

    /// The number of bytes, if it is known beforehand.
    #[must_use]
    pub fn len_hint(&self) -> Option<u64> {
        match &self.kind {
            Kind::Full(bytes) => Some(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Kind::Stream(_) => None,
        }
    }

    /// The next bytes; `None` at the end.
    pub async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        match &mut self.kind {
            Kind::Full(bytes) => bytes.take().map(Ok),
            Kind::Stream(channel) => {
                let chunk = channel
                    .readable
                    .wait_for(|| match channel.chunks.borrow_mut().pop_front() {
                        Some(chunk) => Some(Some(Ok(chunk))),
                        None => channel
                            .end
                            .borrow()
                            .clone()
                            .map(Result::err)
                            .map(|error| error.map(Err)),
                    })
                    .await;
                channel.writable.wake_all();
                chunk
            }
        }
    }

    /// All bytes, up to `limit`.
    pub async fn collect(mut self, limit: usize) -> Result<Vec<u8>, BodyError> {
        let mut all = Vec::new();
        while let Some(chunk) = self.next().await {
            let chunk = chunk?;
            if all.len() + chunk.len() > limit {
                return Err(BodyError::TooLarge);
            }
            all.extend_from_slice(&chunk);
        }
        Ok(all)
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if let Kind::Stream(channel) = &self.kind {
            channel.receiver_gone.set(true);
            channel.writable.wake_all();
        }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Body {
        Body::new(Kind::Full(Some(bytes).filter(|bytes| !bytes.is_empty())))
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Body {
        Bytes::from(bytes).into()
    }
}

impl From<String> for Body {
    fn from(text: String) -> Body {
        Bytes::from(text).into()
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Body {
        Bytes::from_static(text.as_bytes()).into()
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.len_hint() {
            Some(length) => write!(f, "Body({length} bytes)"),
            None => f.write_str("Body(stream)"),
        }
    }
}

/// Nobody reads the body any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Closed;

/// The sending side of a streamed body. Dropping it ends the body well.
pub struct BodySender(Rc<Channel>);

impl BodySender {
    /// Sends bytes, waiting while the reader is behind. Empty chunks are left out.
    pub async fn send(&self, bytes: impl Into<Bytes>) -> Result<(), Closed> {
        let bytes = bytes.into();
        let channel = &self.0;
        channel
            .writable
            .wait_for(|| {
                if channel.receiver_gone.get() {
                    return Some(Err(Closed));
                }
                (channel.chunks.borrow().len() < CHANNEL_CHUNKS).then_some(Ok(()))
            })
            .await?;
        if !bytes.is_empty() {
            channel.chunks.borrow_mut().push_back(bytes);
            channel.readable.wake_all();
        }
        Ok(())
    }

    /// True when nobody reads the body any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.receiver_gone.get()
    }

    /// Completes when nobody reads the body any more.
    pub async fn closed(&self) {
        self.0
            .writable
            .wait_for(|| self.is_closed().then_some(()))
            .await;
    }

    /// Completes when nobody reads the body any more; does not keep the body open.
    pub fn gone(&self) -> impl Future<Output = ()> + use<> {
        let channel = Rc::clone(&self.0);
        async move {
            let gone = || channel.receiver_gone.get().then_some(());
            channel.writable.wait_for(gone).await;
        }
    }

    /// Ends the body with an error: the reader sees that it is not complete.
    pub fn abort(self, error: BodyError) {
        *self.0.end.borrow_mut() = Some(Err(error));
    }
}

impl Drop for BodySender {
    fn drop(&mut self) {
        self.0.end.borrow_mut().get_or_insert(Ok(()));
        self.0.readable.wake_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clock::Executor;

    #[test]
    fn a_slow_reader_holds_the_sender_back_and_gets_everything() {
        let executor = Executor::new();
        let (sender, body) = Body::channel();
        let sent = Rc::new(Cell::new(0));
        let count = Rc::clone(&sent);
        executor.spawn(async move {
            for n in 0..100_u8 {
                sender.send(vec![n]).await.unwrap();
                count.set(count.get() + 1);
            }
        });
        executor.run_until_stalled();
        assert_eq!(sent.get(), CHANNEL_CHUNKS);
        let all = executor.spawn(body.collect(1000));
        executor.run_until_stalled();
        assert_eq!(all.take().unwrap().unwrap(), (0..100).collect::<Vec<u8>>());
    }

    #[test]
    fn both_sides_notice_when_the_other_is_gone() {
        let executor = Executor::new();
        let (sender, body) = Body::channel();
        drop(body);
        let result = executor.spawn(async move { sender.send("x").await });
        let (sender, body) = Body::channel();
        sender.abort(BodyError::Aborted);
        let collected = executor.spawn(body.collect(10));
        executor.run_until_stalled();
        assert_eq!(result.take(), Some(Err(Closed)));
        assert_eq!(collected.take(), Some(Err(BodyError::Aborted)));
    }
}
