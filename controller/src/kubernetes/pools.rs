//! Reads and writes of ENIPools.

use std::sync::Arc;

use eniway_api::{EniPool, EniPoolStatus, mark};
use futures::Stream;
use kube::{
    Api, Resource as _, ResourceExt as _,
    api::{Patch, PatchParams},
    core::DeserializeGuard,
};
use serde_json::json;
use tracing::warn;

use super::{
    ApiServer, Change, Error, Pool,
    api_server::ours,
    watch::{change, stream},
};

impl ApiServer {
    pub(super) fn watch_pools(&self) -> impl Stream<Item = Change<Pool>> + Send + use<> {
        use futures::StreamExt as _;
        let api: Api<DeserializeGuard<EniPool>> = Api::all(self.client.clone());
        stream(api).map(|event| {
            change(event, |guard| match guard.0 {
                Ok(pool) => Ok(Arc::new(pool)),
                Err(invalid) => {
                    let name = invalid.metadata.name.unwrap_or_default();
                    warn!(name, error = invalid.error, "ENIPool cannot be read");
                    Err(name)
                }
            })
        })
    }

    /// Puts our finalizer on a pool, or takes it away.
    pub(super) async fn set_pool_finalizer(
        &self,
        pool: &EniPool,
        wanted: bool,
    ) -> Result<(), Error> {
        let name = pool.name_any();
        let finalizers = pool.finalizers().iter();
        let mut finalizers: Vec<_> = finalizers
            .filter(|finalizer| *finalizer != mark::FINALIZER_POOL)
            .map(String::as_str)
            .collect();
        if wanted {
            finalizers.push(mark::FINALIZER_POOL);
        }
        let body = json!({"metadata": {"finalizers": finalizers, "uid": pool.uid(),
            "resourceVersion": pool.resource_version()}});
        let (params, body) = (PatchParams::default(), Patch::Merge(&body));
        match self.pools.patch(&name, &params, &body).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 && !wanted => Ok(()),
            Err(source) => Err(Error::PoolFinalizer { name, source }),
        }
    }

    /// Writes a pool's status.
    pub(super) async fn report_pool(
        &self,
        pool: &EniPool,
        status: &EniPoolStatus,
    ) -> Result<(), Error> {
        let name = pool.name_any();
        let body = json!({
            "apiVersion": EniPool::api_version(&()),
            "kind": EniPool::kind(&()),
            "metadata": {"name": name, "uid": pool.uid()},
            "status": status,
        });
        let (params, body) = (ours(), Patch::Apply(&body));
        let written = self.pools.patch_status(&name, &params, &body);
        let written = written.await.map(drop);
        written.map_err(|source| Error::PoolStatus { name, source })
    }
}
