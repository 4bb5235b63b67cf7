//! An agent without Kubernetes, on an instance of the lab: its interfaces come from EC2, its wishes from a file. Needs
//! root.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Child,
    time::Duration,
};

use lab::{Attached, Config, Lab, Namespace, wait};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(40);

struct Instance {
    lab: Lab,
    node: Namespace,
    agent: Option<Child>,
    file: PathBuf,
}

impl Instance {
    fn start() -> Self {
        let lab = Lab::start(Config::bare(1), &|line| println!("{line}")).expect("needs root");
        let node = lab.in_node("node1").unwrap();
        let file = lab.folder().join("agent.toml");
        Self {
            lab,
            node,
            agent: None,
            file,
        }
    }

    /// Starts the agent anew, with another file.
    fn run(&mut self, text: &str) {
        self.stop();
        fs::write(&self.file, text).unwrap();
        let log = File::create(self.lab.log_file("agent")).unwrap();
        let agent = self.node.command("setpriv").args([
            "--bounding-set=-all,+cap_39,+net_admin",
            "--no-new-privs",
            "--",
        ]);
        let agent = agent.arg(eniway_tests::binary("eniway-agent"));
        let agent = agent.args(["--accept-virtual", "--config"]).arg(&self.file);
        let agent = agent.stdout(log.try_clone().unwrap()).stderr(log);
        self.agent = Some(agent.spawn().unwrap());
    }

    fn stop(&mut self) {
        if let Some(mut agent) = self.agent.take() {
            agent.kill().unwrap();
            agent.wait().unwrap();
        }
    }

    /// What the agent tells of an interface; `None`: nothing.
    fn state(&self, eni: &str) -> Option<Value> {
        let path = format!("/run/eniway/interfaces/{eni}.json");
        let text = self.node.command("cat").arg(path).read().ok()?;
        serde_json::from_str(&text).ok()
    }

    fn wait_ready(&self, attached: &Attached) -> Value {
        let eni = attached.interface.id.as_str();
        wait::until("the interface is ready", SOON, || {
            let state = self.state(eni).unwrap_or_default();
            match state["node"]["phase"] == "Ready" {
                true => Ok(state),
                false => Err(format!("{state}\n{}", self.lab.logs("agent"))),
            }
        })
        .unwrap()
    }

    fn ip(&self, words: &str) -> String {
        let ip = self.node.command("ip").args(words.split(' '));
        ip.read().unwrap()
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.stop();
    }
}

fn pings(from: &Namespace, address: &str) -> bool {
    let ping = from.command("ping").args(["-c1", "-W2", address]);
    ping.output().unwrap().status.success()
}

#[test]
fn a_file_says_what_the_interfaces_of_an_instance_should_be() {
    let mut instance = Instance::start();
    let first = instance
        .lab
        .attach_interface("node1", "multus-a", 1)
        .unwrap();
    instance.run(
        r#"
[[interface]]
name = "fast"
addressing = "Host"
[interface.dataPath]
xdp = "Native"
enforcement = "Enforce"
"#,
    );
    let state = instance.wait_ready(&first);
    assert_eq!(state["node"]["xdp"]["mode"], "Native");
    let log = instance.lab.logs("agent");
    assert!(log.contains("Without CAP_PERFMON"), "{log}");
    assert_eq!(state["ec2"]["deviceIndex"], 1);
    let address = first.interface.addresses[0].to_string();
    assert_eq!(state["ec2"]["addresses"][0], format!("{address}/32"));
    let far = instance.lab.host("far", "hosts-a").unwrap();
    assert!(pings(&far, &address), "from beyond its subnet");
    assert!(instance.ip("link show fast-1").contains(&first.name));
    // The primary one is as it was.
    assert!(!instance.ip("-details link show eth0").contains("xdp"));

    // Another one that is attached meanwhile is found without a word.
    let second = instance
        .lab
        .attach_interface("node1", "multus-a", 2)
        .unwrap();
    instance.wait_ready(&second);
    assert!(pings(&far, &second.interface.addresses[0].to_string()));

    // A file that wants nothing more of the first gives it back as it was.
    instance.run("[[interface]]\ndeviceIndex = 2\naddressing = \"Host\"\n");
    let eni = first.interface.id.as_str();
    wait::until("it is released", SOON, || match instance.state(eni) {
        None => Ok(()),
        Some(state) => Err(state.to_string()),
    })
    .unwrap();
    let link = instance.ip(&format!("-details address show {}", first.name));
    for gone in ["xdp", "altname", &address] {
        assert!(!link.contains(gone), "{link}");
    }
    assert!(!instance.ip("rule show").contains(&address));
    instance.wait_ready(&second);
}

#[test]
fn a_file_with_a_mistake_is_refused_with_its_place() {
    let lab = Lab::start(Config::bare(1), &|line| println!("{line}")).expect("needs root");
    let file = lab.folder().join("agent.toml");
    fs::write(&file, "[[interface]]\nenforcement = \"Enforce\"\n").unwrap();
    let said = refused(&lab, &file);
    assert!(
        said.contains("agent.toml") && said.contains("line 2"),
        "{said}"
    );
    let said = refused(&lab, Path::new("/nowhere.toml"));
    assert!(said.contains("read /nowhere.toml"), "{said}");
}

fn refused(lab: &Lab, file: &Path) -> String {
    let agent = lab.in_node("node1").unwrap();
    let agent = agent.command(eniway_tests::binary("eniway-agent"));
    let output = agent.arg("--config").arg(file).output().unwrap();
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}
