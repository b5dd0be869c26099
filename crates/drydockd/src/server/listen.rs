//! Where the server listens: Unix sockets and loopback, and nowhere else.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use rustix::fs::Mode;

use super::reactor::Socket;

/// What is listened on.
pub enum Listener {
    /// The file is removed at the end.
    Unix(UnixListener, PathBuf),
    Tcp(TcpListener, SocketAddr),
}

impl Listener {
    /// A Unix socket that only this user may connect to. What a server that did not end well left there
    /// is replaced; one that still answers is not.
    pub fn unix(path: &Path) -> anyhow::Result<Listener> {
        let shown = path.display();
        if let Ok(found) = std::fs::symlink_metadata(path) {
            if !found.file_type().is_socket() {
                bail!("{shown} is there and is not a socket");
            }
            if UnixStream::connect(path).is_ok() {
                bail!("{shown} is in use: another server listens on it");
            }
            std::fs::remove_file(path).with_context(|| format!("replacing {shown}"))?;
        }
        let mask = rustix::process::umask(Mode::from_raw_mode(0o177));
        let bound = UnixListener::bind(path);
        rustix::process::umask(mask);
        let listener = bound.with_context(|| format!("listening on {shown}"))?;
        listener.set_nonblocking(true)?;
        Ok(Listener::Unix(listener, std::path::absolute(path)?))
    }

    /// A loopback address; others are refused: whoever reaches a Docker socket can do everything.
    pub fn tcp(text: &str) -> anyhow::Result<Listener> {
        let address = loopback(text)?;
        let listener =
            TcpListener::bind(address).with_context(|| format!("listening on {address}"))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok(Listener::Tcp(listener, address))
    }

    /// As `DOCKER_HOST` names it.
    pub fn url(&self) -> String {
        match self {
            Listener::Unix(_, path) => format!("unix://{}", path.display()),
            Listener::Tcp(_, address) => format!("tcp://{address}"),
        }
    }

    /// True where web pages could knock.
    pub fn is_tcp(&self) -> bool {
        matches!(self, Listener::Tcp(..))
    }

    /// A client that waits; `None` when there is none.
    pub fn accept(&self) -> std::io::Result<Option<Socket>> {
        let accepted = match self {
            Listener::Unix(listener, _) => {
                listener.accept().map(|(socket, _)| Socket::Unix(socket))
            }
            Listener::Tcp(listener, _) => listener.accept().map(|(socket, _)| Socket::Tcp(socket)),
        };
        match accepted {
            Ok(socket) => Ok(Some(socket)),
            // One that has gone away while it waited is none either.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::ConnectionAborted | ErrorKind::Interrupted
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Listener::Unix(listener, _) => listener.as_fd(),
            Listener::Tcp(listener, _) => listener.as_fd(),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Listener::Unix(_, path) = self {
            // Somebody may have tidied up before.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// `127.0.0.1:2375`, `[::1]:2375`, `localhost:2375`.
fn loopback(text: &str) -> anyhow::Result<SocketAddr> {
    let named = text
        .strip_prefix("localhost:")
        .map(|port| format!("127.0.0.1:{port}"));
    let address: SocketAddr = named.as_deref().unwrap_or(text).parse().with_context(|| {
        format!("--tcp {text}: not an address with a port, such as 127.0.0.1:2375")
    })?;
    if !address.ip().is_loopback() {
        bail!(
            "--tcp {text}: only loopback addresses: whoever reaches a Docker socket can do everything with it"
        );
    }
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_listened_on() {
        for right in ["127.0.0.1:0", "127.9.9.9:1", "[::1]:2375", "localhost:80"] {
            assert!(loopback(right).is_ok(), "{right}");
        }
        for wrong in [
            "0.0.0.0:2375",
            "192.168.0.1:1",
            "[::]:1",
            "127.0.0.1",
            "example:1",
            "",
        ] {
            assert!(loopback(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_socket_file_is_taken_over_only_from_the_dead() {
        let path = std::env::temp_dir().join(format!("drydock-listen-{}", std::process::id()));
        let first = Listener::unix(&path).expect("free");
        assert!(Listener::unix(&path).is_err(), "in use");
        // What a killed server leaves behind: a file that nobody listens on.
        drop(first);
        assert!(!path.exists());
        drop(UnixListener::bind(&path).expect("free again"));
        drop(Listener::unix(&path).expect("nobody listens there"));
        std::fs::write(&path, "precious").expect("writable");
        assert!(Listener::unix(&path).is_err(), "a file is not replaced");
        std::fs::remove_file(&path).expect("still there");
    }
}
