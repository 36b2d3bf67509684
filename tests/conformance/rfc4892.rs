//! RFC 4892, which server answers: texts of class CHAOS, told only where the operator wants it.

use conformance::{
    case::{ALL, check, check_at},
    site::Site,
};

const NAMES: [&str; 4] = [
    "id.server",
    "hostname.bind",
    "version.server",
    "version.bind",
];

#[test]
fn nothing_is_told_unless_it_is_configured() {
    for name in NAMES {
        check("5", &format!("{name} TXT -c CH"), "REFUSED");
    }
}

#[test]
fn identifier_and_version_are_told_under_both_names() {
    let site = Site::set_up("[identity]\nid = \"ns1.site7\"\nversion = \"signpost\"\n");
    let told = |name: &str, text: &str| {
        check_at(
            &site.servers,
            ALL,
            "2",
            &format!("{name} TXT -c CH"),
            &format!("NOERROR aa\nanswer {name}. 0 TXT \"{text}\""),
        );
    };
    for (name, text) in NAMES
        .iter()
        .zip(["ns1.site7", "ns1.site7", "signpost", "signpost"])
    {
        told(name, text);
    }
    told("ID.Server", "ns1.site7");
    // Everything else of this class stays refused.
    for question in [
        "authors.bind TXT -c CH",
        "id.server A -c CH",
        "server TXT -c CH",
    ] {
        check_at(&site.servers, ALL, "3", question, "REFUSED");
    }
}

#[test]
fn one_text_may_be_told_without_the_other() {
    let site = Site::set_up("[identity]\nid = \"ns1.site7\"\n");
    check_at(
        &site.servers,
        ALL,
        "3",
        "id.server TXT -c CH",
        "NOERROR aa\nanswer id.server. 0 TXT \"ns1.site7\"",
    );
    check_at(
        &site.servers,
        ALL,
        "3",
        "version.server TXT -c CH",
        "REFUSED",
    );
}
