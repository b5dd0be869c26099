//! What the playground asks of its owner: numbered questions whose answers come back later.
//!
//! Nothing of the outside (a promise, a socket) is kept in here; a question is a number, and the answer
//! comes back with it (design decision 6).

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use clock::WaitQueue;

struct Inner<Q, A> {
    next_id: Cell<u32>,
    /// Questions nobody has taken, by number.
    queued: RefCell<VecDeque<(u32, Q)>>,
    /// Questions that wait; the answer when it has come.
    running: RefCell<BTreeMap<u32, Option<A>>>,
    arrived: WaitQueue,
}

/// Where questions are asked. Clones share it.
pub(crate) struct Calls<Q, A>(Rc<Inner<Q, A>>);

impl<Q, A> Clone for Calls<Q, A> {
    fn clone(&self) -> Calls<Q, A> {
        Calls(Rc::clone(&self.0))
    }
}

impl<Q, A> Default for Calls<Q, A> {
    fn default() -> Calls<Q, A> {
        Calls(Rc::new(Inner {
            next_id: Cell::default(),
            queued: RefCell::default(),
            running: RefCell::default(),
            arrived: WaitQueue::default(),
        }))
    }
}

impl<Q, A> Calls<Q, A> {
    /// Asks the question that `make` makes of its number, and waits for the answer. Dropped before, it is
    /// forgotten.
    pub(crate) async fn ask(&self, make: impl FnOnce(u32) -> Q) -> A {
        let id = self.0.next_id.get();
        self.0.next_id.set(id.wrapping_add(1));
        self.0.running.borrow_mut().insert(id, None);
        let _forget = Forget { calls: self, id };
        self.0.queued.borrow_mut().push_back((id, make(id)));
        let answer = || {
            let mut running = self.0.running.borrow_mut();
            running.get_mut(&id).and_then(Option::take)
        };
        self.0.arrived.wait_for(answer).await
    }

    /// Takes the questions that nobody has taken.
    pub(crate) fn take(&self) -> Vec<Q> {
        let mut queued = self.0.queued.borrow_mut();
        queued.drain(..).map(|(_, question)| question).collect()
    }

    /// Gives an answer. One nobody waits for any more is dropped.
    pub(crate) fn answer(&self, id: u32, answer: A) {
        if let Some(slot) = self.0.running.borrow_mut().get_mut(&id) {
            *slot = Some(answer);
        }
        self.0.arrived.wake_all();
    }

    /// Gives the same answer to everybody who waits.
    pub(crate) fn answer_all(&self, answer: impl Fn() -> A) {
        self.0.queued.borrow_mut().clear();
        for slot in self.0.running.borrow_mut().values_mut() {
            *slot = Some(answer());
        }
        self.0.arrived.wake_all();
    }

    /// Whether nobody waits.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.running.borrow().is_empty()
    }
}

/// Forgets a question that is answered or not wanted any more.
struct Forget<'a, Q, A> {
    calls: &'a Calls<Q, A>,
    id: u32,
}

impl<Q, A> Drop for Forget<'_, Q, A> {
    fn drop(&mut self) {
        let inner = &self.calls.0;
        inner.running.borrow_mut().remove(&self.id);
        inner.queued.borrow_mut().retain(|(id, _)| *id != self.id);
    }
}
