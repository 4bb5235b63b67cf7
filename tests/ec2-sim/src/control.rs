//! The control API: what a test or a person does to the world besides EC2's own calls. JSON.
//!
//! | request | does |
//! |---|---|
//! | `GET /_control/world` | all VPCs, subnets, groups, instances, interfaces |
//! | `POST /_control/world` | adds what a [`WorldSpec`] lists; its settings are not taken over |
//! | `GET`, `PATCH /_control/settings` | reads, changes [`Settings`](crate::Settings) |
//! | `GET`, `DELETE /_control/counters` | calls by action and code; back to zero |
//! | `GET`, `POST`, `DELETE /_control/faults` | lists, adds one [`Fault`], forgets all |
//! | `GET`, `PUT /_control/clock` | `{"mode": "real"}` or `{"mode": "manual", "now": …}` |
//! | `POST /_control/clock/advance` | `{"ms": 1000}`; makes the clock manual |
//! | `GET /_control/events?after=N&timeout_ms=M` | waits for events above N, 30 s unless told |
//! | `POST /_control/attachments/{id}/pull` | ends an attachment as if by other means |
//! | `POST /_control/attachments/{id}/unstick` | completes one that is stuck |

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, Response, StatusCode, Uri};
use axum::routing::{get, post};
use ipnet::{Ipv4Net, Ipv6Net};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::fault::Fault;
use crate::ids::{AttachmentId, EniId, GroupId, InstanceId, SubnetId, VpcId};
use crate::model::{AttachmentState, InstanceState, Interface, Tags};
use crate::server::{Clock, Shared};
use crate::settings::milliseconds;
use crate::spec::WorldSpec;
use crate::world::World;

/// How long an empty answer to `/events` takes, unless told.
const EVENTS_TIMEOUT: Duration = Duration::from_secs(30);

type Answer = Response<Body>;
type Failure = (StatusCode, String);

pub(crate) fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/world", get(world).post(add_to_world))
        .route("/settings", get(settings).patch(change_settings))
        .route("/counters", get(counters).delete(reset_counters))
        .route("/faults", get(faults).post(add_fault).delete(clear_faults))
        .route("/clock", get(clock).put(set_clock))
        .route("/clock/advance", post(advance))
        .route("/events", get(events))
        .route("/attachments/{id}/pull", post(pull))
        .route("/attachments/{id}/unstick", post(unstick))
}

/// An interface as the control API tells it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InterfaceView {
    pub id: EniId,
    pub mac: String,
    pub subnet: SubnetId,
    pub vpc: VpcId,
    pub zone: String,
    pub description: String,
    pub kind: String,
    pub groups: Vec<GroupId>,
    pub ipv4: Vec<Ipv4Addr>,
    pub ipv4_prefixes: Vec<Ipv4Net>,
    pub ipv6: Vec<Ipv6Addr>,
    pub ipv6_prefixes: Vec<Ipv6Net>,
    pub source_dest_check: bool,
    pub status: String,
    pub tags: Tags,
    pub attachment: Option<AttachmentView>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AttachmentView {
    pub id: AttachmentId,
    pub instance: InstanceId,
    pub device_index: u32,
    pub network_card: u32,
    pub state: AttachmentState,
    pub delete_on_termination: bool,
}

impl From<&Interface> for InterfaceView {
    fn from(interface: &Interface) -> Self {
        Self {
            id: interface.id.clone(),
            mac: interface.mac.clone(),
            subnet: interface.subnet.clone(),
            vpc: interface.vpc.clone(),
            zone: interface.zone.clone(),
            description: interface.description.clone(),
            kind: interface.kind.clone(),
            groups: interface.groups.clone(),
            ipv4: interface.addresses.clone(),
            ipv4_prefixes: interface.prefixes.clone(),
            ipv6: interface.ipv6_addresses.clone(),
            ipv6_prefixes: interface.ipv6_prefixes.clone(),
            source_dest_check: interface.source_dest_check,
            status: interface.status().to_owned(),
            tags: interface.tags.clone(),
            attachment: interface
                .attachment
                .as_ref()
                .map(|attachment| AttachmentView {
                    id: attachment.id.clone(),
                    instance: attachment.instance.clone(),
                    device_index: attachment.slot.index,
                    network_card: attachment.slot.card,
                    state: attachment.state,
                    delete_on_termination: attachment.delete_on_termination,
                }),
        }
    }
}

#[derive(Serialize)]
struct InstanceView {
    id: InstanceId,
    instance_type: &'static str,
    subnet: SubnetId,
    zone: String,
    state: InstanceState,
    tags: Tags,
    interfaces: Vec<EniId>,
}

async fn world(State(shared): State<Arc<Shared>>) -> Answer {
    json_answer(&shared.with_world(|world, _| view(world)))
}

fn view(world: &World) -> Value {
    let instances: Vec<InstanceView> = world
        .instances()
        .map(|instance| InstanceView {
            id: instance.id.clone(),
            instance_type: instance.limits.name,
            subnet: instance.subnet.clone(),
            zone: instance.zone.clone(),
            state: instance.state,
            tags: instance.tags.clone(),
            interfaces: instance.interfaces.values().cloned().collect(),
        })
        .collect();
    let subnets: Vec<Value> = world
        .subnets()
        .map(|subnet| {
            json!({
                "id": subnet.id, "vpc": subnet.vpc, "zone": subnet.zone, "cidr": subnet.pool.cidr(),
                "ipv6_cidr": subnet.pool.ipv6_cidr(), "free": subnet.pool.free(), "tags": subnet.tags,
            })
        })
        .collect();
    json!({
        "region": world.region(),
        "account": world.account(),
        "vpcs": world.vpcs().map(|vpc| json!({"id": vpc.id, "cidr": vpc.cidr, "tags": vpc.tags})).collect::<Vec<_>>(),
        "subnets": subnets,
        "security_groups": world.groups().map(|group| json!({"id": group.id, "name": group.name, "vpc": group.vpc})).collect::<Vec<_>>(),
        "instances": instances,
        "interfaces": world.interfaces().map(InterfaceView::from).collect::<Vec<_>>(),
    })
}

async fn add_to_world(State(shared): State<Arc<Shared>>, body: Bytes) -> Result<Answer, Failure> {
    let spec: WorldSpec = read(&body)?;
    let added = shared.with_world(|world, now| {
        let vpcs = spec.vpcs.into_iter().map(|it| world.add_vpc(it)).collect::<Result<Vec<_>, _>>()?;
        let subnets = spec.subnets.into_iter().map(|it| world.add_subnet(it)).collect::<Result<Vec<_>, _>>()?;
        let groups = spec.security_groups.into_iter().map(|it| world.add_group(it)).collect::<Result<Vec<_>, _>>()?;
        let instances = spec.instances.into_iter().map(|it| world.add_instance(it, now)).collect::<Result<Vec<_>, _>>()?;
        Ok(json!({"vpcs": vpcs, "subnets": subnets, "security_groups": groups, "instances": instances}))
    });
    added
        .map(|added| json_answer(&added))
        .map_err(|error: crate::spec::SpecError| refuse(error))
}

async fn settings(State(shared): State<Arc<Shared>>) -> Answer {
    json_answer(&shared.with_world(|world, _| world.settings.clone()))
}

async fn change_settings(
    State(shared): State<Arc<Shared>>,
    body: Bytes,
) -> Result<Answer, Failure> {
    let changes: serde_json::Map<String, Value> = read(&body)?;
    shared.with_world(|world, _| {
        let mut settings = serde_json::to_value(&world.settings).map_err(refuse)?;
        if let Some(settings) = settings.as_object_mut() {
            settings.extend(changes);
        }
        world.settings = serde_json::from_value(settings).map_err(refuse)?;
        Ok(json_answer(&world.settings))
    })
}

async fn counters(State(shared): State<Arc<Shared>>) -> Answer {
    json_answer(&shared.with_world(|world, _| world.counters().clone()))
}

async fn reset_counters(State(shared): State<Arc<Shared>>) -> Answer {
    shared.with_world(|world, _| world.reset_counters());
    json_answer(&json!({}))
}

async fn faults(State(shared): State<Arc<Shared>>) -> Answer {
    json_answer(&shared.with_world(|world, _| world.faults().to_vec()))
}

async fn add_fault(State(shared): State<Arc<Shared>>, body: Bytes) -> Result<Answer, Failure> {
    let fault: Fault = read(&body)?;
    Ok(json_answer(&shared.with_world(|world, _| {
        world.add_fault(fault);
        world.faults().to_vec()
    })))
}

async fn clear_faults(State(shared): State<Arc<Shared>>) -> Answer {
    shared.with_world(|world, _| world.clear_faults());
    json_answer(&json!([]))
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "mode", rename_all = "kebab-case", deny_unknown_fields)]
enum ClockSpec {
    Real,
    Manual {
        /// The moment of the request, if left out.
        now: Option<Timestamp>,
    },
}

async fn clock(State(shared): State<Arc<Shared>>) -> Answer {
    json_answer(&match shared.clock() {
        Clock::Real => ClockSpec::Real,
        Clock::Manual(now) => ClockSpec::Manual { now: Some(now) },
    })
}

async fn set_clock(State(shared): State<Arc<Shared>>, body: Bytes) -> Result<Answer, Failure> {
    let wanted: ClockSpec = read(&body)?;
    let now = shared.with_world(|_, now| now);
    shared.set_clock(match &wanted {
        ClockSpec::Real => Clock::Real,
        ClockSpec::Manual { now: Some(past) } if *past < now => {
            return Err(refuse(format!(
                "{past} lies before {now}: the time of a world does not run backwards"
            )));
        }
        ClockSpec::Manual { now: wanted } => Clock::Manual(wanted.unwrap_or(now)),
    });
    Ok(json_answer(&wanted))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    #[serde(with = "milliseconds")]
    ms: Duration,
}

async fn advance(State(shared): State<Arc<Shared>>, body: Bytes) -> Result<Answer, Failure> {
    let Advance { ms } = read(&body)?;
    Ok(json_answer(&json!({"now": shared.advance(ms)})))
}

async fn events(State(shared): State<Arc<Shared>>, uri: Uri) -> Result<Answer, Failure> {
    let mut after = 0;
    let mut timeout = EVENTS_TIMEOUT;
    for (name, value) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
        let number: u64 = value
            .parse()
            .map_err(|error| refuse(format!("{name}={value}: {error}")))?;
        match name.as_ref() {
            "after" => after = number,
            "timeout_ms" => timeout = Duration::from_millis(number),
            _ => {
                return Err(refuse(format!(
                    "{name} is not a parameter of events: use after and timeout_ms"
                )));
            }
        }
    }
    // Subscribed before the log is read, so that nothing falls between.
    let mut news = shared.subscribe();
    let mut events = shared.with_world(|world, _| world.events_after(after));
    if events.is_empty() {
        // Woken by news, or by falling behind so far that the log must be read again; or in time for nothing.
        drop(tokio::time::timeout(timeout, news.recv()).await);
        events = shared.with_world(|world, _| world.events_after(after));
    }
    Ok(json_answer(&events))
}

async fn pull(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
) -> Result<Answer, Failure> {
    let id = AttachmentId::parse(&id).map_err(refuse)?;
    shared.with_world(|world, now| world.pull(&id, now));
    Ok(json_answer(&json!({})))
}

async fn unstick(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
) -> Result<Answer, Failure> {
    let id = AttachmentId::parse(&id).map_err(refuse)?;
    shared.with_world(|world, now| world.unstick(&id, now));
    Ok(json_answer(&json!({})))
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(body).map_err(refuse)
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the shape that map_err wants"
)]
fn refuse(error: impl ToString) -> Failure {
    (StatusCode::BAD_REQUEST, error.to_string())
}

fn json_answer(value: &impl Serialize) -> Answer {
    let text = serde_json::to_string(value).expect("views have text keys only");
    let mut response = Response::new(Body::from(text));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
