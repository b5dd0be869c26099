//! Upgrades (RFC 9110 §7.8) and Docker's hijack: the connection becomes a byte stream.

use std::cell::RefCell;
use std::rc::Rc;

use clock::WaitQueue;

use crate::{Io, IoError, Request};

#[derive(Default)]
struct Slot {
    stream: RefCell<Option<Result<Io, IoError>>>,
    wait: WaitQueue,
}

/// The promise of a stream: it comes when the response head is on its way.
#[derive(Clone)]
pub struct OnUpgrade(Rc<Slot>);

impl OnUpgrade {
    /// The stream, when the connection has become one.
    pub async fn stream(self) -> Result<Io, IoError> {
        self.0
            .wait
            .wait_for(|| self.0.stream.borrow_mut().take())
            .await
    }
}

/// The transport's side of an upgrade.
pub struct Fulfil(Rc<Slot>);

impl Fulfil {
    /// Hands the stream over.
    pub fn fulfil(self, stream: Io) {
        *self.0.stream.borrow_mut() = Some(Ok(stream));
    }
}

impl Drop for Fulfil {
    fn drop(&mut self) {
        self.0
            .stream
            .borrow_mut()
            .get_or_insert(Err(IoError("connection was not upgraded")));
        self.0.wait.wake_all();
    }
}

/// Attaches an upgrade to a request: the transport keeps the other half. It travels with the body,
/// because extensions of `http` would have to be `Send`.
pub fn attach(request: &mut Request) -> Fulfil {
    let slot = Rc::new(Slot::default());
    request.body_mut().set_upgrade(OnUpgrade(Rc::clone(&slot)));
    Fulfil(slot)
}

/// Takes the upgrade out of a request, if its transport can do one.
pub fn on_upgrade(request: &mut Request) -> Option<OnUpgrade> {
    request.body_mut().take_upgrade()
}
