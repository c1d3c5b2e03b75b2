//! The round trip of a message, where the server has nothing else to do.

use crate::Options;
use dtls_bench::crowd::Crowd;
use serde_json::{json, Value};
use std::time::{Duration, Instant};

const LATE: Duration = Duration::from_millis(100);

pub fn measure(options: &Options) -> Result<Value, String> {
    let mut crowd = Crowd::new(options.server, options.ciphers());
    crowd.connect(0, 1)?;
    crowd.inbox.spin = LATE;
    let message = vec![0x5a; options.size];
    let mut buffer = vec![0; 17_000];
    let (mut times, mut lost) = (Vec::new(), 0);
    let begin = Instant::now();
    while begin.elapsed().as_secs_f64() < options.seconds {
        std::thread::sleep(options.pause);
        let client = crowd.clients.get_mut(&0).expect("a client");
        let sent = Instant::now();
        client.send(&message);
        let mut back = false;
        while !back && sent.elapsed() < LATE {
            crowd.hear(LATE, |_, client| {
                while let Some(length) = client.receive(&mut buffer) {
                    back |= buffer[..length] == message;
                }
            });
        }
        if back {
            times.push(sent.elapsed());
        } else {
            lost += 1;
        }
    }
    crowd.end_all();
    if times.is_empty() || lost * 20 > times.len() {
        return Err(format!("{lost} of {} echoes did not come", times.len() + lost));
    }
    times.sort();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e6;
    Ok(json!({ "count": times.len(), "p50_us": at(0.5), "p99_us": at(0.99), "lost": lost }))
}
