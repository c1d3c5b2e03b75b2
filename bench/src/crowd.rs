//! Clients by number.

use crate::client::{self, Client, Progress, Wire};
use crate::net::{Inbox, Net};
use openssl::ssl::{SslContext, SslSession};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Handshakes under way at once, while many clients connect.
const AT_ONCE: usize = 64;
/// How long nothing may come of any of them.
const PATIENCE: Duration = Duration::from_secs(5);

/// Clients of one server.
pub struct Crowd {
    context: Option<SslContext>,
    net: Rc<Net>,
    /// What has come and is not yet read.
    pub inbox: Inbox,
    /// The clients by their numbers.
    pub clients: HashMap<u32, Client>,
    ticked: Instant,
}

impl Crowd {
    /// Nobody yet. Without `ciphers` they do not speak DTLS.
    pub fn new(server: SocketAddr, ciphers: Option<&str>) -> Crowd {
        Crowd {
            context: ciphers.map(client::context),
            net: Rc::new(Net::new(server).expect("a socket")),
            inbox: Inbox::default(),
            clients: HashMap::new(),
            ticked: Instant::now(),
        }
    }

    /// Has a client begin its handshake.
    pub fn begin(&mut self, number: u32, earlier: Option<&SslSession>) {
        let mut client = Client::new(self.context.as_ref(), Wire::new(&self.net, number), earlier);
        client.shake_hands();
        self.clients.insert(number, client);
    }

    /// Has it say goodbye.
    pub fn end(&mut self, number: u32) {
        if let Some(client) = self.clients.remove(&number) {
            client.close();
        }
    }

    /// Has all of them say goodbye.
    pub fn end_all(&mut self) {
        self.clients.drain().for_each(|(_, client)| client.close());
    }

    /// Feeds what has come to the clients that it is for, and calls `take` after each datagram.
    pub fn hear(&mut self, limit: Duration, mut take: impl FnMut(u32, &mut Client)) {
        self.inbox.fill(&self.net, limit);
        for (number, datagram) in self.inbox.datagrams() {
            if let Some(client) = self.clients.get_mut(&number) {
                client.feed(datagram);
                take(number, client);
            }
        }
    }

    /// Has clients retransmit, if it is time to.
    pub fn tick(&mut self, is_waiting: impl Fn(u32) -> bool) {
        if self.ticked.elapsed() > Duration::from_millis(100) {
            self.ticked = Instant::now();
            let waiting = self.clients.iter_mut().filter(|(&number, _)| is_waiting(number));
            waiting.for_each(|(_, client)| client.tick());
        }
    }

    /// Connects clients of the numbers `first..first + count`.
    ///
    /// # Errors
    ///
    /// A sentence, where handshakes fail or come to no end.
    pub fn connect(&mut self, first: u32, count: usize) -> Result<(), String> {
        if self.context.is_none() {
            (0..count).for_each(|index| self.begin(first + index as u32, None));
            return Ok(());
        }
        let (mut begun, mut open) = (0, vec![false; count]);
        let (mut done, mut progress) = (0, Instant::now());
        while done < count {
            while begun < count && begun - done < AT_ONCE {
                self.begin(first + begun as u32, None);
                begun += 1;
            }
            let (before, mut failed) = (done, false);
            self.hear(Duration::from_millis(20), |number, client| {
                let Some(open) = open.get_mut(number.wrapping_sub(first) as usize) else { return };
                match client.shake_hands() {
                    _ if *open => {}
                    Progress::Waits => {}
                    Progress::Failed => failed = true,
                    Progress::Done => {
                        *open = true;
                        done += 1;
                    }
                }
            });
            if failed {
                return Err(format!("a handshake failed after {done} of {count}"));
            }
            if done > before {
                progress = Instant::now();
            } else if progress.elapsed() > PATIENCE {
                return Err(format!("{done} of {count} handshakes were complete, and no more came"));
            }
            self.tick(|number| !open.get(number.wrapping_sub(first) as usize).unwrap_or(&true));
        }
        Ok(())
    }
}
