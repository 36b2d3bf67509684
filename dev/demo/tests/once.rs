//! The README's first command, as a script would use it.

use std::process::Command;

#[test]
fn once_and_json_end_by_themselves_with_a_flawless_show_on_the_last_line() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_demo"))
        .args(["--once", "--json", "--seconds", "12", "--dir"])
        .arg(folder.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    let last = text.lines().last().unwrap_or_default();
    let summary: serde_json::Value = serde_json::from_str(last)
        .unwrap_or_else(|error| panic!("{error}: last line {last:?}\n{text}\n{errors}"));
    assert!(output.status.success(), "{text}\n{errors}");
    assert_eq!(summary["ok"], true, "{text}");
    assert_eq!(summary["frames_lost"], 0);
    assert_eq!(summary["handoff_frames_lost"], 0);
    assert_eq!(summary["handoffs"], 2);
    assert_eq!(summary["frames_shown"], 12 * 30);
    assert!(summary["ranges"].as_u64().unwrap() > 60_000);
    for key in [
        "generation",
        "srv",
        "token",
        "servers",
        "race_ms",
        "join_ms",
    ] {
        assert!(!summary[key].is_null(), "{key} is missing: {last}");
    }
}
