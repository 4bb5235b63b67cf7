//! Who may talk to the API server: certificates, tokens and kubeconfigs.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::config::Config;
use crate::error::Error;
use crate::pki::{Pki, Subject};

use super::{ControlPlane, GATEWAY, SERVICE};

/// Writes certificates, tokens and kubeconfigs; gives the administrator's two.
pub(super) fn credentials(
    pki: &Pki,
    config: &Config,
    forwarded: SocketAddr,
) -> Result<(PathBuf, PathBuf), Error> {
    let names = [
        "127.0.0.1",
        GATEWAY,
        SERVICE,
        "localhost",
        "kubernetes.default.svc",
    ];
    let apiserver = Subject {
        common_name: "kube-apiserver",
        names: &names,
        organization: None,
    };
    pki.certificate("apiserver", &apiserver)?;
    let client = Subject {
        common_name: "apiserver-kubelet-client",
        organization: Some("system:masters"),
        names: &[],
    };
    pki.certificate("kubelet-client", &client)?;

    let mut tokens = String::from(
        "admin-token,admin,admin,system:masters\n\
         kcm-token,system:kube-controller-manager,kcm\n\
         scheduler-token,system:kube-scheduler,scheduler\n",
    );
    let inside = ControlPlane::url_inside();
    // The file is read once: nodes that come later must be in it, too.
    let later = (1..=9).map(|number| format!("node{number}"));
    let names: BTreeSet<String> = config
        .nodes
        .iter()
        .map(|node| node.name.clone())
        .chain(later)
        .collect();
    for name in names {
        tokens.push_str(&format!(
            "{name}-token,system:node:{name},{name},system:nodes\n"
        ));
        pki.kubeconfig(&name, &inside, &format!("{name}-token"))?;
    }
    pki.write("tokens.csv", &tokens)?;
    pki.kubeconfig("kcm", &inside, "kcm-token")?;
    pki.kubeconfig("scheduler", &inside, "scheduler-token")?;
    let admin_inside = pki.kubeconfig("admin-inside", &inside, "admin-token")?;
    let admin = pki.kubeconfig("admin", &format!("https://{forwarded}"), "admin-token")?;
    Ok((admin, admin_inside))
}
