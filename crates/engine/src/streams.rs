//! A container's streams: one producer, any number of attached clients, one standard input.
//!
//! A client that reads slowly holds the container back once a megabyte waits for it, as in Docker.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use bytes::Bytes;
use clock::WaitQueue;
use engine_api::stream::{Channel, DetachScanner, frame};
use os::{Errno, Handle, ext};
use serve::Io;

/// Bytes that may wait for one client.
const WAITING_MAX: usize = 1 << 20;
/// Bytes read at a time.
const CHUNK: usize = 32 * 1024;

/// A client's place in line.
pub(crate) struct Attachment {
    stdout: bool,
    stderr: bool,
    pieces: RefCell<VecDeque<(Channel, Bytes)>>,
    waiting: Cell<usize>,
    /// Nothing more will come.
    ended: Cell<bool>,
    /// Nobody reads any more.
    gone: Cell<bool>,
    wait: WaitQueue,
}

impl Attachment {
    fn wants(&self, channel: Channel) -> bool {
        !self.gone.get()
            && match channel {
                Channel::Stderr => self.stderr,
                _ => self.stdout,
            }
    }

    /// The next piece; `None` at the end.
    pub(crate) async fn next(&self) -> Option<(Channel, Bytes)> {
        let piece = self
            .wait
            .wait_for(|| match self.pieces.borrow_mut().pop_front() {
                Some(piece) => Some(Some(piece)),
                None => self.ended.get().then_some(None),
            })
            .await?;
        self.waiting.set(self.waiting.get() - piece.1.len());
        self.wait.wake_all();
        Some(piece)
    }

    fn leave(&self) {
        self.gone.set(true);
        self.wait.wake_all();
    }
}

/// Takes a client out of line when its handler ends, however it ends.
pub(crate) struct Attached(pub(crate) Rc<Attachment>);

impl Drop for Attached {
    fn drop(&mut self) {
        self.0.leave();
    }
}

/// What a process writes, for whoever is attached.
#[derive(Default)]
pub(crate) struct Streams {
    attachments: RefCell<Vec<Rc<Attachment>>>,
    stdin: RefCell<Option<Rc<dyn Handle>>>,
    /// Set when the input is closed before the process is there to have one.
    stdin_closed: Cell<bool>,
    stdin_changed: WaitQueue,
}

impl Streams {
    /// Joins the line.
    pub(crate) fn attach(&self, stdout: bool, stderr: bool) -> Attached {
        let attachment = Rc::new(Attachment {
            stdout,
            stderr,
            pieces: RefCell::default(),
            waiting: Cell::default(),
            ended: Cell::default(),
            gone: Cell::default(),
            wait: WaitQueue::new(),
        });
        self.attachments.borrow_mut().push(Rc::clone(&attachment));
        Attached(attachment)
    }

    /// Gives the process's input to clients.
    pub(crate) fn open_stdin(&self, handle: Option<Rc<dyn Handle>>) {
        *self.stdin.borrow_mut() = handle.filter(|_| !self.stdin_closed.take());
        self.stdin_changed.wake_all();
    }

    /// Closes the process's input.
    pub(crate) fn close_stdin(&self, before_start: bool) {
        if self.stdin.borrow_mut().take().is_none() {
            self.stdin_closed.set(before_start);
        }
    }

    /// Hands a piece to everybody who wants it, waiting for slow ones.
    pub(crate) async fn publish(&self, channel: Channel, bytes: Bytes) {
        let listeners = {
            let mut all = self.attachments.borrow_mut();
            all.retain(|attachment| !attachment.gone.get());
            all.clone()
        };
        for attachment in listeners {
            if !attachment.wants(channel) {
                continue;
            }
            attachment
                .wait
                .wait_for(|| {
                    (attachment.gone.get() || attachment.waiting.get() < WAITING_MAX).then_some(())
                })
                .await;
            attachment
                .waiting
                .set(attachment.waiting.get() + bytes.len());
            attachment
                .pieces
                .borrow_mut()
                .push_back((channel, bytes.clone()));
            attachment.wait.wake_all();
        }
    }

    /// Ends everybody's stream.
    pub(crate) fn end(&self) {
        for attachment in self.attachments.borrow_mut().drain(..) {
            attachment.ended.set(true);
            attachment.wait.wake_all();
        }
        self.stdin.borrow_mut().take();
        self.stdin_closed.set(false);
    }

    async fn write_stdin(&self, bytes: &[u8]) -> Result<(), Errno> {
        let handle = self
            .stdin_changed
            .wait_for(|| self.stdin.borrow().clone())
            .await;
        ext::write_all(&handle, bytes).await
    }
}

/// Reads `handle` to its end, giving pieces to `each`.
pub(crate) async fn pump<F>(handle: Rc<dyn Handle>, mut each: impl FnMut(Bytes) -> F)
where
    F: Future<Output = ()>,
{
    let mut buf = vec![0; CHUNK];
    loop {
        let outcome = poll_fn(|cx| match handle.poll_read(cx, &mut buf) {
            // The end of a pseudo-terminal whose slave is closed.
            Poll::Ready(Err(Errno::EIO)) => Poll::Ready(Ok(0)),
            other => other,
        })
        .await;
        match outcome {
            Ok(count @ 1..) => each(Bytes::copy_from_slice(&buf[..count])).await,
            _ => return,
        }
    }
}

/// How a client is attached.
pub(crate) struct Connection {
    /// The hijacked connection.
    pub(crate) io: Io,
    /// Frames are left out.
    pub(crate) tty: bool,
    /// Its input goes to the process.
    pub(crate) stdin: bool,
    /// At its end the process's input is closed.
    pub(crate) close_stdin: bool,
    /// What ends it; empty: nothing.
    pub(crate) detach_keys: Vec<u8>,
}

impl Connection {
    /// Writes a piece.
    pub(crate) async fn write(&self, channel: Channel, bytes: &[u8]) -> Result<(), serve::IoError> {
        match self.tty {
            true => self.io.write_all(bytes).await,
            false => self.io.write_all(&frame(channel, bytes)).await,
        }
    }

    /// Carries both directions until the process or the client ends; true when the client detached.
    pub(crate) async fn carry(&self, streams: &Streams, attached: &Attached) -> bool {
        let output = async {
            while let Some((channel, bytes)) = attached.0.next().await {
                if self.write(channel, &bytes).await.is_err() {
                    break;
                }
            }
            false
        };
        let input = async {
            if self.stdin && self.take_input(streams).await {
                return true;
            }
            // The end of the input is not the end of the output.
            std::future::pending().await
        };
        let (output, input) = (std::pin::pin!(output), std::pin::pin!(input));
        match futures_util::future::select(output, input).await {
            futures_util::future::Either::Left((detached, _))
            | futures_util::future::Either::Right((detached, _)) => detached,
        }
    }

    /// Carries input; true when the detach keys were typed.
    async fn take_input(&self, streams: &Streams) -> bool {
        let mut scanner = DetachScanner::new(self.detach_keys.clone());
        let mut buf = vec![0; CHUNK];
        loop {
            match self.io.read(&mut buf).await {
                Ok(count @ 1..) => {
                    let (typed, detach) = scanner.scan(&buf[..count]);
                    if !typed.is_empty() && streams.write_stdin(&typed).await.is_err() {
                        return false;
                    }
                    if detach {
                        return true;
                    }
                }
                _ => {
                    if self.close_stdin {
                        streams.close_stdin(true);
                    }
                    return false;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clock::Executor;
    use serve::io::duplex;

    #[test]
    fn every_client_gets_what_it_wants_framed() {
        let executor = Executor::new();
        let streams = Rc::new(Streams::default());
        let (client, server) = duplex();
        let attached = streams.attach(true, false);
        let own = Rc::clone(&streams);
        executor.spawn(async move {
            let connection = Connection {
                io: server,
                tty: false,
                stdin: false,
                close_stdin: false,
                detach_keys: Vec::new(),
            };
            connection.carry(&own, &attached).await
        });
        let own = Rc::clone(&streams);
        executor.spawn(async move {
            own.publish(Channel::Stderr, Bytes::from_static(b"no"))
                .await;
            own.publish(Channel::Stdout, Bytes::from_static(b"yes"))
                .await;
            own.end();
        });
        let read = executor.spawn(async move {
            let mut all = Vec::new();
            let mut buf = [0; 64];
            while let Ok(count @ 1..) = client.read(&mut buf).await {
                all.extend_from_slice(&buf[..count]);
            }
            all
        });
        executor.run_until_stalled();
        assert_eq!(read.take().unwrap(), b"\x01\0\0\0\0\0\0\x03yes");
        assert_eq!(executor.task_count(), 0);
    }
}
