//! The codec's C++ part says nothing on stderr, where a program's own log goes.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::process::Command;

use mdc::codec::{Encoder, Rate};
use mdc::pattern;

/// Set for the copy of this program that codes.
const CODES: &str = "SIGNPOST_TEST_CODES";

#[test]
fn coding_with_a_constant_quantizer_says_nothing_on_stderr() {
    if std::env::var_os(CODES).is_some() {
        let mut encoder = Encoder::new(Rate::Quantizer(30), 15.0).unwrap();
        for number in 0..3 {
            let picture = pattern::picture(number, 320, 180);
            encoder.encode(&picture, number == 2).unwrap();
        }
        return;
    }
    let name = "coding_with_a_constant_quantizer_says_nothing_on_stderr";
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(CODES, "1")
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && stdout.contains("1 passed"),
        "{stdout}"
    );
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
