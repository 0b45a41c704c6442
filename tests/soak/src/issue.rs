//! The command of the method `custom`: asks an endpoint for credentials and prints them as
//! `credential_process` wants them.
//!
//! The endpoint is the embedded one of a container, so that its faults are the command's: it fails,
//! hangs until the command is killed, and hands out expired sets.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::Failure;

/// Prints the credentials that `url`, of plain HTTP, gives.
///
/// # Errors
///
/// If it gives none.
pub fn run(url: &str) -> Result<(), Failure> {
    let rest = url
        .strip_prefix("http://")
        .ok_or("the URL is not of http")?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let mut stream = TcpStream::connect(host)?;
    write!(
        stream,
        "GET /{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .ok_or("the answer breaks off")?;
    if !head.starts_with("HTTP/1.1 200") {
        return Err(head.lines().next().unwrap_or_default().to_owned().into());
    }
    let given: Value = serde_json::from_str(body)?;
    println!(
        "{}",
        json!({
            "Version": 1,
            "AccessKeyId": given["AccessKeyId"],
            "SecretAccessKey": given["SecretAccessKey"],
            "SessionToken": given["Token"],
            "Expiration": given["Expiration"],
        })
    );
    Ok(())
}
