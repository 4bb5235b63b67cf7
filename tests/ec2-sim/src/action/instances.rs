//! StartInstances, StopInstances and TerminateInstances.

use jiff::Timestamp;

use crate::error::{ApiError, api, missing, no_instance};
use crate::ids::InstanceId;
use crate::model::InstanceState;
use crate::request::Request;
use crate::world::World;
use crate::xml::Xml;

impl World {
    pub(super) fn start_instances(
        &mut self,
        request: &Request,
        now: Timestamp,
    ) -> Result<String, ApiError> {
        use InstanceState::{Pending, Running, Stopped};
        self.move_instances(request, now, Pending, |from| match from {
            Stopped => Ok(true),
            Pending | Running => Ok(false),
            _ => Err("is not in a state from which it can be started."),
        })
    }

    pub(super) fn stop_instances(
        &mut self,
        request: &Request,
        now: Timestamp,
    ) -> Result<String, ApiError> {
        use InstanceState::{Running, Stopped, Stopping};
        self.move_instances(request, now, Stopping, |from| match from {
            Running => Ok(true),
            Stopping | Stopped => Ok(false),
            _ => Err("is not in a state from which it can be stopped."),
        })
    }

    pub(super) fn terminate_instances(
        &mut self,
        request: &Request,
        now: Timestamp,
    ) -> Result<String, ApiError> {
        use InstanceState::{ShuttingDown, Terminated};
        self.move_instances(request, now, ShuttingDown, |from| {
            Ok(!matches!(from, ShuttingDown | Terminated))
        })
    }

    /// Moves all named instances, or none; `may` says for a state whether to move, stay or refuse.
    fn move_instances(
        &mut self,
        request: &Request,
        now: Timestamp,
        to: InstanceState,
        may: impl Fn(InstanceState) -> Result<bool, &'static str>,
    ) -> Result<String, ApiError> {
        let ids = request
            .list("InstanceId")
            .into_iter()
            .map(InstanceId::parse)
            .collect::<Result<Vec<_>, _>>()?;
        if ids.is_empty() {
            return Err(missing("InstanceId"));
        }
        let mut moves = Vec::with_capacity(ids.len());
        for id in &ids {
            let from = self.instances.get(id).ok_or_else(|| no_instance(id))?.state;
            let goes = may(from).map_err(|why| {
                api(
                    "IncorrectInstanceState",
                    format!("The instance '{id}' {why}"),
                )
            })?;
            moves.push((id, from, if goes { to } else { from }));
        }
        request.end_dry_run()?;
        for (id, from, to) in &moves {
            if from != to {
                self.reach(id, *to, now);
            }
        }
        Ok(Xml::fragment(|xml| {
            xml.set("instancesSet", &moves, |xml, (id, from, to)| {
                xml.leaf("instanceId", id);
                for (name, state) in [("currentState", to), ("previousState", from)] {
                    xml.node(name, |xml| {
                        xml.leaf("code", state.code());
                        xml.leaf("name", state);
                    });
                }
            });
        }))
    }
}
