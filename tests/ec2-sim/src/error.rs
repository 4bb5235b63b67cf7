//! What a call can end with instead of an answer, in EC2's own codes and words.

use std::fmt;

use crate::ids::{
    AllocationId, AttachmentId, EniId, GroupId, InstanceId, RouteTableId, SubnetId, VpcId,
};

/// A refusal by the EC2 API.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct ApiError {
    pub code: String,
    pub message: String,
    /// HTTP status.
    pub status: u16,
}

/// How a call can fail: by EC2's word, or on the way.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Api(#[from] ApiError),
    /// Something between client and EC2 answered with a page for people.
    #[error("HTTP {status} with an HTML body")]
    Html { status: u16 },
    /// The connection ended without an answer. Whether the call was carried out, the caller cannot know.
    #[error("connection closed before an answer")]
    ConnectionLost,
}

impl Error {
    /// EC2's code, or what the counters call a failure without one.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::Api(error) => &error.code,
            Self::Html { .. } => "Html",
            Self::ConnectionLost => "ConnectionLost",
        }
    }
}

/// A refusal with HTTP status 400, or the status that AWS documents for its code.
pub(crate) fn api(code: &str, message: impl fmt::Display) -> ApiError {
    let status = match code {
        "AuthFailure" => 401,
        "UnauthorizedOperation" | "OptInRequired" | "MissingAuthenticationToken" => 403,
        "DryRunOperation" => 412,
        "InternalError" | "InternalFailure" => 500,
        "RequestLimitExceeded" | "ServiceUnavailable" | "Unavailable" => 503,
        _ => 400,
    };
    ApiError {
        code: code.to_owned(),
        message: message.to_string(),
        status,
    }
}

pub(crate) fn throttled() -> ApiError {
    api("RequestLimitExceeded", "Request limit exceeded.")
}

pub(crate) fn dry_run() -> ApiError {
    api(
        "DryRunOperation",
        "Request would have succeeded, but DryRun flag is set.",
    )
}

pub(crate) fn missing(parameter: &str) -> ApiError {
    let mut letters = parameter.chars();
    let camel: String = letters
        .next()
        .map(|first| first.to_ascii_lowercase())
        .into_iter()
        .chain(letters)
        .collect();
    api(
        "MissingParameter",
        format!("The request must contain the parameter {camel}"),
    )
}

pub(crate) fn invalid_value(message: impl fmt::Display) -> ApiError {
    api("InvalidParameterValue", message)
}

pub(crate) fn invalid_combination(message: impl fmt::Display) -> ApiError {
    api("InvalidParameterCombination", message)
}

pub(crate) fn no_interface(id: &EniId) -> ApiError {
    api(
        "InvalidNetworkInterfaceID.NotFound",
        format!("The networkInterface ID '{id}' does not exist"),
    )
}

pub(crate) fn no_instance(id: &InstanceId) -> ApiError {
    api(
        "InvalidInstanceID.NotFound",
        format!("The instance ID '{id}' does not exist"),
    )
}

pub(crate) fn no_attachment(id: &AttachmentId) -> ApiError {
    api(
        "InvalidAttachmentID.NotFound",
        format!("The interface attachment '{id}' does not exist."),
    )
}

pub(crate) fn no_subnet(id: &SubnetId) -> ApiError {
    api(
        "InvalidSubnetID.NotFound",
        format!("The subnet ID '{id}' does not exist"),
    )
}

pub(crate) fn no_vpc(id: &VpcId) -> ApiError {
    api(
        "InvalidVpcID.NotFound",
        format!("The vpc ID '{id}' does not exist"),
    )
}

pub(crate) fn no_group(id: &GroupId) -> ApiError {
    api(
        "InvalidGroup.NotFound",
        format!("The security group '{id}' does not exist"),
    )
}

pub(crate) fn no_elastic_ip(id: &AllocationId) -> ApiError {
    api(
        "InvalidAllocationID.NotFound",
        format!("The allocation ID '{id}' does not exist"),
    )
}

pub(crate) fn no_route_table(id: &RouteTableId) -> ApiError {
    api(
        "InvalidRouteTableID.NotFound",
        format!("The routeTable ID '{id}' does not exist"),
    )
}
