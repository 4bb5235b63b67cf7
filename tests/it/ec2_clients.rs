//! The simulator before clients that we did not write: boto3 and the AWS CLI make the same calls.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ec2_sim::{Clock, Options, Server, WorldSpec};
use serde_json::Value;

/// Where the scripts stand, and the versions they are written for.
const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/it/ec2_clients");

const WORLD: &str = r#"
vpcs: [{id: vpc-00000001, cidr: 10.0.0.0/16, ipv6_cidr: "2001:db8:1::/56", tags: {Name: eniway}}]
subnets:
  - {id: subnet-00000001, zone: us-east-1a, cidr: 10.0.1.0/24, ipv6_cidr: "2001:db8:1:1::/64", tags: {Name: multus-a}}
  - {id: subnet-00000002, zone: us-east-1b, cidr: 10.0.2.0/24, tags: {Name: multus-b}}
security_groups: [{id: sg-00000001, name: default}]
instances:
  - {id: i-00000001, instance_type: m5.large, subnet: subnet-00000001, private_ip: 10.0.1.10, mac: "06:00:00:00:00:01"}
  - {id: i-00000002, instance_type: m5.large, subnet: subnet-00000002, private_ip: 10.0.2.10, mac: "06:00:00:00:00:02"}
  - {id: i-00000003, instance_type: m5.large, subnet: subnet-00000002, private_ip: 10.0.2.11, mac: "06:00:00:00:00:03"}
  - {id: i-00000004, instance_type: m5.large, subnet: subnet-00000002, private_ip: 10.0.2.12, mac: "06:00:00:00:00:04"}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn boto3_and_the_aws_cli_agree_with_the_simulator() {
    let python = tokio::task::spawn_blocking(python).await.unwrap();
    let (boto3, cli) = tokio::join!(run(&python, "boto3"), run(&python, "cli"));
    assert_eq!(boto3.len(), cli.len());
    for (boto3, cli) in boto3.iter().zip(&cli) {
        assert_eq!(boto3, cli, "both clients understand the same answer");
    }
    let steps: Vec<Value> =
        serde_json::from_slice(&fs::read(format!("{SCRIPTS}/calls.json")).unwrap()).unwrap();
    let calls: Vec<&Value> = steps
        .iter()
        .filter(|step| step.get("call").is_some())
        .collect();
    assert_eq!(boto3.len(), calls.len());
    for (call, told) in calls.iter().zip(&boto3) {
        assert_eq!(
            (&told["call"], told.get("error")),
            (&call["call"], call.get("expect")),
            "{told}"
        );
    }
}

/// What a client printed for each call to a world of its own; both worlds and their clocks are alike.
async fn run(python: &Path, client: &str) -> Vec<Value> {
    let now = "2026-11-21T07:00:00Z".parse().unwrap();
    let spec: WorldSpec = serde_yaml_ng::from_str(WORLD).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let options = Options {
        clock: Clock::Manual(now),
    };
    let server = Server::start(spec.build(now).unwrap(), listener, options)
        .await
        .unwrap();
    let mut command = Command::new(python);
    command
        .args([&format!("{SCRIPTS}/run.py"), client, &server.url()])
        .env("AWS_ACCESS_KEY_ID", "simulated")
        .env("AWS_SECRET_ACCESS_KEY", "simulated")
        .env("AWS_DEFAULT_REGION", "us-east-1")
        .env("AWS_CONFIG_FILE", "/dev/null")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        // A call that is repeated would make more ids than the other client's.
        .env("AWS_MAX_ATTEMPTS", "1")
        .env("NO_PROXY", "127.0.0.1")
        .env("PYTHONDONTWRITEBYTECODE", "1");
    let output = tokio::task::spawn_blocking(move || command.output())
        .await
        .unwrap()
        .unwrap();
    let printed = checked(output, client);
    printed
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The interpreter of an environment that has the clients; it is made once for each set of versions.
fn python() -> PathBuf {
    let requirements = format!("{SCRIPTS}/requirements.txt");
    let versions = fs::read_to_string(&requirements)
        .unwrap()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join("-");
    let cache = cache().join("eniway/python");
    fs::create_dir_all(&cache).unwrap();
    let home = cache.join(&versions);
    let complete = home.join("complete");
    // Another test run may be making it now.
    let lock = File::create(cache.join(format!("{versions}.lock"))).unwrap();
    lock.lock().unwrap();
    let python = home.join("bin/python");
    if !complete.exists() {
        checked(
            Command::new("python3")
                .args(["-m", "venv", "--clear"])
                .arg(&home)
                .output()
                .unwrap(),
            "make an environment: apt install python3-venv",
        );
        let pip = [
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--requirement",
            &requirements,
        ];
        checked(
            Command::new(&python).args(pip).output().unwrap(),
            "install boto3 and awscli from PyPI",
        );
        File::create(&complete).unwrap();
    }
    python
}

fn cache() -> PathBuf {
    let home = || {
        Path::new(
            &std::env::var_os("HOME")
                .expect("a home folder, or XDG_CACHE_HOME, for the Python clients"),
        )
        .join(".cache")
    };
    std::env::var_os("XDG_CACHE_HOME").map_or_else(home, PathBuf::from)
}

/// What a program printed, if it ended well.
fn checked(output: Output, attempt: &str) -> String {
    assert!(
        output.status.success(),
        "{attempt}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}
