//! Programs of others as clients: kdig, dig, curl.

use std::env;
use std::net::SocketAddr;
use std::process::Command;

/// Runs a program to its end and returns what it printed, on both outputs. `None` if it is not installed, which fails
/// the test if `SIGNPOST_REQUIRE_TOOLS` is `1`.
pub(crate) async fn run(program: &str, package: &str, arguments: &[&str]) -> Option<String> {
    let path = env::var_os("PATH").unwrap_or_default();
    if !env::split_paths(&path).any(|folder| folder.join(program).is_file()) {
        let required = env::var_os("SIGNPOST_REQUIRE_TOOLS").is_some_and(|value| value == "1");
        assert!(
            !required,
            "`{program}` is missing: install the Debian package {package}"
        );
        eprintln!("skipped: `{program}` is missing, it is in the Debian package {package}");
        return None;
    }
    let mut command = Command::new(program);
    command.args(arguments);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await;
    let output = output.unwrap();
    let [out, err] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    Some(out + &err)
}

/// Asks by kdig.
pub(crate) async fn kdig(at: SocketAddr, arguments: &[&str]) -> Option<String> {
    let (ip, port) = (format!("@{}", at.ip()), at.port().to_string());
    let all = [&[&ip[..], "-p", &port], arguments].concat();
    run("kdig", "knot-dnsutils", &all).await
}

/// Asks by dig.
pub(crate) async fn dig(at: SocketAddr, arguments: &[&str]) -> Option<String> {
    let (ip, port) = (format!("@{}", at.ip()), at.port().to_string());
    let all = [&[&ip[..], "-p", &port], arguments].concat();
    run("dig", "bind9-dnsutils", &all).await
}
