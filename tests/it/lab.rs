//! The lab itself: a real API server in namespaces, several at once, and nothing left behind.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use lab::{Config, Lab};

fn start(config: Config) -> Lab {
    Lab::start(config, &|line| println!("{line}"))
        .expect("needs root and the programs of lab::requirements")
}

#[test]
fn the_programs_of_kubernetes_are_found_or_built() {
    lab::binaries::Binaries::from_environment(None)
        .build_all(&|line| println!("   {line}"))
        .unwrap();
}

/// Needs root.
#[test]
fn an_api_server_answers_on_the_host_and_inside() {
    let lab = start(Config::control_plane_only());
    assert!(
        lab.kubectl(&["get", "namespaces"])
            .unwrap()
            .contains("kube-system")
    );
    let inside = lab
        .outer()
        .command(env_kubectl(&lab))
        .arg("--kubeconfig")
        .arg(lab.kubeconfig_inside())
        .args(["version", "-o", "json"])
        .read()
        .unwrap();
    assert!(inside.contains("v1.34.4"), "{inside}");
}

/// Needs root.
#[test]
fn a_token_of_a_service_account_has_only_its_rights() {
    let lab = start(Config::control_plane_only());
    lab.kubectl(&["create", "serviceaccount", "nobody"])
        .unwrap();
    let config = lab.kubeconfig_for("default", "nobody").unwrap();
    let list = |config: &Path| {
        let kubectl = Command::new(env_kubectl(&lab))
            .arg("--kubeconfig")
            .arg(config)
            .args(["get", "nodes"])
            .output();
        String::from_utf8_lossy(&kubectl.unwrap().stderr).into_owned()
    };
    assert!(
        list(&config.host).contains("forbidden"),
        "{}",
        list(&config.host)
    );
}

fn env_kubectl(lab: &Lab) -> std::ffi::OsString {
    lab.kubectl_command().get_program().to_owned()
}

/// Needs root.
#[test]
fn a_bare_node_has_a_provider_id_and_its_own_network_and_bpffs() {
    let lab = start(Config::bare(2));
    let ids = lab
        .kubectl(&["get", "nodes", "-o", "jsonpath={.items[*].spec.providerID}"])
        .unwrap();
    assert_eq!(
        ids,
        "aws:///us-west-2a/i-00000000000000001 aws:///us-west-2b/i-00000000000000002"
    );
    let node = lab.in_node("node1").unwrap();
    assert!(
        node.command("ip")
            .args(["-br", "address"])
            .read()
            .unwrap()
            .contains("10.200.1.11/24")
    );
    assert!(
        node.command("stat")
            .args(["-f", "-c", "%T", "/sys/fs/bpf"])
            .read()
            .unwrap()
            .contains("bpf")
    );
    assert_eq!(
        node.command("ls").arg("/sys/class/net").read().unwrap(),
        "eth0\nlo\n"
    );
    node.command("ping")
        .args(["-c1", "-W2", "10.200.2.12"])
        .read()
        .expect("the nodes reach each other");
}

/// Needs root.
#[test]
fn two_real_nodes_run_pods_that_reach_each_other() {
    let lab = start(Config::cluster(2));
    let pod = |name: &str, node: &str, command: &str| {
        format!(
            r#"
---
apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  nodeName: {node}
  terminationGracePeriodSeconds: 1
  containers:
  - {{name: c, image: "registry.local/busybox:1", imagePullPolicy: Never, command: [sh, -c, "{command}"]}}
"#
        )
    };
    let server = pod(
        "server",
        "node1",
        "echo hello > /www/index.html; exec httpd -f -p 8080 -h /www",
    );
    let client = pod("client", "node2", "exec sleep 1000");
    let deadline = Duration::from_secs(60);
    let account = ["get", "serviceaccount", "default"];
    lab.wait_kubectl(
        "there is a default service account",
        deadline,
        &account,
        |_| true,
    )
    .unwrap();
    lab.apply(&format!("{server}{client}")).unwrap();
    lab.kubectl(&[
        "wait",
        "--for=condition=Ready",
        "pod",
        "--all",
        "--timeout=60s",
    ])
    .unwrap();
    let ip = lab
        .kubectl(&["get", "pod", "server", "-o", "jsonpath={.status.podIP}"])
        .unwrap();
    let url = format!("http://{ip}:8080/");
    let page = lab
        .kubectl(&["exec", "client", "--", "wget", "-qO-", &url])
        .unwrap();
    assert_eq!(page, "hello\n");
}

/// Needs root.
#[test]
fn a_lab_that_is_killed_leaves_nothing_behind() {
    let mut holder = Command::new(eniway_tests::binary("eniway-lab"))
        .arg("1")
        // It waits for a word that never comes.
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(holder.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok);
    let id = lines.find_map(|line| {
        let id = line.strip_suffix(" is running.")?;
        Some(id.to_owned())
    });
    holder.kill().unwrap();
    holder.wait().unwrap();
    let id = id.expect("the lab started");
    lab::wait::until(
        "nothing of the lab is left",
        Duration::from_secs(20),
        || {
            let mut left = traces(&id);
            left.extend(litter());
            if left.is_empty() {
                Ok(())
            } else {
                Err(left.join("\n"))
            }
        },
    )
    .unwrap();
}

/// Needs root.
#[test]
fn a_lab_that_is_dropped_leaves_nothing_behind() {
    let lab = start(Config::cluster(1));
    lab.host("host", "hosts-a").unwrap();
    let id = lab.id().to_owned();
    assert!(!traces(&id).is_empty(), "a lab that runs has traces");
    drop(lab);
    assert_eq!(traces(&id), [""; 0]);
    // A lab of another process may be going just now.
    let what = "nothing of any lab is left";
    lab::wait::until(what, Duration::from_secs(20), || match litter() {
        None => Ok(()),
        Some(litter) => Err(litter),
    })
    .unwrap();
}

/// The folder of all labs, if there is anything about it but labs that live.
fn litter() -> Option<String> {
    let labs = Path::new("/tmp/eniway-lab");
    let names: Vec<_> = fs::read_dir(labs)
        .ok()?
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    let only_labs = names.iter().all(|name| name.starts_with("lab-"));
    (names.is_empty() || !only_labs).then(|| format!("{} with {names:?}", labs.display()))
}

/// Processes, mounts, folders and cgroups that carry the lab's name.
fn traces(id: &str) -> Vec<String> {
    let processes = fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| {
            let read = |file: &str| fs::read(entry.path().join(file)).unwrap_or_default();
            let names = |file: &str| String::from_utf8_lossy(&read(file)).contains(id);
            let found = ["cmdline", "mountinfo", "cgroup"]
                .into_iter()
                .find(|file| names(file));
            found.map(|file| format!("{}/{file}", entry.path().display()))
        });
    let folders = [format!("/tmp/eniway-lab/{id}")]
        .into_iter()
        .filter(|folder| Path::new(folder).exists());
    let hierarchies = fs::read_dir("/sys/fs/cgroup")
        .unwrap()
        .flatten()
        .map(|entry| entry.path());
    let cgroups = hierarchies
        .chain([PathBuf::from("/sys/fs/cgroup")])
        .map(|hierarchy| hierarchy.join(id));
    let cgroups = cgroups
        .filter(|cgroup| cgroup.exists())
        .map(|cgroup| cgroup.display().to_string());
    processes.chain(folders).chain(cgroups).collect()
}

/// Needs root.
#[test]
fn a_node_can_join_a_lab_that_runs() {
    let lab = start(Config::bare(1));
    let second = lab::NodeConfig::new(2, lab::NodeKind::Bare).label("ng", "multi-eni");
    lab.add_node(&second, &|_| ()).unwrap();
    let names = lab
        .kubectl(&["get", "nodes", "-l", "ng=multi-eni", "-o", "name"])
        .unwrap();
    assert_eq!(names, "node/node2\n");
    lab.attach_interface("node2", "multus-b", 1).unwrap();
    let hold = lab.hold();
    let shell = hold
        .lines()
        .find_map(|line| line.trim().strip_prefix("node2"))
        .unwrap()
        .trim();
    let output = Command::new("sh")
        .args(["-c", &format!("echo hostname | {shell}")])
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "node2\n",
        "{output:?}"
    );
}

/// Needs root. Otherwise the nodes that stay cannot reach the API server for half a minute.
#[test]
fn the_gateway_keeps_its_address_when_nodes_go() {
    let lab = start(Config::bare(2));
    let gateway = || {
        let link = lab
            .outer()
            .command("ip")
            .args(["-br", "link", "show", "br0"])
            .read()
            .unwrap();
        // Name, state, address.
        link.split_whitespace().nth(2).unwrap().to_owned()
    };
    let before = gateway();
    for node in lab.nodes().to_vec() {
        let terminate =
            ec2_sim::Request::new("TerminateInstances").with("InstanceId.1", &node.instance);
        lab.ec2()
            .with_world(|world, now| world.call(&terminate, now))
            .unwrap();
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while lab.in_node(&node.name).is_ok() {
            assert!(
                std::time::Instant::now() < deadline,
                "{} is still up",
                node.name
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(gateway(), before, "after {} went", node.name);
    }
}
