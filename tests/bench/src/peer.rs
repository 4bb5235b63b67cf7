//! What the peer needs: aws-multi-eni-controller v1.3.8, on a machine of this size, with the same API
//! server and an EC2 that takes 50 ms for each call. Measured once; a run of ours does not repeat it.

/// One of its runs; where several were made, the best.
#[derive(Debug)]
pub(crate) struct Figures {
    pub(crate) nodes: usize,
    pub(crate) subnets: usize,
    pub(crate) buckets: bool,
    /// Until every interface is attached.
    pub(crate) seconds: f64,
    pub(crate) calls: u64,
    /// In the minute that follows.
    pub(crate) quiet_calls: u64,
    pub(crate) rss_mib: u64,
}

const fn figures(
    (nodes, subnets): (usize, usize),
    seconds: f64,
    calls: u64,
    quiet_calls: u64,
    rss_mib: u64,
) -> Figures {
    Figures {
        nodes,
        subnets,
        buckets: false,
        seconds,
        calls,
        quiet_calls,
        rss_mib,
    }
}

/// By size.
pub(crate) const PEER: &[Figures] = &[
    figures((1, 1), 0.34, 5, 4, 47),
    figures((10, 2), 4.0, 73, 1141, 50),
    figures((100, 2), 40.0, 703, 1121, 53),
    figures((500, 2), 290.0, 3505, 1165, 64),
    // In five NodeENIs.
    Figures {
        buckets: true,
        ..figures((100, 5), 188.0, 5833, 1958, 56)
    },
];

/// A change at 100×2: seconds and calls.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) seconds: f64,
    pub(crate) calls: u64,
}

/// The median of its seconds; the fewest calls.
pub(crate) const ADD_A_NODE: Change = Change {
    seconds: 47.0,
    calls: 474,
};
pub(crate) const REMOVE_A_LABEL: Change = Change {
    seconds: 79.0,
    calls: 1486,
};
pub(crate) const DELETE_ALL: Change = Change {
    seconds: 48.0,
    calls: 1574,
};

/// It was killed so many times while it attached or let go, and so many of them left interfaces that nobody owns.
pub(crate) const KILLED: u32 = 16;
pub(crate) const LEAKED: u32 = 8;
