//! The CNI plugin `eniway`: gives a pod an interface on an ENI that it shares with other pods and the node.
//!
//! The container runtime, or Multus, calls it as root with a command in the environment and a configuration at its
//! standard input (CNI specification 1.1.0). It makes a veth into the pod's namespace, which the agent may not enter,
//! and asks the agent for the rest: addresses of the ENI, and the programs that carry packets between the two.
//!
//! ```text
//! pod:   ADDRESS/32 on net1 · neighbour 169.254.1.1 is the node's end · routes by it
//! node:  neighbour ADDRESS is the pod's end · route ADDRESS/32 to it, for the stack's own packets
//! ```
//!
//! *Guarantees*: an ADD that fails leaves nothing; a DEL needs neither the agent nor the namespace, and may come
//! twice; a pod that goes without a DEL is noticed by the agent, for its veth goes with it.

mod config;
mod install;
mod link;
mod message;

use std::{
    io::{self, Read as _},
    net::IpAddr,
    path::Path,
    time::Duration,
};

use ipnet::IpNet;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::UnixStream,
};

pub use self::install::install;
use self::{
    config::Network,
    link::Veth,
    message::{Failure, Interface, Ip, Outcome, Route, code},
};
use crate::{
    config::CniCall,
    pods::{Answer, Newcomer, Place, Question},
};

/// How long the agent may take. Container runtimes wait for minutes.
const PATIENCE: Duration = Duration::from_secs(30);

/// Does what the runtime asks; the answer is for standard output. `true`: it was done.
pub async fn run(call: &CniCall) -> (String, bool) {
    let mut text = String::new();
    let read = io::stdin().read_to_string(&mut text);
    if call.command == "VERSION" {
        return (message::versions(), true);
    }
    let network = read
        .map_err(|error| Failure::new(code::UNREADABLE, format!("read standard input: {error}")))
        .and_then(|_| Network::parse(&text));
    let version = network
        .as_ref()
        .map_or(message::NEWEST, |network| &network.cni_version)
        .to_owned();
    let done = async {
        let network = network?;
        match call.command.as_str() {
            "ADD" => add(call, &network).await.map(Some),
            "DEL" => delete(call, &network).await.map(|()| None),
            "CHECK" => check(call, &network).await.map(|()| None),
            "STATUS" => status(&network).await.map(|()| None),
            "GC" => collect(&network).await.map(|()| None),
            other => Err(Failure::new(
                code::ENVIRONMENT,
                format!(
                    "CNI_COMMAND is {other:?}: ADD, DEL, CHECK, STATUS, GC or VERSION is known"
                ),
            )),
        }
    };
    match done.await {
        Ok(Some(outcome)) => (outcome.text(&version), true),
        Ok(None) => (String::new(), true),
        Err(failure) => (failure.text(&version), false),
    }
}

async fn add(call: &CniCall, network: &Network) -> Result<Outcome, Failure> {
    let namespace = call.namespace()?;
    let veth = Veth::create(call, &network.name, namespace).await?;
    let placed = furnish(call, network, &veth).await;
    if placed.is_err() {
        veth.remove().await;
    }
    placed
}

async fn furnish(call: &CniCall, network: &Network, veth: &Veth) -> Result<Outcome, Failure> {
    let newcomer = Newcomer {
        parent: network.parent.clone(),
        interface: veth.node_end.index,
        node_mac: veth.node_end.mac,
        mac: veth.pod_end.mac,
        wanted: network.wanted.clone(),
        key: format!("{}/{}", call.container, call.interface),
    };
    let place = match ask(&network.socket, &Question::Add(newcomer)).await? {
        Answer::Place(place) => place,
        Answer::Later(why) => return Err(Failure::new(code::TRY_AGAIN, why)),
        Answer::Refused(why) => return Err(Failure::new(code::REFUSED, why)),
        Answer::Done => return Err(Failure::new(code::REFUSED, "the agent gave no place")),
    };
    let routes = routes(network, &place);
    veth.furnish(&place, &routes, network.mtu.unwrap_or(place.mtu))
        .await?;
    Ok(outcome(call, veth, &place, &routes))
}

/// Those of the configuration, or the ENI's subnet; by the families that the pod has.
fn routes(network: &Network, place: &Place) -> Vec<IpNet> {
    let has_family = |net: &&IpNet| {
        let mut addresses = place.addresses.iter();
        addresses.any(|address| address.is_ipv4() == net.addr().is_ipv4())
    };
    let wanted = network.routes.as_ref().unwrap_or(&place.subnets);
    wanted.iter().filter(has_family).copied().collect()
}

fn outcome(call: &CniCall, veth: &Veth, place: &Place, routes: &[IpNet]) -> Outcome {
    let interfaces = vec![
        Interface::new(&veth.node_name, veth.node_end.mac, None),
        Interface::new(&call.interface, veth.pod_end.mac, Some(&call.namespace)),
    ];
    let ips = place.addresses.iter().map(|address| Ip {
        address: IpNet::from(*address),
        gateway: link::gateway(*address),
        interface: 1,
    });
    let routes = routes.iter().map(|destination| Route {
        dst: *destination,
        gw: link::gateway(destination.addr()),
    });
    Outcome {
        interfaces,
        ips: ips.collect(),
        routes: routes.collect(),
    }
}

/// The agent is told first, so that the address is free at once; if it does not answer, it notices.
async fn delete(call: &CniCall, network: &Network) -> Result<(), Failure> {
    let Some(end) = link::find(call, &network.name).await? else {
        return Ok(());
    };
    let interface = end.index;
    let _agent_that_is_away = ask(&network.socket, &Question::Remove { interface }).await;
    link::remove(interface).await
}

async fn check(call: &CniCall, network: &Network) -> Result<(), Failure> {
    let missing = |what: String| Failure::new(code::MISSING, what);
    let end = link::find(call, &network.name).await?;
    let end = end.ok_or_else(|| missing(format!("the veth of {} is gone", call.container)))?;
    let interface = end.index;
    let place = match ask(&network.socket, &Question::Check { interface }).await? {
        Answer::Place(place) => place,
        Answer::Later(why) => return Err(Failure::new(code::TRY_AGAIN, why)),
        Answer::Refused(why) => return Err(missing(why)),
        Answer::Done => return Err(missing("the agent knows no place".to_owned())),
    };
    let given = |address: &IpAddr| place.addresses.contains(address);
    match network.given.iter().find(|address| !given(address)) {
        Some(address) => Err(missing(format!("{address} is not the pod's any more"))),
        None => Ok(()),
    }
}

async fn status(network: &Network) -> Result<(), Failure> {
    ask(&network.socket, &Question::Status).await.map(drop)
}

/// Removes the veths of this network's attachments that the runtime does not know.
async fn collect(network: &Network) -> Result<(), Failure> {
    for interface in link::strays(&network.name, &network.valid).await? {
        let _agent_that_is_away = ask(&network.socket, &Question::Remove { interface }).await;
        link::remove(interface).await?;
    }
    Ok(())
}

async fn ask(socket: &Path, question: &Question) -> Result<Answer, Failure> {
    let asked = async {
        let mut stream = UnixStream::connect(socket).await?;
        let line = serde_json::to_string(question)? + "\n";
        stream.write_all(line.as_bytes()).await?;
        let mut answer = String::new();
        BufReader::new(&mut stream).read_line(&mut answer).await?;
        io::Result::Ok(serde_json::from_str(&answer)?)
    };
    let answered = tokio::time::timeout(PATIENCE, asked).await;
    let answered = answered.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    answered.map_err(|error| {
        let message = format!(
            "ask eniway's agent at {}: {error}; is its pod on this node, with cni.install?",
            socket.display()
        );
        Failure::new(code::UNAVAILABLE, message)
    })
}
