//! The door to the instance's metadata service (IMDSv2): which instance this is, and what EC2 says of its interfaces.

use std::{net::IpAddr, time::Duration};

use eniway_api::{DeviceIndex, EniId, InstanceId, MacAddress, SubnetId};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{Method, Request, StatusCode, body::Bytes};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use ipnet::IpNet;

/// Seconds that a session lasts. Each look opens one: it costs one request of a dozen.
const SESSION: &str = "60";
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
        let token = self.ask(Method::PUT, "api/token", None).await?;
        let token = needed(token, "api/token")?;
        let session = Session { imds: self, token };
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
            None => request.header("X-aws-ec2-metadata-token-ttl-seconds", SESSION),
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
struct Session<'a> {
    imds: &'a Imds,
    token: String,
}

impl Session<'_> {
    async fn text(&self, path: &str) -> Result<Option<String>, Error> {
        self.imds.ask(Method::GET, path, Some(&self.token)).await
    }

    async fn needed(&self, path: &str) -> Result<String, Error> {
        needed(self.text(path).await?, path)
    }

    /// `None`: it went while it was asked for.
    async fn interface(&self, name: &str) -> Result<Option<Interface>, Error> {
        let at = |key: &str| format!("{MACS}{name}/{key}");
        let Some(eni) = self.text(&at("interface-id")).await? else {
            return Ok(None);
        };
        let number = |path: String, text: Option<String>| match text {
            // There is no key for it on instances with one card.
            None => Ok(0),
            Some(text) => text.parse::<u8>().map_err(unreadable(&path, &text)),
        };
        let (index, card) = (at("device-number"), at("network-card"));
        let device_index = DeviceIndex(number(index.clone(), self.text(&index).await?)?);
        let network_card = number(card.clone(), self.text(&card).await?)?;
        let mut addresses = self.addresses(&at("local-ipv4s")).await?;
        addresses.extend(self.addresses(&at("ipv6s")).await?);
        let mut prefixes = self.nets(&at("ipv4-prefix")).await?;
        prefixes.extend(self.nets(&at("ipv6-prefix")).await?);
        let mut subnets = self.nets(&at("subnet-ipv4-cidr-block")).await?;
        subnets.extend(self.nets(&at("subnet-ipv6-cidr-blocks")).await?);
        let subnet = self.text(&at("subnet-id")).await?.unwrap_or_default();
        Ok(Some(Interface {
            mac: mac(name)?,
            eni: EniId::from(eni),
            subnet: SubnetId::from(subnet),
            device_index,
            network_card,
            addresses,
            prefixes,
            subnets,
        }))
    }

    async fn addresses(&self, path: &str) -> Result<Vec<IpNet>, Error> {
        let text = self.text(path).await?.unwrap_or_default();
        let parsed: Result<Vec<IpAddr>, _> = text.lines().map(str::parse).collect();
        let parsed = parsed.map_err(unreadable(path, &text))?;
        Ok(parsed.into_iter().map(IpNet::from).collect())
    }

    async fn nets(&self, path: &str) -> Result<Vec<IpNet>, Error> {
        let text = self.text(path).await?.unwrap_or_default();
        let parsed: Result<Vec<IpNet>, _> = text.lines().map(str::parse).collect();
        parsed.map_err(unreadable(path, &text))
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
