//! What the load generator and the yardsticks share.

pub mod client;
pub mod process;
