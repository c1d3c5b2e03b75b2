//! Load for a DTLS 1.2 echo server, and what it costs the server's process.
//!
//! `load MODE HOST:PORT --pid PID [options]` prints one line of JSON, or says why there is nothing to print: a server
//! that does not do what it is asked has no cost.

mod echo;
mod handshake;
mod hello;
mod idle;
mod latency;

use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;

const USAGE: &str = "usage: load MODE HOST:PORT --pid PID [options]
  echo       --sessions 8 --window 8 --size 64 [--burst] [--roving]
  handshake  --sessions 8 [--resume]
  idle       --sessions 1000
  hello      --window 64
  latency    --size 64 --pause-us 200
  any mode   --seconds 2 --ciphers LIST [--plain]; --pid may be given for each of several processes
  --burst    a session sends its window at once, and again when all of it is back
  --roving   whichever session is next is drawn at random; the window is that of all together
  --plain    the server echoes datagrams as they are";

/// What is asked for.
pub struct Options {
    mode: String,
    server: SocketAddr,
    pids: Vec<u32>,
    sessions: usize,
    window: usize,
    size: usize,
    seconds: f64,
    pause: Duration,
    burst: bool,
    roving: bool,
    resume: bool,
    plain: bool,
    ciphers: String,
}

impl Options {
    /// `None` where the server does not speak DTLS.
    fn ciphers(&self) -> Option<&str> {
        (!self.plain).then_some(self.ciphers.as_str())
    }
}

fn main() {
    let options = parse().unwrap_or_else(|error| {
        eprintln!("load: {error}\n{USAGE}");
        std::process::exit(2);
    });
    let measure: fn(&Options) -> Result<Value, String> = match options.mode.as_str() {
        "echo" => echo::measure,
        "handshake" => handshake::measure,
        "idle" => idle::measure,
        "hello" => hello::measure,
        "latency" => latency::measure,
        _ => {
            eprintln!("load: there is no mode {:?}\n{USAGE}", options.mode);
            std::process::exit(2);
        }
    };
    match measure(&options) {
        Ok(measured) => println!("{measured}"),
        Err(sentence) => {
            eprintln!("load: {}: {sentence}", options.mode);
            std::process::exit(1);
        }
    }
}

fn parse() -> Result<Options, lexopt::Error> {
    use lexopt::prelude::*;
    let mut options = Options {
        mode: String::new(),
        server: ([127, 0, 0, 1], 0).into(),
        pids: Vec::new(),
        sessions: 0,
        window: 0,
        size: 64,
        seconds: 2.0,
        pause: Duration::from_micros(200),
        burst: false,
        roving: false,
        resume: false,
        plain: false,
        ciphers: "ECDHE-ECDSA-AES128-GCM-SHA256".into(),
    };
    let mut parser = lexopt::Parser::from_env();
    let mut words = 0;
    while let Some(argument) = parser.next()? {
        match argument {
            Value(word) if words == 0 => (options.mode, words) = (word.string()?, 1),
            Value(word) if words == 1 => (options.server, words) = (word.parse()?, 2),
            Long("pid") => options.pids.push(parser.value()?.parse()?),
            Long("sessions") => options.sessions = parser.value()?.parse()?,
            Long("window") => options.window = parser.value()?.parse()?,
            Long("size") => options.size = parser.value()?.parse()?,
            Long("seconds") => options.seconds = parser.value()?.parse()?,
            Long("pause-us") => options.pause = Duration::from_micros(parser.value()?.parse()?),
            Long("burst") => options.burst = true,
            Long("roving") => options.roving = true,
            Long("resume") => options.resume = true,
            Long("plain") => options.plain = true,
            Long("ciphers") => options.ciphers = parser.value()?.string()?,
            other => return Err(other.unexpected()),
        }
    }
    if words < 2 || options.pids.is_empty() {
        return Err("a mode, a server and its process are needed".into());
    }
    let (sessions, window) = match options.mode.as_str() {
        "idle" => (1000, 0),
        "hello" => (0, 64),
        _ => (8, if options.roving { 64 } else { 8 }),
    };
    options.sessions = if options.sessions == 0 { sessions } else { options.sessions };
    options.window = if options.window == 0 { window } else { options.window };
    Ok(options)
}

/// Microseconds for each of `count`.
fn per(count: u64, used: Duration) -> f64 {
    used.as_secs_f64() * 1e6 / count.max(1) as f64
}
