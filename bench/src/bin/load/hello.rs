//! Hellos without a cookie, each from a stranger of its own: what a flood costs, and whether it leaves anything.

use crate::{per, Options};
use dtls_bench::client::{self, Client, Wire};
use dtls_bench::net::{Inbox, Net};
use dtls_bench::process::{cpu_time, resident_kib};
use serde_json::{json, Value};
use std::net::UdpSocket;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// When an answer that has not come is given up.
const LATE: Duration = Duration::from_millis(50);
/// Where a hello has its random, behind the headers of record and message and the version.
const RANDOM: usize = 13 + 12 + 2;
/// Who grows by more than this with every stranger, in KiB, keeps something of it. Heaps that settle grow by less.
const STATELESS: f64 = 1.0;

pub fn measure(options: &Options) -> Result<Value, String> {
    let net = Net::new(options.server).expect("a socket");
    let mut flood = Flood {
        hello: hello(&options.ciphers),
        strangers: (0..options.window as u32).map(|number| Stranger { number, since: None }).collect(),
        inbox: Inbox::default(),
        answered: 0,
        lost: 0,
    };
    flood.run(&net, 0.3)?;
    (flood.answered, flood.lost) = (0, 0);
    let (memory, before) = (resident_kib(&options.pids), cpu_time(&options.pids));
    flood.run(&net, options.seconds)?;
    let used = cpu_time(&options.pids) - before;
    let growth = resident_kib(&options.pids) - memory;
    let Flood { answered, lost, .. } = flood;
    if answered == 0 || lost * 20 > answered {
        return Err(format!("{lost} of {} hellos had no answer", answered + lost));
    }
    if growth / answered as f64 > STATELESS {
        return Err(format!("the server keeps {:.1} KiB of every stranger", growth / answered as f64));
    }
    let rate = (answered as f64 / options.seconds).round();
    Ok(json!({
        "count": answered, "cpu_us": per(answered, used), "rate": rate, "lost": lost, "growth_kib": growth,
    }))
}

/// The first datagram of a real client.
fn hello(ciphers: &str) -> Vec<u8> {
    let catcher = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let net = Rc::new(Net::new(catcher.local_addr().expect("an address")).expect("a socket"));
    Client::new(Some(&client::context(ciphers)), Wire::new(&net, 0), None).shake_hands();
    let mut datagram = vec![0; 2000];
    let length = catcher.recv(&mut datagram).expect("a hello");
    datagram.truncate(length);
    datagram
}

/// Somebody who waits for an answer to a hello.
struct Stranger {
    number: u32,
    since: Option<Instant>,
}

struct Flood {
    hello: Vec<u8>,
    strangers: Vec<Stranger>,
    inbox: Inbox,
    answered: u64,
    lost: u64,
}

impl Flood {
    fn run(&mut self, net: &Net, seconds: f64) -> Result<(), String> {
        let begin = Instant::now();
        let mut swept = begin;
        (0..self.strangers.len()).for_each(|place| self.send(net, place));
        while begin.elapsed().as_secs_f64() < seconds {
            self.inbox.fill(net, Duration::from_millis(5));
            let mut free = Vec::new();
            for (number, datagram) in self.inbox.datagrams() {
                let place = number as usize % self.strangers.len();
                if self.strangers[place].number != number || self.strangers[place].since.is_none() {
                    continue;
                }
                if !is_challenge(datagram) {
                    return Err("an answer is no HelloVerifyRequest".into());
                }
                self.strangers[place].since = None;
                self.answered += 1;
                free.push(place);
            }
            free.into_iter().for_each(|place| self.send(net, place));
            if swept.elapsed() > LATE {
                swept = Instant::now();
                for place in 0..self.strangers.len() {
                    if self.strangers[place].since.is_some_and(|since| since.elapsed() > LATE) {
                        self.lost += 1;
                        self.send(net, place);
                    }
                }
            }
        }
        Ok(())
    }

    /// Sends the hello of the next stranger to stand in that place.
    fn send(&mut self, net: &Net, place: usize) {
        let next = self.strangers[place].number + self.strangers.len() as u32;
        self.strangers[place] = Stranger { number: next, since: Some(Instant::now()) };
        self.hello[RANDOM..RANDOM + 4].copy_from_slice(&next.to_be_bytes());
        net.send(next, &self.hello, self.hello.len());
    }
}

fn is_challenge(datagram: &[u8]) -> bool {
    const HANDSHAKE: u8 = 22;
    const HELLO_VERIFY_REQUEST: u8 = 3;
    datagram.first() == Some(&HANDSHAKE) && datagram.get(13) == Some(&HELLO_VERIFY_REQUEST)
}
