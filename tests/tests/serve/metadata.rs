//! The metadata service: the table of EC2's documentation, and brs's own client of it.

use brs::sts::imds;

use super::*;

const TTL: &str = "X-aws-ec2-metadata-token-ttl-seconds";
const TOKEN: &str = "X-aws-ec2-metadata-token";

/// A server whose session `app` is that of an instance, and the instance's address.
async fn instance(session: RefreshableSession, clock: &ManualClock) -> (Running, SocketAddr) {
    let server = Server::builder()
        .session("app", session)
        .imds((std::net::Ipv4Addr::LOCALHOST, 0).into(), "app")
        .clock(clock.clone())
        .build()
        .await
        .unwrap();
    let address = server.imds_addr().unwrap();
    (running(server), address)
}

async fn token(address: SocketAddr, ttl: &str) -> Answer {
    request(address, "PUT", "/latest/api/token", &[(TTL, ttl)]).await
}

async fn get(address: SocketAddr, token: &str, path: &str) -> Answer {
    request(address, "GET", path, &[(TOKEN, token)]).await
}

#[tokio::test]
async fn an_instance_answers_what_sdks_ask_for() {
    let (aws, clock) = aws();
    let session = session(&aws, &clock).await;
    let (_server, address) = instance(session.clone(), &clock).await;
    let given = token(address, "21600").await;
    assert_eq!(
        (given.status, given.headers[&TTL.to_lowercase()].as_str()),
        (200, "21600")
    );
    let token = given.body;
    let get = async |path: &str| get(address, &token, path).await;
    const BASE: &str = "/latest/meta-data/iam/security-credentials";
    for list in [
        BASE,
        &format!("{BASE}/"),
        &format!("{BASE}-extended"),
        &format!("{BASE}-extended/"),
    ] {
        let answer = get(list).await;
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (200, "app"),
            "{list}"
        );
    }
    let set = session.credentials().await.unwrap();
    let plain = get(&format!("{BASE}/app")).await.json();
    assert_eq!(plain["Code"], "Success");
    assert_eq!(plain["Type"], "AWS-HMAC");
    assert_eq!(plain["LastUpdated"], "2030-03-17T17:46:40Z");
    assert_eq!(plain["AccessKeyId"], set.access_key_id());
    assert_eq!(plain["SecretAccessKey"], set.secret_access_key());
    assert_eq!(plain["Token"], set.session_token().unwrap());
    assert_eq!(plain["Expiration"], "2030-03-17T18:46:40Z");
    assert!(plain.get("AccountId").is_none());
    let extended = get(&format!("{BASE}-extended/app")).await.json();
    assert_eq!(extended["AccountId"], "123456789012");
    let info = get("/latest/meta-data/iam/info").await.json();
    assert_eq!(info["Code"], "Success");
    assert_eq!(
        info["InstanceProfileArn"],
        "arn:aws:iam::123456789012:instance-profile/app"
    );
    assert!(
        info["InstanceProfileId"]
            .as_str()
            .unwrap()
            .starts_with("AIPA")
    );
    for (path, body) in [
        ("/latest/meta-data/placement/region", "eu-west-1"),
        (
            "/latest/meta-data/placement/availability-zone",
            "eu-west-1a",
        ),
    ] {
        assert_eq!(get(path).await.body, body);
    }
    let id = get("/latest/meta-data/instance-id").await.body;
    assert!(id.starts_with("i-") && id.len() == 19, "{id}");
    let document = get("/latest/dynamic/instance-identity/document")
        .await
        .json();
    assert_eq!(
        (&document["region"], &document["instanceId"]),
        (&"eu-west-1".into(), &id.into())
    );
    for path in [
        "/",
        "/latest",
        "/latest/meta-data",
        "/latest/user-data",
        "/latest/meta-data/iam/security-credentials/other",
        "/latest/meta-data/iam/security-credentials/app/x",
        "/latest/meta-data/placement/host-id",
        "/session/app",
        "/metrics",
    ] {
        assert_eq!(get(path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn a_token_is_asked_for_in_one_way_only() {
    let clock = ManualClock::new(start());
    let (_server, address) = instance(ready(&clock).await, &clock).await;
    for ttl in [
        "0",
        "21601",
        "-1",
        "",
        "x",
        "1.5",
        "+60",
        " ",
        "99999999999999999999",
    ] {
        assert_eq!(token(address, ttl).await.status, 400, "{ttl}");
    }
    for ttl in ["1", "21600", "0060"] {
        assert_eq!(token(address, ttl).await.status, 200, "{ttl}");
    }
    let path = "/latest/api/token";
    assert_eq!(request(address, "PUT", path, &[]).await.status, 400);
    let proxied = [(TTL, "60"), ("X-Forwarded-For", "10.0.0.1")];
    assert_eq!(request(address, "PUT", path, &proxied).await.status, 403);
    assert_eq!(
        request(address, "GET", path, &[(TTL, "60")]).await.status,
        405
    );
    assert_eq!(
        request(address, "HEAD", path, &[(TTL, "60")]).await.status,
        404
    );
    let empty = [(TTL, "60"), ("Content-Length", "0")];
    assert_eq!(request(address, "PUT", path, &empty).await.status, 200);
}

#[tokio::test]
async fn nothing_is_answered_without_a_token_that_is_good() {
    let clock = ManualClock::new(start());
    let (server, address) = instance(ready(&clock).await, &clock).await;
    let path = "/latest/meta-data/instance-id";
    for headers in [
        &[][..],
        &[(TOKEN, "")],
        &[(TOKEN, WRONG)],
        &[(TOKEN, server.token.as_str())],
    ] {
        assert_eq!(request(address, "GET", path, headers).await.status, 401);
    }
    assert_eq!(request(address, "GET", "/nothing", &[]).await.status, 401);
    let good = token(address, "60").await.body;
    let answer = get(address, &good, path).await;
    assert_eq!(
        (answer.status, answer.headers[&TTL.to_lowercase()].as_str()),
        (200, "60")
    );
    clock.advance(Duration::from_secs(59));
    assert_eq!(get(address, &good, path).await.status, 200);
    clock.advance(Duration::from_secs(1));
    assert_eq!(get(address, &good, path).await.status, 401);
    assert_eq!(
        server.get_as(&good, "/").await.status,
        403,
        "a token of the other service"
    );
}

#[tokio::test]
async fn tokens_do_not_pile_up() {
    let clock = ManualClock::new(start());
    let (_server, address) = instance(ready(&clock).await, &clock).await;
    let first = token(address, "60").await.body;
    let second = token(address, "21600").await.body;
    for _ in 0..255 {
        token(address, "600").await;
    }
    let path = "/latest/meta-data/instance-id";
    assert_eq!(
        get(address, &first, path).await.status,
        401,
        "the one that ends first went"
    );
    assert_eq!(get(address, &second, path).await.status, 200);
}

#[tokio::test]
async fn the_guards_are_those_of_the_endpoint() {
    let clock = ManualClock::new(start());
    let (_server, address) = instance(ready(&clock).await, &clock).await;
    let good = token(address, "60").await.body;
    for header in [
        ("Origin", "http://evil.example"),
        ("Referer", "http://evil.example/"),
        ("Via", "1.1 x"),
        ("Sec-Fetch-Mode", "cors"),
        ("User-Agent", "Mozilla/5.0"),
    ] {
        let headers = [(TOKEN, good.as_str()), header];
        let answer = request(address, "GET", "/latest/meta-data/instance-id", &headers).await;
        assert_eq!(answer.status, 403, "{header:?}");
    }
    let rebound = format!(
        "GET /latest/meta-data/instance-id HTTP/1.1\r\nHost: evil.example\r\n\
         {TOKEN}: {good}\r\nConnection: close\r\n\r\n"
    );
    assert_eq!(raw(address, rebound.as_bytes()).await.status, 403);
    let redirected = rebound.replace("evil.example", "169.254.169.254");
    assert_eq!(raw(address, redirected.as_bytes()).await.status, 200);
}

#[tokio::test]
async fn without_a_usable_set_the_service_is_unavailable() {
    let (aws, clock) = aws();
    aws.deny_role(ROLE);
    let (_server, address) = instance(session(&aws, &clock).await, &clock).await;
    let good = token(address, "60").await.body;
    let path = "/latest/meta-data/iam/security-credentials/app";
    assert_eq!(get(address, &good, path).await.status, 503);
    assert_eq!(
        get(
            address,
            &good,
            "/latest/meta-data/iam/security-credentials/"
        )
        .await
        .status,
        200
    );
}

#[tokio::test]
async fn the_method_imds_gets_its_credentials_here() {
    let (aws, clock) = aws();
    let session = session(&aws, &clock).await;
    let (_server, address) = instance(session.clone(), &clock).await;
    let client =
        RefreshableSession::with(imds::Params::new().endpoint(format!("http://{address}")))
            .region("eu-west-1")
            .clock(clock.clone())
            .build()
            .await
            .unwrap();
    let set = client.credentials().await.unwrap();
    assert_eq!(
        set.access_key_id(),
        session.credentials().await.unwrap().access_key_id()
    );
}
