//! Tells when somebody takes our table away, or begins to translate.

use std::sync::Arc;

use rtnetlink::sys::{AsyncSocket as _, AsyncSocketExt as _, TokioSocket};
use tokio::sync::Notify;
use tracing::debug;

use super::rule::matters;
use crate::netlink::message::{NETLINK_NETFILTER, messages};

/// linux/nfnetlink.h: `NFNLGRP_NFTABLES`.
const GROUP: u32 = 7;

/// Notifies for as long as the kernel tells; not at all, where it has no nf_tables.
pub(in crate::netlink) async fn listen(changed: Arc<Notify>) {
    let Err(error) = tell(&changed).await;
    debug!(%error, "Nothing is told of nf_tables");
}

async fn tell(changed: &Notify) -> std::io::Result<std::convert::Infallible> {
    let mut socket = TokioSocket::new(NETLINK_NETFILTER)?;
    socket.socket_mut().bind_auto()?;
    socket.socket_mut().add_membership(GROUP)?;
    loop {
        match socket.recv_from_full().await {
            Ok((told, _)) if !messages(&told).any(matters) => {}
            Ok(_) => changed.notify_one(),
            // There was no room for all.
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => changed.notify_one(),
            Err(error) => return Err(error),
        }
    }
}
