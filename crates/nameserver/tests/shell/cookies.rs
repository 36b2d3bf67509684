//! Server cookies over the wire: given out, recognised, and made with the secrets of the file.

use std::net::SocketAddr;
use std::path::Path;

use nameserver::Settings;
use service::shutdown;

use crate::scene::{blocking, exchange, metrics, open, query, start, until};

const CLIENT: [u8; 8] = *b"a client";
const SECRETS: [&str; 3] = [
    "00000000000000000000000000000001",
    "00000000000000000000000000000002",
    "00000000000000000000000000000003",
];

fn settings(secrets: Option<&Path>) -> Settings {
    let mut settings = Settings {
        workers: 1,
        ..Settings::default()
    };
    settings.cookies.secrets = secrets.map(Path::to_owned);
    settings
}

/// Asks with a client cookie and, after the first time, the server cookie; the server cookie of the answer.
async fn cookie(server: SocketAddr, known: &[u8]) -> Vec<u8> {
    let option = [&CLIENT, known].concat();
    let mut query = query();
    query[11] = 1; // one additional record: OPT with the option COOKIE
    query.extend([0, 0, 41, 16, 0, 0, 0, 0, 0, 0, option.len() as u8 + 4]);
    query.extend([0, 10, 0, option.len() as u8]);
    query.extend(&option);
    let answer = blocking(move || exchange(server, &query)).await;
    let (rest, cookie) = answer.split_last_chunk::<16>().unwrap();
    assert!(
        rest.ends_with(&[&[0, 10, 0, 24], &CLIENT[..]].concat()),
        "{answer:?}"
    );
    cookie.to_vec()
}

fn count(text: &str, state: &str) -> u64 {
    let line = format!("signpost_dns_cookies_total{{state=\"{state}\"}} ");
    let value = text.lines().find_map(|shown| shown.strip_prefix(&line));
    value.unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_comes_back_is_recognised_without_any_configuration() {
    let (_trigger, shutdown) = shutdown::channel();
    let (server, _, registry) = start(settings(None), shutdown);
    let running = open(server);
    let first = cookie(running.dns[0], &[]).await;
    assert_eq!(cookie(running.dns[0], &first).await, first);
    cookie(running.dns[0], &[7; 16]).await;
    let text = metrics(&registry);
    for state in ["client_only", "valid", "bad"] {
        assert_eq!(count(&text, state), 1, "{state}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_with_the_same_file_know_each_others_cookies_through_a_roll_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cookies");
    let write = |secrets: &[&str]| {
        let aside = folder.path().join("aside");
        std::fs::write(&aside, secrets.join("\n")).unwrap();
        std::fs::rename(aside, &path).unwrap();
    };
    write(&SECRETS[..1]);
    let (_trigger, shutdown) = shutdown::channel();
    let servers = [(); 2].map(|()| {
        let (server, _, registry) = start(settings(Some(&path)), shutdown.clone());
        (open(server), registry)
    });
    let adopted = async |count: u32| {
        let line =
            format!("signpost_reload_total{{result=\"adopted\",source=\"cookies\"}} {count}");
        for (_, registry) in &servers {
            until(registry, &line).await;
        }
    };
    let [one, two] = [&servers[0].0, &servers[1].0].map(|running| running.dns[0]);
    let first = cookie(one, &[]).await;
    assert_eq!(cookie(two, &first).await, first);

    write(&[SECRETS[1], SECRETS[0]]);
    adopted(2).await;
    let second = cookie(two, &first).await;
    assert_ne!(second, first, "accepted, and made anew");
    assert_eq!(cookie(one, &second).await, second);

    write(&[SECRETS[1]]);
    adopted(3).await;
    cookie(two, &first).await;
    let text = metrics(&servers[1].1);
    assert_eq!(
        (count(&text, "valid"), count(&text, "bad")),
        (2, 1),
        "{text}"
    );

    write(&["rubbish"]);
    let refused = "signpost_reload_refused{source=\"cookies\"} 1";
    until(&servers[0].1, refused).await;
    assert_eq!(cookie(one, &second).await, second);
}
