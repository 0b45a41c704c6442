//! A small program that connects by MQTT as its environment says; the tests start it with
//! environments of their own.
//!
//! Arguments: an endpoint and the path of a trust store. It shows no certificate but a name and a
//! password, publishes one message and prints `published`, or the error.

use std::process::ExitCode;

use brs::mqtt::{self, Options, Publish};

#[tokio::main]
async fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some(endpoint), Some(trust_store)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: mqtt_probe ENDPOINT TRUST_STORE");
        return ExitCode::from(2);
    };
    let options = Options::new(endpoint, "probe")
        .username("probe")
        .password("hush")
        .trust_store(trust_store);
    let result = async {
        let connection = mqtt::connect(options).await?;
        connection.publish(Publish::new("probe", "x")).await?;
        connection.disconnect(None).await
    };
    match result.await {
        Ok(()) => println!("published"),
        Err(error) => println!("{error}"),
    }
    ExitCode::SUCCESS
}
