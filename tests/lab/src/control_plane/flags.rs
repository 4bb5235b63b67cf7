//! What the programs of the control plane are told when they start.

use super::{ControlPlane, GATEWAY, PORT};

const ETCD: &str = "http://127.0.0.1:2379";

impl ControlPlane {
    fn file(&self, flag: &str, name: &str) -> String {
        format!("--{flag}={}", self.pki.path(name).display())
    }

    pub(super) fn apiserver_flags(&self) -> Vec<String> {
        let fixed = [
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--allow-privileged=true",
            "--endpoint-reconciler-type=none",
            "--kubelet-preferred-address-types=InternalIP",
            "--bind-address=0.0.0.0",
            // The lab is stopped by killing it; nothing is to be drained.
            "--shutdown-delay-duration=0s",
        ];
        let mut flags: Vec<String> = fixed.map(str::to_owned).into();
        flags.extend([
            format!("--etcd-servers={ETCD}"),
            format!("--advertise-address={GATEWAY}"),
            format!("--secure-port={PORT}"),
            self.file("cert-dir", ""),
            self.file("tls-cert-file", "apiserver.crt"),
            self.file("tls-private-key-file", "apiserver.key"),
            self.file("client-ca-file", "ca.crt"),
            self.file("token-auth-file", "tokens.csv"),
            self.file("service-account-key-file", "sa.pub"),
            self.file("service-account-signing-key-file", "sa.key"),
            self.file("kubelet-client-certificate", "kubelet-client.crt"),
            self.file("kubelet-client-key", "kubelet-client.key"),
        ]);
        flags
    }

    pub(super) fn manager_flags(&self) -> Vec<String> {
        vec![
            self.file("kubeconfig", "kcm.kubeconfig"),
            self.file("service-account-private-key-file", "sa.key"),
            self.file("root-ca-file", "ca.crt"),
            self.file("cert-dir", "kcm"),
            "--leader-elect=false".to_owned(),
            "--use-service-account-credentials=true".to_owned(),
            "--bind-address=127.0.0.1".to_owned(),
            "--authentication-skip-lookup".to_owned(),
        ]
    }

    pub(super) fn scheduler_flags(&self) -> Vec<String> {
        vec![
            self.file("kubeconfig", "scheduler.kubeconfig"),
            self.file("cert-dir", "scheduler"),
            "--leader-elect=false".to_owned(),
            "--bind-address=127.0.0.1".to_owned(),
            "--authentication-skip-lookup".to_owned(),
        ]
    }
}

pub(super) fn etcd_flags() -> [String; 8] {
    let peer = "http://127.0.0.1:2380";
    [
        "--name=lab".to_owned(),
        format!("--listen-client-urls={ETCD}"),
        format!("--advertise-client-urls={ETCD}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=lab={peer}"),
        // What it stores dies with the lab.
        "--unsafe-no-fsync".to_owned(),
        "--log-level=warn".to_owned(),
    ]
}
