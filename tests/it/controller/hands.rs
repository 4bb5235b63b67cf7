//! What people and other programs do to addresses, pods and records while a controller works.

use std::time::Duration;

use ec2_sim::{EniId, Request};
use eniway_api::{NodeEniAttachment, mark};
use jiff::Timestamp;
use k8s_openapi::api::{
    coordination::v1::Lease,
    core::v1::{Namespace, Pod, ServiceAccount},
};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use super::rig::Running;

impl Running {
    /// A sidecar gives an interface an address.
    pub(super) fn assign_by_hand(&self, eni: &EniId) {
        let request = Request::new("AssignPrivateIpAddresses")
            .with("NetworkInterfaceId", eni)
            .with("SecondaryPrivateIpAddressCount", 1);
        self.door.world().call(&request, Timestamp::now()).unwrap();
    }

    /// Somebody takes an address off an interface.
    pub(super) fn unassign_by_hand(&self, eni: &EniId, address: &str) {
        let request = Request::new("UnassignPrivateIpAddresses")
            .with("NetworkInterfaceId", eni)
            .with("PrivateIpAddress.1", address);
        self.door.world().call(&request, Timestamp::now()).unwrap();
    }

    /// The only record says that so many addresses are ours, and that nothing is under way.
    pub(super) async fn until_assigned(&self, count: usize) {
        self.until(&format!("{count} are assigned"), |state| {
            let mut records = state.records.values();
            records.all(|record| {
                let ec2 = record
                    .status
                    .as_ref()
                    .and_then(|status| status.ec2.as_ref());
                ec2.is_some_and(|ec2| ec2.assigned.len() == count && ec2.assigning.is_none())
            })
        })
        .await;
    }

    /// The node's agent has just renewed its lease.
    pub(super) async fn agent_lives(&self, node: &str) {
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), "eniway-system");
        let lease = json!({"metadata": {"name": mark::agent_lease(node)}, "spec": {
            "holderIdentity": node, "leaseDurationSeconds": 60,
            "renewTime": format!("{:.6}", Timestamp::now())}});
        let lease = serde_json::from_value(lease).unwrap();
        leases.create(&PostParams::default(), &lease).await.unwrap();
    }

    /// The agents say that they have taken away what they added.
    pub(super) async fn agent_releases(&self) {
        self.each_record(
            |record| {
                let node = json!({"phase": "Released", "released": true});
                (
                    record.metadata.deletion_timestamp.is_some(),
                    json!({"status": {"node": node}}),
                )
            },
            true,
        )
        .await;
    }

    /// The agents are as far as that with what they set up.
    pub(super) async fn agents_say(&self, phase: &str) {
        let patch = json!({"status": {"node": {"phase": phase}}});
        self.each_record(|_| (true, patch.clone()), true).await;
    }

    pub(super) async fn annotate_records(&self, key: &str) {
        self.each_record(
            |_| (true, json!({"metadata": {"annotations": {key: "true"}}})),
            false,
        )
        .await;
    }

    /// Waits until each record is ready for the patch, and patches it.
    async fn each_record(&self, patch: impl Fn(&NodeEniAttachment) -> (bool, Value), status: bool) {
        let records: Api<NodeEniAttachment> = Api::all(self.client.clone());
        let params = PatchParams::default();
        for _ in 0..600 {
            let all = records.list(&ListParams::default()).await.unwrap();
            if all.iter().all(|record| patch(record).0) {
                for record in &all {
                    let (name, patch) = (record.name_any(), Patch::Merge(patch(record).1));
                    let patched = match status {
                        true => records.patch_status(&name, &params, &patch).await,
                        false => records.patch(&name, &params, &patch).await,
                    };
                    patched.unwrap();
                }
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("never: each record is ready");
    }

    /// A pod of the namespace `apps` with what Multus wrote about its networks.
    pub(super) async fn pod(&self, name: &str, node: &str, networks: &Value, phase: &str) {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "apps"}});
        let user = PatchParams::apply("user").force();
        namespaces
            .patch("apps", &user, &Patch::Apply(&namespace))
            .await
            .unwrap();
        // What kube-controller-manager does.
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), "apps");
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": "default"}});
        accounts
            .patch("default", &user, &Patch::Apply(&account))
            .await
            .unwrap();
        let pods = self.pods();
        let pod = json!({
            "metadata": {"name": name, "annotations": {
                "k8s.v1.cni.cncf.io/network-status": networks.to_string()}},
            "spec": {"nodeName": node, "automountServiceAccountToken": false,
                "containers": [{"name": "main", "image": "none"}]},
        });
        let pod = serde_json::from_value(pod).unwrap();
        pods.create(&PostParams::default(), &pod).await.unwrap();
        let status = json!({"status": {"phase": phase}});
        let (params, patch) = (PatchParams::default(), Patch::Merge(&status));
        pods.patch_status(name, &params, &patch).await.unwrap();
    }

    /// As a kubelet does when a pod has ended.
    pub(super) async fn end_pod(&self, name: &str) {
        let now = DeleteParams::default().grace_period(0);
        self.pods().delete(name, &now).await.unwrap();
    }

    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), "apps")
    }
}
