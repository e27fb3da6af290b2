//! What the lab answers over HTTP.

use std::convert::Infallible;
use std::process;
use std::str::FromStr;
use std::thread;
use std::time::Duration;

use hatchery::Worker;
use hatchery::http::{self as respond, Body, Request, Response};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, StatusCode};
use serde_json::json;

use crate::boot::Lab;

/// The answer to one request.
pub(crate) async fn answer(request: Request, worker: &Worker, lab: &Lab) -> Result<Response, Infallible> {
    Ok(match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/") => respond::text("Hello, World!"),
        (&Method::POST, "/echo") => Response::new(Body::wrap(request.into_body())),
        (&Method::GET | &Method::HEAD, path) => {
            let query = Query(request.uri().query().unwrap_or_default());
            get(path, &query, worker, lab).await.unwrap_or_else(WrongQuery::into_response)
        }
        (_, "/" | "/echo") => respond::status(StatusCode::METHOD_NOT_ALLOWED),
        _ => respond::status(StatusCode::NOT_FOUND),
    })
}

async fn get(path: &str, query: &Query<'_>, worker: &Worker, lab: &Lab) -> Result<Response, WrongQuery> {
    match path {
        "/whoami" => Ok(whoami(worker, lab)),
        "/sleep" => {
            tokio::time::sleep(query.millis("ms")?).await;
            Ok(respond::text("slept\n"))
        }
        "/spin" => {
            // On purpose: nothing else runs in this worker meanwhile.
            thread::sleep(query.millis("ms")?);
            Ok(respond::text("spun\n"))
        }
        "/stream" => Ok(stream(query.number("chunks")?, query.millis("ms")?)),
        "/bytes" => Ok(respond::bytes(vec![b'x'; query.number("n")?])),
        "/child" => Ok(child()),
        "/log" => Ok(log(query.number("n")?, query.number("bytes")?)),
        "/panic" => panic!("told to panic"),
        "/abort" => process::abort(),
        "/exit" => exit(query.number("code")?),
        "/leak" => {
            let megabytes: usize = query.number("mb")?;
            // Written to: memory that nobody has touched is not there.
            vec![1_u8; megabytes * 1024 * 1024].leak();
            Ok(respond::text("kept\n"))
        }
        _ => Ok(respond::status(StatusCode::NOT_FOUND)),
    }
}

fn whoami(worker: &Worker, lab: &Lab) -> Response {
    let who = json!({
        "pid": process::id(),
        "master": worker.master().0,
        "slot": worker.slot().0,
        "generation": worker.generation().0,
        "requests": worker.requests(),
        "build": lab.build,
    });
    let mut response = respond::bytes(who.to_string());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Logs a line with a number in it, and with so many bytes more.
fn log(number: u64, bytes: usize) -> Response {
    tracing::info!("line {number} {}", "x".repeat(bytes));
    respond::text("logged\n")
}

/// What a program that is started here has open, a line each that ends in `NUMBER -> TARGET`.
fn child() -> Response {
    let listed = process::Command::new("ls").args(["-l", "/proc/self/fd"]).output();
    match listed {
        Ok(listed) => respond::bytes(listed.stdout),
        Err(failure) => respond::text(format!("no child: {failure}\n")),
    }
}

/// `chunks` times 16 bytes, `pause` apart.
fn stream(chunks: u64, pause: Duration) -> Response {
    let (sender, body) = Body::channel(1);
    tokio::task::spawn_local(async move {
        for number in 0..chunks {
            if number > 0 {
                tokio::time::sleep(pause).await;
            }
            if sender.send(format!("{number:015}\n")).await.is_err() {
                return; // The client has gone.
            }
        }
    });
    Response::new(body)
}

#[expect(clippy::disallowed_methods, reason = "this worker is told to end at once, and it is the lab's own process")]
fn exit(code: i32) -> ! {
    process::exit(code)
}

/// The part of a URI after the question mark.
struct Query<'a>(&'a str);

/// A parameter is missing, or is no number.
struct WrongQuery(String);

impl Query<'_> {
    fn number<N: FromStr>(&self, name: &str) -> Result<N, WrongQuery> {
        let mut pairs = self.0.split('&').filter_map(|pair| pair.split_once('='));
        let value = pairs.find(|(known, _)| *known == name).and_then(|(_, value)| value.parse().ok());
        value.ok_or_else(|| WrongQuery(format!("expected `{name}=` and a number\n")))
    }

    fn millis(&self, name: &str) -> Result<Duration, WrongQuery> {
        self.number(name).map(Duration::from_millis)
    }
}

impl WrongQuery {
    fn into_response(self) -> Response {
        let mut response = respond::text(self.0);
        *response.status_mut() = StatusCode::BAD_REQUEST;
        response
    }
}
