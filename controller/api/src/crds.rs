//! The custom resource definitions, as the chart ships them and the controller applies them.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt as _;

use crate::{NodeEni, NodeEniAttachment};

/// Every definition, in the order of application.
#[must_use]
pub fn all() -> Vec<CustomResourceDefinition> {
    vec![NodeEni::crd(), NodeEniAttachment::crd()]
}
