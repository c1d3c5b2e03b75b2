//! Sessions that say nothing.

use crate::Options;
use dtls_bench::crowd::Crowd;
use dtls_bench::process::resident_kib;
use serde_json::{json, Value};
use std::time::Duration;

/// What the first sessions bring about is not theirs: code, tables, arenas.
const FIRST: u32 = 64;

pub fn measure(options: &Options) -> Result<Value, String> {
    let mut crowd = Crowd::new(options.server, options.ciphers());
    crowd.connect(0, FIRST as usize)?;
    let before = settled(&options.pids);
    crowd.connect(FIRST, options.sessions)?;
    let kib = (settled(&options.pids) - before) / options.sessions as f64;
    crowd.end_all();
    Ok(json!({ "count": options.sessions, "kib": kib, "empty_kib": before.round() }))
}

/// What the processes have in memory when they have come to rest.
fn settled(pids: &[u32]) -> f64 {
    std::thread::sleep(Duration::from_millis(300));
    resident_kib(pids)
}
