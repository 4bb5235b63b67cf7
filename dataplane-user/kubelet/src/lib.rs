//! The door to the kubelet: offers it devices, and asks which pod has which.
//!
//! Both APIs are gRPC over UNIX sockets in the kubelet's folders.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod folder;
mod plugin;
mod pods;

use std::{io, path::PathBuf};

pub use self::{
    plugin::{Device, Grant, Node, serve},
    pods::{Pod, Pods},
};

/// Where the kubelet looks for device plugins.
pub const PLUGINS: &str = "/var/lib/kubelet/device-plugins";

/// Where the kubelet tells of its pods' devices.
pub const POD_RESOURCES: &str = "/var/lib/kubelet/pod-resources/kubelet.sock";

/// What could not be done with the kubelet.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A socket of ours.
    #[error("listen on {path}", path = .path.display())]
    Listen {
        /// Where.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The kubelet's folder.
    #[error("watch {path}", path = .path.display())]
    Watch {
        /// Which one.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The kubelet's socket.
    #[error("connect to the kubelet at {path}", path = .path.display())]
    Connect {
        /// Where.
        path: PathBuf,
        /// Why not.
        #[source]
        source: tonic::transport::Error,
    },
    /// It refuses.
    #[error("register {resource} with the kubelet")]
    Register {
        /// What it was to offer.
        resource: String,
        /// Why not.
        #[source]
        source: Box<tonic::Status>,
    },
    /// It does not tell.
    #[error("ask the kubelet which pods have devices")]
    Pods(#[source] Box<tonic::Status>),
}

mod api {
    #![expect(
        clippy::allow_attributes,
        clippy::allow_attributes_without_reason,
        clippy::clone_on_ref_ptr,
        clippy::pedantic,
        unreachable_pub,
        unused_qualifications,
        reason = "written by a program"
    )]

    pub(crate) mod v1 {
        tonic::include_proto!("v1");
    }

    pub(crate) mod v1beta1 {
        tonic::include_proto!("v1beta1");
    }
}

/// A connection to a UNIX socket.
async fn connect(path: PathBuf) -> Result<tonic::transport::Channel, Error> {
    let failed = |source| Error::Connect {
        path: path.clone(),
        source,
    };
    // The address is the kubelet's name for itself; where it really is says the connector.
    let endpoint = tonic::transport::Endpoint::from_static("http://localhost");
    let socket = path.clone();
    let connector = tower::service_fn(move |_| {
        let socket = socket.clone();
        async move {
            let stream = tokio::net::UnixStream::connect(socket).await?;
            Ok::<_, io::Error>(hyper_util::rt::TokioIo::new(stream))
        }
    });
    endpoint
        .connect_with_connector(connector)
        .await
        .map_err(failed)
}
