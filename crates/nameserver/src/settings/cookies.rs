//! `[cookies]`: proof that a client's address is not forged (RFC 7873), and the file of secrets.

use std::path::PathBuf;

use dns_engine::CookieSecret;
use serde::Deserialize;
use service::diagnostic::{Diagnostic, Report};

/// `[cookies]`: on, with a secret of the server's own.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cookies {
    /// Give out server cookies and look at those of clients.
    pub enabled: bool,
    /// File of secrets, for servers that share an address and have to know each other's cookies (RFC 9018): 32
    /// hexadecimal digits a line. The first makes cookies, all are accepted. Without a file the server makes a secret of its
    /// own, and another one every day.
    pub secrets: Option<PathBuf>,
    /// UDP answers of more octets than this only for clients with a valid cookie; others are told to come again with
    /// one, or over TCP. Without it there is no such rule.
    pub required_above: Option<u16>,
}

impl Default for Cookies {
    fn default() -> Self {
        Self {
            enabled: true,
            secrets: None,
            required_above: None,
        }
    }
}

/// More secrets than any roll-over needs: each one that is accepted costs a hash for every forged cookie.
const SECRETS_MAX: usize = 4;

/// Reads a file of secrets: one a line, `#` begins a comment.
///
/// # Errors
/// Everything that is wrong with it. No finding shows a secret.
pub(crate) fn parse(file: &str, text: &str) -> Result<Vec<CookieSecret>, Report> {
    let (mut secrets, mut report) = (Vec::new(), Report::default());
    for (line, written) in (1..).zip(text.lines()) {
        let secret = written.split('#').next().unwrap_or_default();
        let column = 1 + secret.len() - secret.trim_start().len();
        let secret = secret.trim();
        if secret.is_empty() {
            continue;
        }
        let mut error = |message: String| {
            report.push(Diagnostic::error(file, line, column, message));
        };
        match u128::from_str_radix(secret, 16) {
            _ if secret.len() != 32 || !secret.bytes().all(|digit| digit.is_ascii_hexdigit()) => {
                let length = secret.chars().count();
                error(format!(
                    "{length} characters: a secret is 32 hexadecimal digits"
                ));
            }
            Ok(number) => {
                let secret = CookieSecret(number.to_be_bytes());
                if secrets.contains(&secret) {
                    error("the same secret again".to_owned());
                }
                secrets.push(secret);
            }
            Err(error_) => error(error_.to_string()),
        }
    }
    if report.is_empty() && !(1..=SECRETS_MAX).contains(&secrets.len()) {
        let found = secrets.len();
        let message = format!("{found} secrets: there have to be 1 to {SECRETS_MAX}");
        report.push(
            Diagnostic::error(file, 0, 0, message)
                .with_hint("make one with `openssl rand -hex 16`"),
        );
    }
    if report.is_empty() {
        Ok(secrets)
    } else {
        Err(report)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "0123456789abcdef0123456789ABCDEF";
    const TWO: &str = "ffeeddccbbaa99887766554433221100";

    fn check(text: &str, expected: &str) {
        let report = parse("secrets", text).unwrap_err().to_string();
        assert!(report.contains(expected), "{report}");
        for secret in [ONE, TWO] {
            assert!(!report.contains(secret), "a secret is shown: {report}");
        }
    }

    #[test]
    fn secrets_stand_one_a_line_in_order() {
        let text = format!("# roll-over of May\n\n  {ONE}  # makes cookies\n{TWO}\n");
        let secrets = parse("secrets", &text).unwrap();
        assert_eq!(secrets.len(), 2);
        assert_eq!(secrets[0].0[..3], [0x01, 0x23, 0x45]);
        assert_eq!(secrets[1].0[15], 0);
    }

    #[test]
    fn what_is_no_secret_is_pointed_at() {
        check("", "secrets: error: 0 secrets");
        check(
            &format!("{ONE}\n  {ONE}0"),
            "secrets:2:3: error: 33 characters",
        );
        check(
            &format!("{ONE}\n{ONE}\n"),
            "secrets:2:1: error: the same secret",
        );
        check(
            &format!("+{}", &ONE[1..]),
            "secrets:1:1: error: 32 characters",
        );
        check(
            &format!("ü{}", &ONE[2..]),
            "secrets:1:1: error: 31 characters",
        );
        let five: String = (0..5).map(|n| format!("{n:032x}\n")).collect();
        check(&five, "5 secrets");
    }
}
