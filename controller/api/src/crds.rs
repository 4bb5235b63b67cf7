//! The custom resource definitions, as the chart ships them and the controller applies them.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt as _;

use crate::{EniPool, NodeEni, NodeEniAttachment};

/// Every definition, in the order of application.
#[must_use]
pub fn all() -> Vec<CustomResourceDefinition> {
    vec![NodeEni::crd(), NodeEniAttachment::crd(), EniPool::crd()]
}

/// The definitions as YAML documents, the same bytes each time.
///
/// # Errors
///
/// None that is known: the definitions are plain data.
pub fn yaml() -> Result<String, serde_yaml_ng::Error> {
    let mut text = String::new();
    for crd in all() {
        text.push_str("---\n");
        // kubectl reads YAML 1.1, in which a bare Off is a boolean.
        text.push_str(&serde_yaml_ng::to_string(&crd)?.replace("- Off\n", "- 'Off'\n"));
    }
    Ok(text)
}
