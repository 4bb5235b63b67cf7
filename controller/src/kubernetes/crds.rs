//! Applies our definitions, and checks that those which are served are ours.

use std::time::Duration;

use eniway_api::{crds, mark};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps,
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{Patch, PatchParams},
    runtime::wait::{await_condition, conditions},
};
use tracing::info;

use super::Error;

/// Applies every definition and waits until each is served. Works over J's, whose fields ours keep.
pub async fn apply(client: &Client) -> Result<(), Error> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let ours = PatchParams::apply(mark::CONTROLLER).force();
    for crd in crds::all() {
        let name = crd.name_any();
        api.patch(&name, &ours, &Patch::Apply(&crd))
            .await
            .map_err(|source| Error::ApplyCrd {
                name: name.clone(),
                source,
            })?;
        let established = await_condition(api.clone(), &name, conditions::is_crd_established());
        if let Ok(result) = tokio::time::timeout(Duration::from_secs(60), established).await {
            result.map_err(|source| Error::EstablishCrd {
                name: name.clone(),
                source,
            })?;
        }
        info!(name, "Applied");
    }
    Ok(())
}

/// Whether each served definition has every field of ours.
pub(super) async fn check(client: &Client) -> Result<(), Error> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    for ours in crds::all() {
        let name = ours.name_any();
        let served = api.get(&name).await.map_err(Error::Schema)?;
        let has = match (schema(&ours), schema(&served)) {
            (Some(ours), Some(served)) => covers(served, ours),
            _ => false,
        };
        if !has {
            return Err(Error::SchemaDiffers { name });
        }
    }
    Ok(())
}

fn schema(crd: &CustomResourceDefinition) -> Option<&JSONSchemaProps> {
    crd.spec
        .versions
        .first()?
        .schema
        .as_ref()?
        .open_api_v3_schema
        .as_ref()
}

/// Whether `served` knows every property of `ours`; one that it lacks would be pruned in silence.
fn covers(served: &JSONSchemaProps, ours: &JSONSchemaProps) -> bool {
    ours.properties.iter().flatten().all(|(name, ours)| {
        let served = served.properties.as_ref().and_then(|all| all.get(name));
        served.is_some_and(|served| covers(served, ours))
    })
}
