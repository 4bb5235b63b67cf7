//! Which values the chart takes.

use serde_json::Value;

use super::{DEFAULT, FULL, helm, of_kind, render};

#[test]
fn lint_has_nothing_to_say() {
    for values in [DEFAULT, FULL] {
        let lint = helm(&["lint", "--strict", "--quiet"], values);
        assert!(
            lint.status.success(),
            "{}",
            String::from_utf8_lossy(&lint.stdout)
        );
    }
}

#[test]
fn the_controller_listens_to_the_queue_that_is_given_and_to_no_other() {
    let url = |values: &[&str]| {
        let objects = render(values).unwrap();
        let controller = of_kind(&objects, "Deployment").next().unwrap();
        let pod = &controller["spec"]["template"]["spec"];
        let variables = pod["containers"][0]["env"].as_array().unwrap().iter();
        let mut named = variables.filter(|one| one["name"] == "EVENTS_QUEUE_URL");
        named
            .next()
            .map(|one| one["value"].as_str().unwrap().to_owned())
    };
    assert_eq!(url(DEFAULT), None);
    let given = "https://sqs.eu-west-1.amazonaws.com/123456789012/events";
    assert_eq!(url(FULL).as_deref(), Some(given));
}

/// What stands there by mistake is refused, with the reason.
const REFUSED: &[(&[&str], &str)] = &[
    (&[], "clusterName is required"),
    (
        &[
            "--set",
            "clusterName=a",
            "--set",
            "agent.acceptVirtaul=true",
        ],
        "'acceptVirtaul' not allowed",
    ),
    (
        &["--set", "clusterName=a", "--set", "contoller.replicas=1"],
        "'contoller' not allowed",
    ),
    (
        &["--set", "clusterName=a", "--set", "logFormat=xml"],
        "logFormat",
    ),
    (
        &[
            "--set",
            "clusterName=a",
            "--set",
            "controller.eventsQueueURL=my-queue",
        ],
        "eventsQueueURL",
    ),
    (
        &[
            "--set",
            "clusterName=a",
            "--set",
            "controller.throttleFraction=2",
        ],
        "throttleFraction",
    ),
    (
        &[
            "--set",
            "clusterName=a",
            "--set",
            "image.repository=ghcr.io/x/aws-multi-eni-controller",
        ],
        "/image/repository",
    ),
];

#[test]
fn wrong_values_are_refused_with_the_reason() {
    for (arguments, reason) in REFUSED {
        let error = render(arguments).expect_err("these values are wrong");
        assert!(error.contains(reason), "{arguments:?}: {error}");
    }
}

/// Every key of the chart of aws-multi-eni-controller but `image.repository`, with other values.
const PEER: &str = r#"
clusterName: test
image: {tag: v9, pullPolicy: Always}
namespace: eni-controller-system
awsRegion: eu-central-1
imds: {autoConfigureHopLimit: true, hopLimit: 2, aggressiveConfiguration: true}
cloudNativeAuth: {enabled: true, preferIRSA: true}
controller:
  maxConcurrentENICleanup: 3
  maxConcurrentReconciles: 5
  enableLeaderElection: true
  metricsAddr: ":8080"
  terminationGracePeriodSeconds: 11
eniManager:
  defaultMTU: 0
  checkInterval: 30s
  dpdk: {enabled: true, driver: vfio-pci}
resources:
  controller: {limits: {cpu: 501m, memory: 513Mi}}
  manager: {limits: {cpu: 502m, memory: 514Mi}}
nodeSelector: {ng: multi-eni}
securityContext: {runAsUser: 1000}
serviceAccount: {create: true, name: eni-controller, annotations: {eks.amazonaws.com/role-arn: "arn:role"}}
rbac: {create: true}
podAnnotations: {note: here}
podLabels: {team: net}
tolerations: [{operator: Exists}]
affinity: {nodeAffinity: {}}
metrics: {enabled: true, port: 9090, service: {type: ClusterIP, port: 9091}}
logLevel: debug
"#;

#[test]
fn the_peers_values_are_accepted_and_keep_their_meaning() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("values.yaml");
    std::fs::write(&file, PEER).unwrap();
    let objects = render(&["--values", file.to_str().unwrap()]).unwrap();
    let pod = |kind| {
        let workload = of_kind(&objects, kind).next().unwrap();
        workload["spec"]["template"].clone()
    };
    let (controller, agent) = (pod("Deployment"), pod("DaemonSet"));
    let of = |pod: &Value, pointer: &str| pod.pointer(pointer).cloned().unwrap_or_default();
    let env = |pod: &Value, name: &str| {
        let all = of(pod, "/spec/containers/0/env");
        let found = all
            .as_array()
            .unwrap()
            .iter()
            .find(|one| one["name"] == name)
            .cloned();
        found.map(|one| one["value"].clone()).unwrap_or_default()
    };
    assert_eq!(
        of(&controller, "/spec/containers/0/image"),
        "eniway/controller:v9"
    );
    assert_eq!(of(&agent, "/spec/containers/0/imagePullPolicy"), "Always");
    assert_eq!(env(&controller, "AWS_REGION"), "eu-central-1");
    assert_eq!(env(&controller, "LOG_LEVEL"), "debug");
    assert_eq!(env(&agent, "RUST_LOG"), "debug");
    assert_eq!(of(&controller, "/spec/terminationGracePeriodSeconds"), 11);
    assert_eq!(
        of(&controller, "/spec/containers/0/resources/limits/memory"),
        "513Mi"
    );
    assert_eq!(
        of(&agent, "/spec/containers/0/resources/limits/memory"),
        "514Mi"
    );
    assert_eq!(of(&agent, "/spec/nodeSelector/ng"), "multi-eni");
    assert_eq!(of(&controller, "/spec/securityContext/runAsUser"), 1000);
    assert_eq!(of(&controller, "/spec/securityContext/runAsNonRoot"), true);
    assert_eq!(
        of(&controller, "/spec/serviceAccountName"),
        "eni-controller"
    );
    assert_eq!(of(&agent, "/spec/serviceAccountName"), "eniway-agent");
    assert_eq!(of(&agent, "/metadata/labels/team"), "net");
    assert_eq!(
        of(&controller, "/spec/containers/0/ports/0/containerPort"),
        9090
    );
}
