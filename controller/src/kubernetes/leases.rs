//! Leases: ours, the agents', and that of J's controller.

use std::time::Duration;

use eniway_api::mark;
use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease as KubeLease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{Api, api::PostParams, core::ObjectMeta};

use super::{ApiServer, Error};

/// A lease as the API server holds it.
#[derive(Clone, Debug)]
pub struct Lease {
    pub holder: Option<String>,
    pub renewed: Option<Timestamp>,
    pub duration: Duration,
    object: KubeLease,
}

impl ApiServer {
    fn leases(&self, namespace: &str) -> Api<KubeLease> {
        Api::namespaced(self.client.clone(), namespace)
    }

    pub(super) async fn lease(&self, namespace: &str, name: &str) -> Result<Option<Lease>, Error> {
        let object = self
            .leases(namespace)
            .get_opt(name)
            .await
            .map_err(|source| Error::ReadLease {
                name: name.to_owned(),
                source,
            })?;
        Ok(object.map(Lease::from))
    }

    pub(super) async fn write_lease(
        &self,
        namespace: &str,
        name: &str,
        old: Option<&Lease>,
        holder: Option<&str>,
        duration: Duration,
        now: Timestamp,
    ) -> Result<Lease, Error> {
        let object = holding(old, name, holder, duration, now);
        let leases = self.leases(namespace);
        let failed = |source| Error::WriteLease {
            name: name.to_owned(),
            source,
        };
        let params = PostParams {
            field_manager: Some(mark::CONTROLLER.to_owned()),
            ..PostParams::default()
        };
        // With the resourceVersion that was read, or none: of two writers one gets a conflict.
        let written = if old.is_some() {
            leases.replace(name, &params, &object).await
        } else {
            leases.create(&params, &object).await
        };
        written.map(Lease::from).map_err(failed)
    }
}

impl From<KubeLease> for Lease {
    fn from(object: KubeLease) -> Self {
        let spec = object.spec.as_ref();
        let seconds = spec
            .and_then(|spec| spec.lease_duration_seconds)
            .and_then(|seconds| u64::try_from(seconds).ok());
        Self {
            holder: spec
                .and_then(|spec| spec.holder_identity.clone())
                .filter(|holder| !holder.is_empty()),
            renewed: spec
                .and_then(|spec| spec.renew_time.as_ref())
                .map(|time| time.0),
            duration: Duration::from_secs(seconds.unwrap_or(30)),
            object,
        }
    }
}

/// The lease as it is to be written: held from `now` on, or given back.
#[must_use]
pub fn holding(
    old: Option<&Lease>,
    name: &str,
    holder: Option<&str>,
    duration: Duration,
    now: Timestamp,
) -> KubeLease {
    let now = MicroTime(now);
    let mut object = old.map_or_else(
        || KubeLease {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                ..ObjectMeta::default()
            },
            spec: None,
        },
        |old| old.object.clone(),
    );
    let spec = object.spec.get_or_insert_with(LeaseSpec::default);
    if spec.holder_identity.as_deref() != holder {
        spec.acquire_time = Some(now.clone());
        spec.lease_transitions = Some(spec.lease_transitions.unwrap_or(0) + 1);
    }
    spec.holder_identity = holder.map(ToOwned::to_owned);
    spec.lease_duration_seconds = Some(i32::try_from(duration.as_secs().max(1)).unwrap_or(30));
    spec.renew_time = Some(now);
    object
}
