//! HTTP on a Unix socket of the machine: `/var/run/docker.sock`.

use std::rc::Rc;
use std::task::{Context, Poll};

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

/// Serves `service` on `listener` until the machine is switched off.
pub fn serve(os: &Rc<dyn Os>, listener: Rc<dyn Listener>, service: Rc<dyn Service>) {
    let os = Rc::clone(os);
    let executor = os.executor();
    let open = Rc::new(clock::WaitQueue::new());
    let count = Rc::new(std::cell::Cell::new(0));
    executor.clone().spawn(async move {
        loop {
            open.wait_for(|| (count.get() < CONNECTIONS_MAX).then_some(()))
                .await;
            let Ok(handle) = ext::accept(&listener).await else {
                return;
            };
            count.set(count.get() + 1);
            let (service, clock) = (Rc::clone(&service), os.clock());
            let (count, open) = (Rc::clone(&count), Rc::clone(&open));
            executor.spawn(async move {
                // A connection that breaks concerns nobody else.
                let _ =
                    h1::serve_connection(stream(handle), service, || clock.unix_seconds()).await;
                count.set(count.get() - 1);
                open.wake_all();
            });
        }
    });
}
