//! MQTT against mosquitto, with its own clients at the other end.
//!
//! `basics` is publishing and receiving, `losses` what is sent again and what is told, `errors`
//! what keeps a connection from standing, `doors` ALPN and proxies, `websocket` signatures,
//! `endurance` a hundred thousand messages through restarts. `packets`, `pace` and `refusals` look
//! at single packets, at a broker of its own (`scripted`); `window`, `liveness` and `cuts` at
//! servers that change their mind, servers that say nothing, and networks; `streams` at what
//! reaches a reader, `users` at names, passwords and the environment's proxy. `support` is what
//! they share.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that panics fails its test, like the test's own body"
)]

mod basics;
mod cuts;
mod doors;
mod endings;
mod endurance;
mod errors;
mod liveness;
mod losses;
mod pace;
mod packets;
mod refusals;
mod scripted;
mod streams;
mod support;
mod users;
mod websocket;
mod window;
