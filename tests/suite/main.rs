//! Everything that a pair of sessions shows on an invented clock, by what it is about. One program, since
//! linking OpenSSL takes longer than running all of it; `cargo test --test suite weather` runs a part.

#[path = "../pair/mod.rs"]
mod pair;

mod counts;
mod datagrams;
mod endings;
mod errors;
mod fuzz;
mod hostile;
mod identity;
mod last_flight;
mod linger;
mod negotiation;
mod payload;
mod psk_identities;
mod questions;
mod resumption;
mod seen;
mod stray;
mod trace;
mod trust;
mod weather;
mod wrapped;
