//! What is measured: how many nodes, what is wished for them, how EC2 behaves, what happens after.

use std::fmt;

use crate::peer::{Figures, PEER};

/// One controller's life, from an empty EC2 on.
#[derive(Clone, Debug)]
pub(crate) struct Course {
    pub(crate) nodes: usize,
    /// Interfaces of each node, in a subnet each.
    pub(crate) subnets: usize,
    /// Whether each subnet is asked for by a NodeENI of its own.
    pub(crate) apart: bool,
    pub(crate) source_dest_check: bool,
    /// Whether EC2 limits calls by its token buckets, and the controller keeps to its share of them.
    pub(crate) buckets: bool,
    /// Whether a minute is waited for, in which nothing happens.
    pub(crate) quiet: bool,
    /// Whether a node is added, one loses its label, and the NodeENI is deleted.
    pub(crate) changes: bool,
}

impl Course {
    const fn new(nodes: usize, subnets: usize) -> Self {
        Self {
            nodes,
            subnets,
            apart: false,
            source_dest_check: true,
            buckets: false,
            quiet: true,
            changes: false,
        }
    }

    /// What is attached and let go while controllers are killed.
    pub(crate) const fn of_kills() -> Self {
        Self::new(3, 2)
    }

    /// In the order of the tables.
    pub(crate) fn all(quick: bool) -> Vec<Self> {
        let small = vec![Self::new(1, 1), Self::new(1, 2), Self::new(10, 2)];
        if quick {
            return small;
        }
        let hundred = Self::new(100, 2);
        let unwatched = Self {
            quiet: false,
            ..hundred.clone()
        };
        let large = vec![
            Self {
                changes: true,
                ..hundred
            },
            Self::new(500, 2),
            Self::new(1_000, 2),
            Self::new(5_000, 2),
            Self {
                source_dest_check: false,
                ..unwatched.clone()
            },
            Self {
                buckets: true,
                ..unwatched.clone()
            },
            Self {
                subnets: 5,
                apart: true,
                buckets: true,
                ..unwatched
            },
        ];
        [small, large].concat()
    }

    pub(crate) fn interfaces(&self) -> usize {
        self.nodes * self.subnets
    }

    /// What the peer needed for the same.
    pub(crate) fn peer(&self) -> Option<&'static Figures> {
        let same = |figures: &&Figures| {
            (figures.nodes, figures.subnets, figures.buckets)
                == (self.nodes, self.subnets, self.buckets)
        };
        PEER.iter().find(same).filter(|_| self.source_dest_check)
    }
}

impl fmt::Display for Course {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}×{}", self.nodes, self.subnets)?;
        if self.apart {
            write!(f, " in {} NodeENIs", self.subnets)?;
        }
        if !self.source_dest_check {
            f.write_str(", sourceDestCheck: false")?;
        }
        if self.buckets {
            f.write_str(", EC2's buckets")?;
        }
        Ok(())
    }
}
