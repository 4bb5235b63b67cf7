//! The lab's doors to Kubernetes: kubeconfigs, kubectl and helm on the host.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command as HostCommand, Stdio};
use std::time::Duration;

use crate::binaries::Program;
use crate::control_plane::ControlPlane;
use crate::error::{Error, good_end};
use crate::lab::Lab;
use crate::wait;

impl Lab {
    /// The administrator's kubeconfig for programs on the host.
    pub fn kubeconfig(&self) -> &Path {
        &self.admin
    }

    /// The administrator's kubeconfig for programs on nodes.
    pub fn kubeconfig_inside(&self) -> &Path {
        &self.admin_inside
    }

    /// The API server's URL on the host.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Writes kubeconfigs for a service account that exists: one for the host, one for nodes.
    ///
    /// The token is a real one, so RBAC holds for it.
    pub fn kubeconfig_for(
        &self,
        namespace: &str,
        service_account: &str,
    ) -> Result<Kubeconfigs, Error> {
        let token = self.kubectl(&[
            "create",
            "token",
            "-n",
            namespace,
            service_account,
            "--duration=8h",
        ])?;
        let name = format!("{namespace}.{service_account}");
        let plane = self.plane();
        Ok(Kubeconfigs {
            host: plane.pki.kubeconfig(&name, &self.url, token.trim())?,
            inside: plane.pki.kubeconfig(
                &format!("{name}-inside"),
                &ControlPlane::url_inside(),
                token.trim(),
            )?,
        })
    }

    /// Runs kubectl on the host, as the administrator, and gives what it wrote.
    pub fn kubectl(&self, args: &[&str]) -> Result<String, Error> {
        let output = self
            .kubectl_command()
            .args(args)
            .output()
            .map_err(|source| Error::Spawn {
                program: "kubectl".to_owned(),
                source,
            })?;
        good_end(&format!("kubectl {}", args.join(" ")), &output)
    }

    /// A kubectl command to add arguments to.
    pub fn kubectl_command(&self) -> HostCommand {
        let mut command = HostCommand::new(&self.kubectl);
        command.arg("--kubeconfig").arg(&self.admin);
        command
    }

    /// Applies manifests, in YAML, by server-side apply.
    pub fn apply(&self, manifests: &str) -> Result<String, Error> {
        self.kubectl_with_input(
            &["apply", "--server-side", "--force-conflicts", "-f", "-"],
            manifests,
        )
    }

    /// Runs kubectl with something to read.
    pub fn kubectl_with_input(&self, args: &[&str], input: &str) -> Result<String, Error> {
        let spawn = |source| Error::Spawn {
            program: "kubectl".to_owned(),
            source,
        };
        let mut child = self
            .kubectl_command()
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(spawn)?;
        let mut stdin = child.stdin.take().expect("the standard input is a pipe");
        // A kubectl that does not read to the end says why in its own words.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        let output = child.wait_with_output().map_err(spawn)?;
        good_end(&format!("kubectl {}", args.join(" ")), &output)
    }

    /// Runs helm on the host, as the administrator, and gives what it wrote.
    pub fn helm(&self, args: &[&str], progress: &dyn Fn(&str)) -> Result<String, Error> {
        let helm = self.config.binaries.locate(Program::Helm, progress)?;
        let output = HostCommand::new(helm)
            .arg("--kubeconfig")
            .arg(&self.admin)
            .args(args)
            // Helm's caches stay out of the home folder.
            .env("HELM_CACHE_HOME", self.folder().join("helm/cache"))
            .env("HELM_CONFIG_HOME", self.folder().join("helm/config"))
            .env("HELM_DATA_HOME", self.folder().join("helm/data"))
            .output()
            .map_err(|source| Error::Spawn {
                program: "helm".to_owned(),
                source,
            })?;
        good_end(&format!("helm {}", args.join(" ")), &output)
    }

    /// Waits until kubectl with `args` writes something that `accept` takes.
    pub fn wait_kubectl(
        &self,
        what: &str,
        deadline: Duration,
        args: &[&str],
        mut accept: impl FnMut(&str) -> bool,
    ) -> Result<String, Error> {
        wait::until(what, deadline, || match self.kubectl(args) {
            Ok(text) if accept(&text) => Ok(text),
            Ok(text) => Err(text),
            Err(error) => Err(error.to_string()),
        })
    }
}

/// Two kubeconfigs of one service account.
#[derive(Clone, Debug)]
pub struct Kubeconfigs {
    /// For programs on the host.
    pub host: PathBuf,
    /// For programs on nodes.
    pub inside: PathBuf,
}
