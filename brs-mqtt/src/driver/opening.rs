//! One try to connect: what the connection shows, the way to the server, the introduction.

use std::sync::Arc;
use std::time::Duration;

use brs_core::kit::any_in_chain;

use crate::api::options::Options;
use crate::driver::line::{Broken, Line};
use crate::error::lost::{self, Lost};
use crate::error::reason;
use crate::transport::Connector;
use crate::wire::{Codec, Incoming, Welcome};

/// How long the server's answer to the client's name may take.
const TO_ANSWER: Duration = Duration::from_secs(5);

/// Opens a connection. `clean` begins a new session.
pub(super) async fn open(
    connector: Arc<Connector>,
    options: Options,
    clean: bool,
) -> Result<(Line, Box<Welcome>), Lost> {
    connector.prepare().await.map_err(Lost::with_reason)?;
    let stream = connector.open().await.map_err(Lost::with_reason)?;
    let endpoint = &connector.endpoint;
    let mut line = Line::new(
        stream,
        Codec::new(options.protocol, options.max_incoming(endpoint)),
    );
    let time_is_up = connector.clock.sleep(TO_ANSWER);
    let answer = tokio::select! {
        biased;
        answer = line.introduce(&options, clean) => answer,
        () = time_is_up => {
            let limit = options.connect_timeout + TO_ANSWER;
            return Err(Lost::with_reason(lost::late(&endpoint.host, limit)));
        }
    };
    match answer {
        Ok(Incoming::Accepted(welcome)) => Ok((line, welcome)),
        Ok(Incoming::Refused(code)) => Err(Lost::with_reason(reason::connect_refused(
            code,
            &options.client_id,
        ))),
        Ok(Incoming::Goodbye { code, text }) => Err(Lost::with_reason(reason::disconnected(
            code,
            text.as_deref(),
        ))),
        Ok(other) => {
            let unexpected = format!("an answer to CONNECT that is none: {}", kind(&other));
            Err(Lost::with_reason(lost::not_mqtt(
                &endpoint.host,
                &std::io::Error::other(unexpected),
            )))
        }
        Err(Broken::Ended) => Err(Lost::with_reason(lost::closed_at_connect(
            &endpoint.host,
            &options.client_id,
            connector.security.to_check(),
        ))),
        Err(broken) => Err(self::broken(&connector, broken, false)),
    }
}

fn kind(incoming: &Incoming) -> &'static str {
    match incoming {
        Incoming::Message(..) | Incoming::TooLarge { .. } => "PUBLISH",
        Incoming::Taken { .. } => "PUBACK",
        Incoming::Granted { .. } => "SUBACK",
        Incoming::Unsubscribed { .. } => "UNSUBACK",
        _ => "another packet",
    }
}

/// What a broken line means, for a connection that stood or for one whose server had not answered
/// yet.
pub(super) fn broken(connector: &Connector, broken: Broken, stood: bool) -> Lost {
    let endpoint = &connector.endpoint.host;
    match broken {
        Broken::Ended => Lost::silent(lost::closed(endpoint)),
        Broken::Cut(error) => {
            let timed_out = |error: &(dyn std::error::Error + 'static)| {
                error
                    .downcast_ref::<std::io::Error>()
                    .is_some_and(|error| error.kind() == std::io::ErrorKind::TimedOut)
            };
            Lost::with_reason(match connector.explain(&error) {
                Some(explained) => explained,
                None if any_in_chain(&error, timed_out) => lost::dead(endpoint),
                None if stood => lost::cut(endpoint, &error),
                None => lost::cut_at_connect(endpoint, &error),
            })
        }
        Broken::Malformed(error) => Lost::with_reason(lost::not_mqtt(endpoint, &*error)),
    }
}
