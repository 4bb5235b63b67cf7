//! The pods of one node, asked for when something may be taken away from them.

use k8s_openapi::api::core::v1::Pod as KubePod;
use kube::{Api, api::ListParams};

use super::{ApiServer, Error};
use crate::holders::Pod;

impl ApiServer {
    /// The node's pods that have not ended, as the API server itself has them now.
    pub(super) async fn pods(&self, node: &str) -> Result<Vec<Pod>, Error> {
        let pods: Api<KubePod> = Api::all(self.client.clone());
        let here = ListParams::default().fields(&format!("spec.nodeName={node}"));
        let listed = pods.list(&here).await;
        let listed = listed.map_err(|source| Error::ListPods {
            node: node.to_owned(),
            source,
        })?;
        Ok(listed.iter().filter_map(Pod::read).collect())
    }
}
