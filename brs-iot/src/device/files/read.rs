//! Reading files in bounded time, and telling by a digest whether they changed.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use brs_core::kit::causes;
use brs_core::{Blocking, Clock, Error};

use super::{Bytes, Digest};
use crate::device::limits::in_time;
use crate::device::params::{Contents, DeviceParams};
use crate::device::pem::Pem;
use crate::device::tls::Trust;

pub(super) async fn read_device(
    place: &Blocking,
    device: &DeviceParams,
    clock: &Arc<dyn Clock>,
    limit: Duration,
) -> Result<Contents, Error> {
    let device = device.clone();
    bounded(
        clock,
        limit,
        "certificate and private key",
        place.run(move || device.read()),
    )
    .await
    .flatten()
    .flatten()
}

pub(super) async fn read_trust(
    place: &Blocking,
    trust_store: Option<&Pem>,
) -> Result<Option<Bytes>, Error> {
    let Some(pem) = trust_store.cloned() else {
        return Ok(None);
    };
    place
        .run(move || Trust::read(&pem))
        .await
        .flatten()
        .map(Some)
}

pub(super) async fn system(place: &Blocking) -> Result<Trust, Error> {
    place.run(Trust::system).await.flatten()
}

/// The outcome, unless `limit` is first; `what` is what was read.
pub(super) async fn bounded<T>(
    clock: &Arc<dyn Clock>,
    limit: Duration,
    what: &str,
    reading: impl Future<Output = T>,
) -> Result<T, Error> {
    in_time(clock, limit, reading).await.ok_or_else(|| {
        let limit = limit.as_secs_f32();
        Error::connection(format!(
            "reading {what} took longer than {limit} s: check the file system and the source of \
             the pass phrase"
        ))
    })
}

/// What keeps changes from being used, in one error.
pub(super) fn joined(problems: Vec<Error>) -> Option<Error> {
    let texts: Vec<String> = problems
        .iter()
        .map(|error| match causes(error, &[]) {
            cause if cause.is_empty() => error.to_string(),
            cause => format!("{error} ({cause})"),
        })
        .collect();
    let first = problems.into_iter().next()?;
    Some(Error::configuration(texts.join("; ")).with_source(first))
}

impl Contents {
    /// What was read `again` after an error, if it is something else: certificate or key may have
    /// been written between the two readings.
    pub(super) fn replaced_by(&self, again: Self, error: Error) -> Result<Self, Error> {
        match again.digest() == self.digest() {
            true => Err(error),
            false => Ok(again),
        }
    }

    pub(super) fn digest(&self) -> Digest {
        digest([
            self.certificate.as_ref(),
            self.intermediates.as_ref(),
            self.private_key.as_ref(),
        ])
    }

    pub(super) fn key_digest(&self) -> Digest {
        digest([self.private_key.as_ref()])
    }
}

pub(super) fn digest<const N: usize>(parts: [Option<&Bytes>; N]) -> Digest {
    let mut context = Context::new(&SHA256);
    for part in parts {
        let part = part.map(|bytes| bytes.as_slice()).unwrap_or_default();
        // With its length before it, no two lists of parts are the same text.
        context.update(&part.len().to_be_bytes());
        context.update(part);
    }
    let mut digest = Digest::default();
    digest.copy_from_slice(context.finish().as_ref());
    digest
}
