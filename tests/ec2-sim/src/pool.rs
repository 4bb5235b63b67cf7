//! Decides which addresses of a subnet are free, and hands them out.
//!
//! The first four addresses and the last one belong to AWS. Addresses are handed out in turn, so that
//! one that was given back is not seen again at once.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

use crate::error::{ApiError, api, invalid_value};

/// Network address, router, DNS, and one kept for later.
const RESERVED_FIRST: u32 = 4;
/// Addresses of an IPv4 prefix, a /28.
const PREFIX_SIZE: u32 = 16;

#[derive(Clone, Debug)]
pub struct Pool {
    cidr: Ipv4Net,
    ipv6_cidr: Option<Ipv6Net>,
    /// Offsets from the network address.
    taken: BTreeSet<u32>,
    /// Offsets of the first addresses of prefixes.
    prefixes: BTreeSet<u32>,
    next: u32,
    taken_ipv6: BTreeSet<Ipv6Addr>,
    ipv6_prefixes: BTreeSet<u128>,
    next_ipv6: u128,
}

impl Pool {
    #[must_use]
    pub fn new(cidr: Ipv4Net, ipv6_cidr: Option<Ipv6Net>) -> Self {
        Self {
            cidr,
            ipv6_cidr,
            taken: BTreeSet::new(),
            prefixes: BTreeSet::new(),
            next: RESERVED_FIRST,
            taken_ipv6: BTreeSet::new(),
            ipv6_prefixes: BTreeSet::new(),
            next_ipv6: 1,
        }
    }

    #[must_use]
    pub fn cidr(&self) -> Ipv4Net {
        self.cidr
    }

    #[must_use]
    pub fn ipv6_cidr(&self) -> Option<Ipv6Net> {
        self.ipv6_cidr
    }

    /// `AvailableIpAddressCount`.
    #[must_use]
    pub fn free(&self) -> usize {
        let usable = (self.size() - RESERVED_FIRST - 1) as usize;
        usable - self.taken.len() - self.prefixes.len() * PREFIX_SIZE as usize
    }

    /// Takes the address that a caller names.
    pub(crate) fn take(&mut self, address: Ipv4Addr) -> Result<(), ApiError> {
        if !self.cidr.contains(&address) {
            return Err(invalid_value(format!(
                "Address {address} does not fall within the subnet's address range"
            )));
        }
        let offset = self.offset(address);
        if self.is_reserved(offset) {
            return Err(invalid_value(format!(
                "Address {address} is in subnet's reserved address range"
            )));
        }
        if self.is_taken(offset) {
            return Err(api(
                "InvalidIPAddress.InUse",
                format!("Address {address} is in use."),
            ));
        }
        self.taken.insert(offset);
        Ok(())
    }

    /// Takes `count` addresses, or none.
    pub(crate) fn take_any(&mut self, count: usize) -> Result<Vec<Ipv4Addr>, ApiError> {
        if count > self.free() {
            return Err(api(
                "InsufficientFreeAddressesInSubnet",
                "The specified subnet does not have enough free addresses to satisfy the request.",
            ));
        }
        let last = self.size() - 1;
        let mut addresses = Vec::with_capacity(count);
        while addresses.len() < count {
            let offset = self.next;
            self.next = if offset + 1 < last {
                offset + 1
            } else {
                RESERVED_FIRST
            };
            if !self.is_taken(offset) {
                self.taken.insert(offset);
                addresses.push(self.address(offset));
            }
        }
        Ok(addresses)
    }

    pub(crate) fn release(&mut self, address: Ipv4Addr) {
        self.taken.remove(&self.offset(address));
    }

    /// Takes the /28 that a caller names.
    pub(crate) fn take_prefix(&mut self, prefix: Ipv4Net) -> Result<(), ApiError> {
        if prefix.prefix_len() != 28 || prefix.trunc() != prefix || !self.cidr.contains(&prefix) {
            return Err(invalid_value(format!(
                "Prefix {prefix} does not fall within the subnet's address range"
            )));
        }
        let offset = self.offset(prefix.network());
        if !self.prefix_is_free(offset) {
            return Err(api(
                "InvalidIPAddress.InUse",
                format!("Prefix {prefix} is in use."),
            ));
        }
        self.prefixes.insert(offset);
        Ok(())
    }

    /// Takes `count` /28 blocks that no address and no other prefix touches, or none.
    pub(crate) fn take_any_prefixes(&mut self, count: usize) -> Result<Vec<Ipv4Net>, ApiError> {
        let free: Vec<u32> = (0..self.size() / PREFIX_SIZE)
            .map(|block| block * PREFIX_SIZE)
            .filter(|&offset| self.prefix_is_free(offset))
            .take(count)
            .collect();
        if free.len() < count {
            return Err(api(
                "InsufficientCidrBlocks",
                "The specified subnet does not have enough free cidr blocks to satisfy the request.",
            ));
        }
        self.prefixes.extend(&free);
        Ok(free
            .into_iter()
            .map(|offset| Ipv4Net::new_assert(self.address(offset), 28))
            .collect())
    }

    pub(crate) fn release_prefix(&mut self, prefix: Ipv4Net) {
        self.prefixes.remove(&self.offset(prefix.network()));
    }

    pub(crate) fn take_ipv6(&mut self, address: Ipv6Addr) -> Result<(), ApiError> {
        if !self.require_ipv6()?.contains(&address) {
            return Err(invalid_value(format!(
                "Address {address} does not fall within the subnet's address range"
            )));
        }
        if self.ipv6_prefixes.contains(&prefix_of(address)) || !self.taken_ipv6.insert(address) {
            return Err(api(
                "InvalidIPAddress.InUse",
                format!("Address {address} is in use."),
            ));
        }
        Ok(())
    }

    pub(crate) fn take_any_ipv6(&mut self, count: usize) -> Result<Vec<Ipv6Addr>, ApiError> {
        let base = self.require_ipv6()?.network().to_bits();
        let mut addresses = Vec::with_capacity(count);
        while addresses.len() < count {
            // Addresses lie in the upper half of the /64, prefixes in the lower: they never meet.
            let address = Ipv6Addr::from_bits(base | 1 << 63 | self.next_ipv6);
            self.next_ipv6 += 1;
            if self.taken_ipv6.insert(address) {
                addresses.push(address);
            }
        }
        Ok(addresses)
    }

    pub(crate) fn release_ipv6(&mut self, address: Ipv6Addr) {
        self.taken_ipv6.remove(&address);
    }

    pub(crate) fn take_any_ipv6_prefixes(
        &mut self,
        count: usize,
    ) -> Result<Vec<Ipv6Net>, ApiError> {
        let base = self.require_ipv6()?.network().to_bits();
        let free: Vec<u128> = (1_u128..1 << 15)
            .map(|block| base | block << 48)
            .filter(|prefix| !self.ipv6_prefixes.contains(prefix) && !self.has_address_in(*prefix))
            .take(count)
            .collect();
        if free.len() < count {
            return Err(api(
                "InsufficientCidrBlocks",
                "The specified subnet does not have enough free cidr blocks to satisfy the request.",
            ));
        }
        self.ipv6_prefixes.extend(&free);
        Ok(free
            .into_iter()
            .map(|prefix| Ipv6Net::new_assert(Ipv6Addr::from_bits(prefix), 80))
            .collect())
    }

    pub(crate) fn release_ipv6_prefix(&mut self, prefix: Ipv6Net) {
        self.ipv6_prefixes.remove(&prefix.network().to_bits());
    }

    fn require_ipv6(&self) -> Result<Ipv6Net, ApiError> {
        self.ipv6_cidr
            .ok_or_else(|| invalid_value("The specified subnet does not have an IPv6 CIDR block."))
    }

    fn has_address_in(&self, prefix: u128) -> bool {
        let (first, last) = (
            Ipv6Addr::from_bits(prefix),
            Ipv6Addr::from_bits(prefix | ((1 << 48) - 1)),
        );
        self.taken_ipv6.range(first..=last).next().is_some()
    }

    fn size(&self) -> u32 {
        1 << (32 - self.cidr.prefix_len())
    }

    fn offset(&self, address: Ipv4Addr) -> u32 {
        address
            .to_bits()
            .wrapping_sub(self.cidr.network().to_bits())
    }

    fn address(&self, offset: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.cidr.network().to_bits() + offset)
    }

    fn is_reserved(&self, offset: u32) -> bool {
        offset < RESERVED_FIRST || offset == self.size() - 1
    }

    fn is_taken(&self, offset: u32) -> bool {
        self.taken.contains(&offset) || self.prefixes.contains(&(offset - offset % PREFIX_SIZE))
    }

    fn prefix_is_free(&self, offset: u32) -> bool {
        let last = offset + PREFIX_SIZE - 1;
        offset >= RESERVED_FIRST
            && last < self.size() - 1
            && !self.prefixes.contains(&offset)
            && self.taken.range(offset..=last).next().is_none()
    }
}

/// The /80 that an address lies in.
fn prefix_of(address: Ipv6Addr) -> u128 {
    address.to_bits() >> 48 << 48
}
