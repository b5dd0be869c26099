//! HTTP on a Unix socket of the machine: `/var/run/docker.sock`.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};

use clock::{JoinHandle, WaitQueue};
use os::{Handle, Listener, Os, ext};
use serve::{Io, IoError, IoStream, Service, h1};

/// Connections served at a time; more wait in the socket's backlog.
const CONNECTIONS_MAX: usize = 1024;

/// A handle of the machine as a stream.
struct HandleStream(Rc<dyn Handle>);

impl IoStream for HandleStream {
    fn poll_read(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<Result<usize, IoError>> {
        self.0
            .poll_read(cx, buf)
            .map_err(|error| IoError(error.name()))
    }

    fn poll_write(&self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<Result<usize, IoError>> {
        self.0
            .poll_write(cx, buf)
            .map_err(|error| IoError(error.name()))
    }

    fn shutdown_write(&self) {
        // A peer that is gone already makes no difference.
        let _ = self.0.shutdown_write();
    }
}

/// A handle of the machine as an HTTP stream.
#[must_use]
pub fn stream(handle: Rc<dyn Handle>) -> Io {
    Io::new(Rc::new(HandleStream(handle)))
}

/// A socket that is being served.
pub struct Server(Rc<Tasks>);

#[derive(Default)]
struct Tasks {
    accepting: RefCell<Option<JoinHandle<()>>>,
    /// Those of the open connections.
    connections: RefCell<BTreeMap<u64, JoinHandle<()>>>,
    fewer: WaitQueue,
}

impl Server {
    /// Closes the socket and all its connections.
    pub fn close(self) {
        let accepting = self.0.accepting.borrow_mut().take();
        let connections = std::mem::take(&mut *self.0.connections.borrow_mut());
        for task in accepting.iter().chain(connections.values()) {
            task.abort();
        }
    }
}

/// Serves `service` on `listener` until it is closed or the machine is switched off.
pub fn serve(os: &Rc<dyn Os>, listener: Rc<dyn Listener>, service: Rc<dyn Service>) -> Server {
    let tasks: Rc<Tasks> = Rc::default();
    let (weak, own, executor) = (Rc::downgrade(&tasks), Rc::clone(os), os.executor());
    let accepting = executor.clone().spawn(async move {
        for id in 0.. {
            let Some(tasks) = weak.upgrade() else { return };
            let room = || (tasks.connections.borrow().len() < CONNECTIONS_MAX).then_some(());
            tasks.fewer.wait_for(room).await;
            let Ok(handle) = ext::accept(&listener).await else {
                return;
            };
            let (service, clock) = (Rc::clone(&service), own.clock());
            let weak = Weak::clone(&weak);
            let connection = executor.spawn(async move {
                // A connection that breaks concerns nobody else.
                let _ =
                    h1::serve_connection(stream(handle), service, || clock.unix_seconds()).await;
                if let Some(tasks) = weak.upgrade() {
                    tasks.connections.borrow_mut().remove(&id);
                    tasks.fewer.wake_all();
                }
            });
            tasks.connections.borrow_mut().insert(id, connection);
        }
    });
    *tasks.accepting.borrow_mut() = Some(accepting);
    Server(tasks)
}
