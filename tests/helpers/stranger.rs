//! Clients of a control socket that are somebody else.
//!
//! `stranger UID GID PATH COUNT [LINE]` becomes that user, connects so often, says the line
//! on every connection, and keeps all of them until its standard input ends. It prints what it
//! hears, and a line of its own when all are there or one is not let in.

use std::error::Error;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::thread;

use nix::unistd::{self, Gid, Uid};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let ([uid, gid, path, count], line) =
        (arguments.first_chunk().ok_or("usage: stranger UID GID PATH COUNT [LINE]")?, arguments.get(4));
    unistd::setgroups(&[])?;
    unistd::setgid(Gid::from_raw(gid.parse()?))?;
    unistd::setuid(Uid::from_raw(uid.parse()?))?;
    let mut kept = Vec::new();
    for _ in 0..count.parse()? {
        let mut stream = match UnixStream::connect(path) {
            Ok(stream) => stream,
            Err(error) => {
                println!("not let in: {:?}", error.kind());
                return Ok(());
            }
        };
        if let Some(line) = line {
            stream.write_all(format!("{line}\n").as_bytes())?;
        }
        let heard = BufReader::new(stream.try_clone()?);
        thread::spawn(|| heard.lines().map_while(Result::ok).for_each(|line| println!("{line}")));
        kept.push(stream);
    }
    println!("all are there");
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}
