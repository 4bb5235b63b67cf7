//! The first chapters: a cluster, the chart, a NodeENI, and interfaces on both nodes.

use anyhow::{Context as _, ensure};
use eniway_api::XdpMode;
use lab::{Config, Lab};

use super::records::{self, describe, is_ready};
use super::{Options, Screen, Stage, until};

/// Where the chart is installed.
pub(super) const NAMESPACE: &str = "eniway-system";
/// The chart's release.
pub(super) const RELEASE: &str = "eniway";
/// The nodes, one in each zone.
pub(super) const NODES: [&str; 2] = ["node1", "node2"];
/// The label that the NodeENI selects.
pub(super) const LABEL: &str = "ng=multi-eni";
/// The NodeENI of the story.
pub(super) const NODE_ENI: &str = "multus-fast";
const MANIFEST: &str = include_str!("../../manifests/multus-fast.yaml");

/// Starts Kubernetes and installs the chart.
pub(super) fn cluster(options: &Options, screen: &Screen) -> anyhow::Result<Lab> {
    let mut config = Config::cluster(2);
    config.images.clone_from(&options.images);
    let lab = Lab::start(config, &|line| screen.progress(line))?;
    screen.fact("etcd, API server, controller manager, scheduler; two kubelets are Ready");
    lab.kubectl(&["create", "namespace", NAMESPACE])?;
    let chart = options
        .chart
        .to_str()
        .context("the chart's path is not UTF-8")?;
    screen.progress("helm install eniway charts/eniway");
    lab.helm(
        &[
            "install",
            RELEASE,
            chart,
            "--namespace",
            NAMESPACE,
            "--wait",
            "--timeout",
            "3m",
            "--set",
            "clusterName=lab",
            "--set",
            &format!("awsRegion={}", lab::REGION),
            "--set",
            &format!("aws.endpointUrl={}", lab.ec2_url_inside()),
            "--set",
            "agent.acceptVirtual=true,agent.cni.install=true",
            "--set",
            "controller.env[0].name=AWS_ACCESS_KEY_ID,controller.env[0].value=lab",
            "--set",
            "controller.env[1].name=AWS_SECRET_ACCESS_KEY,controller.env[1].value=lab",
        ],
        &|line| screen.progress(line),
    )
    .inspect_err(|_| last_words(&lab))?;
    screen
        .fact("the chart is installed: its hook applied the CRDs, controller and agents are Ready");
    Ok(lab)
}

/// Labels the nodes, applies the NodeENI, and waits until EC2, controller and agents agree.
pub(super) fn apply(stage: &Stage<'_>) -> anyhow::Result<()> {
    let Stage { lab, screen, .. } = stage;
    for node in NODES {
        lab.kubectl(&["label", "node", node, LABEL])?;
    }
    lab.apply(MANIFEST)?;
    ready(lab, NODES.len())?;
    for record in records::attachments(lab)? {
        let (ec2, node) = records::ec2(&record)
            .zip(records::node(&record))
            .context("a ready record has both halves")?;
        let xdp = node.xdp.as_ref().context("the spec asks for XDP")?;
        ensure!(
            xdp.mode == XdpMode::Native,
            "a veth takes native XDP, and the agent says {xdp:?}"
        );
        screen.fact(&format!(
            "{}: {} is {} at device index {}, XDP in the driver, TC behind the stack",
            record.spec.node_name,
            ec2.eni_id
                .as_ref()
                .context("a ready record names its interface")?,
            node.interface_name
                .as_deref()
                .context("a ready record has a link")?,
            ec2.device_index.context("a ready record has an index")?,
        ));
    }
    until("the NodeENI counts what is there", || {
        let status = records::node_eni(lab, NODE_ENI)?
            .and_then(|eni| eni.status)
            .unwrap_or_default();
        let counts = (status.nodes, status.desired, status.attached, status.ready);
        Ok(if counts == (2, 2, 2, 2) {
            Ok(())
        } else {
            Err(format!("{counts:?} {:?}", status.conditions))
        })
    })?;
    screen.fact("NodeENI: 2 nodes, 2 desired, 2 attached, 2 ready");
    Ok(())
}

/// Waits until exactly `count` records exist and are ready.
pub(super) fn ready(lab: &Lab, count: usize) -> anyhow::Result<()> {
    until(&format!("{count} interfaces are ready"), || {
        let all = records::attachments(lab)?;
        let ready = all.iter().filter(|record| is_ready(record)).count();
        Ok(if ready == count && all.len() == count {
            Ok(())
        } else {
            Err(all.iter().map(describe).collect::<Vec<_>>().join("\n"))
        })
    })
}

/// What a person would look at first when a chapter fails.
#[expect(
    clippy::print_stderr,
    reason = "a failed story explains itself on standard error"
)]
pub(super) fn last_words(lab: &Lab) {
    for args in [
        &["get", "neni,nea", "-o", "wide"][..],
        &["-n", NAMESPACE, "get", "pods,jobs", "-o", "wide"],
        &["-n", NAMESPACE, "get", "events", "--sort-by=.lastTimestamp"],
        &[
            "-n",
            NAMESPACE,
            "logs",
            "-l",
            "app.kubernetes.io/name=eniway",
            "--tail=40",
            "--prefix",
        ],
    ] {
        let text = lab.kubectl(args).unwrap_or_else(|error| error.to_string());
        eprintln!("\n$ kubectl {}\n{text}", args.join(" "));
    }
}
