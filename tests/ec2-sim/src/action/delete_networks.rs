//! DeleteSubnet and DeleteSecurityGroup: refused while an interface depends on them.

use crate::error::{ApiError, api, no_group, no_subnet};
use crate::ids::{GroupId, SubnetId};
use crate::request::Request;
use crate::world::World;
use crate::xml::Xml;

impl World {
    pub(super) fn delete_subnet(&mut self, request: &Request) -> Result<String, ApiError> {
        let id = SubnetId::parse(request.required("SubnetId")?)?;
        if !self.subnets.contains_key(&id) {
            return Err(no_subnet(&id));
        }
        request.end_dry_run()?;
        if self
            .interfaces
            .values()
            .any(|interface| interface.subnet == id)
        {
            return Err(api(
                "DependencyViolation",
                format!("The subnet '{id}' has dependencies and cannot be deleted."),
            ));
        }
        self.subnets.remove(&id);
        Ok(Xml::fragment(|xml| xml.leaf("return", true)))
    }

    pub(super) fn delete_security_group(&mut self, request: &Request) -> Result<String, ApiError> {
        let id = GroupId::parse(request.required("GroupId")?)?;
        if !self.groups.contains_key(&id) {
            return Err(no_group(&id));
        }
        request.end_dry_run()?;
        if self
            .interfaces
            .values()
            .any(|interface| interface.groups.contains(&id))
        {
            return Err(api(
                "DependencyViolation",
                format!("resource {id} has a dependent object"),
            ));
        }
        self.groups.remove(&id);
        Ok(Xml::fragment(|xml| {
            xml.leaf("return", true);
            xml.leaf("groupId", &id);
        }))
    }
}
