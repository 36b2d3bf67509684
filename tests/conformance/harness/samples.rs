//! One question of each kind, and what is answered: for programs of others that ask over a transport of which the octets
//! are known already.

/// Questions and what [`check`](crate::case::check) expects.
pub const SAMPLES: &[(&str, &str)] = &[
    (
        "www.rfc1034.test A",
        "NOERROR aa
         answer www.rfc1034.test. 300 A 192.0.2.80
         answer www.rfc1034.test. 300 A 192.0.2.81",
    ),
    (
        "mail.rfc1034.test MX",
        "NOERROR aa
         answer mail.rfc1034.test. 300 MX 10 www.rfc1034.test.
         answer mail.rfc1034.test. 300 MX 20 mx.elsewhere.example.
         additional www.rfc1034.test. 300 A 192.0.2.80
         additional www.rfc1034.test. 300 A 192.0.2.81",
    ),
    (
        "alias.rfc1034.test TXT",
        "NOERROR aa
         answer alias.rfc1034.test. 300 CNAME www.rfc1034.test.
         answer www.rfc1034.test. 300 TXT \"a host\"",
    ),
    (
        "missing.rfc1034.test A",
        "NXDOMAIN aa
         authority rfc1034.test. 60 SOA ns1.rfc1034.test. hostmaster.rfc1034.test. 7 3600 900 1209600 60",
    ),
    (
        "www.sub.rfc1034.test A",
        "NOERROR
         authority sub.rfc1034.test. 300 NS ns.sub.rfc1034.test.
         authority sub.rfc1034.test. 300 NS ns.elsewhere.example.
         additional ns.sub.rfc1034.test. 300 A 192.0.2.53",
    ),
    (
        "x.wild.rfc1034.test TXT",
        "NOERROR aa
         answer x.wild.rfc1034.test. 300 TXT \"any\"",
    ),
    (
        "www.signed.test A +dnssec",
        "NOERROR aa
         answer www.signed.test. 300 A 192.0.2.80
         answer www.signed.test. 300 A 192.0.2.81
         answer www.signed.test. 300 RRSIG A 13 3 300 signed.test.",
    ),
    ("www.elsewhere.example A", "REFUSED"),
];
