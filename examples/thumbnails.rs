//! Work that a request needs and that may go wrong: each picture is made small
//! in a process of its own.
//!
//! ```sh
//! cargo run --release --example thumbnails
//! curl --data-binary @picture.ppm 127.0.0.1:8080/thumbnail > small.ppm
//! curl 127.0.0.1:8080/trouble/leak      # or crash, or hang
//! ```
//! It takes pictures as PPM (`P6`, as `convert picture.jpg picture.ppm` makes
//! them), and decodes them as trustfully as decoders do: a header that lies costs
//! one process and one error, and no other client notices.

use std::convert::Infallible;
use std::io;
use std::process;
use std::str::FromStr;
use std::thread;
use std::time::Duration;

use clap::Parser;
use hatchery::http::header::{HeaderValue, RETRY_AFTER};
use hatchery::http::{self, Method, Request, Response, StatusCode};
use hatchery::{BoxError, Exit, JobConfig, JobError, Jobs, Server, Worker, cli};
use http_body_util::{BodyExt, Limited};

/// Makes pictures small.
#[derive(Debug, Parser)]
struct Args {
    #[command(flatten)]
    server: cli::ServerArgs,
}

/// The name of the jobs.
const THUMBNAILS: &str = "thumbnails";

/// The longer side of a thumbnail, in pixels.
const SIDE: usize = 128;

/// The largest picture that is taken, in bytes.
const LARGEST: usize = 32 << 20;

fn main() -> Exit {
    let args: Args = cli::parse();
    let config = JobConfig {
        queue: 64,
        time_limit: Duration::from_secs(2),
        memory_limit: Some(128 << 20),
        max_input: LARGEST,
        ..JobConfig::default()
    };
    Server::from_args(args.server).bind("127.0.0.1:8080").jobs(THUMBNAILS, config, thumbnail).run(run)
}

/// What every worker does.
async fn run(worker: Worker, nothing: &'static ()) -> Result<(), BoxError> {
    let jobs = worker.jobs(THUMBNAILS);
    let routes = http::serve_fn(async move |request: Request| Ok::<_, Infallible>(answer(request, &jobs).await));
    routes(worker, nothing).await
}

async fn answer(request: Request, jobs: &Jobs) -> Response {
    let ran = match (request.method().clone(), request.uri().path()) {
        (Method::POST, "/thumbnail") => match Limited::new(request.into_body(), LARGEST).collect().await {
            Ok(picture) => jobs.run(picture.to_bytes()).await,
            Err(_) => return http::status(StatusCode::PAYLOAD_TOO_LARGE),
        },
        (Method::GET, path) => match path.strip_prefix("/trouble/") {
            Some(kind) => jobs.run(format!("trouble {kind}")).await,
            None => return http::text("POST a picture to /thumbnail, or GET /trouble/crash, leak or hang\n"),
        },
        _ => return http::status(StatusCode::METHOD_NOT_ALLOWED),
    };
    ran.map_or_else(|error| refusal(&error), http::bytes)
}

/// What has become of the job decides what the client is told.
fn refusal(error: &JobError) -> Response {
    let status = match error {
        // It may go well in a moment.
        JobError::QueueFull | JobError::Lost => StatusCode::SERVICE_UNAVAILABLE,
        JobError::Failed { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        JobError::InputTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let mut response = http::text(format!("{error}\n"));
    *response.status_mut() = status;
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// The job: a picture, to a small one.
fn thumbnail(input: &[u8]) -> Result<Vec<u8>, BoxError> {
    if let Some(kind) = input.strip_prefix(b"trouble ") {
        return trouble(kind);
    }
    let (mut rest, mut head) = (input, [""; 4]);
    for word in &mut head {
        let start = rest.iter().position(|byte| !byte.is_ascii_whitespace()).ok_or("the header is cut off")?;
        let end = rest[start..].iter().position(u8::is_ascii_whitespace).ok_or("the header is cut off")? + start;
        *word = std::str::from_utf8(&rest[start..end])?;
        rest = &rest[end..];
    }
    let [kind, width, height, depth] = head;
    if kind != "P6" || depth != "255" {
        return Err(format!("expected a picture in PPM, as `P6 WIDTH HEIGHT 255`, and not `{kind} … {depth}`").into());
    }
    let (width, height) = (usize::from_str(width)?, usize::from_str(height)?);
    if width == 0 || height == 0 {
        return Err("the picture is empty".into());
    }
    // As trustful as that: the room that the header asks for, and bytes that may not be there.
    let mut picture = vec![0_u8; width * height * 3];
    picture.copy_from_slice(&rest[1..=width * height * 3]);
    Ok(shrink(&picture, width, height))
}

/// Each pixel is the mean of those that it stands for.
fn shrink(picture: &[u8], width: usize, height: usize) -> Vec<u8> {
    let longer = width.max(height).max(SIDE);
    let (columns, rows) = ((width * SIDE / longer).max(1), (height * SIDE / longer).max(1));
    let mut small = format!("P6 {columns} {rows} 255\n").into_bytes();
    for row in 0..rows {
        let lines = row * height / rows..((row + 1) * height / rows).max(row * height / rows + 1);
        for column in 0..columns {
            let across = column * width / columns..((column + 1) * width / columns).max(column * width / columns + 1);
            let mut sums = [0_usize; 3];
            for pixel in lines.clone().flat_map(|y| across.clone().map(move |x| y * width + x)) {
                for (sum, value) in sums.iter_mut().zip(&picture[pixel * 3..]) {
                    *sum += usize::from(*value);
                }
            }
            let count = lines.len() * across.len();
            small.extend(sums.iter().map(|sum| u8::try_from(sum / count).unwrap_or(u8::MAX)));
        }
    }
    small
}

/// What a decoder may do to its process.
fn trouble(kind: &[u8]) -> Result<Vec<u8>, BoxError> {
    match kind {
        b"crash" => process::abort(),
        b"leak" => loop {
            std::hint::black_box(vec![1_u8; 1 << 20].leak());
        },
        b"hang" => loop {
            thread::sleep(Duration::from_secs(1));
        },
        _ => Err(io::Error::other("that is no trouble: crash, leak or hang").into()),
    }
}
