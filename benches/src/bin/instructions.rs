//! User instructions and system calls a request and a connection: hatchery, also with what is off by default, beside the floor and nginx.
//!
//! `cargo run --release -p hatchery-benches --bin instructions`, with `-- --only hatchery` for one server.

use std::io;

use hatchery_benches::server::{Which, serve_if_asked};
use hatchery_benches::tools::{instructions, profile, system_calls};

type Count = fn(Which, u32, u32) -> io::Result<f64>;

fn main() -> io::Result<()> {
    serve_if_asked();
    let args: Vec<String> = std::env::args().skip(1).collect();
    let only = args.iter().skip_while(|arg| *arg != "--only").nth(1);
    let counts: [(&str, Count); 2] = [("instructions", instructions), ("system calls", system_calls)];
    for (unit, count) in counts {
        let mut floor = None;
        for which in Which::with_extras().into_iter().filter(|which| only.is_none_or(|name| name == which.name())) {
            let request = (count(which, 1, 3000)? - count(which, 1, 1000)?) / 2000.0;
            let connection = (count(which, 400, 1)? - count(which, 200, 1)?) / 200.0;
            let base = *floor.get_or_insert((request, connection));
            println!(
                "{:<9} {unit}: {request:8.2} a request ({:.3} x the floor), {connection:8.1} a connection with one request ({:.3} x)",
                which.name(),
                request / base.0,
                connection / base.1,
            );
        }
    }
    println!("profiles: {} and so on, for callgrind_annotate", profile(Which::Hatchery, 1, 3000));
    Ok(())
}
