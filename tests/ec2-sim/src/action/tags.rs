//! CreateTags and DeleteTags, and the rules that tags obey everywhere.

use jiff::Timestamp;

use crate::error::{
    ApiError, api, invalid_value, missing, no_elastic_ip, no_group, no_instance, no_interface,
    no_subnet, no_vpc,
};
use crate::ids::{AllocationId, EniId, GroupId, InstanceId, SubnetId, VpcId};
use crate::model::Tags;
use crate::request::Request;
use crate::world::World;
use crate::xml::Xml;

/// Tags that a resource may carry.
const MAX_TAGS: usize = 50;
/// Resources of one call.
const MAX_RESOURCES: usize = 1000;

/// A resource that can carry tags.
enum Tagged {
    Interface(EniId),
    Instance(InstanceId),
    Subnet(SubnetId),
    Group(GroupId),
    Vpc(VpcId),
    ElasticIp(AllocationId),
}

impl World {
    pub(super) fn create_tags(
        &mut self,
        request: &Request,
        now: Timestamp,
    ) -> Result<String, ApiError> {
        let new = request.tags("Tag")?;
        if new.is_empty() {
            return Err(missing("Tag"));
        }
        self.change_tags(request, now, |tags| {
            check_new_tags(tags, &new)?;
            let mut changed = tags.clone();
            changed.extend(new.iter().cloned());
            Ok(changed)
        })
    }

    pub(super) fn delete_tags(
        &mut self,
        request: &Request,
        now: Timestamp,
    ) -> Result<String, ApiError> {
        let items = request.items("Tag");
        let gone = request.tags("Tag")?;
        // A key alone removes the tag; with a value, only if it has that value. No key at all removes all.
        let gone: Vec<(String, Option<String>)> = items
            .iter()
            .zip(gone)
            .map(|(item, (key, value))| {
                (key, request.has(&format!("{item}.Value")).then_some(value))
            })
            .collect();
        self.change_tags(request, now, |tags| {
            let goes = |key: &String, value: &String| {
                gone.is_empty()
                    || gone
                        .iter()
                        .any(|(k, v)| k == key && v.as_ref().is_none_or(|v| v == value))
            };
            Ok(tags
                .iter()
                .filter(|(key, value)| !goes(key, value))
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect())
        })
    }

    /// Changes the tags of every resource that is named, or of none.
    fn change_tags(
        &mut self,
        request: &Request,
        now: Timestamp,
        change: impl Fn(&Tags) -> Result<Tags, ApiError>,
    ) -> Result<String, ApiError> {
        let named = request.list("ResourceId");
        if named.is_empty() {
            return Err(missing("ResourceId"));
        }
        if named.len() > MAX_RESOURCES {
            return Err(invalid_value(format!(
                "At most {MAX_RESOURCES} resources can be tagged by one request."
            )));
        }
        let mut changes = Vec::with_capacity(named.len());
        for id in named {
            let resource = self.tagged(id, now)?;
            let tags = change(self.tags_of(&resource)?)?;
            changes.push((resource, tags));
        }
        request.end_dry_run()?;
        for (resource, tags) in changes {
            self.set_tags(&resource, tags, now);
        }
        Ok(Xml::fragment(|xml| xml.leaf("return", true)))
    }

    fn tagged(&self, id: &str, now: Timestamp) -> Result<Tagged, ApiError> {
        match id.rsplit_once('-').map(|(prefix, _)| prefix) {
            Some("eni") => {
                let id = EniId::parse(id)?;
                self.known_interface(&id, now)?;
                Ok(Tagged::Interface(id))
            }
            Some("i") => Ok(Tagged::Instance(InstanceId::parse(id)?)),
            Some("subnet") => Ok(Tagged::Subnet(SubnetId::parse(id)?)),
            Some("sg") => Ok(Tagged::Group(GroupId::parse(id)?)),
            Some("vpc") => Ok(Tagged::Vpc(VpcId::parse(id)?)),
            Some("eipalloc") => Ok(Tagged::ElasticIp(AllocationId::parse(id)?)),
            _ => Err(api("InvalidID", format!("The ID '{id}' is not valid"))),
        }
    }

    fn tags_of(&self, resource: &Tagged) -> Result<&Tags, ApiError> {
        match resource {
            Tagged::Interface(id) => self
                .interfaces
                .get(id)
                .map(|it| &it.tags)
                .ok_or_else(|| no_interface(id)),
            Tagged::Instance(id) => self
                .instances
                .get(id)
                .map(|it| &it.tags)
                .ok_or_else(|| no_instance(id)),
            Tagged::Subnet(id) => self
                .subnets
                .get(id)
                .map(|it| &it.tags)
                .ok_or_else(|| no_subnet(id)),
            Tagged::Group(id) => self
                .groups
                .get(id)
                .map(|it| &it.tags)
                .ok_or_else(|| no_group(id)),
            Tagged::Vpc(id) => self
                .vpcs
                .get(id)
                .map(|it| &it.tags)
                .ok_or_else(|| no_vpc(id)),
            Tagged::ElasticIp(id) => self
                .elastic_ips
                .get(id)
                .map(|it| &it.tags)
                .ok_or_else(|| no_elastic_ip(id)),
        }
    }

    fn set_tags(&mut self, resource: &Tagged, tags: Tags, now: Timestamp) {
        match resource {
            Tagged::Interface(id) => {
                self.interfaces.change(now, id, |it| it.tags = tags);
            }
            Tagged::Instance(id) => {
                self.instances.change(now, id, |it| it.tags = tags);
            }
            Tagged::Subnet(id) => {
                if let Some(it) = self.subnets.get_mut(id) {
                    it.tags = tags;
                }
            }
            Tagged::Group(id) => {
                if let Some(it) = self.groups.get_mut(id) {
                    it.tags = tags;
                }
            }
            Tagged::Vpc(id) => {
                if let Some(it) = self.vpcs.get_mut(id) {
                    it.tags = tags;
                }
            }
            Tagged::ElasticIp(id) => {
                self.elastic_ips.change(now, id, |it| it.tags = tags);
            }
        }
    }
}

/// Whether `new` may be added to `old`.
pub(super) fn check_new_tags(old: &Tags, new: &[(String, String)]) -> Result<(), ApiError> {
    let mut keys = old.len();
    for (at, (key, value)) in new.iter().enumerate() {
        if key.starts_with("aws:") {
            return Err(invalid_value(
                "Tag keys starting with 'aws:' are reserved for internal use",
            ));
        }
        if key.chars().count() > 128 {
            return Err(invalid_value(
                "Tag key exceeds the maximum length of 128 characters",
            ));
        }
        if value.chars().count() > 256 {
            return Err(invalid_value(
                "Tag value exceeds the maximum length of 256 characters",
            ));
        }
        if new[..at].iter().any(|(earlier, _)| earlier == key) {
            return Err(invalid_value(format!(
                "Duplicate tag key '{key}' specified."
            )));
        }
        keys += usize::from(!old.contains_key(key));
    }
    if keys > MAX_TAGS {
        return Err(api(
            "TagLimitExceeded",
            format!("More than {MAX_TAGS} tags specified"),
        ));
    }
    Ok(())
}

pub(super) fn merged(tags: &[(String, String)]) -> Tags {
    tags.iter().cloned().collect()
}
