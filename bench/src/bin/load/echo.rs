//! Messages that come back: as many are under way as the window says, and each echo is checked to the last byte.

use crate::{per, Options};
use dtls_bench::client::Client;
use dtls_bench::crowd::Crowd;
use dtls_bench::process::cpu_time;
use serde_json::{json, Value};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// When an echo that has not come is given up.
const LATE: Duration = Duration::from_millis(200);
/// The least that a message can be: it is numbered.
const LEAST: usize = 8;

pub fn measure(options: &Options) -> Result<Value, String> {
    if options.size < LEAST {
        return Err(format!("a message has at least {LEAST} bytes"));
    }
    let mut crowd = Crowd::new(options.server, options.ciphers());
    crowd.connect(0, options.sessions)?;
    let mut talk = Talk::new(options);
    if options.burst {
        crowd.clients.values_mut().for_each(Client::gather);
    }
    talk.begin(&mut crowd);
    // What the first messages bring about is not theirs; and every session of many has had one.
    let warm = Instant::now();
    let enough = if options.roving { 2 * options.sessions as u64 } else { 0 };
    while warm.elapsed() < Duration::from_millis(300)
        || talk.echoes < enough && warm.elapsed() < Duration::from_secs(10)
    {
        talk.go_on(&mut crowd)?;
    }
    (talk.echoes, talk.lost) = (0, 0);
    let (begin, before) = (Instant::now(), used(options));
    while begin.elapsed().as_secs_f64() < options.seconds {
        talk.go_on(&mut crowd)?;
    }
    let (after, elapsed) = (used(options), begin.elapsed());
    let each: Vec<Duration> = after.iter().zip(before).map(|(after, before)| *after - before).collect();
    let all: Duration = each.iter().sum();
    let shares: Vec<f64> = each.iter().map(|one| one.as_secs_f64() / all.as_secs_f64()).collect();
    let (count, lost) = (talk.echoes, talk.lost);
    crowd.end_all();
    if count == 0 || lost * 20 > count {
        return Err(format!("{lost} of {} echoes did not come", count + lost));
    }
    let rate = (count as f64 / elapsed.as_secs_f64()).round();
    Ok(json!({ "count": count, "cpu_us": per(count, all), "rate": rate, "lost": lost, "shares": shares }))
}

/// The processor time of each process.
fn used(options: &Options) -> Vec<Duration> {
    options.pids.iter().map(|&pid| cpu_time(&[pid])).collect()
}

/// What is under way.
struct Talk<'a> {
    options: &'a Options,
    speakers: Vec<Speaker>,
    echoes: u64,
    lost: u64,
    swept: Instant,
    dice: u64,
    message: Vec<u8>,
    buffer: Vec<u8>,
}

/// What one session has said and not yet heard back.
#[derive(Default)]
struct Speaker {
    said: u32,
    unheard: VecDeque<(u32, Instant)>,
}

impl Talk<'_> {
    fn new(options: &Options) -> Talk<'_> {
        Talk {
            options,
            speakers: (0..options.sessions).map(|_| Speaker::default()).collect(),
            echoes: 0,
            lost: 0,
            swept: Instant::now(),
            dice: 0x9e37_79b9_7f4a_7c15,
            message: vec![0; options.size],
            buffer: vec![0; 17_000],
        }
    }

    fn begin(&mut self, crowd: &mut Crowd) {
        if self.options.roving {
            (0..self.options.window).for_each(|_| self.say_somewhere(crowd));
        } else {
            (0..self.options.sessions as u32).for_each(|number| self.say(crowd, number, self.options.window));
        }
    }

    /// Hears what has come, and says as much again.
    fn go_on(&mut self, crowd: &mut Crowd) -> Result<(), String> {
        let mut heard: Vec<u32> = Vec::new();
        let mut wrong = Ok(());
        let (speakers, buffer, expected) = (&mut self.speakers, &mut self.buffer, &mut self.message);
        crowd.hear(Duration::from_millis(20), |number, client| {
            while let Some(length) = client.receive(buffer) {
                match speakers[number as usize].hear(number, &buffer[..length], expected) {
                    Ok(true) => heard.push(number),
                    Ok(false) => {}
                    Err(sentence) => wrong = Err(sentence),
                }
            }
        });
        wrong?;
        self.echoes += heard.len() as u64;
        self.answer(crowd, heard);
        if self.swept.elapsed() > LATE / 2 {
            self.swept = Instant::now();
            let late = self.give_up();
            self.lost += late.len() as u64;
            self.answer(crowd, late);
        }
        Ok(())
    }

    /// For each of these that have lost or heard one, another message.
    fn answer(&mut self, crowd: &mut Crowd, mut numbers: Vec<u32>) {
        if self.options.roving {
            return numbers.iter().for_each(|_| self.say_somewhere(crowd));
        }
        numbers.sort_unstable();
        for same in numbers.chunk_by(|a, b| a == b) {
            if !self.options.burst {
                self.say(crowd, same[0], same.len());
            } else if self.speakers[same[0] as usize].unheard.is_empty() {
                self.say(crowd, same[0], self.options.window);
            }
        }
    }

    fn say_somewhere(&mut self, crowd: &mut Crowd) {
        // xorshift64: any dice will do.
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        self.say(crowd, (self.dice % self.options.sessions as u64) as u32, 1);
    }

    fn say(&mut self, crowd: &mut Crowd, number: u32, count: usize) {
        let Some(client) = crowd.clients.get_mut(&number) else { return };
        let (speaker, now) = (&mut self.speakers[number as usize], Instant::now());
        for _ in 0..count {
            write(number, speaker.said, &mut self.message);
            client.send(&self.message);
            speaker.unheard.push_back((speaker.said, now));
            speaker.said = speaker.said.wrapping_add(1);
        }
        client.flush();
    }

    /// Forgets what is late; says whose it was.
    fn give_up(&mut self) -> Vec<u32> {
        let mut late = Vec::new();
        for (number, speaker) in self.speakers.iter_mut().enumerate() {
            while speaker.unheard.front().is_some_and(|(_, said)| said.elapsed() > LATE) {
                speaker.unheard.pop_front();
                late.push(number as u32);
            }
        }
        late
    }
}

impl Speaker {
    /// Whether these bytes are an echo that was waited for: one that comes late or twice is none.
    fn hear(&mut self, number: u32, bytes: &[u8], expected: &mut [u8]) -> Result<bool, String> {
        let word = |at: usize| bytes.get(at..at + 4).map(|word| u32::from_be_bytes(word.try_into().unwrap()));
        let said = word(4).unwrap_or(0);
        write(number, said, expected);
        if bytes != expected {
            return Err(format!("an echo of {} bytes is not what was said", bytes.len()));
        }
        let place = self.unheard.iter().position(|(sequence, _)| *sequence == said);
        Ok(place.and_then(|place| self.unheard.remove(place)).is_some())
    }
}

/// What a session says the how-manieth time: no two messages of a run are alike.
fn write(number: u32, said: u32, message: &mut [u8]) {
    message[..4].copy_from_slice(&number.to_be_bytes());
    message[4..LEAST].copy_from_slice(&said.to_be_bytes());
    message[LEAST..].fill(said as u8);
}
