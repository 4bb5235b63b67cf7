//! Frames and the verdicts they must get.
