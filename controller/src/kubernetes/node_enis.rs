//! Writes of NodeENIs.

use eniway_api::{NodeEni, NodeEniStatus, RouteStatus, mark};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{
    Resource as _, ResourceExt as _,
    api::{Patch, PatchParams},
};
use serde_json::json;

use super::{ApiServer, Error, api_server::ours};

impl ApiServer {
    /// Puts our finalizer on a NodeENI, or takes it away.
    pub(super) async fn set_node_eni_finalizer(
        &self,
        node_eni: &NodeEni,
        wanted: bool,
    ) -> Result<(), Error> {
        let name = node_eni.name_any();
        let mut finalizers: Vec<_> = node_eni
            .finalizers()
            .iter()
            .filter(|finalizer| *finalizer != mark::FINALIZER_NODE_ENI)
            .map(String::as_str)
            .collect();
        if wanted {
            finalizers.push(mark::FINALIZER_NODE_ENI);
        }
        let body = json!({"metadata": {"finalizers": finalizers,
            "resourceVersion": node_eni.resource_version()}});
        match self
            .node_enis
            .patch(&name, &PatchParams::default(), &Patch::Merge(&body))
            .await
        {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 && !wanted => Ok(()),
            Err(source) => Err(Error::NodeEniFinalizer { name, source }),
        }
    }

    /// Writes a NodeENI's status.
    pub(super) async fn report_node_eni(
        &self,
        node_eni: &NodeEni,
        status: &NodeEniStatus,
    ) -> Result<(), Error> {
        let name = node_eni.name_any();
        let body = json!({
            "apiVersion": NodeEni::api_version(&()),
            "kind": NodeEni::kind(&()),
            "metadata": {"name": name, "uid": node_eni.uid()},
            "status": status,
        });
        self.node_enis
            .patch_status(&name, &ours(), &Patch::Apply(&body))
            .await
            .map_err(|source| Error::NodeEniStatus { name, source })?;
        Ok(())
    }

    /// Writes what a NodeENI's status says of routes; another manager owns the rest of it.
    pub(super) async fn report_routes(
        &self,
        node_eni: &NodeEni,
        routes: &[RouteStatus],
        condition: Option<&Condition>,
        as_seen: bool,
    ) -> Result<(), Error> {
        let name = node_eni.name_any();
        let mut status = serde_json::Map::new();
        if !routes.is_empty() {
            status.insert("routes".to_owned(), json!(routes));
        }
        if let Some(condition) = condition {
            status.insert("conditions".to_owned(), json!([condition]));
        }
        let mut metadata = json!({"name": name, "uid": node_eni.uid()});
        if as_seen {
            metadata["resourceVersion"] = json!(node_eni.resource_version());
        }
        let body = json!({
            "apiVersion": NodeEni::api_version(&()),
            "kind": NodeEni::kind(&()),
            "metadata": metadata,
            "status": status,
        });
        let params = PatchParams::apply(mark::CONTROLLER_ROUTES).force();
        self.node_enis
            .patch_status(&name, &params, &Patch::Apply(&body))
            .await
            .map_err(|source| Error::NodeEniStatus { name, source })?;
        Ok(())
    }
}
