//! Routes of the VPC, and changes of them.

use std::fmt;

use eniway_api::{EniId, RouteTableId};
use ipnet::IpNet;

use crate::Call;

/// A route table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteTable {
    pub id: RouteTableId,
    /// Those to address blocks; a prefix list is nobody's wish.
    pub routes: Vec<Route>,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    pub destination: IpNet,
    pub target: RouteTarget,
    /// EC2 drops what goes there: nobody is there to take it.
    pub blackhole: bool,
}

/// Where a route leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteTarget {
    Interface(EniId),
    /// A gateway or the like, by its ID.
    Other(String),
}

impl fmt::Display for RouteTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interface(eni) => eni.fmt(f),
            Self::Other(id) => id.fmt(f),
        }
    }
}

/// One change of one route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteChange {
    pub table: RouteTableId,
    pub destination: IpNet,
    pub deed: RouteDeed,
}

/// What is done to a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteDeed {
    Create(EniId),
    Replace(EniId),
    Delete,
}

impl RouteChange {
    /// The action that carries it out.
    #[must_use]
    pub const fn call(&self) -> Call {
        match self.deed {
            RouteDeed::Create(_) => Call::CreateRoute,
            RouteDeed::Replace(_) => Call::ReplaceRoute,
            RouteDeed::Delete => Call::DeleteRoute,
        }
    }
}

impl fmt::Display for RouteChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (table, destination) = (&self.table, &self.destination);
        match &self.deed {
            RouteDeed::Create(eni) => {
                write!(f, "create the route {destination} to {eni} in {table}")
            }
            RouteDeed::Replace(eni) => {
                write!(f, "point the route {destination} in {table} at {eni}")
            }
            RouteDeed::Delete => write!(f, "delete the route {destination} in {table}"),
        }
    }
}
