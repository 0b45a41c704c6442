//! Looking at the beginning of an answer's body without taking it away.
//!
//! Reads up to 64 KiB within 2 s and gives back a body that begins with what was read and goes on
//! with the rest, however that goes on: broken off, endless, or at an end. The SDK then finds what
//! it would have found.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use aws_smithy_async::rt::sleep::{AsyncSleep, SharedAsyncSleep};
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use futures_util::future::{Either, select};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;

/// How much is read. Error documents have some hundred bytes.
pub(super) const MAX_BYTES: usize = 64 * 1024;
/// In how many pieces.
const MAX_FRAMES: usize = 1024;
/// How long it may take to arrive.
const MAX_TIME: Duration = Duration::from_secs(2);

type Read = Result<Frame<Bytes>, aws_smithy_types::body::Error>;

/// The beginning of a body, and the whole of it to be passed on.
pub(super) async fn peek(body: SdkBody, sleep: Option<SharedAsyncSleep>) -> (Vec<u8>, SdkBody) {
    if let Some(bytes) = body.bytes() {
        let beginning = bytes[..bytes.len().min(MAX_BYTES)].to_vec();
        return (beginning, body);
    }
    // Without a clock a body that never comes could not be given up.
    let Some(sleep) = sleep else {
        return (Vec::new(), body);
    };
    let mut rest = Rest {
        read: VecDeque::new(),
        rest: Some(body),
    };
    let mut time_is_up = Box::pin(sleep.sleep(MAX_TIME));
    let mut beginning = Vec::new();
    while beginning.len() < MAX_BYTES && rest.read.len() < MAX_FRAMES {
        let Some(body) = &mut rest.rest else { break };
        // The time first, or a body that always has something would not let it be seen.
        let frame = match select(time_is_up.as_mut(), body.frame()).await {
            Either::Left(_) => break,
            Either::Right((Some(frame), _)) => frame,
            Either::Right((None, _)) => {
                rest.rest = None;
                break;
            }
        };
        if let Ok(Some(data)) = frame.as_ref().map(Frame::data_ref) {
            beginning.extend_from_slice(&data[..data.len().min(MAX_BYTES - beginning.len())]);
        }
        if frame.is_err() {
            rest.rest = None;
        }
        rest.read.push_back(frame);
    }
    (beginning, SdkBody::from_body_1_x(rest))
}

/// What was read, and what was not.
struct Rest {
    read: VecDeque<Read>,
    rest: Option<SdkBody>,
}

impl Body for Rest {
    type Data = Bytes;
    type Error = aws_smithy_types::body::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Read>> {
        if let Some(frame) = self.read.pop_front() {
            return Poll::Ready(Some(frame));
        }
        match &mut self.rest {
            Some(rest) => Pin::new(rest).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn size_hint(&self) -> SizeHint {
        let read = self
            .read
            .iter()
            .flatten()
            .filter_map(Frame::data_ref)
            .map(|data| data.len() as u64)
            .sum::<u64>();
        let rest = self
            .rest
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Body::size_hint);
        let mut hint = SizeHint::new();
        hint.set_lower(read + rest.lower());
        if let Some(upper) = rest.upper() {
            hint.set_upper(read + upper);
        }
        hint
    }
}
