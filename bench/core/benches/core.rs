//! What the parts of the core cost, without a network: through the very pair of sessions that its tests use.

#[path = "../../../tests/pair/mod.rs"]
mod pair;

use criterion::{criterion_group, criterion_main, BatchSize, BenchmarkId, Criterion, Throughput};
use dtls_core::{Gate, Output, Session, Verdict};
use pair::{forge, Pair, Setup, ADDRESS, PORT};
use std::hint::black_box;

/// Small, and what fills a datagram.
const SIZES: [usize; 2] = [64, 1150];
/// Inputs are used in the order in which they are made, as sequence numbers demand.
const BATCH: BatchSize = BatchSize::SmallInput;

fn open_pair() -> Pair {
    let mut pair = Setup::default().pair();
    pair.connect();
    pair
}

/// As an endpoint does: until there is nothing left but a deadline.
fn drain(session: &mut Session) {
    while !matches!(black_box(session.poll()), Output::Timeout(_)) {}
}

fn seal(bench: &mut Criterion) {
    let mut group = bench.benchmark_group("seal");
    for size in SIZES {
        let (mut pair, message) = (open_pair(), vec![0x5a; size]);
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter(|| pair.client.session().send(black_box(&message)).unwrap())
        });
    }
}

fn open(bench: &mut Criterion) {
    let mut group = bench.benchmark_group("open");
    for size in SIZES {
        let (mut pair, message) = (open_pair(), vec![0x5a; size]);
        let now = pair.now;
        let (client, server) = (pair.client.session(), pair.server.session());
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter_batched_ref(
                || client.send(&message).unwrap(),
                |datagram| {
                    assert_eq!(server.receive_untrusted(datagram, now), None);
                    drain(server);
                },
                BATCH,
            )
        });
    }
}

/// Both ends together, from the client's first hello on the wire.
fn handshake(bench: &mut Criterion) {
    let mut group = bench.benchmark_group("handshake");
    let full = Setup::default();
    let mut pair = full.clone().pair();
    pair.connect();
    let kept = pair.client.session().established().and_then(|established| established.kept.clone());
    let kept = kept.expect("a session to resume").bytes().to_vec();
    let resumed = Setup { kept: Some(kept), ..full.clone() };
    for (name, setup) in [("full", full), ("resumed", resumed)] {
        group.bench_function(name, |bencher| {
            bencher.iter_batched_ref(|| setup.clone().pair(), Pair::connect, BATCH)
        });
    }
}

fn gate(bench: &mut Criterion) {
    let mut group = bench.benchmark_group("gate");
    let mut pair = open_pair();
    let [first, second] = [pair.client.sent[0].clone(), pair.client.sent[1].clone()];
    let seconds = pair::clock::seconds();
    group.bench_function("challenge", |bencher| {
        let mut gate = Gate::random(seconds);
        bencher.iter(|| gate.examine_untrusted(black_box(&first), ADDRESS, PORT, seconds))
    });
    group.bench_function("admit", |bencher| {
        let verdict = pair.gate.examine_untrusted(&second, ADDRESS, PORT, seconds);
        assert!(matches!(verdict, Verdict::Admit(_)));
        bencher.iter(|| pair.gate.examine_untrusted(black_box(&second), ADDRESS, PORT, seconds))
    });
}

/// What strangers can have an open session do.
fn screen(bench: &mut Criterion) {
    let mut group = bench.benchmark_group("screen");
    let mut pair = open_pair();
    let now = pair.now;
    let sealed = pair.client.session().send(&[0x5a; 64]).unwrap();
    let mut forged = sealed.to_vec();
    *forged.last_mut().unwrap() ^= 1;
    let alert = forge::record(21, 0, 100, &[2, 40]);
    let server = pair.server.session();
    for (name, datagram) in [("forged", forged), ("plaintext alert", alert), ("junk", vec![0xff; 64])] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                assert!(server.receive_untrusted(black_box(&datagram), now).is_some());
                drain(server);
            })
        });
    }
    assert_eq!(server.state(), "open");
}

criterion_group!(core, seal, open, handshake, gate, screen);
criterion_main!(core);
