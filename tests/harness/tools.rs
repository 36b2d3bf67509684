//! Tools that tests use as an outside client would. A test whose tool is missing skips, saying which
//! Debian package has it; with `SIGNPOST_REQUIRE_TOOLS=1` (set by `cargo xtask test`) it fails instead.

use std::env;

/// True if a program is on the path; false after saying what to install.
///
/// # Panics
/// When it is missing and `SIGNPOST_REQUIRE_TOOLS` is `1`.
pub fn available(program: &str, debian_package: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    if env::split_paths(&path).any(|folder| folder.join(program).is_file()) {
        return true;
    }
    let required = env::var_os("SIGNPOST_REQUIRE_TOOLS").is_some_and(|value| value == "1");
    assert!(
        !required,
        "`{program}` is missing: install the Debian package {debian_package}"
    );
    eprintln!("skipped: `{program}` is missing, it is in the Debian package {debian_package}");
    false
}
