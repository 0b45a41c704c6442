//! MQTT against mosquitto, with its own clients at the other end.

mod basics;
mod endurance;
mod errors;
mod losses;
mod support;
mod websocket;
