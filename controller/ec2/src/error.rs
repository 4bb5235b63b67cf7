//! Why an EC2 call failed, and what that means for the one who made it.

use std::time::Duration;

use crate::Call;

/// A call that brought no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// EC2 said no.
    #[error("{call}: {code}: {message}")]
    Refused {
        call: Call,
        code: String,
        message: String,
    },
    /// Something answered that is not EC2's protocol, as a load balancer does when all is broken.
    #[error("{call}: HTTP status {status}: {detail}")]
    Garbled {
        call: Call,
        status: u16,
        detail: String,
    },
    /// Nothing answered. The call may or may not have happened.
    #[error("{call}: no answer")]
    Unreachable {
        call: Call,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Nothing answered in time. The call may or may not have happened.
    #[error("{call}: no answer within {after:?}")]
    TimedOut { call: Call, after: Duration },
    /// The answer lacks what EC2 promises.
    #[error("{call}: the answer has no {missing}")]
    Incomplete { call: Call, missing: &'static str },
    /// Its caller lost the right to change anything while the call waited for a token. It was not made.
    #[error("{call}: not made, for another may act by now")]
    Withheld { call: Call },
}

/// What a failed call means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// Too many calls: repeat, slower, all of us.
    Throttled,
    /// EC2 failed: repeat.
    Transient,
    /// Right, but too early: repeat when the state has moved on.
    Wait,
    /// The world is not what we thought: look again and choose again.
    Replan,
    /// Wrong until somebody changes the wish.
    Invalid,
    /// Forbidden until somebody changes the account.
    Denied,
    /// What was asked for is so already.
    AlreadyDone,
}

impl Error {
    /// The action that failed.
    #[must_use]
    pub const fn call(&self) -> Call {
        match self {
            Self::Refused { call, .. }
            | Self::Garbled { call, .. }
            | Self::Unreachable { call, .. }
            | Self::TimedOut { call, .. }
            | Self::Incomplete { call, .. }
            | Self::Withheld { call } => *call,
        }
    }

    /// EC2's error code, if it got so far.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused { code, .. } => Some(code),
            Self::Garbled { .. }
            | Self::Unreachable { .. }
            | Self::TimedOut { .. }
            | Self::Incomplete { .. }
            | Self::Withheld { .. } => None,
        }
    }

    /// What it means.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::Refused {
                call,
                code,
                message,
            } => of_code(*call, code, message),
            // Without a code nobody decided anything: a proxy answered, or EC2 in pieces.
            Self::Garbled { .. }
            | Self::Unreachable { .. }
            | Self::TimedOut { .. }
            | Self::Incomplete { .. }
            | Self::Withheld { .. } => Verdict::Transient,
        }
    }
}

/// The one table of EC2's codes. `InvalidParameterValue` says many things, so its message counts.
fn of_code(call: Call, code: &str, message: &str) -> Verdict {
    let says = |text: &str| message.contains(text);
    match code {
        "RequestLimitExceeded"
        | "Client.RequestLimitExceeded"
        | "Throttling"
        | "ThrottlingException"
        | "RequestThrottled"
        | "RequestThrottledException"
        | "EC2ThrottledException" => Verdict::Throttled,

        "InternalError"
        | "InternalFailure"
        | "ServiceUnavailable"
        | "Unavailable"
        | "ConcurrentTagAccess"
        | "InvalidNextToken"
        | "InvalidPaginationToken"
        | "RequestExpired" => Verdict::Transient,

        "InvalidParameterValue" if says("currently in use") => Verdict::Wait,
        "IncorrectInstanceState"
        | "IncorrectState"
        | "InvalidNetworkInterface.InUse"
        | "DependencyViolation" => Verdict::Wait,

        "InvalidParameterValue" if says("interface attached at device") => Verdict::Replan,
        "InvalidParameterCombination" if says("same availability zone") => Verdict::Replan,
        "InvalidParameterValue" if says("are not assigned to interface") => Verdict::Replan,
        "AttachmentLimitExceeded"
        | "InsufficientFreeAddressesInSubnet"
        | "InsufficientCidrBlocks"
        | "InvalidIPAddress.InUse"
        | "Resource.AlreadyAssigned"
        | "PrivateIpAddressLimitExceeded"
        | "Ipv6AddressLimitExceeded"
        | "IdempotentParameterMismatch" => Verdict::Replan,

        // Gone, if it was to go; not there yet, if we have just made it.
        "InvalidNetworkInterfaceID.NotFound" | "InvalidAttachmentID.NotFound" => match call {
            Call::DetachNetworkInterface | Call::DeleteNetworkInterface => Verdict::AlreadyDone,
            Call::DescribeAddresses
            | Call::DescribeInstances
            | Call::DescribeInstanceTypes
            | Call::DescribeNetworkInterfaces
            | Call::DescribeRouteTables
            | Call::DescribeSecurityGroups
            | Call::DescribeSubnets
            | Call::CreateNetworkInterface
            | Call::AttachNetworkInterface
            | Call::ModifyNetworkInterfaceAttribute
            | Call::CreateTags
            | Call::DeleteTags
            | Call::AssignPrivateIpAddresses
            | Call::UnassignPrivateIpAddresses
            | Call::AssignIpv6Addresses
            | Call::UnassignIpv6Addresses
            | Call::AssociateAddress
            | Call::DisassociateAddress
            | Call::CreateRoute
            | Call::ReplaceRoute
            | Call::DeleteRoute => Verdict::Replan,
        },
        "InvalidInstanceID.NotFound" => Verdict::Replan,

        // Somebody else has the Elastic IP, or ended its association.
        "InvalidAssociationID.NotFound" => Verdict::AlreadyDone,
        "Resource.AlreadyAssociated" | "InvalidAllocationID.NotFound" => Verdict::Replan,

        // Somebody else changed the route table.
        "InvalidRoute.NotFound" if call == Call::DeleteRoute => Verdict::AlreadyDone,
        "InvalidRoute.NotFound" | "RouteAlreadyExists" => Verdict::Replan,
        "InvalidParameterValue" if says("no route defined") => Verdict::Replan,

        "UnauthorizedOperation"
        | "AuthFailure"
        | "OptInRequired"
        | "PendingVerification"
        | "NetworkInterfaceLimitExceeded"
        | "RouteLimitExceeded"
        | "OperationNotPermitted"
        | "InvalidClientTokenId"
        | "SignatureDoesNotMatch"
        | "ExpiredToken" => Verdict::Denied,

        // All the rest is a wish that EC2 does not understand: InvalidSubnetID.NotFound,
        // InvalidGroup.NotFound, *.Malformed, MissingParameter, TagLimitExceeded and their like.
        _ => Verdict::Invalid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(call: Call, code: &str, message: &str, expected: Verdict) {
        let error = Error::Refused {
            call,
            code: code.to_owned(),
            message: message.to_owned(),
        };
        assert_eq!(error.verdict(), expected, "{error}");
    }

    #[test]
    fn a_message_tells_what_its_code_does_not() {
        use Call::*;
        let code = "InvalidParameterValue";
        let taken = "Instance 'i-00000001' already has an interface attached at device index '1'.";
        check(AttachNetworkInterface, code, taken, Verdict::Replan);
        let in_use = "Network interface 'eni-00000001' is currently in use.";
        check(DeleteNetworkInterface, code, in_use, Verdict::Wait);
        check(
            CreateNetworkInterface,
            code,
            "Value () for parameter",
            Verdict::Invalid,
        );
    }

    #[test]
    fn what_is_not_found_is_done_only_for_one_who_wanted_it_gone() {
        use Call::*;
        let code = "InvalidNetworkInterfaceID.NotFound";
        check(DeleteNetworkInterface, code, "", Verdict::AlreadyDone);
        check(AttachNetworkInterface, code, "", Verdict::Replan);
    }

    #[test]
    fn an_answer_without_a_code_is_worth_another_try() {
        let error = Error::Garbled {
            call: Call::DescribeSubnets,
            status: 500,
            detail: "<html>".to_owned(),
        };
        assert_eq!(error.verdict(), Verdict::Transient);
    }
}
