//! Makes a lab's certificates, keys, tokens and kubeconfigs.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use crate::error::Error;
use crate::state::failed;

/// The certificate authority of one lab and the folder its files are in.
#[derive(Debug)]
pub(crate) struct Pki {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Pki {
    /// Makes the authority (`ca.crt`) and the keys of service account tokens (`sa.key`, `sa.pub`).
    pub(crate) fn new(folder: &Path) -> Result<Self, Error> {
        let invalid = |source| Error::Certificate {
            subject: "lab-ca".to_owned(),
            source,
        };
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "lab-ca");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().map_err(invalid)?;
        let certificate = params.self_signed(&key).map_err(invalid)?;
        let service_accounts = KeyPair::generate().map_err(invalid)?;
        let pki = Self {
            folder: folder.to_path_buf(),
            issuer: Issuer::new(params, key),
        };
        pki.write("ca.crt", &certificate.pem())?;
        pki.write("sa.key", &service_accounts.serialize_pem())?;
        pki.write("sa.pub", &service_accounts.public_key_pem())?;
        Ok(pki)
    }

    /// Makes `name.crt` and `name.key`.
    pub(crate) fn certificate(&self, name: &str, subject: &Subject<'_>) -> Result<(), Error> {
        let invalid = |source| Error::Certificate {
            subject: subject.common_name.to_owned(),
            source,
        };
        let names = subject
            .names
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>();
        let mut params = CertificateParams::new(names).map_err(invalid)?;
        params
            .distinguished_name
            .push(DnType::CommonName, subject.common_name);
        if let Some(organization) = subject.organization {
            params
                .distinguished_name
                .push(DnType::OrganizationName, organization);
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let key = KeyPair::generate().map_err(invalid)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(invalid)?;
        self.write(&format!("{name}.crt"), &certificate.pem())?;
        self.write(&format!("{name}.key"), &key.serialize_pem())
    }

    /// Writes `name.kubeconfig` for the holder of `token`.
    pub(crate) fn kubeconfig(
        &self,
        name: &str,
        server: &str,
        token: &str,
    ) -> Result<PathBuf, Error> {
        let authority = self.path("ca.crt");
        let file = format!("{name}.kubeconfig");
        let text = format!(
            r#"apiVersion: v1
kind: Config
clusters: [{{name: lab, cluster: {{server: "{server}", certificate-authority: "{}"}}}}]
users: [{{name: "{name}", user: {{token: "{token}"}}}}]
contexts: [{{name: lab, context: {{cluster: lab, user: "{name}"}}}}]
current-context: lab
"#,
            authority.display()
        );
        self.write(&file, &text)?;
        Ok(self.path(&file))
    }

    /// Writes a file into the folder.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<(), Error> {
        let path = self.path(name);
        fs::write(&path, text).map_err(failed(&path))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// Who a certificate is for.
#[derive(Debug, Default)]
pub(crate) struct Subject<'a> {
    pub(crate) common_name: &'a str,
    /// Kubernetes reads it as the user's group.
    pub(crate) organization: Option<&'a str>,
    /// DNS names and addresses of a server.
    pub(crate) names: &'a [&'a str],
}
