//! Who may hand over to whom: tickets, proofs, offers, and edges outside the map.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/scripted.rs"]
mod scripted;
mod support;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use media_edge::edge::{Mode, unix_ms};
use rtsp::handoff::{self};
use rtsp::message::header;
use rtsp::peer::{Offer, Secret};
use rtsp::ticket::{Ticket, proof};
use scripted::{Leg, pair};
use support::{Client, PATIENCE, TestEdge, client_key, edge};

#[tokio::test(flavor = "multi_thread")]
async fn players_without_a_key_are_left_alone() {
    let (a, _b) = pair(None).await;
    let mut leg = Leg::connect(a.rtsp()).await;
    leg.set_up(0, &[]).await;
    leg.play(&[0], "npt=0-").await;
    a.running.edge.set_mode(Mode::Draining);
    while leg.client.packets.len() < 40 {
        assert!(leg.client.turn().await);
    }
    assert!(leg.client.asked.is_empty());
}

/// An offer from `a` to `b` that `b` accepts, kept open by the link returned.
async fn prepared(a: &TestEdge, b: &TestEdge, id: &str, key: &str) -> media_edge::peers::Link {
    let title = a
        .running
        .edge
        .library
        .title("quick", None, 0)
        .await
        .unwrap();
    let offer = Offer {
        handoff: id.to_owned(),
        from: a.name.clone(),
        to: b.name.clone(),
        title: "quick".to_owned(),
        title_digest: title.digest.clone(),
        repeat: true,
        starts: vec![(1, title.idr_after(1, 0, true).unwrap().1.rtp_time), (0, 0)],
        position: 0,
        session_secret: Secret(URL_SAFE_NO_PAD.encode([7; 32])),
        client_key: key.to_owned(),
        client_address: a.rtsp().ip(),
        kbit_per_second: 300,
        lease_ms: 10_000,
        reason: "drain".to_owned(),
    };
    let peers = &a.running.edge.peers;
    peers.offer(&b.name, &offer, |_| 0).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_position_offered_is_taken_when_the_connection_stands() {
    let (a, b) = pair(None).await;
    let (_, key) = client_key(7);
    let link = prepared(&a, &b, "h1", &key).await;
    let sealed = ticket(&a, &b, "h1", &key).seal(&a.running.edge.key);
    let session = b.running.edge.incoming.check(&sealed, &b.running.edge);
    let mut offer = session.unwrap().offer.clone();
    drop(link);
    // An offer with one position in it and another one given later: the later one counts.
    offer.handoff = "h2".to_owned();
    offer.position = 90_000;
    let mut travel = None;
    let position = |expected| {
        travel = Some(expected);
        45_000
    };
    let peers = &a.running.edge.peers;
    let _link = peers.offer("b", &offer, position).await.unwrap();
    let sealed = ticket(&a, &b, "h2", &key).seal(&a.running.edge.key);
    let session = b.running.edge.incoming.check(&sealed, &b.running.edge);
    let session = session.unwrap();
    assert_eq!(session.clock.npt, 45_000);
    let shown = format!("{session:?}");
    assert!(
        shown.contains("h2") && !shown.contains("7, 7, 7"),
        "{shown}"
    );
    let secret = &session.offer.session_secret.0;
    assert!(!shown.contains(secret), "the secret is shown");
    let travel = travel.unwrap();
    assert!(!travel.is_zero() && travel < PATIENCE, "{travel:?}");
    // Without a connection nobody asks for a position.
    b.running.edge.peers.close();
    a.running.edge.fleet.store(std::sync::Arc::default());
    let answer = peers.offer("b", &offer, |_| panic!("asked too early"));
    assert!(answer.await.is_err());
}

fn ticket(a: &TestEdge, b: &TestEdge, id: &str, key: &str) -> Ticket {
    Ticket {
        handoff: id.to_owned(),
        issuer: a.name.clone(),
        audience: b.name.clone(),
        title: "quick".to_owned(),
        descriptions: vec![1, 0],
        client_key: key.to_owned(),
        first_npt: 0,
        expires_ms: unix_ms() + 9_000,
        nonce: "once".to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_right_ticket_in_the_right_hands_opens_and_only_once() {
    let (a, b) = pair(None).await;
    let (key, text) = client_key(7);
    let (thief, thief_text) = client_key(8);
    let _link = prepared(&a, &b, "h1", &text).await;
    let signer = &a.running.edge.key;
    let good = ticket(&a, &b, "h1", &text);
    let refused = async |ticket: String| {
        let mut client = Client::connect(b.rtsp()).await;
        client
            .expect(403, "OPTIONS", "/quick", &[(handoff::TICKET, &ticket)])
            .await;
    };
    refused("garbage".to_owned()).await;
    refused(
        Ticket {
            audience: "a".into(),
            ..good.clone()
        }
        .seal(signer),
    )
    .await;
    refused(
        Ticket {
            expires_ms: unix_ms() - 1,
            ..good.clone()
        }
        .seal(signer),
    )
    .await;
    refused(
        Ticket {
            expires_ms: unix_ms() + 60_000,
            ..good.clone()
        }
        .seal(signer),
    )
    .await;
    refused(
        Ticket {
            handoff: "h2".into(),
            ..good.clone()
        }
        .seal(signer),
    )
    .await;
    refused(
        Ticket {
            client_key: thief_text,
            ..good.clone()
        }
        .seal(signer),
    )
    .await;
    refused(
        Ticket {
            title: "clip".into(),
            ..good.clone()
        }
        .seal(signer),
    )
    .await;
    refused(
        Ticket {
            issuer: "stranger".into(),
            ..good.clone()
        }
        .seal(signer),
    )
    .await;
    refused(good.seal(&b.running.edge.key)).await;

    let sealed = good.seal(signer);
    let with = |proof: &str| {
        vec![
            (handoff::PROOF, proof.to_owned()),
            (handoff::TICKET, sealed.clone()),
        ]
    };
    let set_up = async |client: &mut Client, status: u16, extra: Vec<(&'static str, String)>| {
        let mut headers = vec![("Transport", "RTP/AVP/TCP;unicast;interleaved=2-3")];
        headers.extend(extra.iter().map(|(name, value)| (*name, value.as_str())));
        client.expect(status, "SETUP", "/quick/d1", &headers).await;
    };
    let challenge = async |client: &mut Client| {
        let options = client
            .expect(200, "OPTIONS", "/quick", &[(handoff::TICKET, &sealed)])
            .await;
        header(&options, handoff::CHALLENGE).unwrap().to_owned()
    };
    // A stolen ticket is useless without the key, and so is a proof for another connection's challenge.
    let mut client = Client::connect(b.rtsp()).await;
    set_up(&mut client, 403, vec![(handoff::TICKET, sealed.clone())]).await;
    let asked = challenge(&mut client).await;
    set_up(
        &mut client,
        403,
        with(&proof::sign(&thief, &asked, &sealed)),
    )
    .await;
    set_up(&mut client, 403, with(&proof::sign(&key, &asked, &sealed))).await; // a challenge serves once
    let mut other = Client::connect(b.rtsp()).await;
    let others = challenge(&mut other).await;
    challenge(&mut client).await;
    set_up(&mut client, 403, with(&proof::sign(&key, &others, &sealed))).await;
    // The right one opens, once.
    let asked = challenge(&mut client).await;
    set_up(&mut client, 200, with(&proof::sign(&key, &asked, &sealed))).await;
    let asked = challenge(&mut other).await;
    set_up(&mut other, 403, with(&proof::sign(&key, &asked, &sealed))).await;
    let refusals = &b.running.edge.metrics.tickets_refused;
    assert_eq!(refusals.with_label_values(&["replayed"]).get(), 1);
    assert_eq!(refusals.with_label_values(&["audience"]).get(), 1);
    assert_eq!(refusals.with_label_values(&["expired"]).get(), 2);
    assert_eq!(refusals.with_label_values(&["proof"]).get(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_outside_the_map_gets_no_connection() {
    let (a, b) = pair(None).await;
    let rogue = edge("rogue", |_| {}).await;
    // The stranger knows where everybody is; they do not know it.
    let mut known = vec![a.as_fleet_edge(), b.as_fleet_edge()];
    known.push(rogue.as_fleet_edge());
    rogue
        .running
        .edge
        .fleet
        .store(std::sync::Arc::new(media_edge::fleet::Fleet::new(known)));
    assert!(rogue.running.edge.peers.probe("b").await.is_err());
    assert!(a.running.edge.peers.probe("b").await.is_ok());
    // Nor does an edge pass as another: the key is checked in both directions.
    let mut posing = b.as_fleet_edge();
    posing.handoff = Some(rogue.running.handoff);
    let fleet = media_edge::fleet::Fleet::new(vec![a.as_fleet_edge(), posing]);
    a.running.edge.fleet.store(std::sync::Arc::new(fleet));
    assert!(a.running.edge.peers.probe("b").await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn offers_that_do_not_add_up_are_refused() {
    let (a, b) = pair(None).await;
    let (_, key) = client_key(7);
    drop(prepared(&a, &b, "fine", &key).await);
    let title = a
        .running
        .edge
        .library
        .title("quick", None, 0)
        .await
        .unwrap();
    let good = Offer {
        handoff: "h".to_owned(),
        from: "a".to_owned(),
        to: "b".to_owned(),
        title: "quick".to_owned(),
        title_digest: title.digest.clone(),
        repeat: true,
        starts: vec![(0, 0)],
        position: 0,
        session_secret: Secret(URL_SAFE_NO_PAD.encode([7; 32])),
        client_key: key,
        client_address: a.rtsp().ip(),
        kbit_per_second: 300,
        lease_ms: 10_000,
        reason: "drain".to_owned(),
    };
    let offers = [
        (
            "malformed",
            Offer {
                from: "c".into(),
                ..good.clone()
            },
        ),
        (
            "malformed",
            Offer {
                to: "c".into(),
                ..good.clone()
            },
        ),
        (
            "malformed",
            Offer {
                starts: vec![],
                ..good.clone()
            },
        ),
        (
            "malformed",
            Offer {
                starts: vec![(0, 3_000)],
                ..good.clone()
            },
        ),
        (
            "malformed",
            Offer {
                starts: vec![(9, 0)],
                ..good.clone()
            },
        ),
        (
            "malformed",
            Offer {
                session_secret: Secret("AA".into()),
                ..good.clone()
            },
        ),
        (
            "malformed",
            Offer {
                client_key: String::new(),
                ..good.clone()
            },
        ),
        (
            "malformed",
            Offer {
                position: 90_000 * 3_600,
                ..good.clone()
            },
        ),
        (
            "no_title",
            Offer {
                title: "nothing".into(),
                ..good.clone()
            },
        ),
        (
            "no_title",
            Offer {
                title: "../clip".into(),
                ..good.clone()
            },
        ),
        (
            "other_title",
            Offer {
                title: "clip".into(),
                ..good.clone()
            },
        ),
    ];
    for (reason, offer) in offers {
        let position = offer.position;
        let answer = a.running.edge.peers.offer("b", &offer, |_| position).await;
        let Err(media_edge::peers::OfferError::Refused(given)) = answer else {
            panic!("{reason}: {answer:?}")
        };
        assert_eq!(given, reason);
    }
    b.running.edge.set_mode(Mode::Draining);
    let answer = a.running.edge.peers.offer("b", &good, |_| 0).await;
    assert!(answer.unwrap_err().to_string().contains("draining"));
}
