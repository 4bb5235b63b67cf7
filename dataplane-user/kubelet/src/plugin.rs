//! Serves the devices of one resource to the kubelet.
//!
//! *Expected flow*: listen, register, answer; when the kubelet has started anew, all of it again.
//!
//! *Guarantees*: whoever asks is told all devices at once, and again after each change. An allocation is answered by what
//! is known at that moment.

use std::{
    collections::BTreeMap,
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use futures::Stream;
use tokio::{net::UnixListener, sync::watch};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use tracing::{info, warn};

use crate::{
    Error,
    api::v1beta1::{
        AllocateRequest, AllocateResponse, ContainerAllocateResponse, DevicePluginOptions,
        DeviceSpec, Empty, ListAndWatchResponse, NumaNode, PreStartContainerRequest,
        PreStartContainerResponse, PreferredAllocationRequest, PreferredAllocationResponse,
        RegisterRequest, TopologyInfo, device_plugin_server, registration_client,
    },
    connect,
    folder::{Folder, KUBELET},
};

/// How long to wait for a kubelet that does not answer.
const RETRY: Duration = Duration::from_secs(1);

/// A device, as the kubelet sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// At most 63 characters.
    pub id: String,
    /// Whether pods may have it now.
    pub healthy: bool,
    /// The NUMA node next to it.
    pub numa_node: Option<u32>,
}

/// What a container gets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// Its environment.
    pub environment: BTreeMap<String, String>,
    /// Its device nodes.
    pub nodes: Vec<Node>,
}

/// A device node, readable and writable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// On the node.
    pub host: String,
    /// In the container.
    pub container: String,
}

/// Answers an allocation of these IDs, or says why not.
type Allocate = dyn Fn(&[String]) -> Result<Grant, String> + Send + Sync;

/// Offers what `devices` holds as `resource` until `shutdown`; `allocate` answers for a container that gets some.
///
/// # Errors
/// When the folder cannot be used. A kubelet that is away is waited for.
pub async fn serve(
    folder: &Path,
    resource: &str,
    devices: watch::Receiver<Vec<Device>>,
    allocate: Arc<Allocate>,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let name = socket_name(resource);
    let socket = folder.join(&name);
    while !shutdown.is_cancelled() {
        let mut watched = Folder::watch(folder)?;
        let listener = listen(&socket)?;
        let again = shutdown.child_token();
        let served = answer(listener, &devices, &allocate, again.clone());
        let until_again = async {
            let changed = tokio::select! {
                changed = told(&mut watched, folder, &name, resource) => changed,
                () = shutdown.cancelled() => Ok(()),
            };
            again.cancel();
            changed.map_err(|source| Error::Watch {
                path: folder.to_owned(),
                source,
            })
        };
        let ((), changed) = tokio::join!(served, until_again);
        changed?;
    }
    // A socket that is gone already is gone.
    let _ = fs::remove_file(&socket);
    Ok(())
}

/// Tells the kubelet, and waits until it must be told again. A kubelet that starts removes every socket before it makes its
/// own; what it is told with a socket that it then removes is of no use, and what it is told twice makes it call every
/// device ill for a moment.
async fn told(watched: &mut Folder, folder: &Path, name: &str, resource: &str) -> io::Result<()> {
    tokio::select! {
        changed = watched.changes(name) => return changed,
        () = register(folder, name, resource) => {}
    }
    // It could answer, so its socket was there before.
    watched.forget();
    match folder.join(name).exists() {
        true => watched.changes(name).await,
        false => Ok(()),
    }
}

/// A name of the kernel's for a socket has 107 bytes with its folder, and a resource may have more.
fn socket_name(resource: &str) -> String {
    const LONGEST: usize = 32;
    let mut name = resource.replace('/', "_");
    if name.len() > LONGEST {
        let mut hasher = DefaultHasher::new();
        resource.hash(&mut hasher);
        // Of ASCII, as names of resources are; of others the hash tells enough.
        let start = name.get(..LONGEST - 17).unwrap_or_default();
        name = format!("{start}-{:016x}", hasher.finish());
    }
    format!("eniway-{name}.sock")
}

/// What an earlier agent left there is replaced.
fn listen(path: &Path) -> Result<UnixListener, Error> {
    let bind = || match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => UnixListener::bind(path),
    };
    bind().map_err(|source| Error::Listen {
        path: path.to_owned(),
        source,
    })
}

async fn answer(
    listener: UnixListener,
    devices: &watch::Receiver<Vec<Device>>,
    allocate: &Arc<Allocate>,
    end: CancellationToken,
) {
    let plugin = Plugin {
        devices: devices.clone(),
        allocate: Arc::clone(allocate),
        end: end.clone(),
    };
    let incoming = futures::stream::unfold(listener, async |listener| {
        let stream = listener.accept().await.map(|(stream, _)| stream);
        Some((stream, listener))
    });
    let served = tonic::transport::Server::builder()
        .add_service(device_plugin_server::DevicePluginServer::new(plugin))
        .serve_with_incoming_shutdown(incoming, end.cancelled());
    if let Err(error) = served.await {
        warn!(%error, "Device plugin ended");
    }
}

/// Until the kubelet accepts.
async fn register(folder: &Path, name: &str, resource: &str) {
    let mut told = false;
    loop {
        match ask(folder.join(KUBELET), name, resource).await {
            Ok(()) => return info!(resource, "Registered with the kubelet"),
            Err(error) if told => tracing::debug!(?error, "Not registered yet"),
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                warn!(%error, cause, "Not registered yet");
                told = true;
            }
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn ask(kubelet: PathBuf, name: &str, resource: &str) -> Result<(), Error> {
    let mut client = registration_client::RegistrationClient::new(connect(kubelet).await?);
    let request = RegisterRequest {
        version: "v1beta1".to_owned(),
        endpoint: name.to_owned(),
        resource_name: resource.to_owned(),
        options: Some(DevicePluginOptions::default()),
    };
    let answer = client.register(request).await;
    answer.map(drop).map_err(|status| Error::Register {
        resource: resource.to_owned(),
        source: Box::new(status),
    })
}

struct Plugin {
    devices: watch::Receiver<Vec<Device>>,
    allocate: Arc<Allocate>,
    end: CancellationToken,
}

#[tonic::async_trait]
impl device_plugin_server::DevicePlugin for Plugin {
    async fn get_device_plugin_options(
        &self,
        _: Request<Empty>,
    ) -> Result<Response<DevicePluginOptions>, Status> {
        Ok(Response::new(DevicePluginOptions::default()))
    }

    type ListAndWatchStream =
        Pin<Box<dyn Stream<Item = Result<ListAndWatchResponse, Status>> + Send>>;

    async fn list_and_watch(
        &self,
        _: Request<Empty>,
    ) -> Result<Response<Self::ListAndWatchStream>, Status> {
        let mut devices = self.devices.clone();
        devices.mark_changed();
        let end = self.end.clone();
        let lists = futures::stream::unfold((devices, end), async |(mut devices, end)| {
            tokio::select! {
                changed = devices.changed() => changed.ok()?,
                () = end.cancelled() => return None,
            }
            let list = listed(&devices.borrow_and_update());
            Some((Ok(list), (devices, end)))
        });
        Ok(Response::new(Box::pin(lists)))
    }

    async fn get_preferred_allocation(
        &self,
        _: Request<PreferredAllocationRequest>,
    ) -> Result<Response<PreferredAllocationResponse>, Status> {
        Err(Status::unimplemented("every device is as good as another"))
    }

    async fn allocate(
        &self,
        request: Request<AllocateRequest>,
    ) -> Result<Response<AllocateResponse>, Status> {
        let containers = request.into_inner().container_requests.into_iter();
        let granted = containers.map(|container| (self.allocate)(&container.devices_ids));
        let granted: Result<Vec<Grant>, String> = granted.collect();
        let granted = granted.map_err(Status::failed_precondition)?;
        Ok(Response::new(AllocateResponse {
            container_responses: granted.into_iter().map(response).collect(),
        }))
    }

    async fn pre_start_container(
        &self,
        _: Request<PreStartContainerRequest>,
    ) -> Result<Response<PreStartContainerResponse>, Status> {
        Ok(Response::new(PreStartContainerResponse {}))
    }
}

fn listed(devices: &[Device]) -> ListAndWatchResponse {
    let devices = devices.iter().map(|device| {
        let nodes = device.numa_node.into_iter();
        let nodes: Vec<_> = nodes.map(|id| NumaNode { id: i64::from(id) }).collect();
        crate::api::v1beta1::Device {
            id: device.id.clone(),
            health: match device.healthy {
                true => "Healthy".to_owned(),
                false => "Unhealthy".to_owned(),
            },
            topology: (!nodes.is_empty()).then_some(TopologyInfo { nodes }),
        }
    });
    ListAndWatchResponse {
        devices: devices.collect(),
    }
}

fn response(grant: Grant) -> ContainerAllocateResponse {
    let nodes = grant.nodes.into_iter().map(|node| DeviceSpec {
        container_path: node.container,
        host_path: node.host,
        permissions: "rw".to_owned(),
    });
    ContainerAllocateResponse {
        envs: grant.environment.into_iter().collect(),
        devices: nodes.collect(),
    }
}

#[cfg(test)]
mod tests;
