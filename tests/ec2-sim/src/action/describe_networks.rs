//! DescribeSubnets, DescribeSecurityGroups and DescribeVpcs.

use crate::error::{ApiError, no_group, no_subnet, no_vpc};
use crate::filter::{Filters, Values};
use crate::ids::{GroupId, SubnetId, VpcId};
use crate::model::{Group, Subnet, Vpc};
use crate::page::page;
use crate::request::Request;
use crate::world::World;
use crate::xml::Xml;

impl World {
    pub(super) fn describe_subnets(&self, request: &Request) -> Result<String, ApiError> {
        let names = [
            "availability-zone",
            "available-ip-address-count",
            "cidr-block",
            "owner-id",
            "state",
            "subnet-id",
            "vpc-id",
        ];
        let filters = Filters::parse(request, &names)?;
        let ids = request
            .list("SubnetId")
            .into_iter()
            .map(SubnetId::parse)
            .collect::<Result<Vec<_>, _>>()?;
        if let Some(unknown) = ids.iter().find(|id| !self.subnets.contains_key(id)) {
            return Err(no_subnet(unknown));
        }
        request.end_dry_run()?;
        let values = |subnet: &Subnet, name: &str| -> Values {
            vec![match name {
                "availability-zone" => subnet.zone.clone(),
                "available-ip-address-count" => subnet.pool.free().to_string(),
                "cidr-block" => subnet.pool.cidr().to_string(),
                "owner-id" => self.account.clone(),
                "state" => "available".to_owned(),
                "subnet-id" => subnet.id.to_string(),
                _ => subnet.vpc.to_string(),
            }]
        };
        let rows = self
            .subnets
            .values()
            .filter(|subnet| ids.is_empty() || ids.contains(&subnet.id))
            .filter(|subnet| filters.accept(&subnet.tags, |name| values(subnet, name)))
            .collect();
        let page = page(request, "SubnetId", 1000, rows, |subnet: &&Subnet| {
            subnet.id.as_str()
        })?;
        Ok(Xml::fragment(|xml| {
            xml.set("subnetSet", page.rows, |xml, subnet| {
                self.write_subnet(xml, subnet);
            });
            xml.optional("nextToken", page.next_token);
        }))
    }

    fn write_subnet(&self, xml: &mut Xml, subnet: &Subnet) {
        xml.leaf("subnetId", &subnet.id);
        xml.leaf(
            "subnetArn",
            format_args!(
                "arn:aws:ec2:{}:{}:subnet/{}",
                self.region, self.account, subnet.id
            ),
        );
        xml.leaf("state", "available");
        xml.leaf("ownerId", &self.account);
        xml.leaf("vpcId", &subnet.vpc);
        xml.leaf("cidrBlock", subnet.pool.cidr());
        xml.leaf("availableIpAddressCount", subnet.pool.free());
        xml.leaf("availabilityZone", &subnet.zone);
        xml.leaf("defaultForAz", false);
        xml.leaf("mapPublicIpOnLaunch", false);
        xml.leaf("assignIpv6AddressOnCreation", false);
        xml.set(
            "ipv6CidrBlockAssociationSet",
            subnet.pool.ipv6_cidr(),
            |xml, cidr| {
                xml.leaf("ipv6CidrBlock", cidr);
                xml.node("ipv6CidrBlockState", |xml| xml.leaf("state", "associated"));
            },
        );
        xml.tags(&subnet.tags);
    }

    pub(super) fn describe_security_groups(&self, request: &Request) -> Result<String, ApiError> {
        let filters = Filters::parse(
            request,
            &[
                "description",
                "group-id",
                "group-name",
                "owner-id",
                "vpc-id",
            ],
        )?;
        let ids = request
            .list("GroupId")
            .into_iter()
            .map(GroupId::parse)
            .collect::<Result<Vec<_>, _>>()?;
        if let Some(unknown) = ids.iter().find(|id| !self.groups.contains_key(id)) {
            return Err(no_group(unknown));
        }
        request.end_dry_run()?;
        let values = |group: &Group, name: &str| -> Values {
            vec![match name {
                "description" => group.description.clone(),
                "group-id" => group.id.to_string(),
                "group-name" => group.name.clone(),
                "owner-id" => self.account.clone(),
                _ => group.vpc.to_string(),
            }]
        };
        let rows = self
            .groups
            .values()
            .filter(|group| ids.is_empty() || ids.contains(&group.id))
            .filter(|group| filters.accept(&group.tags, |name| values(group, name)))
            .collect();
        let page = page(request, "GroupId", 1000, rows, |group: &&Group| {
            group.id.as_str()
        })?;
        Ok(Xml::fragment(|xml| {
            xml.set("securityGroupInfo", page.rows, |xml, group| {
                xml.leaf("groupId", &group.id);
                xml.leaf("groupName", &group.name);
                xml.leaf("groupDescription", &group.description);
                xml.leaf("vpcId", &group.vpc);
                xml.leaf("ownerId", &self.account);
                xml.tags(&group.tags);
            });
            xml.optional("nextToken", page.next_token);
        }))
    }

    pub(super) fn describe_vpcs(&self, request: &Request) -> Result<String, ApiError> {
        let filters = Filters::parse(request, &["cidr", "owner-id", "state", "vpc-id"])?;
        let ids = request
            .list("VpcId")
            .into_iter()
            .map(VpcId::parse)
            .collect::<Result<Vec<_>, _>>()?;
        if let Some(unknown) = ids.iter().find(|id| !self.vpcs.contains_key(id)) {
            return Err(no_vpc(unknown));
        }
        request.end_dry_run()?;
        let values = |vpc: &Vpc, name: &str| -> Values {
            vec![match name {
                "cidr" => vpc.cidr.to_string(),
                "owner-id" => self.account.clone(),
                "state" => "available".to_owned(),
                _ => vpc.id.to_string(),
            }]
        };
        let rows = self
            .vpcs
            .values()
            .filter(|vpc| ids.is_empty() || ids.contains(&vpc.id))
            .filter(|vpc| filters.accept(&vpc.tags, |name| values(vpc, name)))
            .collect();
        let page = page(request, "VpcId", 1000, rows, |vpc: &&Vpc| vpc.id.as_str())?;
        Ok(Xml::fragment(|xml| {
            xml.set("vpcSet", page.rows, |xml, vpc| {
                xml.leaf("vpcId", &vpc.id);
                xml.leaf("ownerId", &self.account);
                xml.leaf("state", "available");
                xml.leaf("cidrBlock", vpc.cidr);
                xml.leaf("instanceTenancy", "default");
                xml.leaf("isDefault", false);
                xml.set("cidrBlockAssociationSet", [vpc.cidr], |xml, cidr| {
                    xml.leaf("cidrBlock", cidr);
                    xml.node("cidrBlockState", |xml| xml.leaf("state", "associated"));
                });
                xml.set("ipv6CidrBlockAssociationSet", vpc.ipv6_cidr, |xml, cidr| {
                    xml.leaf("ipv6CidrBlock", cidr);
                    xml.node("ipv6CidrBlockState", |xml| xml.leaf("state", "associated"));
                });
                xml.tags(&vpc.tags);
            });
            xml.optional("nextToken", page.next_token);
        }))
    }
}
