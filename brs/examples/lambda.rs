//! A function for AWS Lambda, as a custom runtime (`provided.al2023`) without further crates.
//!
//! Open the session outside the loop: its credentials last over many invocations. Lambda freezes
//! the process between them. A refresh that was under way then is repeated after the thaw, and
//! credentials that ended meanwhile are replaced before the next call is signed.
//!
//! On AWS, name the binary `bootstrap` and set `ROLE_ARN`; Lambda sets the other variables. With the
//! crate `lambda_runtime`, the session goes where this one is: into `main`, before `run`.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

use brs::{RefreshableSession, sts};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let session = brs::open(sts::Params::new(std::env::var("ROLE_ARN")?)).await?;
    loop {
        let (id, event) = lambda("GET", "next", "")?;
        let (path, body) = match handle(&session, &event).await {
            Ok(body) => (format!("{id}/response"), body),
            Err(error) => {
                let body = serde_json::json!({ "errorMessage": error.to_string() });
                (format!("{id}/error"), body.to_string())
            }
        };
        lambda("POST", &path, &body)?;
    }
}

async fn handle(
    session: &RefreshableSession,
    event: &str,
) -> Result<String, Box<dyn std::error::Error>> {
    let s3 = session.client(aws_sdk_s3::Client::new);
    let buckets = s3.list_buckets().send().await?.buckets().len();
    Ok(format!(r#"{{"event": {event}, "buckets": {buckets}}}"#))
}

/// One request to Lambda's runtime API; gives the invocation's id and the body.
fn lambda(verb: &str, path: &str, body: &str) -> std::io::Result<(String, String)> {
    let host = std::env::var("AWS_LAMBDA_RUNTIME_API").map_err(std::io::Error::other)?;
    let mut stream = TcpStream::connect(&host)?;
    write!(
        stream,
        "{verb} /2018-06-01/runtime/invocation/{path} HTTP/1.1\r\nHost: {host}\r\n\
         Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let (mut id, mut length, mut reader) = (String::new(), 0, BufReader::new(stream));
    for line in reader
        .by_ref()
        .lines()
        .take_while(|line| !matches!(line, Ok(line) if line.is_empty()))
    {
        match line?.split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("lambda-runtime-aws-request-id") => {
                id = value.trim().to_owned();
            }
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.trim().parse().map_err(std::io::Error::other)?;
            }
            _ => {}
        }
    }
    let mut out = String::new();
    reader.take(length).read_to_string(&mut out)?;
    Ok((id, out))
}
