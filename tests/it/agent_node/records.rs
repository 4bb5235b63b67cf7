//! The controller's part: records, what EC2 answered, and what the agent says of them.

use lab::wait;
use serde_json::{Value, json};

use super::{AgentNode, DEADLINE};

/// An ENI of the test, by its number: eth<n>, 02:00:00:00:00:<n>, 10.200.101.<n>.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Eni(pub(crate) u8);

impl Eni {
    pub(crate) fn id(self) -> String {
        format!("eni-{:08x}", self.0)
    }

    pub(crate) fn name(self) -> String {
        format!("eth{}", self.0)
    }

    pub(crate) fn mac(self) -> String {
        format!("02:00:00:00:00:{:02x}", self.0)
    }

    pub(crate) fn address(self) -> String {
        format!("10.200.101.{}", self.0)
    }

    /// Its place on the instance.
    pub(crate) fn index(self) -> u8 {
        self.0 - 9
    }

    /// The name of its record.
    pub(crate) fn record(self) -> String {
        format!("record-{}", self.0)
    }
}

impl AgentNode {
    /// Writes the record as the controller does: first the spec, then what EC2 answered.
    pub(crate) fn record(&self, eni: Eni, data_path: &Value) {
        self.record_of("i-00000000000000001", eni, data_path);
    }

    pub(crate) fn record_of(&self, instance: &str, eni: Eni, data_path: &Value) {
        let mut record = json!({
            "apiVersion": "networking.k8s.aws/v1alpha1",
            "kind": "NodeENIAttachment",
            "metadata": {"name": eni.record(), "finalizers": ["eniway.io/attachment"]},
            "spec": {
                "nodeName": "node1",
                "instanceID": instance,
                "nodeENI": {"name": "multus", "uid": "1"},
                "subnetID": "subnet-00000101",
                "securityGroupIDs": ["sg-00000001"],
                "deleteOnTermination": true,
                "sourceDestCheck": true,
            },
        });
        if !data_path.is_null() {
            record["spec"]["dataPath"] = data_path.clone();
        }
        self.lab.apply(&record.to_string()).unwrap();
        self.answer(eni, &[&eni.address()]);
    }

    /// Writes what EC2 says.
    pub(crate) fn answer(&self, eni: Eni, addresses: &[&str]) {
        self.answer_with_prefixes(eni, addresses, &[]);
    }

    pub(crate) fn answer_with_prefixes(&self, eni: Eni, addresses: &[&str], prefixes: &[&str]) {
        let addresses: Vec<String> = addresses.iter().map(|one| format!("{one}/32")).collect();
        let status = json!({"status": {"ec2": {
            "state": "Attached",
            "eniID": eni.id(),
            "macAddress": eni.mac(),
            "deviceIndex": eni.index(),
            "subnetCIDRs": ["10.200.101.0/24"],
            "addresses": addresses,
            "prefixes": prefixes,
        }}});
        self.patch(eni, &status, &["--subresource=status"]);
    }

    pub(crate) fn patch(&self, eni: Eni, patch: &Value, more: &[&str]) {
        let (name, patch) = (eni.record(), patch.to_string());
        let mut args = vec!["patch", "nea", &name, "--type=merge", "-p", &patch];
        args.extend(more);
        self.lab.kubectl(&args).unwrap();
    }

    /// Marks the record for deletion, as the controller does.
    pub(crate) fn delete(&self, eni: Eni) {
        let delete = ["delete", "nea", &eni.record(), "--wait=false"];
        self.lab.kubectl(&delete).unwrap();
    }

    /// Waits until the agent's half of the status is such that `accept` takes it.
    pub(crate) fn wait_status(
        &self,
        eni: Eni,
        what: &str,
        accept: impl Fn(&Value) -> bool,
    ) -> Value {
        let name = eni.record();
        let seen = wait::until(what, DEADLINE, || {
            let text = self.lab.kubectl(&["get", "nea", &name, "-o", "json"]);
            let record: Value = serde_json::from_str(&text.map_err(|error| error.to_string())?)
                .map_err(|error| error.to_string())?;
            let status = &record["status"]["node"];
            match accept(status) {
                true => Ok(status.clone()),
                false => Err(status.to_string()),
            }
        });
        seen.unwrap_or_else(|error| panic!("{error}\n{}", self.lab.logs("agent")))
    }

    pub(crate) fn wait_phase(&self, eni: Eni, phase: &str) -> Value {
        self.wait_status(eni, &format!("{} is {phase}", eni.record()), |status| {
            status["phase"] == phase
        })
    }
}
