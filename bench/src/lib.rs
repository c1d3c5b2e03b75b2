//! What the load generator and the yardsticks share.

pub mod client;
pub mod crowd;
pub mod inbound;
pub mod net;
pub mod process;
