//! nginx before the embedded credentials provider, tried by hand: what arrives behind it, and whom
//! it refuses.

use std::time::UNIX_EPOCH;

use brs_tests::nginx::Nginx;

use super::*;

#[tokio::test]
#[ignore = "needs nginx"]
async fn a_device_gets_credentials_through_another_tls_implementation() {
    let aws = EmbeddedAws::start();
    for (versions, spelled) in [
        (TlsVersions::Tls12, "TLSv1.2"),
        (TlsVersions::Tls13, "TLSv1.3"),
    ] {
        let iot = provider(&aws);
        let nginx = Nginx::start(&iot, versions);
        for kind in [KeyKind::Rsa2048, KeyKind::EcP256, KeyKind::EcP384] {
            let device = iot.add_device("lamp", kind);
            let client = Client::of(&iot, &device).at(nginx.endpoint());
            for _ in 0..2 {
                let answer = client
                    .get(PATH, "x-amzn-iot-thingname: lamp\r\n")
                    .await
                    .unwrap();
                assert_eq!(answer.status, 200, "{answer:?}");
            }
            let last = iot.requests().pop().unwrap();
            assert_eq!(last.certificate_id, Some(device.certificate_id.clone()));
            assert_eq!(
                (last.tls_version.as_deref(), last.server_name.as_deref()),
                (Some(spelled), Some("localhost"))
            );
            assert!(last.resumed);

            iot.deactivate(&device);
            let message = "Certificate is invalid on this endpoint".to_owned();
            assert_eq!(
                client.get(PATH, "").await.unwrap().refusal(),
                (403, message)
            );
        }
        assert_eq!(
            iot.connections(),
            0,
            "nobody came by the embedded server's own door"
        );
    }
}

#[tokio::test]
#[ignore = "needs nginx"]
async fn the_date_behind_nginx_is_the_embedded_servers() {
    let present = UNIX_EPOCH + Duration::from_secs(1_893_456_000);
    let aws = EmbeddedAws::builder().clock(move || present).start();
    let iot = provider(&aws);
    let nginx = Nginx::start(&iot, TlsVersions::Both);
    // nginx judges certificates by the system's clock.
    let device = iot.add_device_valid("lamp", KeyKind::EcP256, UNIX_EPOCH..present + HOUR);
    let answer = Client::of(&iot, &device)
        .at(nginx.endpoint())
        .get(PATH, "")
        .await
        .unwrap();
    assert_eq!(
        (answer.status, answer.header("date")),
        (200, Some("Tue, 01 Jan 2030 00:00:00 GMT"))
    );
}

#[tokio::test]
#[ignore = "needs nginx"]
async fn clients_without_a_good_certificate_get_nginxs_own_page() {
    let aws = EmbeddedAws::start();
    let (iot, other) = (EmbeddedIot::start(&aws), EmbeddedIot::start(&aws));
    let nginx = Nginx::start(&iot, TlsVersions::Both);
    let stranger = other.add_device("lamp", KeyKind::EcP256);
    let identities = [
        None,
        Some((&*stranger.certificate_pem, &*stranger.private_key_pem)),
    ];
    for (identity, wanted) in identities
        .into_iter()
        .zip(["No required SSL certificate", "SSL certificate error"])
    {
        let answer = Client::new(&iot, identity)
            .at(nginx.endpoint())
            .get(PATH, "")
            .await
            .unwrap();
        assert_eq!(answer.status, 400);
        assert!(answer.body.contains(wanted), "{}", answer.body);
    }
    assert_eq!(iot.calls(), 0);
}
