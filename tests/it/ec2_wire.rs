//! The controller's program, with the AWS client, speaks EC2's wire protocol. Needs root.

mod collector;

use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

use lab::{Config, Lab};
use simulation::door::QUEUE;

use self::collector::{Collector, value};

/// A program that ends with the test.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..300 {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("never: {what}");
}

#[test]
fn the_program_attaches_and_deletes_over_the_wire() {
    let lab = Lab::start(Config::bare(1), &|line| println!("{line}"))
        .expect("needs root and the programs of lab::requirements");
    let program = eniway_tests::binary("eniway-controller");
    let applied = Command::new(&program)
        .args(["crds", "apply"])
        .env("KUBECONFIG", lab.kubeconfig())
        .status();
    assert!(applied.unwrap().success());
    lab.kubectl(&["create", "namespace", "eniway-system"])
        .unwrap();
    lab.kubectl(&["label", "node", "node1", "ng=multi-eni"])
        .unwrap();
    let subnets = lab.ec2().with_world(|world, _| {
        let zone = |subnet: &&ec2_sim::model::Subnet| subnet.zone == "us-west-2a";
        let ids = world
            .subnets()
            .filter(zone)
            .map(|subnet| subnet.id.to_string());
        ids.collect::<Vec<_>>()
    });
    let group = lab
        .ec2()
        .with_world(|world, _| world.groups().next().unwrap().id.to_string());
    let queue = lab.ec2().with_world(|world, _| {
        world.add_queue(QUEUE);
        world.queue_url(&lab.ec2_url(), QUEUE)
    });
    let collector = Collector::start();
    let child = Command::new(&program)
        .args(["--otlp-endpoint", &collector.url])
        .args(["run", "--events-queue-url", &queue])
        .args(["--cluster-name", "wire", "--region", "us-west-2"])
        .args(["--metrics-address", "127.0.0.1:0", "--ec2-endpoint"])
        .arg(lab.ec2_url())
        .arg("--kubeconfig")
        .arg(lab.kubeconfig())
        .env("AWS_ACCESS_KEY_ID", "lab")
        .env("AWS_SECRET_ACCESS_KEY", "lab")
        .stdin(Stdio::null())
        .spawn();
    let _program = Program(child.unwrap());
    lab.apply(&format!(
        "apiVersion: networking.k8s.aws/v1alpha1\nkind: NodeENI\nmetadata: {{name: wire}}\n\
         spec: {{nodeSelector: {{ng: multi-eni}}, subnetIDs: [{}], securityGroupIDs: [{group}], \
         sourceDestCheck: false}}\n",
        subnets[0]
    ))
    .unwrap();
    let state = || {
        let path = "jsonpath={.items[*].status.ec2.state}";
        lab.kubectl(&["get", "nea", "-o", path]).unwrap()
    };
    until("it is attached", || state() == "Attached");
    let ours = || {
        lab.ec2().with_world(|world, _| {
            let tag = eniway_api::mark::TAG_ATTACHMENT;
            world
                .interfaces()
                .filter(|eni| eni.tags.contains_key(tag))
                .count()
        })
    };
    assert_eq!(ours(), 1);
    lab.ec2().with_world(|world, now| {
        let queue = world.queue(QUEUE).unwrap();
        queue.send("id", "{}", now);
    });
    until("the message is taken", || {
        let ec2 = lab.ec2();
        ec2.with_world(|world, _| world.queue(QUEUE).unwrap().is_empty())
    });
    lab.kubectl(&["delete", "nodeeni", "wire", "--wait=false"])
        .unwrap();
    until("nothing is left", || ours() == 0 && state().is_empty());

    let create = || collector.lineage("CreateNetworkInterface");
    until("the trace of the creation is whole", || create().len() == 3);
    let create = create();
    let attribute = |span: usize, key| value(&create[span].attributes, key).unwrap_or_default();
    assert_eq!(create[1].name, "for");
    assert_eq!(attribute(1, "node_eni"), "wire");
    assert_eq!(create[2].name, "reconcile");
    assert_eq!(attribute(2, "node"), "node1");
    assert_eq!(collector.services()[0], "eniway-controller");
}
