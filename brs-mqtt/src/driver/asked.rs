//! Subscribes and unsubscribes on their way: what was asked, and how it ended.

use brs_core::Error;
use futures_util::future::{BoxFuture, FutureExt as _};
use tokio::sync::oneshot;

use crate::message::Qos;
use crate::subscriptions::Id;
use crate::wire::Answer;

/// A question that has been answered, or never will be.
pub(super) enum Asked {
    Subscribe { generation: u64, ids: Vec<Id>, answer: Answer<Vec<Result<Qos, Error>>> },
    Unsubscribe { filters: Vec<String>, reply: oneshot::Sender<Result<(), Error>>, answer: Answer<Result<(), Error>> },
}

pub(super) fn subscribe(
    answer: BoxFuture<'static, Answer<Vec<Result<Qos, Error>>>>,
    generation: u64,
    ids: Vec<Id>,
) -> BoxFuture<'static, Asked> {
    async move { Asked::Subscribe { generation, ids, answer: answer.await } }.boxed()
}

pub(super) fn unsubscribe(
    answer: BoxFuture<'static, Answer<Result<(), Error>>>,
    filters: Vec<String>,
    reply: oneshot::Sender<Result<(), Error>>,
) -> BoxFuture<'static, Asked> {
    async move { Asked::Unsubscribe { filters, reply, answer: answer.await } }.boxed()
}
