//! The door to the instance's metadata service (IMDSv2): which instance this is, and what EC2 says of its interfaces.

use std::{net::IpAddr, str::FromStr, time::Duration};

use eniway_api::{DeviceIndex, EniId, InstanceId, MacAddress, SubnetId};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{Method, Request, StatusCode, body::Bytes};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use ipnet::IpNet;
use tokio::time::Instant;

/// How long a session lasts, by what the service is told.
const SESSION: (&str, Duration) = ("600", Duration::from_secs(600));
/// The longest wait for one answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of the longest answer.
const LONGEST: usize = 64 * 1024;
const MACS: &str = "meta-data/network/interfaces/macs/";

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("ask the metadata service for {path} at {endpoint}")]
    Asked {
        path: String,
        endpoint: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error(
        "the metadata service answers {status} to {path}; is it on, and its hop limit large enough?"
    )]
    Refused { path: String, status: StatusCode },
    #[error("the metadata service says {text:?} of {path}")]
    Unreadable {
        path: String,
        text: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// The metadata service.
#[derive(Clone, Debug)]
pub struct Imds {
    endpoint: String,
    client: Client<HttpConnector, Empty<Bytes>>,
}

/// What it says of the instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    pub instance: InstanceId,
    /// The primary interface's.
    pub primary: MacAddress,
    pub interfaces: Vec<Interface>,
}

/// What it says of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    pub mac: MacAddress,
    pub eni: EniId,
    pub subnet: SubnetId,
    /// 0 also while EC2 has not told the service yet.
    pub device_index: DeviceIndex,
    pub network_card: u8,
    /// The primary one first; IPv4 as /32, IPv6 as /128.
    pub addresses: Vec<IpNet>,
    pub prefixes: Vec<IpNet>,
    pub subnets: Vec<IpNet>,
}

impl Imds {
    /// `endpoint` is a base URL; the service's own is `http://169.254.169.254`.
    #[must_use]
    pub fn new(endpoint: &str) -> Self {
        Self {
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            client: Client::builder(TokioExecutor::new()).build_http(),
        }
    }

    /// Everything at one moment, or nearly so.
    pub async fn metadata(&self) -> Result<Metadata, Error> {
        let session = self.session().await?;
        let mut metadata = Metadata {
            instance: InstanceId::from(session.needed("meta-data/instance-id").await?),
            primary: mac(&session.needed("meta-data/mac").await?)?,
            interfaces: Vec::new(),
        };
        let macs = session.needed(MACS).await?;
        for line in macs.lines() {
            let interface = session.interface(line.trim_end_matches('/')).await?;
            metadata.interfaces.extend(interface);
        }
        Ok(metadata)
    }

    /// What is read in one costs a request less.
    pub async fn session(&self) -> Result<Session, Error> {
        let opened = Instant::now();
        let token = self.ask(Method::PUT, "api/token", None).await?;
        Ok(Session {
            imds: self.clone(),
            token: needed(token, "api/token")?,
            opened,
        })
    }

    /// `None`: there is nothing at the path.
    async fn ask(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
    ) -> Result<Option<String>, Error> {
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| Error::Asked {
            path: path.to_owned(),
            endpoint: self.endpoint.clone(),
            source,
        };
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}/latest/{path}", self.endpoint));
        request = match token {
            Some(token) => request.header("X-aws-ec2-metadata-token", token),
            None => request.header("X-aws-ec2-metadata-token-ttl-seconds", SESSION.0),
        };
        let request = request.body(Empty::new());
        let request = request.map_err(|error| failed(error.into()))?;
        let answered = async {
            let answer = self.client.request(request).await?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), LONGEST).collect().await?;
            Ok((status, body.to_bytes()))
        };
        let answered = tokio::time::timeout(TIMEOUT, answered).await;
        let (status, body) = answered
            .map_err(|error| failed(error.into()))?
            .map_err(failed)?;
        match status {
            StatusCode::OK => Ok(Some(String::from_utf8_lossy(&body).into_owned())),
            StatusCode::NOT_FOUND => Ok(None),
            status => Err(Error::Refused {
                path: path.to_owned(),
                status,
            }),
        }
    }
}

/// A session with its token.
#[derive(Clone, Debug)]
pub struct Session {
    imds: Imds,
    token: String,
    opened: Instant,
}

impl Session {
    /// Whether it lasts long enough for one more look.
    #[must_use]
    pub fn lasts(&self) -> bool {
        self.opened.elapsed() < SESSION.1 / 2
    }

    /// What the service says of these interfaces; nothing of one that it does not know, or not yet.
    pub async fn interfaces(
        &self,
        macs: impl IntoIterator<Item = MacAddress>,
    ) -> Result<Vec<Interface>, Error> {
        let mut told = Vec::new();
        for mac in macs {
            told.extend(self.interface(&mac.to_string()).await?);
        }
        Ok(told)
    }

    async fn text(&self, path: &str) -> Result<Option<String>, Error> {
        self.imds.ask(Method::GET, path, Some(&self.token)).await
    }

    async fn needed(&self, path: &str) -> Result<String, Error> {
        needed(self.text(path).await?, path)
    }

    /// `None`: it went while it was asked for.
    async fn interface(&self, name: &str) -> Result<Option<Interface>, Error> {
        // What is not listed is not asked for: most interfaces have no prefixes.
        let Some(keys) = self.text(&format!("{MACS}{name}/")).await? else {
            return Ok(None);
        };
        let at = |key: &str| {
            let path = format!("{MACS}{name}/{key}");
            keys.lines().any(|line| line == key).then_some(path)
        };
        let Some(eni) = self.listed(at("interface-id")).await? else {
            return Ok(None);
        };
        let device_index = self.number(at("device-number")).await?;
        // There is no key for it on instances with one card.
        let network_card = self.number(at("network-card")).await?;
        let mut addresses = self.addresses(at("local-ipv4s")).await?;
        addresses.extend(self.addresses(at("ipv6s")).await?);
        let mut prefixes = self.nets(at("ipv4-prefix")).await?;
        prefixes.extend(self.nets(at("ipv6-prefix")).await?);
        let mut subnets = self.nets(at("subnet-ipv4-cidr-block")).await?;
        subnets.extend(self.nets(at("subnet-ipv6-cidr-blocks")).await?);
        let subnet = self.listed(at("subnet-id")).await?.unwrap_or_default();
        Ok(Some(Interface {
            mac: mac(name)?,
            eni: EniId::from(eni),
            subnet: SubnetId::from(subnet),
            device_index: DeviceIndex(device_index),
            network_card,
            addresses,
            prefixes,
            subnets,
        }))
    }

    async fn listed(&self, path: Option<String>) -> Result<Option<String>, Error> {
        match path {
            Some(path) => self.text(&path).await,
            None => Ok(None),
        }
    }

    async fn number(&self, path: Option<String>) -> Result<u8, Error> {
        let Some(path) = path else { return Ok(0) };
        let text = self.text(&path).await?;
        text.map_or(Ok(0), |text| text.parse().map_err(unreadable(&path, &text)))
    }

    async fn addresses(&self, path: Option<String>) -> Result<Vec<IpNet>, Error> {
        let parsed: Vec<IpAddr> = self.lines(path).await?;
        Ok(parsed.into_iter().map(IpNet::from).collect())
    }

    async fn nets(&self, path: Option<String>) -> Result<Vec<IpNet>, Error> {
        self.lines(path).await
    }

    async fn lines<T>(&self, path: Option<String>) -> Result<Vec<T>, Error>
    where
        T: FromStr<Err: Into<Box<dyn std::error::Error + Send + Sync>>>,
    {
        let Some(path) = path else {
            return Ok(Vec::new());
        };
        let text = self.text(&path).await?.unwrap_or_default();
        let parsed: Result<Vec<T>, _> = text.lines().map(str::parse).collect();
        parsed.map_err(unreadable(&path, &text))
    }
}

fn mac(text: &str) -> Result<MacAddress, Error> {
    text.parse().map_err(unreadable(MACS, text))
}

fn needed(text: Option<String>, path: &str) -> Result<String, Error> {
    text.ok_or_else(|| Error::Refused {
        path: path.to_owned(),
        status: StatusCode::NOT_FOUND,
    })
}

fn unreadable<E>(path: &str, text: &str) -> impl FnOnce(E) -> Error
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (path, text) = (path.to_owned(), text.to_owned());
    |error| Error::Unreadable {
        path,
        text,
        source: error.into(),
    }
}
