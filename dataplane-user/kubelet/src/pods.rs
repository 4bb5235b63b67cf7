//! Which pod has which device.

use std::{fmt, path::PathBuf, time::Duration};

use crate::{
    Error,
    api::v1::{ListPodResourcesRequest, pod_resources_lister_client::PodResourcesListerClient},
    connect,
};

/// Bound on an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// A pod of the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for Pod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pod {}/{}", self.namespace, self.name)
    }
}

/// The kubelet's list of its pods' devices.
#[derive(Clone, Debug)]
pub struct Pods {
    socket: PathBuf,
}

impl Pods {
    /// At [`crate::POD_RESOURCES`], or where a test has it.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        let socket = socket.into();
        Self { socket }
    }

    /// The pods that have the device with this ID, whatever resource it is of.
    ///
    /// # Errors
    /// When the kubelet does not answer: then it is not known whether one has it.
    pub async fn that_have(&self, device: &str) -> Result<Vec<Pod>, Error> {
        self.that_have_of(device, |_| true).await
    }

    /// The pods that have the device with this ID by another resource's name than this one.
    ///
    /// # Errors
    /// As for [`Pods::that_have`].
    pub async fn that_have_otherwise(
        &self,
        device: &str,
        resource: &str,
    ) -> Result<Vec<Pod>, Error> {
        self.that_have_of(device, |name| name != resource).await
    }

    async fn that_have_of(
        &self,
        device: &str,
        is_meant: impl Fn(&str) -> bool,
    ) -> Result<Vec<Pod>, Error> {
        let mut client = PodResourcesListerClient::new(connect(self.socket.clone()).await?);
        let mut request = tonic::Request::new(ListPodResourcesRequest {});
        request.set_timeout(PATIENCE);
        let answer = client.list(request).await;
        let answer = answer.map_err(|status| Error::Pods(Box::new(status)))?;
        let pods = answer.into_inner().pod_resources.into_iter();
        let having = pods.filter(|pod| {
            let devices = pod.containers.iter().flat_map(|one| &one.devices);
            let devices = devices.filter(|devices| is_meant(&devices.resource_name));
            let mut ids = devices.flat_map(|devices| &devices.device_ids);
            ids.any(|id| id == device)
        });
        Ok(having
            .map(|pod| Pod {
                namespace: pod.namespace,
                name: pod.name,
            })
            .collect())
    }
}
