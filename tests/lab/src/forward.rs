//! Lets programs on the host reach a TCP port inside a namespace, by a listener on 127.0.0.1.

use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::thread::{self, JoinHandle};

use crate::error::Error;
use crate::namespace::Namespace;

/// A forwarded port; it is closed when this is dropped.
#[derive(Debug)]
pub(crate) struct Forward {
    listener: TcpListener,
    address: SocketAddr,
    accepting: Option<JoinHandle<()>>,
}

impl Forward {
    /// Forwards a free port of the host to `target`, as seen from inside `namespace`.
    pub(crate) fn new(namespace: &Namespace, target: SocketAddr) -> Result<Self, Error> {
        let opened = |source| Error::File {
            path: "a port of 127.0.0.1".into(),
            source,
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(opened)?;
        let address = listener.local_addr().map_err(opened)?;
        let accept = listener.try_clone().map_err(opened)?;
        let namespace = namespace.clone();
        let accepting = thread::spawn(move || {
            // A shut listener gives an error, which ends the loop.
            while let Ok((outside, _)) = accept.accept() {
                let namespace = namespace.clone();
                thread::spawn(move || {
                    if let Ok(inside) = namespace.tcp_connect(target) {
                        join(&outside, &inside);
                    }
                });
            }
        });
        Ok(Self {
            listener,
            address,
            accepting: Some(accepting),
        })
    }

    /// Where to connect to on the host.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        // Shutting a listening socket wakes `accept`.
        let _ =
            nix::sys::socket::shutdown(self.listener.as_raw_fd(), nix::sys::socket::Shutdown::Both);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

/// Copies both ways until both sides have ended.
fn join(outside: &TcpStream, inside: &TcpStream) {
    let _ = outside.set_nodelay(true);
    let _ = inside.set_nodelay(true);
    thread::scope(|scope| {
        scope.spawn(|| copy(outside, inside));
        copy(inside, outside);
    });
}

/// Copies one way; an error is an end, too, and the other side is told.
fn copy(mut from: &TcpStream, mut to: &TcpStream) {
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
    let _ = from.shutdown(Shutdown::Read);
}
