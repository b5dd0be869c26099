//! The client's ssh agent, as a socket for `RUN --mount=type=ssh` (`moby.sshforward.v1.SSH`).

use std::rc::Rc;

use buildkit::wire::{Message, fields};
use buildkit::{Call, Session, Status};
use clock::{Executor, JoinHandle};
use futures_util::future::{Either, select};
use os::{Handle, Listener, ext};

const METHOD: &str = "/moby.sshforward.v1.SSH/ForwardAgent";
/// Bytes moved at a time.
const PIECE: usize = 32 * 1024;
/// Connections to the agent at a time.
const CONNECTIONS_MAX: usize = 64;

/// A socket that leads to the client's agent as long as this is there.
pub(super) struct Forward(JoinHandle<()>);

impl Drop for Forward {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// True when the client has an agent of this id; an error says why not.
pub(super) async fn check(session: &Session, id: &str) -> Result<bool, Status> {
    if !session.supports(METHOD) {
        return Ok(false);
    }
    let mut request = Message::new();
    request.text(1, id);
    session
        .ask("/moby.sshforward.v1.SSH/CheckAgent", &request)
        .await?;
    Ok(true)
}

/// Leads connections to `listener` to the agent with this id.
pub(super) fn forward(
    executor: &Executor,
    session: Rc<Session>,
    id: &str,
    listener: Rc<dyn Listener>,
) -> Forward {
    let id = id.to_string();
    let spawner = executor.clone();
    Forward(executor.spawn(async move {
        // Dropped together with the listener: they end when the build does.
        let mut carried: Vec<JoinHandle<()>> = Vec::new();
        while let Ok(handle) = ext::accept(&listener).await {
            carried.retain(|one| !one.is_finished());
            if carried.len() >= CONNECTIONS_MAX {
                continue;
            }
            let metadata = vec![("buildkit.ssh.id".to_string(), id.clone())];
            if let Ok(call) = session.call(METHOD, &metadata) {
                carried.push(spawner.spawn(async move {
                    // A connection that breaks is what the program in it sees.
                    let _ = carry(call, handle).await;
                }));
            }
        }
    }))
}

/// Moves bytes in both directions, a piece at a time, until either side ends.
async fn carry(mut call: Call, handle: Rc<dyn Handle>) -> Result<(), Status> {
    let failed = |errno: os::Errno| Status::unknown(errno.to_string());
    loop {
        // Neither side loses bytes by being asked again.
        let step = {
            let out = std::pin::pin!(ext::read_some(&handle, PIECE));
            let back = std::pin::pin!(call.receive());
            match select(out, back).await {
                Either::Left((bytes, _)) => Either::Left(bytes.map_err(failed)?),
                Either::Right((message, _)) => Either::Right(message?),
            }
        };
        match step {
            Either::Left(bytes) if bytes.is_empty() => return call.half_close().await,
            Either::Left(bytes) => {
                let mut message = Message::new();
                message.bytes(1, &bytes);
                call.send(&message.0).await?;
            }
            Either::Right(None) => return Ok(()),
            Either::Right(Some(message)) => {
                for field in fields(&message).map_while(Result::ok) {
                    if let (1, data) = field {
                        ext::write_all(&handle, data.bytes())
                            .await
                            .map_err(failed)?;
                    }
                }
            }
        }
    }
}
