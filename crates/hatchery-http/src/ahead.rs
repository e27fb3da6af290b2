//! How much of a request is still to be read.

use http_body::Body as _;

use crate::Request;

/// More can have been read than is known: somebody else's bytes may be behind this request.
pub(crate) const UNKNOWN: i64 = i64::MIN / 2;

const BLANK_LINE: usize = b"\r\n\r\n".len();

/// How many bytes of this request are still to be read, far below 0 when that cannot be said; `None` if it has no body
/// and nothing is behind it.
///
/// `read_end` is the address at which the last read has ended in hyper's buffer.
///
/// hyper does not tell where a head ended in what it had read, but its header
/// values are slices of that very buffer: if the last one ends just before the
/// blank line that ends the read, nothing stands behind the head. Should hyper
/// ever copy header values, the addresses do not match and the answer is
/// "unknown", which costs a drain a moment and no client anything.
#[inline]
pub(crate) fn ahead(request: &Request, read_end: usize) -> Option<i64> {
    // In the order in which they came, but for repeated ones: then nothing matches either.
    let Some(last) = request.headers().values().last() else { return Some(UNKNOWN) };
    let head_end = last.as_bytes().as_ptr_range().end.addr().wrapping_add(BLANK_LINE);
    if head_end == read_end && request.body().is_end_stream() {
        return None;
    }
    Some(ahead_of_body(request, read_end.wrapping_sub(head_end)))
}

/// How many bytes were read behind the head, whatever the order of its fields.
pub(crate) fn behind(request: &Request, read_end: usize) -> usize {
    let ends = request.headers().values().map(|value| value.as_bytes().as_ptr_range().end.addr());
    let last = ends.map(|end| end.wrapping_add(BLANK_LINE)).filter(|end| *end <= read_end).max();
    last.map_or(0, |head_end| read_end - head_end)
}

/// How much of a body is missing, when `read` bytes were read behind the head.
fn ahead_of_body(request: &Request, read: usize) -> i64 {
    match (request.body().size_hint().exact(), i64::try_from(read)) {
        (Some(length), Ok(read)) => i64::try_from(length).unwrap_or(i64::MAX).saturating_sub(read),
        (None, _) | (_, Err(_)) => UNKNOWN,
    }
}
