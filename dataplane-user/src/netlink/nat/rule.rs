//! Our table, its chain and its rules, in nf_tables' messages.
//!
//! A rule says: leaves by this interface, has its source in this network; its source becomes what it is. Numbers of the
//! protocol are in network order, what is compared is in the packet's, or the machine's.

use std::net::Ipv4Addr;

use eniway_api::EniId;
use ipnet::Ipv4Net;

use super::KeptSource;
use crate::netlink::message::{
    HEADER, NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_DUMP, NLM_F_REQUEST, attribute,
    attributes, field, flagged, push,
};

/// The table is ours by its name, and the chain by its table.
const TABLE: &[u8] = b"eniway\0";
const CHAIN: &[u8] = b"sources\0";
/// Before iptables' (NF_IP_PRI_NAT_SRC, 100), and those that go by it.
const PRIORITY: i32 = 99;

// linux/netfilter.h, nfnetlink.h and nf_tables.h.
const NFPROTO_UNSPEC: u8 = 0;
const NFPROTO_IPV4: u8 = 2;
const NFNL_MSG_BATCH_BEGIN: u16 = 0x10;
const NFNL_MSG_BATCH_END: u16 = 0x11;
const NFNL_SUBSYS_NFTABLES: u16 = 10;
const NF_INET_POST_ROUTING: u32 = 4;
const NFT_MSG_NEWTABLE: u16 = 0;
const NFT_MSG_DELTABLE: u16 = 2;
const NFT_MSG_NEWCHAIN: u16 = 3;
const NFT_MSG_GETCHAIN: u16 = 4;
const NFT_MSG_DELCHAIN: u16 = 5;
const NFT_MSG_NEWRULE: u16 = 6;
const NFT_MSG_GETRULE: u16 = 7;
const NFT_MSG_DELRULE: u16 = 8;
/// The table's name is the first attribute of a table, a chain and a rule.
const NFTA_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_TYPE: u16 = 7;
const NFTA_HOOK_HOOKNUM: u16 = 1;
const NFTA_HOOK_PRIORITY: u16 = 2;
const NFTA_RULE_CHAIN: u16 = 2;
const NFTA_RULE_HANDLE: u16 = 3;
const NFTA_RULE_EXPRESSIONS: u16 = 4;
const NFTA_RULE_USERDATA: u16 = 7;
const NFTA_LIST_ELEM: u16 = 1;
const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
const NFTA_DATA_VALUE: u16 = 1;
const NFTA_META_DREG: u16 = 1;
const NFTA_META_KEY: u16 = 2;
const NFT_META_OIF: u32 = 5;
const NFTA_CMP_SREG: u16 = 1;
const NFTA_CMP_OP: u16 = 2;
const NFTA_CMP_DATA: u16 = 3;
const NFT_CMP_EQ: u32 = 0;
const NFTA_PAYLOAD_DREG: u16 = 1;
const NFTA_PAYLOAD_BASE: u16 = 2;
const NFTA_PAYLOAD_OFFSET: u16 = 3;
const NFTA_PAYLOAD_LEN: u16 = 4;
const NFT_PAYLOAD_NETWORK_HEADER: u32 = 1;
const NFTA_BITWISE_SREG: u16 = 1;
const NFTA_BITWISE_DREG: u16 = 2;
const NFTA_BITWISE_LEN: u16 = 3;
const NFTA_BITWISE_MASK: u16 = 4;
const NFTA_BITWISE_XOR: u16 = 5;
const NFTA_NAT_TYPE: u16 = 1;
const NFTA_NAT_FAMILY: u16 = 2;
const NFTA_NAT_REG_ADDR_MIN: u16 = 3;
const NFTA_NAT_REG_ADDR_MAX: u16 = 4;
const NFT_NAT_SNAT: u32 = 0;
const NFT_REG_1: u32 = 1;
const NLA_F_NESTED: u16 = 0x8000;
/// What nft shows as a rule's comment (libnftnl's udata.h).
const COMMENT: u8 = 0;
/// Bytes of an IPv4 header before its source, and of that.
const SOURCE: (u32, u32) = (12, 4);

/// `nfgenmsg`.
const FAMILY_HEADER: usize = 4;

/// A rule of our chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    handle: Vec<u8>,
    /// Absent: it is not of our making.
    pub(super) kept: Option<KeptSource>,
}

/// Makes the table, unless it is there.
pub(super) fn table() -> Vec<u8> {
    change(NFT_MSG_NEWTABLE, NLM_F_CREATE, &named())
}

/// Takes the table away with all that is in it.
pub(super) fn table_gone() -> Vec<u8> {
    change(NFT_MSG_DELTABLE, 0, &named())
}

/// Makes the chain, unless it is there.
pub(super) fn nat_chain() -> Vec<u8> {
    let mut hook = Vec::new();
    push(
        &mut hook,
        NFTA_HOOK_HOOKNUM,
        &NF_INET_POST_ROUTING.to_be_bytes(),
    );
    push(&mut hook, NFTA_HOOK_PRIORITY, &PRIORITY.to_be_bytes());
    let mut body = named();
    push(&mut body, NFTA_CHAIN_NAME, CHAIN);
    push(&mut body, NFTA_CHAIN_HOOK | NLA_F_NESTED, &hook);
    push(&mut body, NFTA_CHAIN_TYPE, b"nat\0");
    change(NFT_MSG_NEWCHAIN, NLM_F_CREATE, &body)
}

/// Adds the rule that keeps a source.
pub(super) fn new_rule(wanted: &KeptSource) -> Vec<u8> {
    let mut expressions = Vec::new();
    for (name, data) in sentence(wanted) {
        let mut expression = Vec::new();
        push(
            &mut expression,
            NFTA_EXPR_NAME,
            format!("{name}\0").as_bytes(),
        );
        push(&mut expression, NFTA_EXPR_DATA | NLA_F_NESTED, &data);
        push(&mut expressions, NFTA_LIST_ELEM | NLA_F_NESTED, &expression);
    }
    let eni = format!("{}\0", wanted.eni);
    let length = u8::try_from(eni.len()).unwrap_or(u8::MAX);
    let comment = [&[COMMENT, length], eni.as_bytes()].concat();
    let mut body = named();
    push(&mut body, NFTA_RULE_CHAIN, CHAIN);
    push(
        &mut body,
        NFTA_RULE_EXPRESSIONS | NLA_F_NESTED,
        &expressions,
    );
    push(&mut body, NFTA_RULE_USERDATA, &comment);
    change(NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, &body)
}

/// Asks for all rules of the table.
pub(super) fn rules() -> Vec<u8> {
    asked(NFT_MSG_GETRULE, NFPROTO_IPV4, &named())
}

/// Asks for all chains there are.
pub(super) fn chains() -> Vec<u8> {
    asked(NFT_MSG_GETCHAIN, NFPROTO_UNSPEC, &[])
}

/// The messages as one transaction.
pub(super) fn commit(messages: &[Vec<u8>]) -> Vec<u8> {
    let edge = |kind| {
        let mut body = family(NFPROTO_UNSPEC);
        body[2..].copy_from_slice(&NFNL_SUBSYS_NFTABLES.to_be_bytes());
        flagged(kind, NLM_F_REQUEST, &body)
    };
    let (begin, end) = (edge(NFNL_MSG_BATCH_BEGIN), edge(NFNL_MSG_BATCH_END));
    let all = [&begin].into_iter().chain(messages).chain([&end]);
    all.flatten().copied().collect()
}

/// Whether the chain of this message translates sources, and is not ours.
pub(super) fn is_nat_of_others(message: &[u8]) -> bool {
    let Some(chain) = body(message) else {
        return false;
    };
    let hook = attribute(chain, NFTA_CHAIN_HOOK);
    let number = hook.and_then(|hook| attribute(hook, NFTA_HOOK_HOOKNUM));
    attribute(chain, NFTA_CHAIN_TYPE) == Some(b"nat\0")
        && number == Some(&NF_INET_POST_ROUTING.to_be_bytes())
        && attribute(chain, NFTA_TABLE) != Some(TABLE)
}

/// Whether a message about a change is one to look after: something of our table went, or somebody begins to translate.
pub(super) fn matters(message: &[u8]) -> bool {
    let Some(kind) = field(message, 4).filter(|kind| kind >> 8 == NFNL_SUBSYS_NFTABLES) else {
        return false;
    };
    match kind & 0xff {
        NFT_MSG_DELTABLE | NFT_MSG_DELCHAIN | NFT_MSG_DELRULE => {
            body(message).and_then(|body| attribute(body, NFTA_TABLE)) == Some(TABLE)
        }
        NFT_MSG_NEWCHAIN => is_nat_of_others(message),
        _ => false,
    }
}

impl Rule {
    /// `None`: the message tells of no rule.
    pub(super) fn read(message: &[u8]) -> Option<Self> {
        let rule = body(message)?;
        Some(Self {
            handle: attribute(rule, NFTA_RULE_HANDLE)?.to_vec(),
            kept: kept(rule),
        })
    }

    /// Takes the rule away.
    pub(super) fn gone(&self) -> Vec<u8> {
        let mut body = named();
        push(&mut body, NFTA_RULE_CHAIN, CHAIN);
        push(&mut body, NFTA_RULE_HANDLE, &self.handle);
        change(NFT_MSG_DELRULE, 0, &body)
    }
}

/// What the rule keeps, if it is such a rule and nothing else.
fn kept(rule: &[u8]) -> Option<KeptSource> {
    let said = attribute(rule, NFTA_RULE_USERDATA)?;
    let comment = said.get(2..2 + usize::from(*said.get(1)?))?;
    let eni = String::from_utf8_lossy(comment);
    let expressions = attributes(attribute(rule, NFTA_RULE_EXPRESSIONS)?);
    let expressions: Option<Vec<_>> = expressions
        .map(|(_, one)| {
            let name = attribute(one, NFTA_EXPR_NAME)?;
            Some((name, attribute(one, NFTA_EXPR_DATA)?))
        })
        .collect();
    let expressions = expressions?;
    let value = |data, kind| attribute(attribute(data, kind)?, NFTA_DATA_VALUE)?.first_chunk();
    let (interface, source, mask): (_, _, [u8; 4]) = match expressions.as_slice() {
        [
            (b"meta\0", _),
            (b"cmp\0", interface),
            (b"payload\0", _),
            (b"cmp\0", source),
            (b"nat\0", _),
        ] => (interface, source, [0xff; 4]),
        [
            (b"meta\0", _),
            (b"cmp\0", interface),
            (b"payload\0", _),
            (b"bitwise\0", mask),
            (b"cmp\0", source),
            (b"payload\0", _),
            (b"nat\0", _),
        ] => (interface, source, *value(mask, NFTA_BITWISE_MASK)?),
        _ => return None,
    };
    let source = Ipv4Addr::from(*value(source, NFTA_CMP_DATA)?);
    Some(KeptSource {
        eni: EniId::from(eni.trim_end_matches('\0')),
        interface: u32::from_ne_bytes(*value(interface, NFTA_CMP_DATA)?),
        source: Ipv4Net::with_netmask(source, mask.into()).ok()?,
    })
}

/// The rule's expressions: name and data.
fn sentence(wanted: &KeptSource) -> Vec<(&'static str, Vec<u8>)> {
    let source = ("payload", load_source());
    let mut sentence = vec![
        ("meta", load_interface()),
        ("cmp", equals(&wanted.interface.to_ne_bytes())),
        source.clone(),
    ];
    let is_one = wanted.source.prefix_len() == wanted.source.max_prefix_len();
    if !is_one {
        sentence.push(("bitwise", masked(wanted.source.netmask())));
    }
    sentence.push(("cmp", equals(&wanted.source.network().octets())));
    if !is_one {
        sentence.push(source);
    }
    sentence.push(("nat", translate()));
    sentence
}

fn load_interface() -> Vec<u8> {
    numbers(&[(NFTA_META_DREG, NFT_REG_1), (NFTA_META_KEY, NFT_META_OIF)])
}

fn load_source() -> Vec<u8> {
    numbers(&[
        (NFTA_PAYLOAD_DREG, NFT_REG_1),
        (NFTA_PAYLOAD_BASE, NFT_PAYLOAD_NETWORK_HEADER),
        (NFTA_PAYLOAD_OFFSET, SOURCE.0),
        (NFTA_PAYLOAD_LEN, SOURCE.1),
    ])
}

fn masked(mask: Ipv4Addr) -> Vec<u8> {
    let mut data = numbers(&[
        (NFTA_BITWISE_SREG, NFT_REG_1),
        (NFTA_BITWISE_DREG, NFT_REG_1),
        (NFTA_BITWISE_LEN, SOURCE.1),
    ]);
    push_value(&mut data, NFTA_BITWISE_MASK, &mask.octets());
    push_value(&mut data, NFTA_BITWISE_XOR, &[0; 4]);
    data
}

fn equals(value: &[u8]) -> Vec<u8> {
    let mut data = numbers(&[(NFTA_CMP_SREG, NFT_REG_1), (NFTA_CMP_OP, NFT_CMP_EQ)]);
    push_value(&mut data, NFTA_CMP_DATA, value);
    data
}

/// To the source that was loaded, and to no other port if it can be helped.
fn translate() -> Vec<u8> {
    numbers(&[
        (NFTA_NAT_TYPE, NFT_NAT_SNAT),
        (NFTA_NAT_FAMILY, NFPROTO_IPV4.into()),
        (NFTA_NAT_REG_ADDR_MIN, NFT_REG_1),
        (NFTA_NAT_REG_ADDR_MAX, NFT_REG_1),
    ])
}

fn numbers(numbers: &[(u16, u32)]) -> Vec<u8> {
    let mut data = Vec::new();
    for (kind, number) in numbers {
        push(&mut data, *kind, &number.to_be_bytes());
    }
    data
}

fn push_value(data: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let mut nested = Vec::new();
    push(&mut nested, NFTA_DATA_VALUE, value);
    push(data, kind | NLA_F_NESTED, &nested);
}

/// The table's name, with which the attributes of all messages begin.
fn named() -> Vec<u8> {
    let mut body = Vec::new();
    push(&mut body, NFTA_TABLE, TABLE);
    body
}

fn change(kind: u16, flags: u16, attributes: &[u8]) -> Vec<u8> {
    let flags = NLM_F_REQUEST | NLM_F_ACK | flags;
    of_nftables(kind, flags, NFPROTO_IPV4, attributes)
}

fn asked(kind: u16, family: u8, attributes: &[u8]) -> Vec<u8> {
    of_nftables(kind, NLM_F_REQUEST | NLM_F_DUMP, family, attributes)
}

fn of_nftables(kind: u16, flags: u16, protocol: u8, attributes: &[u8]) -> Vec<u8> {
    let mut body = family(protocol);
    body.extend(attributes);
    flagged(NFNL_SUBSYS_NFTABLES << 8 | kind, flags, &body)
}

fn family(protocol: u8) -> Vec<u8> {
    vec![protocol, 0, 0, 0]
}

fn body(message: &[u8]) -> Option<&[u8]> {
    message.get(HEADER + FAMILY_HEADER..)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(source: &str) -> KeptSource {
        KeptSource {
            eni: "eni-1".into(),
            interface: 7,
            source: source.parse().unwrap(),
        }
    }

    /// The rule as the kernel lists it: with a number of its own.
    fn listed(rule: &[u8]) -> Vec<u8> {
        let mut body = rule[HEADER..].to_vec();
        push(&mut body, NFTA_RULE_HANDLE, &9_u64.to_be_bytes());
        flagged(0xa06, 0, &body)
    }

    #[test]
    fn a_rule_is_read_as_it_was_written() {
        for net in ["10.0.1.7/32", "10.0.1.16/28"] {
            let wanted = source(net);
            let rule = Rule::read(&listed(&new_rule(&wanted))).unwrap();
            assert_eq!(rule.kept.as_ref(), Some(&wanted));
            let gone = rule.gone();
            let handle = attribute(&gone[HEADER + FAMILY_HEADER..], NFTA_RULE_HANDLE);
            assert_eq!(handle, Some(9_u64.to_be_bytes().as_slice()));
        }
    }

    #[test]
    fn a_rule_that_somebody_else_put_into_the_chain_keeps_nothing() {
        let mut body = family(NFPROTO_IPV4);
        body.extend(named());
        push(&mut body, NFTA_RULE_EXPRESSIONS, &[]);
        let rule = Rule::read(&listed(&flagged(0xa06, 0, &body))).unwrap();
        assert_eq!(rule.kept, None);
        assert_eq!(Rule::read(&flagged(3, 0, &[0; 4])), None, "no rule");
    }

    #[test]
    fn a_transaction_begins_and_ends() {
        let all = commit(&[table(), nat_chain()]);
        let kinds = crate::netlink::message::messages(&all).map(|one| field(one, 4));
        assert_eq!(
            kinds.flatten().collect::<Vec<_>>(),
            [0x10, 0xa00, 0xa03, 0x11]
        );
    }

    #[test]
    fn what_goes_of_our_table_matters_and_a_chain_by_which_others_translate() {
        assert!(matters(&table_gone()));
        assert!(!matters(&table()), "our own doing");
        assert!(!matters(&nat_chain()));
        let mut others = nat_chain();
        let name = HEADER + FAMILY_HEADER + 4;
        others[name..name + 3].copy_from_slice(b"nat");
        assert!(matters(&others));
        let mut gone = table_gone();
        gone[name] = b'x';
        assert!(!matters(&gone), "somebody else's table");
    }
}
