//! Published ports on this computer's loopback: `--publish`.
//!
//! A port that is listened on in the machine (`docker run -p`) gets a listener of the same number here; what
//! comes there goes through the playground's gateway to the machine, as OPEN PORT of the page does.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::rc::Rc;

use playground::Playground;
use serve::{Io, IoStream};

use super::listen::Listener;
use super::reactor::Reactor;

/// Bytes moved at a time.
const CHUNK: usize = 32 * 1024;

/// The ports that are open here.
#[derive(Default)]
pub struct Published {
    ports: BTreeMap<u16, Option<Listener>>,
}

impl Published {
    /// Opens what the machine has opened since, and closes what it has closed; gives what to tell.
    pub fn update(&mut self, playground: &Playground, machine: &str) -> Vec<String> {
        let open = playground.open_ports(machine);
        let mut told = Vec::new();
        self.ports.retain(|port, listener| {
            let stays = open.contains(port);
            if !stays && listener.is_some() {
                told.push(format!("port {port} is closed"));
            }
            stays
        });
        for port in open {
            self.ports.entry(port).or_insert_with(|| {
                let listener = Listener::tcp(&format!("127.0.0.1:{port}"));
                told.push(match &listener {
                    Ok(_) => format!("port {port} is open: 127.0.0.1:{port} here leads to it"),
                    // A port that somebody else has here is not tried again until it was closed there.
                    Err(error) => {
                        format!("port {port} of the machine is not to be had here: {error:#}")
                    }
                });
                listener.ok()
            });
        }
        told
    }

    /// The listeners, with their ports.
    pub fn listeners(&self) -> impl Iterator<Item = (u16, &Listener)> {
        let ports = self.ports.iter();
        ports.filter_map(|(port, listener)| Some((*port, listener.as_ref()?)))
    }
}

/// Takes in who waits at a port, and connects them with the machine.
pub fn forward(
    playground: &Playground,
    reactor: &Reactor,
    listener: &Listener,
    to: (Ipv4Addr, u16),
) -> std::io::Result<()> {
    while let Some(socket) = listener.accept()? {
        let here = reactor.add(socket)?;
        let gateway = Rc::clone(playground.lan().gateway());
        playground.executor().spawn(async move {
            // Who cannot be connected sees the connection end, as with Docker's own proxy.
            if let Ok(there) = gateway.connect(to.0, to.1).await {
                let (up, down) = (pass(here.clone(), there.clone()), pass(there, here));
                futures_util::future::join(up, down).await;
            }
        });
    }
    Ok(())
}

async fn pass(from: Io, to: Io) {
    let mut buf = vec![0; CHUNK];
    while let Ok(count @ 1..) = from.read(&mut buf).await {
        if to.write_all(&buf[..count]).await.is_err() {
            break;
        }
    }
    to.shutdown_write();
}
