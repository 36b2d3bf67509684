//! New zones, services, releases and keys while queries come in: nothing is lost, what is broken is
//! refused, and what is mended is taken up.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::{
    collections::BTreeSet,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use hickory_proto::op::ResponseCode;
use nameserver_l1::commands;
use route_token::KeyRing;
use support::{
    Asker, OWNER, SERVICES, SRV, Server, Site, ZONE, ask, eventually, page, random_map,
    random_map_of, until_metric, until_page,
};
use traffic_map::{Map, Subnet};

/// A client that every one of these maps knows.
fn mapped_client(maps: &[Map]) -> Subnet {
    let known = |subnet: Subnet| {
        maps.iter().all(|map| {
            let unit = map.find(subnet).unit;
            unit.is_some_and(|unit| map.placement(unit, 0).is_some())
        })
    };
    let all = (1..224u8).map(|first| Subnet {
        address: [first, 1, 1, 0].into(),
        len: 24,
    });
    all.into_iter()
        .find(|subnet| known(*subnet))
        .expect("dense maps")
}

fn refused_lines(server: &Server, source: &str, count: u32) {
    let line = format!("signpost_reload_refused{{source=\"{source}\"}} {count}");
    until_metric(server.admin, &line);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_ready_when_it_has_zones_and_a_release_and_says_what_it_lacks() {
    let site = Site::new();
    std::fs::remove_file(site.path("zones/stream.test.zone")).unwrap();
    let server = site.start().await;
    let check = |expected: &str, status: &str| {
        let page = until_page(server.admin, "/readyz", expected);
        assert!(page.starts_with(status), "{page}");
    };
    check("no zone is loaded\n", "HTTP/1.1 503");
    assert!(page(server.admin, "/healthz").starts_with("HTTP/1.1 200"));
    site.write("zones/stream.test.zone", ZONE);
    check("no release is in force\n", "HTTP/1.1 503");
    site.publish(&random_map(3, 20, 5));
    check("\r\n\r\nready\n", "HTTP/1.1 200");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_is_lost_or_mixed_while_releases_and_zones_are_swapped() {
    let site = Site::new();
    let maps: Vec<Map> = (20..26).map(|seed| random_map(seed, 200, 20)).collect();
    let client = mapped_client(&maps);
    site.publish(&maps[0]);
    let server = site.start().await;
    let (done, lost, asked) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let seen = Mutex::new(BTreeSet::new());
    let answers_of = |map: &Map| {
        let unit = map.find(client).unit.unwrap();
        let ranked = map.placement(unit, 0).unwrap().ranked().take(2);
        ranked
            .map(|ranked| (ranked.priority, ranked.region))
            .collect::<Vec<_>>()
    };
    let lawful: BTreeSet<_> = maps.iter().map(answers_of).collect();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut asker = Asker::new(server.address);
                let keys = site.keys();
                while !done.load(Ordering::Relaxed) {
                    asked.fetch_add(1, Ordering::Relaxed);
                    let Some(answer) = asker.try_ask(&ask(OWNER, SRV).by(client)) else {
                        lost.fetch_add(1, Ordering::Relaxed);
                        continue;
                    };
                    let region = |record: &support::Record| {
                        let (token, _) = record.target.split_once('.').unwrap();
                        (record.priority, keys.open(token.as_bytes()).unwrap().region)
                    };
                    let regions: Vec<_> = answer.records.iter().map(region).collect();
                    assert!(lawful.contains(&regions), "mixed: {regions:?}");
                    seen.lock().unwrap().insert(regions);
                }
            });
        }
        for (round, map) in maps.iter().enumerate() {
            let generation = site.publish(map);
            site.write(
                "zones/stream.test.zone",
                &ZONE.replace(" 1 3600", &format!(" {round} 3600")),
            );
            until_metric(
                server.admin,
                &format!("signpost_map_generation {generation}"),
            );
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(lost.into_inner(), 0);
    assert!(asked.into_inner() > 500);
    assert_eq!(
        seen.into_inner().unwrap().len(),
        lawful.len(),
        "every release was served"
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_zone_or_services_file_is_refused_with_its_place_until_it_is_mended() {
    let site = Site::new();
    let map = random_map(30, 200, 20);
    let client = mapped_client(std::slice::from_ref(&map));
    site.publish(&map);
    let server = site.start().await;
    let before = eventually(server.address, &ask(OWNER, SRV).by(client), |a| {
        a.scope != Some(0)
    });
    let broken = [
        (
            "zones/stream.test.zone",
            "zone",
            ZONE.replace("192.0.2.54", "192.0.2.256"),
            ":6:15",
        ),
        (
            "zones/stream.test.zone",
            "zone",
            ZONE.replace("SRV 7 9 554 origin", "HINFO a b"),
            ":3:12",
        ),
        (
            "zones/stream.test.zone",
            "zone",
            ZONE.replace("edge IN NS", "edgy IN NS"),
            ":4:12",
        ),
        (
            "services.toml",
            "services",
            SERVICES.replace("port = 8554,", "prt = 8554,"),
            ":5:",
        ),
        (
            "services.toml",
            "services",
            SERVICES.replacen("live.stream", "life.stream", 1),
            ":3:12",
        ),
        (
            "services.toml",
            "services",
            SERVICES.replace("class    = 1", "class    = 7"),
            "",
        ),
    ];
    for (file, source, text, place) in broken {
        let good = std::fs::read_to_string(site.path(file)).unwrap();
        site.write(file, &text);
        refused_lines(&server, source, 1);
        let after = Asker::new(server.address).ask(&ask(OWNER, SRV).by(client));
        assert_eq!(after, before, "{text}");
        let report = commands::check(&site.config_file());
        assert!(
            report.errors() > 0 && report.to_string().contains(place),
            "{place}: {report}"
        );
        site.write(file, &good);
        refused_lines(&server, source, 0);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_release_is_refused_and_the_next_good_one_taken() {
    let site = Site::new();
    let maps = [random_map(40, 200, 20), random_map(41, 200, 20)];
    let client = mapped_client(&maps);
    let first = site.publish(&maps[0]);
    let server = site.start().await;
    until_metric(server.admin, &format!("signpost_map_generation {first}"));
    let before = Asker::new(server.address).ask(&ask(OWNER, SRV).by(client));
    let good = maps[1].encode();
    site.publish_bytes(&good[..good.len() / 2]);
    refused_lines(&server, "release", 1);
    site.publish_signed_by(&distribution::keys::generate(), &maps[1]);
    refused_lines(&server, "release", 1);
    let after = Asker::new(server.address).ask(&ask(OWNER, SRV).by(client));
    assert_eq!(after.extended_error, Some(3), "the map is out of date");
    let same = support::Answer {
        extended_error: None,
        ..after
    };
    assert_eq!(same, before);
    let last = site.publish(&maps[1]);
    until_metric(server.admin, &format!("signpost_map_generation {last}"));
    refused_lines(&server, "release", 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_edited_together_are_taken_up_together() {
    let site = Site::new();
    let server = site.start().await;
    // Renaming a service: each half alone does not fit, and answers go on as before in between.
    site.write(
        "services.toml",
        &SERVICES.replace("_tcp.live.", "_tcp.news."),
    );
    refused_lines(&server, "services", 1);
    let answer = Asker::new(server.address).ask(&ask(OWNER, SRV));
    assert_eq!(answer.records.len(), 1);
    site.write(
        "zones/stream.test.zone",
        &ZONE.replace("_tcp.live", "_tcp.news"),
    );
    let named = "_rtsp._tcp.ip4-198-51-100-0-24.news.stream.test.";
    eventually(server.address, &ask(named, SRV), |answer| {
        answer.records.len() == 1
    });
    refused_lines(&server, "services", 0);
    let gone = Asker::new(server.address).ask(&ask(OWNER, SRV));
    assert_eq!(gone.rcode, ResponseCode::NXDomain);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn zones_come_and_go_and_a_rotated_key_seals_the_next_answers() {
    let site = Site::new();
    let map = random_map(50, 200, 20);
    let client = mapped_client(std::slice::from_ref(&map));
    site.publish(&map);
    let server = site.start().await;
    let ns = |name| ask(name, 6);
    assert_eq!(
        Asker::new(server.address).ask(&ns("more.test.")).rcode,
        ResponseCode::Refused
    );
    site.write(
        "zones/more.test.zone",
        "@ 60 IN SOA ns.x. h.x. 1 1 1 1 60\n@ 60 IN NS ns.x.\n",
    );
    eventually(server.address, &ns("more.test."), |a| {
        a.rcode == ResponseCode::NoError
    });
    std::fs::remove_file(site.path("zones/more.test.zone")).unwrap();
    eventually(server.address, &ns("more.test."), |a| {
        a.rcode == ResponseCode::Refused
    });

    let slot = |a: &support::Answer| a.records.first().and_then(|r| r.target.chars().next());
    let question = ask(OWNER, SRV).by(client);
    eventually(server.address, &question, |a| {
        a.records.len() == 2 && slot(a) == Some('0')
    });
    let mut ring = KeyRing::from_toml(&KeyRing::generate([7; 32])).unwrap();
    let staged = ring.stage([8; 32]).unwrap();
    ring.activate(staged).unwrap();
    site.write("token-keys.toml", &ring.to_toml());
    eventually(server.address, &question, |a| slot(a) == Some('1'));
    site.write("token-keys.toml", "[[key]]\nslot = 9\n");
    refused_lines(&server, "keys", 1);
    assert_eq!(slot(&Asker::new(server.address).ask(&question)), Some('1'));
    server.stop().await;
}

/// The client-id name of a service below `stream.test.`.
fn named(service: &str) -> String {
    format!("_rtsp._tcp.ip4-198-51-100-0-24.{service}.stream.test.")
}

#[tokio::test(flavor = "multi_thread")]
async fn until_services_have_been_good_once_no_client_id_name_is_said_not_to_exist() {
    for broken in [None, Some("[service.live\n")] {
        let site = Site::new();
        match broken {
            Some(text) => site.write("services.toml", text),
            None => std::fs::remove_file(site.path("services.toml")).unwrap(),
        }
        let server = site.start().await;
        let mut asker = Asker::new(server.address);
        let mut rcode = |name: &str| asker.ask(&ask(name, SRV)).rcode;
        for unsure in [
            named("live"),
            named("other"),
            "_tcp.IP6-x.live.stream.test.".into(),
        ] {
            assert_eq!(rcode(&unsure), ResponseCode::ServFail, "{unsure}");
        }
        assert_eq!(rcode(OWNER), ResponseCode::NoError, "the zone is good");
        assert_eq!(rcode("nothing.stream.test."), ResponseCode::NXDomain);
        site.write("services.toml", SERVICES);
        eventually(server.address, &ask(&named("live"), SRV), |answer| {
            answer.records.len() == 1
        });
        assert_eq!(rcode(&named("other")), ResponseCode::NXDomain);
        // From here on a file that breaks takes nothing away.
        site.write("services.toml", "[service.live\n");
        refused_lines(&server, "services", 1);
        assert_eq!(rcode(&named("live")), ResponseCode::NoError);
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_does_not_fit_keeps_no_other_from_being_served() {
    let site = Site::new();
    let map = random_map(60, 200, 20);
    let client = mapped_client(std::slice::from_ref(&map));
    site.publish(&map);
    let news = "[service.news]\nowner = \"_rtsp._tcp.news.stream.test.\"\n\
                tokens = \"edge.stream.test.\"\nsrv = { port = 8554 }\n";
    site.write("services.toml", &format!("{SERVICES}{news}"));
    let server = site.start().await;
    let routed = |answer: &support::Answer| answer.records.len() == 2;
    eventually(server.address, &ask(OWNER, SRV).by(client), routed);
    until_metric(server.admin, "signpost_services_misfit 1");
    let mut asker = Asker::new(server.address);
    let unsure = asker.ask(&ask(&named("news"), SRV));
    assert_eq!(unsure.rcode, ResponseCode::ServFail, "nobody knows yet");
    assert_eq!(unsure.extended_error, Some(14));
    // While it does not fit, the others can still be changed, and not be broken.
    let faster = SERVICES.replacen("max = 30", "max = 7", 1);
    site.write("services.toml", &format!("{faster}{news}"));
    eventually(server.address, &ask(OWNER, SRV).by(client), |answer| {
        answer.records.iter().all(|record| record.ttl == 7)
    });
    let wrong = faster.replacen("live.stream", "life.stream", 1);
    site.write("services.toml", &format!("{wrong}{news}"));
    refused_lines(&server, "services", 1);
    let renamed = faster
        .replacen("service.live", "service.fresh", 1)
        .replacen("live.stream", "fresh.stream", 1);
    site.write("services.toml", &renamed);
    until_metric(
        server.admin,
        "signpost_reload_total{result=\"refused\",source=\"services\"} 2",
    );
    assert!(routed(&asker.ask(&ask(OWNER, SRV).by(client))));
    site.write("services.toml", &format!("{faster}{news}"));
    refused_lines(&server, "services", 0);
    let zone = format!("{ZONE}_rtsp._tcp.news 30 IN SRV 0 0 554 origin\n");
    site.write("zones/stream.test.zone", &zone);
    eventually(server.address, &ask(&named("news"), SRV), |answer| {
        !answer.records.is_empty()
    });
    until_metric(server.admin, "signpost_services_misfit 0");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_does_not_fit_is_not_remembered_so_there_is_a_way_back() {
    let site = Site::new();
    let first = site.publish(&random_map(70, 200, 20));
    let server = site.start().await;
    until_metric(server.admin, &format!("signpost_map_generation {first}"));
    let second = site.publish(&random_map_of(1, 71, 200, 20));
    refused_lines(&server, "release", 1);
    server.stop().await;
    // Restarted beside it, the server takes the one that fits.
    let server = site.start().await;
    until_metric(server.admin, &format!("signpost_map_generation {first}"));
    server.stop().await;
    // Nor does putting the old one back end in having none.
    site.write("releases/current", &format!("{first:010}\n"));
    let server = site.start().await;
    until_metric(server.admin, &format!("signpost_map_generation {first}"));
    refused_lines(&server, "release", 0);
    // Where nothing fits better, most services routed are better than none.
    site.write("releases/current", &format!("{second:010}\n"));
    refused_lines(&server, "release", 1);
    site.write("releases/current", &format!("{first:010}\n"));
    refused_lines(&server, "release", 0);
    site.write("releases/current", &format!("{second:010}\n"));
    refused_lines(&server, "release", 1);
    server.stop().await;
    std::fs::remove_dir_all(site.path(&format!("releases/{first:010}"))).unwrap();
    let server = site.start().await;
    until_metric(server.admin, &format!("signpost_map_generation {second}"));
    until_metric(server.admin, "signpost_services_misfit 1");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_waits_is_refused_once_for_each_reason() {
    let site = Site::new();
    site.publish(&random_map(1, 20, 5));
    let server = site.start().await;
    // Its class will come with a later release; every one until then finds it waiting.
    let waits = SERVICES.replace("unmapped = \"refuse\"", "class = 2");
    site.write("services.toml", &waits);
    refused_lines(&server, "services", 1);
    for generation in 2..5 {
        site.publish(&random_map(generation, 20, 5));
        until_metric(
            server.admin,
            &format!("signpost_map_generation {generation}"),
        );
    }
    until_metric(
        server.admin,
        "signpost_reload_total{result=\"refused\",source=\"services\"} 1",
    );
    site.publish(&random_map_of(3, 5, 20, 5));
    refused_lines(&server, "services", 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_file_or_folder_that_cannot_be_looked_at_takes_no_zone_with_it() {
    let site = Site::new();
    let zone = "@ 60 IN SOA ns.x. h.x. 1 1 1 1 60\n@ 60 IN NS ns.x.\n";
    site.write("zones/more.test.zone", zone);
    let server = site.start().await;
    let serves = || Asker::new(server.address).ask(&ask("more.test.", 6)).rcode;
    assert_eq!(serves(), ResponseCode::NoError);
    // A link to itself: listed, and no stat of it succeeds. Beside it, what an editor leaves there is no zone.
    let file = site.path("zones/more.test.zone");
    std::os::unix::fs::symlink("lock@host", site.path("zones/.#more.test.zone")).unwrap();
    std::os::unix::fs::symlink(&file, site.path("aside")).unwrap();
    std::fs::rename(site.path("aside"), &file).unwrap();
    refused_lines(&server, "zone", 1);
    assert_eq!(serves(), ResponseCode::NoError);
    site.write("zones/more.test.zone", &zone.replace("60 IN", "61 IN"));
    refused_lines(&server, "zone", 0);
    std::fs::rename(site.path("zones"), site.path("away")).unwrap();
    refused_lines(&server, "zone", 1);
    assert_eq!(serves(), ResponseCode::NoError);
    std::fs::rename(site.path("away"), site.path("zones")).unwrap();
    refused_lines(&server, "zone", 0);
    assert_eq!(serves(), ResponseCode::NoError);
    server.stop().await;
}
