//! Clients that connect and leave, one after the other.

use crate::{per, Options};
use dtls_bench::client::{Client, Progress};
use dtls_bench::crowd::Crowd;
use dtls_bench::process::cpu_time;
use openssl::ssl::SslSession;
use serde_json::{json, Value};
use std::time::{Duration, Instant};

pub fn measure(options: &Options) -> Result<Value, String> {
    let mut crowd = Crowd::new(options.server, options.ciphers());
    let earlier = if options.resume { Some(earlier(&mut crowd)?) } else { None };
    let mut rush = Rush { crowd, earlier, next: 1, done: 0, resumed: 0, failed: 0 };
    (0..options.sessions).for_each(|_| rush.begin());
    rush.run(0.3);
    (rush.done, rush.resumed, rush.failed) = (0, 0, 0);
    let (begin, before) = (Instant::now(), cpu_time(&options.pids));
    rush.run(options.seconds);
    let (used, elapsed) = (cpu_time(&options.pids) - before, begin.elapsed());
    rush.crowd.end_all();
    let Rush { done, resumed, failed, .. } = rush;
    if done == 0 || failed * 20 > done {
        return Err(format!("{failed} handshakes failed, and {done} did not"));
    }
    if options.resume && resumed < done {
        return Err(format!("of {done} sessions {resumed} were resumed"));
    }
    let rate = (done as f64 / elapsed.as_secs_f64()).round();
    Ok(json!({ "count": done, "cpu_us": per(done, used), "rate": rate, "failed": failed }))
}

/// A session to be resumed by all the others.
fn earlier(crowd: &mut Crowd) -> Result<SslSession, String> {
    crowd.connect(0, 1)?;
    let session = crowd.clients.get(&0).and_then(Client::session);
    crowd.end(0);
    session.ok_or("there is no session to resume".into())
}

struct Rush {
    crowd: Crowd,
    earlier: Option<SslSession>,
    next: u32,
    done: u64,
    resumed: u64,
    failed: u64,
}

impl Rush {
    /// Another client comes, from an address of its own.
    fn begin(&mut self) {
        self.crowd.begin(self.next, self.earlier.as_ref());
        self.next += 1;
    }

    fn run(&mut self, seconds: f64) {
        let begin = Instant::now();
        while begin.elapsed().as_secs_f64() < seconds {
            let mut leave = Vec::new();
            self.crowd.hear(Duration::from_millis(20), |number, client| {
                match client.shake_hands() {
                    _ if leave.contains(&number) => return,
                    Progress::Waits => return,
                    Progress::Failed => self.failed += 1,
                    Progress::Done => {
                        self.done += 1;
                        self.resumed += u64::from(client.resumes());
                    }
                }
                leave.push(number);
            });
            for number in leave {
                self.crowd.end(number);
                self.begin();
            }
            self.crowd.tick(|_| true);
        }
    }
}
