//! A kubelet that starts, takes registrations, and starts anew.

use tempfile::TempDir;
use tokio::{sync::mpsc, task::JoinHandle};

use super::*;
use crate::api::v1beta1::{device_plugin_client, registration_server};

const RESOURCE: &str = "example.com/fast";
/// In which nothing more comes.
const QUIET: Duration = Duration::from_millis(500);

struct Registrations(mpsc::UnboundedSender<RegisterRequest>);

#[tonic::async_trait]
impl registration_server::Registration for Registrations {
    async fn register(&self, request: Request<RegisterRequest>) -> Result<Response<Empty>, Status> {
        self.0.send(request.into_inner()).unwrap();
        Ok(Response::new(Empty {}))
    }
}

struct Kubelet {
    told: mpsc::UnboundedReceiver<RegisterRequest>,
    server: JoinHandle<()>,
}

impl Kubelet {
    /// Empties its folder and makes its socket there.
    fn start(folder: &Path) -> Self {
        for entry in fs::read_dir(folder).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
        let listener = UnixListener::bind(folder.join(KUBELET)).unwrap();
        let incoming = futures::stream::unfold(listener, async |listener| {
            let stream = listener.accept().await.map(|(stream, _)| stream);
            Some((stream, listener))
        });
        let (sender, told) = mpsc::unbounded_channel();
        let service = registration_server::RegistrationServer::new(Registrations(sender));
        let server = tonic::transport::Server::builder().add_service(service);
        let server = tokio::spawn(async move {
            server.serve_with_incoming(incoming).await.unwrap();
        });
        Self { told, server }
    }

    /// The one registration that comes.
    async fn is_told_once(&mut self) -> String {
        let request = tokio::time::timeout(Duration::from_secs(30), self.told.recv());
        let request = request.await.expect("it is told").unwrap();
        assert_eq!(request.resource_name, RESOURCE);
        let more = tokio::time::timeout(QUIET, self.told.recv()).await;
        assert!(more.is_err(), "it is told twice");
        request.endpoint
    }
}

fn device(id: &str) -> Device {
    Device {
        id: id.to_owned(),
        healthy: true,
        numa_node: Some(1),
    }
}

#[tokio::test]
async fn a_kubelet_is_told_once_whenever_it_starts_and_sees_each_change() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().to_owned();
    let (devices, listed) = watch::channel(vec![device("one")]);
    let end = CancellationToken::new();
    let allocate = |ids: &[String]| match ids {
        [id] if id == "one" => Ok(Grant::default()),
        other => Err(format!("no {other:?}")),
    };
    let (plugins, shutdown) = (path.clone(), end.clone());
    let served = tokio::spawn(async move {
        serve(&plugins, RESOURCE, listed, Arc::new(allocate), shutdown).await
    });
    // The plugin was there first.
    tokio::time::sleep(QUIET).await;
    for _ in 0..3 {
        let mut kubelet = Kubelet::start(&path);
        let endpoint = kubelet.is_told_once().await;
        let channel = connect(path.join(&endpoint)).await.unwrap();
        let mut plugin = device_plugin_client::DevicePluginClient::new(channel);
        let lists = plugin.list_and_watch(Empty {}).await.unwrap();
        let mut lists = lists.into_inner();
        let first = lists.message().await.unwrap().unwrap();
        assert_eq!(first, super::listed(&devices.borrow()));
        devices.send(vec![device("one"), device("two")]).unwrap();
        assert_eq!(lists.message().await.unwrap().unwrap().devices.len(), 2);

        let ask = |id: &str| AllocateRequest {
            container_requests: vec![crate::api::v1beta1::ContainerAllocateRequest {
                devices_ids: vec![id.to_owned()],
            }],
        };
        plugin.allocate(ask("one")).await.unwrap();
        let refused = plugin.allocate(ask("gone")).await.unwrap_err();
        assert_eq!(refused.message(), r#"no ["gone"]"#);
        devices.send(vec![device("one")]).unwrap();
        kubelet.server.abort();
    }
    end.cancel();
    served.await.unwrap().unwrap();
    assert!(!path.join("eniway-example.com_fast.sock").exists());
}

#[test]
fn any_resource_has_a_socket_of_its_own_that_the_kernel_takes() {
    assert_eq!(socket_name("a.b/c"), "eniway-a.b_c.sock");
    let long = format!("{}.example.com/{}", "network".repeat(30), "fast".repeat(15));
    let names = [socket_name(&long), socket_name(&format!("{long}r"))];
    assert_ne!(names[0], names[1]);
    for name in names {
        assert!(
            name.len() <= 44 && name.starts_with("eniway-network"),
            "{name}"
        );
    }
}
