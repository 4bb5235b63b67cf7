//! The Helm chart: what it renders, what it refuses, and that its rights are enough and no more.

mod hook;
mod life;
mod moving;
mod release;
mod rights;
mod security;
mod values;

use std::path::PathBuf;
use std::process::{Command, Output};

use lab::binaries::{Binaries, Program};
use serde::Deserialize as _;
use serde_json::Value;

/// The oldest Kubernetes that the chart is for.
const KUBERNETES: &str = "1.33.0";

fn chart() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "..", "charts/eniway"]
        .iter()
        .collect()
}

/// Runs helm on the chart: `helm lint CHART …`.
fn helm(command: &[&str], arguments: &[&str]) -> Output {
    let helm = Binaries::from_environment(None)
        .locate(Program::Helm, &|line| println!("{line}"))
        .expect("helm is there or is built");
    let mut helm = Command::new(helm);
    helm.args(command)
        .arg(chart())
        .args(["--kube-version", KUBERNETES])
        .args(arguments);
    helm.output().unwrap()
}

/// The objects that an installation as `eniway` in `eniway-system` makes.
fn render(arguments: &[&str]) -> Result<Vec<Value>, String> {
    let output = helm(
        &["template", "eniway", "--namespace", "eniway-system"],
        arguments,
    );
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let text = String::from_utf8(output.stdout).unwrap();
    let objects = serde_yaml_ng::Deserializer::from_str(&text).map(Value::deserialize);
    let objects = objects.map(Result::unwrap);
    Ok(objects.filter(|object| !object.is_null()).collect())
}

/// With nothing but what is required.
const DEFAULT: &[&str] = &["--set", "clusterName=test"];
/// With everything that is optional.
const FULL: &[&str] = &[
    "--set",
    "clusterName=test",
    "--set",
    "aws.region=eu-west-1,aws.endpointUrl=http://10.0.0.1:4566,aws.vpcId=vpc-0123",
    "--set",
    "metrics.serviceMonitor.enabled=true,controller.hostNetwork=true,agent.acceptVirtual=true,agent.xdpSockets=true,agent.cni.install=true,agent.networkd.unmanage=true,agent.networkd.reload=true",
    "--set",
    "agent.dpdk.enabled=true,agent.dpdk.allowUnsafeNoIOMMU=true,agent.dpdk.debugfs=true,agent.devicePlugin.enabled=true,agent.dpdk.sriovConfig=/etc/pcidp/config.json",
    "--set",
    "imagePullSecrets[0].name=pull,podLabels.team=net,podAnnotations.note=here",
    "--set",
    "controller.nodeSelector.role=infra,nodeSelector.ng=multi-eni",
    "--set",
    "controller.eventsQueueURL=https://sqs.eu-west-1.amazonaws.com/123456789012/events",
];

/// The objects of this kind.
fn of_kind<'a>(objects: &'a [Value], kind: &'a str) -> impl Iterator<Item = &'a Value> {
    objects.iter().filter(move |object| object["kind"] == kind)
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap()
}
