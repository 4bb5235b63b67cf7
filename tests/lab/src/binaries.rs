//! Finds the programs of Kubernetes, or builds them from pinned Go modules.
//!
//! A program is looked for in the folder that was given, in `KUBEBUILDER_ASSETS`, and in the
//! cache; what is missing is built once, 4 to 8 minutes for all, into the cache. A cache folder is
//! named by the hash of its `go.sum`, so another version never meets an old program.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

/// How often a build that says nothing is reported to be alive.
const TICK: Duration = Duration::from_secs(15);

/// Why a program is not there.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is neither the program nor a compiler.
    #[error(
        "{program} is neither in --bin, KUBEBUILDER_ASSETS nor the cache, and cannot be built, because `go` is missing: \
         install Go 1.26 from https://go.dev/dl"
    )]
    NoGo {
        /// What was wanted.
        program: &'static str,
    },
    /// The cache folder cannot be used.
    #[error("write {path}")]
    Cache {
        /// Which file or folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The compiler could not be run.
    #[error("run go build for {program}")]
    Go {
        /// What was being built.
        program: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// The compiler failed.
    #[error(
        "go build of {package} failed (are the Go module proxy and 5 GB of disk there?):\n{output}"
    )]
    Build {
        /// What was being built.
        package: &'static str,
        /// Its last lines.
        output: String,
    },
}

/// A program the lab runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Program {
    /// The API server's store.
    Etcd,
    /// The API server.
    KubeApiserver,
    /// The controllers of Kubernetes itself.
    KubeControllerManager,
    /// The scheduler.
    KubeScheduler,
    /// The agent of Kubernetes on a node.
    Kubelet,
    /// The command-line client.
    Kubectl,
    /// The package manager.
    Helm,
}

/// A Go module that pins programs.
struct Module {
    name: &'static str,
    go_mod: &'static str,
    go_sum: &'static str,
    tools: &'static str,
    ldflags: &'static str,
}

macro_rules! module {
    ($name:literal, $ldflags:expr) => {
        Module {
            name: $name,
            go_mod: include_str!(concat!("../go/", $name, "/go.mod")),
            go_sum: include_str!(concat!("../go/", $name, "/go.sum")),
            tools: include_str!(concat!("../go/", $name, "/tools.go")),
            ldflags: $ldflags,
        }
    };
}

const ETCD: Module = module!("etcd", "-s -w");
const HELM: Module = module!("helm", "-s -w");
/// Without a version kubectl and the API server refuse to negotiate.
const KUBERNETES: Module = module!(
    "kubernetes",
    "-s -w -X k8s.io/component-base/version.gitVersion=v1.34.4 \
     -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=34"
);

impl Program {
    /// All of them, the quickest to build first.
    pub const ALL: [Self; 7] = [
        Self::Etcd,
        Self::KubeApiserver,
        Self::Kubectl,
        Self::KubeControllerManager,
        Self::KubeScheduler,
        Self::Kubelet,
        Self::Helm,
    ];

    /// The file name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::KubeApiserver => "kube-apiserver",
            Self::KubeControllerManager => "kube-controller-manager",
            Self::KubeScheduler => "kube-scheduler",
            Self::Kubelet => "kubelet",
            Self::Kubectl => "kubectl",
            Self::Helm => "helm",
        }
    }

    fn package(self) -> &'static str {
        match self {
            Self::Etcd => "go.etcd.io/etcd/server/v3",
            Self::KubeApiserver => "k8s.io/kubernetes/cmd/kube-apiserver",
            Self::KubeControllerManager => "k8s.io/kubernetes/cmd/kube-controller-manager",
            Self::KubeScheduler => "k8s.io/kubernetes/cmd/kube-scheduler",
            Self::Kubelet => "k8s.io/kubernetes/cmd/kubelet",
            Self::Kubectl => "k8s.io/kubernetes/cmd/kubectl",
            Self::Helm => "helm.sh/helm/v3/cmd/helm",
        }
    }

    fn module(self) -> &'static Module {
        match self {
            Self::Etcd => &ETCD,
            Self::Helm => &HELM,
            Self::KubeApiserver
            | Self::KubeControllerManager
            | Self::KubeScheduler
            | Self::Kubelet
            | Self::Kubectl => &KUBERNETES,
        }
    }
}

/// Where programs are looked for, and kept once built.
#[derive(Clone, Debug)]
pub struct Binaries {
    /// Folders to look in, best first.
    pub folders: Vec<PathBuf>,
    /// Where built programs go, a folder for each version.
    pub cache: PathBuf,
}

impl Binaries {
    /// `--bin` if it is given, then `KUBEBUILDER_ASSETS`, then `~/.cache/eniway/bin`.
    pub fn from_environment(bin: Option<&Path>) -> Self {
        let assets = std::env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from);
        let folders = bin
            .map(Path::to_path_buf)
            .into_iter()
            .chain(assets)
            .collect();
        let home = std::env::home_dir().unwrap_or_else(|| "/root".into());
        Self {
            folders,
            cache: home.join(".cache/eniway/bin"),
        }
    }

    /// The path of a program, which is built first if it must be.
    ///
    /// Processes that want the same program take turns, so it is built once.
    pub fn locate(&self, program: Program, progress: &dyn Fn(&str)) -> Result<PathBuf, Error> {
        let name = program.name();
        if let Some(found) = self
            .folders
            .iter()
            .map(|folder| folder.join(name))
            .find(|path| path.is_file())
        {
            return Ok(found);
        }
        let module = program.module();
        let folder = self.cache.join(module.hash());
        let path = folder.join(name);
        if path.is_file() {
            return Ok(path);
        }
        let cache = |path: &Path| {
            let path = path.to_path_buf();
            move |source| Error::Cache { path, source }
        };
        let source = folder.join("module");
        fs::create_dir_all(&source).map_err(cache(&source))?;
        let lock = folder.join("lock");
        let lock = File::create(&lock).map_err(cache(&lock))?;
        lock.lock().map_err(cache(&folder))?;
        if path.is_file() {
            return Ok(path);
        }
        for (file, text) in [
            ("go.mod", module.go_mod),
            ("go.sum", module.go_sum),
            ("tools.go", module.tools),
        ] {
            fs::write(source.join(file), text).map_err(cache(&source))?;
        }
        let partial = folder.join(format!("{name}.partial"));
        build(program, &source, &partial, progress)?;
        fs::rename(&partial, &path).map_err(cache(&path))?;
        Ok(path)
    }
}

impl Module {
    fn hash(&self) -> String {
        let digest = Sha256::digest(format!("{}{}{}", self.go_mod, self.go_sum, self.ldflags));
        let hex: String = digest
            .iter()
            .take(6)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        format!("{}-{hex}", self.name)
    }
}

fn build(
    program: Program,
    source: &Path,
    output: &Path,
    progress: &dyn Fn(&str),
) -> Result<(), Error> {
    let name = program.name();
    let module = program.module();
    progress(&format!(
        "building {name} from Go modules; the first time this takes minutes"
    ));
    let mut go = Command::new("go")
        .current_dir(source)
        .args([
            "build",
            "-mod=mod",
            "-trimpath",
            &format!("-ldflags={}", module.ldflags),
            "-o",
        ])
        .args([output.as_os_str(), program.package().as_ref()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => Error::NoGo { program: name },
            _ => Error::Go {
                program: name,
                source,
            },
        })?;
    let stderr = go.stderr.take().expect("the standard error is a pipe");
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        BufReader::new(stderr)
            .lines()
            .map_while(Result::ok)
            .try_for_each(|line| sender.send(line))
    });
    let start = Instant::now();
    let mut last = Vec::new();
    loop {
        match lines.recv_timeout(TICK) {
            Ok(line) => {
                last.push(line);
                last.drain(..last.len().saturating_sub(20));
            }
            Err(RecvTimeoutError::Timeout) => {
                progress(&format!("building {name}: {} s", start.elapsed().as_secs()));
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    let status = go.wait().map_err(|source| Error::Go {
        program: name,
        source,
    })?;
    if !status.success() {
        return Err(Error::Build {
            package: program.package(),
            output: last.join("\n"),
        });
    }
    progress(&format!("built {name} in {} s", start.elapsed().as_secs()));
    Ok(())
}
