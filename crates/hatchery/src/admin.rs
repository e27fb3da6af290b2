//! What operators are told over HTTP: a process beside the workers.
//!
//! It has the address to itself, asks the master how the server is, and answers.
//! So whoever asks too often, or sends nonsense, is a nuisance to this process alone.

use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;
use std::time::{Duration, Instant};

use hatchery_control::Snapshot;
use hatchery_http::{Request, Response, html, serve_fn, text};
use hatchery_net::{Listener, Listeners, Relay};
use hatchery_worker::{Seed, Worker};
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue};
use http::{Method, StatusCode};

use crate::BoxError;

mod metrics;

/// What the process is called.
pub(crate) const NAME: &str = "admin";

/// The master is asked for nothing more often than this.
const FRESH: Duration = Duration::from_millis(20);

/// A master that does not answer in so long stands still.
const PATIENCE: Duration = Duration::from_secs(2);

/// Nobody needs more connections to look at a server.
const MOST_CONNECTIONS: usize = 128;

/// The page, without anything from elsewhere.
const PAGE: &str = include_str!("admin/page.html");

/// Serves on `listener` until the server has gone; the rest of the process' life.
pub(crate) fn run(seed: Seed, listener: Listener) -> i32 {
    let relay = match Relay::pair() {
        Ok(relay) => relay,
        Err(failure) => {
            tracing::error!("no descriptor is left for the admin process, which ends and is started again: {failure}");
            return 1;
        }
    };
    // Nothing moves to it.
    relay.shut();
    // Probes and scrapers come directly, and several from one address.
    let limits = hatchery_worker::Limits {
        max_connections: MOST_CONNECTIONS,
        max_connections_per_peer: 0,
        proxies: &[],
        ..seed.limits
    };
    let (listeners, sidecar) = (Listeners::new(vec![listener]), Some(NAME.to_owned()));
    let seed = Seed { listeners, relay, limits, quota: None, measure: false, sidecar, ..seed };
    hatchery_worker::run(seed, &(), async |worker: Worker, _: &'static ()| serve(worker).await)
}

async fn serve(worker: Worker) -> Result<(), BoxError> {
    let desk = Desk { worker: worker.clone(), last: RefCell::new(None), asking: tokio::sync::Mutex::new(()) };
    let app = serve_fn(async move |request: Request| Ok::<_, Infallible>(desk.answer(&request).await));
    app(worker, &()).await
}

/// Answers, and asks the master now and then.
struct Desk {
    worker: Worker,
    last: RefCell<Option<(Instant, Rc<Vec<u8>>)>>,
    /// One question at a time: who comes meanwhile has its answer.
    asking: tokio::sync::Mutex<()>,
}

impl Desk {
    async fn answer(&self, request: &Request) -> Response {
        let path = request.uri().path();
        if !matches!(path, "/" | "/metrics" | "/status.json" | "/livez" | "/readyz") {
            return plain(StatusCode::NOT_FOUND, "not found: there are /, /metrics, /status.json, /livez, /readyz\n");
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        if path == "/" {
            return page();
        }
        let Some(json) = self.ask().await else {
            return plain(StatusCode::SERVICE_UNAVAILABLE, "the master does not answer\n");
        };
        match (path, Snapshot::from_json(&json)) {
            ("/livez", Ok(_)) => plain(StatusCode::OK, "ok\n"),
            ("/status.json", Ok(_)) => typed(json.to_vec(), "application/json"),
            ("/readyz", Ok(snapshot)) => match snapshot.status.readiness() {
                Ok(()) => plain(StatusCode::OK, "ok\n"),
                Err(why) => plain(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
            },
            (_, Ok(snapshot)) => match metrics::render(snapshot) {
                Ok(text) => typed(text.into_bytes(), metrics::CONTENT_TYPE),
                Err(_) => plain(StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be written\n"),
            },
            (_, Err(error)) => {
                plain(StatusCode::SERVICE_UNAVAILABLE, format!("the master's answer cannot be read: {error}\n"))
            }
        }
    }

    /// What the master says; `None` if it says nothing.
    async fn ask(&self) -> Option<Rc<Vec<u8>>> {
        let come = Instant::now();
        let _one_at_a_time = self.asking.lock().await;
        let known = self.last.borrow().clone();
        if let Some((asked, json)) = known {
            // What was asked after this one has come is as good as its own. What was asked before
            // is not, however short ago: another process may have told more since.
            if asked >= come {
                return Some(json);
            }
            tokio::time::sleep(FRESH.saturating_sub(asked.elapsed())).await;
        }
        let asked = Instant::now();
        let json = tokio::time::timeout(PATIENCE, self.worker.how_is_it()).await.ok()?;
        let json = Rc::new(json.inspect_err(|error| tracing::debug!("the master's answer is lost: {error}")).ok()?);
        self.last.replace(Some((asked, Rc::clone(&json))));
        Some(json)
    }
}

fn page() -> Response {
    let mut response = html(PAGE);
    // Nothing that a name or an address could bring in would run.
    let policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; \
                  img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    uncached(response)
}

fn plain(status: StatusCode, body: impl Into<String>) -> Response {
    let mut response = text(body.into());
    *response.status_mut() = status;
    uncached(response)
}

fn typed(body: Vec<u8>, content_type: &'static str) -> Response {
    let mut response = text(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    uncached(response)
}

fn uncached(mut response: Response) -> Response {
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
