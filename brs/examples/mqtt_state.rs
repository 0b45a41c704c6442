//! A device that reports its state over MQTT and obeys commands.
//!
//! The connection lends certificate and key from the session. It comes back by itself after a loss,
//! with its subscriptions; what is published meanwhile waits in the outbox. The last will tells the
//! others that the device is gone, unless it says goodbye with `disconnect`.
//!
//! For real AWS, set `MQTT_ENDPOINT` to what `aws iot describe-endpoint --endpoint-type
//! iot:Data-ATS` prints, and the variables of the example `device_files`. The certificate's policy
//! must allow to connect, publish, subscribe and receive under `devices/THING_NAME`.

use std::env;

use brs::iot;
use brs::mqtt::{Options, Publish};
use brs::prelude::*;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let thing_name = env::var("THING_NAME")?;
    let mut params = iot::Params::new(env::var("IOT_ENDPOINT")?, env::var("ROLE_ALIAS")?)
        .thing_name(&thing_name)
        .certificate(env::var("CERTIFICATE")?)
        .private_key(env::var("PRIVATE_KEY")?);
    if let Ok(trust_store) = env::var("TRUST_STORE") {
        // Only for endpoints that are not AWS's own, such as those of a test.
        params = params.trust_store(trust_store).allow_any_endpoint(true);
    }
    let session = RefreshableSession::with(params)
        .region(env::var("AWS_REGION")?)
        .await?;

    let state = format!("devices/{thing_name}/state");
    let options = Options::new(env::var("MQTT_ENDPOINT")?, &thing_name)
        .last_will(Publish::new(&state, "gone").retain(true));
    let mqtt = session.mqtt(options).await?;

    let mut commands = mqtt
        .subscribe(format!("devices/{thing_name}/commands"))
        .await?;
    mqtt.publish(Publish::new(&state, "up").retain(true))
        .await?;
    while let Some(command) = commands.next().await {
        println!("{}", String::from_utf8_lossy(command.payload()));
        if command.payload() == "stop" {
            break;
        }
    }
    mqtt.publish(Publish::new(&state, "down").retain(true))
        .await?;
    mqtt.disconnect(None).await?;
    Ok(())
}
