//! The controller's program, running, and the memory it takes.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use lab::{Lab, wait};

use crate::course::Course;
use crate::ec2::{Ec2, REGION};
use crate::metrics::Reconciles;

/// From its start to its first whole read of EC2.
const READY: Duration = Duration::from_secs(60);
/// Its first whole read ends with them.
const LAST_READ: &str = "DescribeSecurityGroups";
/// Where it keeps its lease.
pub(crate) const NAMESPACE: &str = "eniway-system";

/// A process that ends with this value.
#[derive(Debug)]
pub(crate) struct Program {
    child: Child,
    log: PathBuf,
    metrics: String,
}

/// Resident memory, in KiB.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    pub(crate) now: u64,
    pub(crate) highest: u64,
}

impl Program {
    /// Starts it as its chart does, and waits until it has read EC2.
    pub(crate) fn start(path: &Path, course: &Course, lab: &Lab, ec2: &Ec2) -> Result<Self> {
        let log = lab.log_file("controller");
        let output = File::create(&log).with_context(|| format!("create {}", log.display()))?;
        let metrics = free_address()?;
        let mut command = Command::new(path);
        command
            .args(["run", "--cluster-name", "bench", "--region", REGION])
            .args(["--metrics-address", &metrics])
            .args(["--namespace", NAMESPACE])
            .args(["--ec2-endpoint", &ec2.url()])
            .arg("--kubeconfig")
            .arg(lab.kubeconfig())
            .env("AWS_ACCESS_KEY_ID", "bench")
            .env("AWS_SECRET_ACCESS_KEY", "bench")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        if !course.buckets {
            command.arg("--no-throttle");
        }
        let before = ec2.calls().action(LAST_READ);
        let child = command
            .spawn()
            .with_context(|| format!("start {}", path.display()))?;
        let mut program = Self {
            child,
            log,
            metrics,
        };
        program.wait_until_ready(ec2, before)?;
        Ok(program)
    }

    fn wait_until_ready(&mut self, ec2: &Ec2, before: u64) -> Result<()> {
        wait::until("the controller has read EC2", READY, || {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Ok(Err(anyhow!(
                    "the controller ended with {status}: {}",
                    self.said()
                )));
            }
            if ec2.calls().action(LAST_READ) == before {
                return Err(self.said());
            }
            Ok(Ok(()))
        })?
    }

    /// The end of its log.
    pub(crate) fn said(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let from = text.lines().count().saturating_sub(20);
        text.lines().skip(from).collect::<Vec<_>>().join("\n")
    }

    pub(crate) fn reconciles(&self) -> Result<Reconciles> {
        Reconciles::ask(&self.metrics)
    }

    pub(crate) fn memory(&self) -> Result<Memory> {
        Memory::of(self.child.id())
    }
}

impl Memory {
    /// Of a process.
    pub(crate) fn of(process: u32) -> Result<Self> {
        let path = format!("/proc/{process}/status");
        let status = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|rest| rest.split_whitespace().next());
            let number = number.and_then(|number| number.parse().ok());
            number.with_context(|| format!("{path} has no {name}"))
        };
        Ok(Self {
            now: field("VmRSS:")?,
            highest: field("VmHWM:")?,
        })
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Both fail only if it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Applies the definitions that the program carries.
pub(crate) fn apply_definitions(path: &Path, lab: &Lab) -> Result<()> {
    let output = Command::new(path)
        .args(["crds", "apply"])
        .env("KUBECONFIG", lab.kubeconfig())
        .output()
        .with_context(|| format!("start {}", path.display()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(anyhow!("{} crds apply: {said}", path.display()))
}

fn free_address() -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").context("find a port for metrics")?;
    Ok(listener.local_addr()?.to_string())
}
