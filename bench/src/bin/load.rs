//! Load for a DTLS 1.2 echo server, and what it costs the server's process.
//!
//! `load MODE HOST:PORT --pid PID [options]` prints one line of JSON.

use dtls_bench::client::{self, Client, Progress};
use dtls_bench::process::{cpu_time, resident};
use openssl::ssl::{SslContext, SslSession};
use polling::{Event, Events, Poller};
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

const USAGE: &str = "usage: load MODE HOST:PORT --pid PID [options]
  echo       --sessions 8 --window 8 --size 64 --seconds 2 [--burst]
  handshake  --sessions 8 --seconds 2 [--resume]
  idle       --sessions 1000
  hello      --sessions 64 --rate 50000 --seconds 2
  latency    --size 64 --seconds 2 --pause-us 200
  any mode   --ciphers LIST";

struct Options {
    mode: String,
    server: SocketAddr,
    pid: u32,
    sessions: usize,
    window: usize,
    size: usize,
    seconds: f64,
    rate: u64,
    pause: Duration,
    burst: bool,
    resume: bool,
    ciphers: String,
}

fn main() {
    let options = match parse() {
        Ok(options) => options,
        Err(error) => {
            eprintln!("load: {error}\n{USAGE}");
            std::process::exit(2);
        }
    };
    let line = match options.mode.as_str() {
        "echo" => echo(&options),
        "handshake" => handshake(&options),
        "idle" => idle(&options),
        "hello" => hello(&options),
        "latency" => latency(&options),
        _ => {
            eprintln!("load: there is no mode {:?}\n{USAGE}", options.mode);
            std::process::exit(2);
        }
    };
    println!("{{\"mode\":\"{}\",{line}}}", options.mode);
}

fn parse() -> Result<Options, lexopt::Error> {
    use lexopt::prelude::*;
    let mut options = Options {
        mode: String::new(),
        server: ([127, 0, 0, 1], 0).into(),
        pid: 0,
        sessions: 8,
        window: 8,
        size: 64,
        seconds: 2.0,
        rate: 50_000,
        pause: Duration::from_micros(200),
        burst: false,
        resume: false,
        ciphers: "ECDHE-ECDSA-AES128-GCM-SHA256".into(),
    };
    let mut parser = lexopt::Parser::from_env();
    let mut words = 0;
    while let Some(argument) = parser.next()? {
        match argument {
            Value(word) if words == 0 => (options.mode, words) = (word.string()?, 1),
            Value(word) if words == 1 => (options.server, words) = (word.parse()?, 2),
            Long("pid") => options.pid = parser.value()?.parse()?,
            Long("sessions") => options.sessions = parser.value()?.parse()?,
            Long("window") => options.window = parser.value()?.parse()?,
            Long("size") => options.size = parser.value()?.parse()?,
            Long("seconds") => options.seconds = parser.value()?.parse()?,
            Long("rate") => options.rate = parser.value()?.parse()?,
            Long("pause-us") => options.pause = Duration::from_micros(parser.value()?.parse()?),
            Long("burst") => options.burst = true,
            Long("resume") => options.resume = true,
            Long("ciphers") => options.ciphers = parser.value()?.string()?,
            other => return Err(other.unexpected()),
        }
    }
    if words < 2 {
        return Err("a mode and a server are missing".into());
    }
    Ok(options)
}

/// Clients by number, and what waits for their sockets.
struct Crowd {
    context: SslContext,
    server: SocketAddr,
    poller: Poller,
    clients: Vec<Option<Client>>,
    events: Events,
}

impl Crowd {
    fn new(options: &Options) -> Crowd {
        Crowd {
            context: client::context(&options.ciphers),
            server: options.server,
            poller: Poller::new().expect("a poller"),
            clients: (0..options.sessions).map(|_| None).collect(),
            events: Events::new(),
        }
    }

    fn begin(&mut self, number: usize, earlier: Option<&SslSession>) {
        let mut client = Client::new(&self.context, self.server, earlier).expect("a client");
        // SAFETY: a client leaves the poller before it is dropped: see `end`.
        unsafe { self.poller.add(client.socket(), Event::readable(number)).expect("polled") };
        client.shake_hands();
        self.clients[number] = Some(client);
    }

    fn end(&mut self, number: usize) {
        if let Some(client) = self.clients[number].take() {
            let _ = self.poller.delete(client.socket());
            client.close();
        }
    }

    /// The numbers of the clients that have something to read.
    fn wait(&mut self, limit: Duration) -> Vec<usize> {
        self.events.clear();
        self.poller.wait(&mut self.events, Some(limit)).expect("waited");
        let ready: Vec<usize> = self.events.iter().map(|event| event.key).collect();
        for &number in &ready {
            if let Some(client) = &self.clients[number] {
                let _ = self.poller.modify(client.socket(), Event::readable(number));
            }
        }
        ready
    }

    /// Connects all, no more than 64 at once.
    fn connect_all(&mut self) {
        let total = self.clients.len();
        let (mut begun, mut done) = (0, vec![false; total]);
        let mut ticked = Instant::now();
        while done.iter().any(|done| !done) {
            let going = begun - done.iter().filter(|done| **done).count();
            let next = total.min(begun + 64_usize.saturating_sub(going));
            for number in begun..next {
                self.begin(number, None);
            }
            begun = next;
            for number in self.wait(Duration::from_millis(20)) {
                if done[number] {
                    continue;
                }
                match self.clients[number].as_mut().map(Client::shake_hands) {
                    Some(Progress::Done) => done[number] = true,
                    Some(Progress::Failed) => panic!("a handshake failed"),
                    _ => {}
                }
            }
            if ticked.elapsed() > Duration::from_millis(100) {
                ticked = Instant::now();
                let waiting = self.clients.iter_mut().zip(&done).filter(|(_, done)| !**done);
                waiting.filter_map(|(client, _)| client.as_mut()).for_each(Client::tick);
            }
        }
    }
}

/// What a server used while something went on, for each of `count`.
fn per(count: u64, used: Duration) -> f64 {
    used.as_secs_f64() * 1e6 / count.max(1) as f64
}

fn echo(options: &Options) -> String {
    let mut crowd = Crowd::new(options);
    crowd.connect_all();
    let message = vec![0x5a; options.size];
    let mut buffer = vec![0; 17_000];
    let mut last = vec![Instant::now(); options.sessions];
    let fill = |client: &mut Client, count: usize| {
        for _ in 0..count {
            client.send(&message);
        }
        client.flush();
    };
    for client in crowd.clients.iter_mut().flatten() {
        if options.burst {
            client.gather();
        }
        fill(client, options.window);
    }
    let (mut echoes, mut lost) = (0_u64, 0_u64);
    let mut run = |crowd: &mut Crowd, seconds: f64| {
        let (begin, before) = (Instant::now(), (echoes, cpu_time(options.pid)));
        let mut swept = begin;
        while begin.elapsed().as_secs_f64() < seconds {
            for number in crowd.wait(Duration::from_millis(20)) {
                let Some(client) = crowd.clients[number].as_mut() else { continue };
                let mut back = 0;
                while let Some(length) = client.receive(&mut buffer) {
                    assert!(length >= message.len(), "an echo of {length} bytes");
                    back += 1;
                }
                echoes += back as u64;
                last[number] = Instant::now();
                fill(client, back);
            }
            // What the network has lost is sent anew.
            if swept.elapsed() > Duration::from_millis(100) {
                swept = Instant::now();
                for (number, client) in crowd.clients.iter_mut().enumerate() {
                    if last[number].elapsed() > Duration::from_millis(200) {
                        lost += options.window as u64;
                        last[number] = swept;
                        client.iter_mut().for_each(|client| fill(client, options.window));
                    }
                }
            }
        }
        (echoes - before.0, cpu_time(options.pid) - before.1, begin.elapsed())
    };
    run(&mut crowd, 0.3);
    let (count, used, elapsed) = run(&mut crowd, options.seconds);
    let rate = count as f64 / elapsed.as_secs_f64();
    for number in 0..options.sessions {
        crowd.end(number);
    }
    format!("\"count\":{count},\"cpu_us\":{:.3},\"rate\":{rate:.0},\"lost\":{lost}", per(count, used))
}

fn handshake(options: &Options) -> String {
    let mut crowd = Crowd::new(options);
    let earlier = options.resume.then(|| {
        let mut single = Crowd::new(options);
        single.clients.truncate(1);
        single.connect_all();
        let session = single.clients[0].as_ref().and_then(Client::session);
        single.end(0);
        session.expect("a session to resume")
    });
    for number in 0..options.sessions {
        crowd.begin(number, earlier.as_ref());
    }
    let (mut count, mut failed, mut resumed) = (0_u64, 0_u64, 0_u64);
    let (begin, before) = (Instant::now(), cpu_time(options.pid));
    let mut ticked = begin;
    while begin.elapsed().as_secs_f64() < options.seconds {
        for number in crowd.wait(Duration::from_millis(20)) {
            let Some(client) = crowd.clients[number].as_mut() else { continue };
            match client.shake_hands() {
                Progress::Waits => continue,
                Progress::Done => {
                    count += 1;
                    resumed += u64::from(client.resumes());
                }
                Progress::Failed => failed += 1,
            }
            crowd.end(number);
            crowd.begin(number, earlier.as_ref());
        }
        if ticked.elapsed() > Duration::from_millis(100) {
            ticked = Instant::now();
            crowd.clients.iter_mut().flatten().for_each(Client::tick);
        }
    }
    let used = cpu_time(options.pid) - before;
    let rate = count as f64 / begin.elapsed().as_secs_f64();
    format!(
        "\"count\":{count},\"cpu_us\":{:.2},\"rate\":{rate:.0},\"failed\":{failed},\"resumed\":{resumed}",
        per(count, used)
    )
}

fn idle(options: &Options) -> String {
    // What the first sessions bring about is not theirs: code, tables, arenas.
    let mut first = Crowd::new(options);
    first.clients.truncate(16);
    first.connect_all();
    let before = resident(options.pid);
    let mut crowd = Crowd::new(options);
    crowd.connect_all();
    std::thread::sleep(Duration::from_millis(500));
    let after = resident(options.pid);
    let each = after.saturating_sub(before) as f64 / options.sessions as f64 / 1024.0;
    for number in 0..options.sessions {
        crowd.end(number);
    }
    format!("\"count\":{},\"kib\":{each:.2}", options.sessions)
}

fn hello(options: &Options) -> String {
    // A real client's first datagram, told apart by what no server reads before there is a cookie.
    let catcher = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let here = catcher.local_addr().expect("an address");
    let mut client = Client::new(&client::context(&options.ciphers), here, None).expect("a client");
    client.shake_hands();
    let mut datagram = vec![0; 2000];
    let length = catcher.recv(&mut datagram).expect("a hello");
    datagram.truncate(length);
    let sockets: Vec<UdpSocket> = (0..options.sessions)
        .map(|_| {
            let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
            socket.connect(options.server).expect("connected");
            socket.set_nonblocking(true).expect("nonblocking");
            socket
        })
        .collect();
    let (begin, before) = (Instant::now(), cpu_time(options.pid));
    let (mut sent, mut answered) = (0_u64, 0_u64);
    let mut buffer = [0; 2000];
    while begin.elapsed().as_secs_f64() < options.seconds {
        let due = (begin.elapsed().as_secs_f64() * options.rate as f64) as u64;
        while sent < due {
            datagram[27..35].copy_from_slice(&sent.to_be_bytes());
            let socket = &sockets[sent as usize % sockets.len()];
            let _ = socket.send(&datagram);
            sent += 1;
            while socket.recv(&mut buffer).is_ok() {
                answered += 1;
            }
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    std::thread::sleep(Duration::from_millis(50));
    for socket in &sockets {
        while socket.recv(&mut buffer).is_ok() {
            answered += 1;
        }
    }
    let used = cpu_time(options.pid) - before;
    format!("\"count\":{answered},\"cpu_us\":{:.3},\"sent\":{sent}", per(answered, used))
}

fn latency(options: &Options) -> String {
    let mut crowd = Crowd::new(options);
    crowd.clients.truncate(1);
    crowd.connect_all();
    let message = vec![0x5a; options.size];
    let mut buffer = vec![0; 17_000];
    let mut times = Vec::new();
    let begin = Instant::now();
    while begin.elapsed().as_secs_f64() < options.seconds {
        std::thread::sleep(options.pause);
        let client = crowd.clients[0].as_mut().expect("a client");
        let sent = Instant::now();
        client.send(&message);
        while client.receive(&mut buffer).is_none() && sent.elapsed() < Duration::from_millis(100) {}
        times.push(sent.elapsed());
    }
    crowd.end(0);
    times.sort();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e6;
    format!("\"count\":{},\"p50_us\":{:.1},\"p99_us\":{:.1}", times.len(), at(0.5), at(0.99))
}
