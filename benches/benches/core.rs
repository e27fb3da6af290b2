//! What the master's decisions and its messages cost: `cargo bench -p hatchery-benches --bench core`.

use std::time::Duration;

use divan::Bencher;
use hatchery_core::wire::handoff::{HandedListener, Handoff};
use hatchery_core::wire::relay::Transfer;
use hatchery_core::wire::worker::{MasterSays, WorkerSays};
use hatchery_core::{
    Action, Command, Ending, Event, Generation, Lineage, ListenMode, Master, Moment, Pid, Policy, QueueId, Seed,
    Service, Takes,
};

fn main() {
    divan::main();
}

/// A master whose workers are ready, and steady.
fn serving(workers: u16) -> Master {
    let mut master = Master::new(Seed {
        policy: Policy { workers, ..Policy::default() },
        generation: Generation::FIRST,
        queues: vec![1],
        listen_mode: ListenMode::Shared,
        lineage: Lineage::First,
        scaled: None,
        companions: Vec::new(),
    });
    perform(&mut master, Event::Begin);
    drop(master.step(Moment(2000), Event::Tick));
    master
}

fn http() -> Service {
    Service { listener: "127.0.0.1:8080".to_owned(), name: "http".to_owned(), state: 0 }
}

fn queue(index: u16) -> QueueId {
    QueueId { listener: 0, index }
}

/// One step, and every worker that it asks for is there and ready at once.
fn perform(master: &mut Master, event: Event) {
    let mut events = vec![event];
    while let Some(event) = events.pop() {
        for action in master.step(Moment(0), event) {
            if let Action::Spawn { slot } = action {
                let pid = Pid(i32::from(slot.0) + 100);
                events.push(Event::Worker { pid, says: WorkerSays::Ready { takes: Takes::these([http()]) } });
                events.push(Event::Spawned { slot, pid });
            }
        }
    }
}

#[divan::bench(args = [1, 8, 64, 512])]
fn tick(bencher: Bencher<'_, '_>, workers: u16) {
    let mut master = serving(workers);
    bencher.bench_local(|| master.step(Moment(3000), Event::Tick));
}

#[divan::bench(args = [1, 8, 64, 512])]
fn crash(bencher: Bencher<'_, '_>, workers: u16) {
    let master = serving(workers);
    let event = Event::Exited { pid: Pid(100), ending: Ending::Signal(9) };
    bencher
        .with_inputs(|| (master.clone(), event.clone()))
        .bench_local_values(|(mut master, event)| master.step(Moment(3000), event));
}

#[divan::bench(args = [1, 8, 64, 512])]
fn stop(bencher: Bencher<'_, '_>, workers: u16) {
    let master = serving(workers);
    bencher
        .with_inputs(|| master.clone())
        .bench_local_values(|mut master| master.step(Moment(3000), Event::Command(Command::Stop)));
}

#[divan::bench]
fn canonical(bencher: Bencher<'_, '_>) {
    let master = serving(8);
    bencher.bench_local(|| master.canonical(Moment(3000)));
}

#[divan::bench]
fn assign_there_and_back() -> MasterSays {
    let said = MasterSays::Assign { queues: vec![queue(0), queue(3)], relay: true };
    MasterSays::decode(&divan::black_box(said).encode()).expect("it was just written")
}

#[divan::bench(args = [0, 100, 64 * 1024])]
fn transfer_there_and_back(bencher: Bencher<'_, '_>, unread: usize) {
    let transfer = Transfer {
        service: http(),
        peer: "127.0.0.1:50000".parse().ok(),
        local: "127.0.0.1:8080".parse().ok(),
        real_peer: None,
        age: Duration::from_millis(3100),
        waited: Duration::ZERO,
        requests: 4,
        moves: 1,
        unread: vec![b'x'; unread],
        saved: None,
    };
    bencher.bench_local(|| Transfer::decode(&divan::black_box(&transfer).encode()));
}

#[divan::bench]
fn handoff_there_and_back() {
    let listener = HandedListener {
        kind: "tcp".to_owned(),
        address: b"127.0.0.1:8080".to_vec(),
        queues: vec![3, 4],
        passed: None,
        stored: None,
    };
    let handoff = Handoff {
        pid: Pid(4242),
        generation: Generation(2),
        listeners: vec![listener],
        link: 5,
        relay: Some([6, 7]),
        back: Some(9),
        board: Some(8),
        workers: Some(4),
        configured: Some(4),
        kept: Vec::new(),
        anchor: None,
        control: None,
        clients: Vec::new(),
        proving: Vec::new(),
        before: Vec::new(),
        asleep: None,
        startup: Some([0, 0]),
        strays: Vec::new(),
    };
    let value = divan::black_box(handoff).encode();
    drop(divan::black_box(Handoff::decode(value.as_bytes(), Pid(4242))));
}
