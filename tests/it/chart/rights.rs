//! What each account may do in Kubernetes, as one list to review, and the controller in EC2.

use std::{collections::BTreeSet, fs};

use eniway_ec2::Call;
use serde_json::Value;

use super::{DEFAULT, chart, name, render};

/// Role, group, resource, names, verbs; the CRD job's come last.
const RIGHTS: &str = "\
ClusterRole eniway-agent: nodes: get
ClusterRole eniway-agent: networking.k8s.aws/nodeeniattachments: get list watch
ClusterRole eniway-agent: networking.k8s.aws/nodeeniattachments/status: patch
ClusterRole eniway-controller: networking.k8s.aws/nodeenis: get list watch patch
ClusterRole eniway-controller: networking.k8s.aws/enipools: get list watch patch
ClusterRole eniway-controller: networking.k8s.aws/nodeenis/status: patch
ClusterRole eniway-controller: networking.k8s.aws/nodeeniattachments/status: patch
ClusterRole eniway-controller: networking.k8s.aws/enipools/status: patch
ClusterRole eniway-controller: networking.k8s.aws/nodeeniattachments: get list watch create update patch delete
ClusterRole eniway-controller: nodes: get list watch patch
ClusterRole eniway-controller: pods: list
ClusterRole eniway-controller: namespaces (kube-system): get
ClusterRole eniway-controller: apiextensions.k8s.io/customresourcedefinitions (nodeenis.networking.k8s.aws nodeeniattachments.networking.k8s.aws enipools.networking.k8s.aws): get
ClusterRole eniway-controller: coordination.k8s.io/leases (nodeeni-controller-leader-election): get
ClusterRole eniway-controller: events.k8s.io/events: create patch
Role eniway-agent: coordination.k8s.io/leases: get create patch
Role eniway-controller: coordination.k8s.io/leases: get create
Role eniway-controller: coordination.k8s.io/leases (eniway-controller): update
ClusterRole eniway-crds: apiextensions.k8s.io/customresourcedefinitions (nodeenis.networking.k8s.aws nodeeniattachments.networking.k8s.aws enipools.networking.k8s.aws): get list watch create patch
";

fn words(value: &Value) -> Vec<&str> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .map(|word| word.as_str().unwrap())
        .collect()
}

fn lines(role: &Value) -> String {
    let mut lines = String::new();
    for rule in role["rules"].as_array().unwrap() {
        let [group] = words(&rule["apiGroups"])[..] else {
            panic!("one group in {rule}")
        };
        let group = if group.is_empty() {
            String::new()
        } else {
            format!("{group}/")
        };
        let names = words(&rule["resourceNames"]).join(" ");
        let names = if names.is_empty() {
            names
        } else {
            format!(" ({names})")
        };
        for resource in words(&rule["resources"]) {
            lines += &format!(
                "{} {}: {group}{resource}{names}: {}\n",
                role["kind"].as_str().unwrap(),
                name(role),
                words(&rule["verbs"]).join(" "),
            );
        }
    }
    lines
}

#[test]
fn accounts_have_exactly_these_rights() {
    let objects = render(DEFAULT).unwrap();
    let roles = objects.iter().filter(|object| object["rules"].is_array());
    assert_eq!(roles.map(lines).collect::<String>(), RIGHTS);
}

#[test]
fn each_role_is_bound_to_the_account_of_its_name_only() {
    let objects = render(DEFAULT).unwrap();
    for binding in objects
        .iter()
        .filter(|object| object["roleRef"].is_object())
    {
        let subjects = binding["subjects"].as_array().unwrap();
        assert_eq!(subjects.len(), 1);
        assert_eq!(subjects[0]["name"], binding["roleRef"]["name"]);
        assert_eq!(subjects[0]["namespace"], "eniway-system");
    }
}

fn policy(name: &str) -> Value {
    let text = fs::read_to_string(chart().join("files").join(name)).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn the_policy_for_the_queue_allows_to_receive_and_delete_there_and_no_more() {
    let policy = policy("iam-policy-events.json");
    let [statement] = &policy["Statement"].as_array().unwrap()[..] else {
        panic!("one statement in {policy}")
    };
    // A batch of deletes needs no right of its own.
    let actions = words(&statement["Action"]);
    assert_eq!(actions, ["sqs:DeleteMessage", "sqs:ReceiveMessage"]);
    assert_eq!(statement["Resource"], "arn:aws:sqs:*:*:my-queue");
}

#[test]
fn the_policy_for_ec2_allows_the_controllers_calls_and_no_more() {
    let policy = policy("iam-policy.json");
    let statements = policy["Statement"].as_array().unwrap();
    let actions = |statement: &Value| -> BTreeSet<String> {
        let one_or_more = match &statement["Action"] {
            Value::Array(actions) => actions.clone(),
            one => vec![one.clone()],
        };
        let names = one_or_more
            .iter()
            .map(|one| one.as_str().unwrap().to_owned());
        names.collect()
    };
    let allowed: BTreeSet<_> = statements.iter().flat_map(actions).collect();
    let made = Call::ALL.iter().map(|call| format!("ec2:{call}"));
    assert_eq!(allowed, made.collect::<BTreeSet<_>>());
    for statement in statements {
        let changes = actions(statement)
            .iter()
            .any(|one| !one.starts_with("ec2:Describe"));
        let everything = statement["Resource"] == "*";
        assert!(
            !(changes && everything),
            "{statement} changes anything at all"
        );
        let interfaces = statement["Resource"]
            .to_string()
            .contains(":network-interface/");
        assert_eq!(
            interfaces,
            statement.get("Condition").is_some(),
            "{statement}"
        );
    }
}
