//! A server with jobs, a sidecar and a socket that it keeps, for the tests of these.
//!
//! What it has, and how that behaves, stands in variables that begin with
//! `CHORES_`. Jobs and sidecars leave files in the working directory.

use std::convert::Infallible;
use std::fs::{self, OpenOptions};
use std::future;
use std::hint::black_box;
use std::io::{self, Write};
use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{self, Command};
use std::thread;
use std::time::Duration;

use clap::Parser;
use hatchery::http::{self, Request, Response};
use hatchery::{BoxError, Exit, JobConfig, JobError, Server, Sidecar, Worker, cli};
use nix::sys::signal::{self, Signal};

/// A server that lets others work.
#[derive(Debug, Parser)]
struct Args {
    #[command(flatten)]
    server: cli::ServerArgs,
}

/// What a generation loads: jobs can read it.
struct Loaded {
    build: String,
    /// In what is preloaded, too.
    kept_at: String,
}

/// How often a file is looked for.
const INTERVAL: Duration = Duration::from_millis(3);

fn main() -> Exit {
    let args: Args = cli::parse();
    let mut server = Server::from_args(args.server).bind("127.0.0.1:8080");
    if let Some(name) = variable("CHORES_KEEP") {
        let is_broken = name == "broken";
        server = server.keep(name, move || {
            append("made.log", "made")?;
            if is_broken {
                return Err(io::Error::other("told to fail"));
            }
            UdpSocket::bind("127.0.0.1:0")
        });
    }
    if variable("CHORES_SIDECAR").is_some_and(|behaviour| behaviour == "notes") {
        let (reads, writes) = UnixDatagram::pair().expect("a pair");
        server = server.keep("notes", || Ok(reads)).keep("notes-to", || Ok(writes));
    }
    let mut server = server.preload(load);
    if let Some(behaviour) = variable("CHORES_SIDECAR") {
        server =
            server.sidecar("beat", async move |sidecar: Sidecar, _: &'static Loaded| beat(sidecar, &behaviour).await);
    }
    server.jobs_with("work", config(), work).run(serve)
}

fn load() -> Result<Loaded, BoxError> {
    if let Some(needed) = variable("CHORES_NEEDS") {
        fs::metadata(needed)?;
    }
    if let Some(name) = variable("CHORES_LOAD") {
        // Which signals are blocked in a program that is started here.
        let status = Command::new("grep").args(["SigBlk", "/proc/self/status"]).output()?;
        append("masks.log", String::from_utf8_lossy(&status.stdout).trim())?;
        wait(&name)?;
    }
    let kept_at = hatchery::kept("udp").and_then(address).unwrap_or_default();
    Ok(Loaded { build: variable("CHORES_BUILD").unwrap_or_default(), kept_at })
}

fn config() -> JobConfig {
    let number = |name: &str, default: u64| variable(name).map_or(default, |value| value.parse().expect("a number"));
    let size = |name: &str, default: u64| usize::try_from(number(name, default)).expect("a size");
    JobConfig {
        concurrency: size("CHORES_CONCURRENCY", 2),
        queue: size("CHORES_QUEUE", 64),
        time_limit: Duration::from_millis(number("CHORES_TIME", 600_000)),
        memory_limit: Some(number("CHORES_MEMORY", 256 << 20)),
        max_input: size("CHORES_MAX", 64 << 20),
        max_output: size("CHORES_MAX", 64 << 20),
    }
}

async fn serve(worker: Worker, loaded: &'static Loaded) -> Result<(), BoxError> {
    if let Some(name) = variable("CHORES_ORDERS") {
        let _jobs = worker.jobs(&name);
    }
    let routes = {
        let worker = worker.clone();
        http::serve_fn(async move |request: Request| Ok::<_, Infallible>(answer(&request, &worker).await))
    };
    routes(worker, loaded).await
}

async fn answer(request: &Request, worker: &Worker) -> Response {
    let query = request.uri().query().unwrap_or_default().replace('+', " ");
    let jobs = worker.jobs("work");
    let output = match request.uri().path() {
        "/" => return http::text(process::id().to_string()),
        "/run" => jobs.run(query).await,
        "/detach" => jobs.detach(query).await.map(|()| b"accepted".to_vec()),
        // Begins a job, and drops it as soon as a file is there.
        "/cancel" => {
            let file = format!("{}.cancel", query.rsplit(' ').next().unwrap_or_default());
            tokio::select! {
                output = jobs.run(query) => output,
                () = file_appears(&file) => Ok(b"cancelled".to_vec()),
            }
        }
        "/large" => {
            let mut input = b"reverse ".to_vec();
            input.resize(query.parse().expect("a size"), b'x');
            input.push(b'!');
            jobs.run(input).await
        }
        "/tell" => {
            return tell(&query, worker)
                .await
                .map_or_else(|error| http::text(error.to_string()), |()| http::text("told"));
        }
        "/kept" => return http::text(worker.kept("udp").and_then(address).unwrap_or_else(|error| error.to_string())),
        _ => return http::status(404),
    };
    match output {
        Ok(output) => http::bytes(output),
        Err(error) => {
            let mut response = http::text(format!("{error:?}: {error}"));
            *response.status_mut() = match error {
                JobError::QueueFull | JobError::Lost => http::status(503).status(),
                _ => http::status(500).status(),
            };
            response
        }
    }
}

/// One job: a word, and what it is about.
fn work(input: &[u8], loaded: &Loaded) -> Result<Vec<u8>, BoxError> {
    if let Some(rest) = input.strip_prefix(b"reverse ") {
        return Ok(rest.iter().rev().copied().collect());
    }
    let text = std::str::from_utf8(input)?;
    let (verb, about) = text.split_once(' ').unwrap_or((text, ""));
    let output = match verb {
        "echo" => about.to_owned(),
        "fail" => return Err(io::Error::other(format!("told to fail\n{about}")).into()),
        "panic" => panic!("told to panic"),
        "abort" => process::abort(),
        "exit" => exit(about.parse()?),
        "kill" => signal::kill(nix::unistd::getpid(), Signal::SIGKILL).map(|()| String::new())?,
        // All at once, more than there can be; or little by little.
        "balloon" => black_box(vec![1_u8; 1 << 40]).len().to_string(),
        "leak" => leak(),
        "reserve" => Vec::<u8>::new().try_reserve(1 << 40).map(|()| String::new())?,
        "output" => return Ok(vec![b'x'; about.parse()?]),
        "parent" => nix::unistd::getppid().to_string(),
        "build" => loaded.build.clone(),
        "files" => descriptors()?,
        "append" => append(about, &process::id().to_string()).map(|()| String::new())?,
        "kept" => address(hatchery::kept("udp")?)?,
        "preloaded" => loaded.kept_at.clone(),
        "wait" => wait(about)?,
        "term" => {
            signal::kill(nix::unistd::getpid(), Signal::SIGTERM)?;
            "alive".to_owned()
        }
        _ => return Err(format!("there is no work `{verb}`").into()),
    };
    Ok(output.into_bytes())
}

/// Says that it has begun, and waits for leave to end.
fn wait(name: &str) -> io::Result<String> {
    fs::write(format!("{name}.draft"), process::id().to_string())?;
    fs::rename(format!("{name}.draft"), format!("{name}.begun"))?;
    while !Path::new(&format!("{name}.end")).exists() {
        thread::sleep(INTERVAL);
    }
    append(&format!("{name}.ended"), "ended")?;
    Ok(format!("waited for {name}"))
}

fn leak() -> ! {
    let mut all: Vec<Vec<u8>> = Vec::new();
    loop {
        all.push(black_box(vec![1; 64 * 1024]));
    }
}

/// What this process has open, one a line.
fn descriptors() -> io::Result<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc/self/fd")? {
        found.extend(fs::read_link(entry?.path()).map(|target| target.display().to_string()));
    }
    Ok(found.join("\n"))
}

#[expect(clippy::disallowed_methods, reason = "this job is told to end at once")]
fn exit(code: i32) -> ! {
    process::exit(code)
}

async fn beat(sidecar: Sidecar, behaviour: &str) -> Result<(), BoxError> {
    let say = |what: &str| append("beat.log", &format!("{what} {} gen {}", sidecar.pid(), sidecar.generation()));
    say("begun")?;
    match behaviour {
        "crash" => process::abort(),
        "fail" => return Err("told to fail".into()),
        "hang" => future::pending().await,
        "return" => {
            sidecar.ready();
            return Ok(());
        }
        "panic" => {
            sidecar.ready();
            panic!("told to panic");
        }
        "abort" => {
            sidecar.ready();
            process::abort();
        }
        "spin" => {
            sidecar.ready();
            // On purpose: its loop stands still.
            thread::sleep(Duration::from_secs(3600));
        }
        _ => {}
    }
    sidecar.ready();
    if behaviour == "busy" {
        let answer = sidecar.jobs("work").run("echo from a job").await?;
        say(&String::from_utf8(answer)?)?;
        say(&address(sidecar.kept("udp")?)?)?;
    }
    if behaviour == "notes" {
        take_notes(&sidecar).await?;
    }
    sidecar.draining().await;
    say("drains")?;
    if behaviour == "stubborn" {
        future::pending::<()>().await;
    }
    Ok(())
}

/// Waits for leave to end, and tells the sidecar so.
async fn tell(name: &str, worker: &Worker) -> io::Result<()> {
    append(&format!("{name}.begun"), &process::id().to_string())?;
    file_appears(&format!("{name}.end")).await;
    UnixDatagram::from(worker.kept("notes-to")?).send(name.as_bytes())?;
    append("beat.log", &format!("told {name}"))
}

/// Writes down what it is told, and what was told before it was to go.
async fn take_notes(sidecar: &Sidecar) -> io::Result<()> {
    let socket = UnixDatagram::from(sidecar.kept("notes")?);
    socket.set_nonblocking(true)?;
    let socket = tokio::net::UnixDatagram::from_std(socket)?;
    let note =
        |note: &[u8]| append("beat.log", &format!("note {} by {}", String::from_utf8_lossy(note), sidecar.pid()));
    let mut buffer = [0; 64];
    loop {
        tokio::select! {
            length = socket.recv(&mut buffer) => note(&buffer[..length?])?,
            () = sidecar.draining() => break,
        }
    }
    while let Ok(length) = socket.try_recv(&mut buffer) {
        note(&buffer[..length])?;
    }
    Ok(())
}

async fn file_appears(name: &str) {
    while !Path::new(name).exists() {
        tokio::time::sleep(INTERVAL).await;
    }
}

fn address(fd: OwnedFd) -> io::Result<String> {
    Ok(UdpSocket::from(fd).local_addr()?.to_string())
}

fn append(file: &str, line: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).open(file)?;
    file.write_all(format!("{line}\n").as_bytes())
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
