//! Memory of an idle keep-alive connection: unique resident bytes of the serving process, at 10 000 connections.
//!
//! `cargo run --release -p hatchery-benches --bin memory`

use std::fs;
use std::io;

use hatchery_benches::client::Client;
use hatchery_benches::server::{Server, Which, serve_if_asked};

const CONNECTIONS: u32 = 10_000;

fn main() -> io::Result<()> {
    // Servers inherit the limit: ten thousand sockets need it on both sides.
    hatchery_sys::limits::raise_open_files()?;
    serve_if_asked();
    for which in Which::installed() {
        let server = Server::start(which, &[])?;
        // What the first connections allocate for good does not count.
        for _ in 0..100 {
            Client::connect(server.port())?.ask()?;
        }
        let before = unique_bytes(server.pid())?;
        let clients = (0..CONNECTIONS)
            .map(|_| {
                let mut client = Client::connect(server.port())?;
                client.ask()?;
                Ok(client)
            })
            .collect::<io::Result<Vec<_>>>()?;
        let bytes = unique_bytes(server.pid())?.saturating_sub(before);
        println!("{:<9} {:6} bytes an idle connection at {CONNECTIONS}", which.name(), bytes / u64::from(CONNECTIONS));
        drop(clients);
        server.stop()?;
    }
    Ok(())
}

/// The process's own memory: what no other process shares.
fn unique_bytes(pid: u32) -> io::Result<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let kilobytes = |line: &str| line.split_whitespace().nth(1)?.parse::<u64>().ok();
    Ok(rollup.lines().filter(|line| line.starts_with("Private_")).filter_map(kilobytes).sum::<u64>() * 1024)
}
