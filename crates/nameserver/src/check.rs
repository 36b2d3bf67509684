//! The parts of `check` that both programs have: what can be wrong with the addresses, and how the findings are told.

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;

use service::diagnostic::{Diagnostic, Report};

/// What is wrong with the addresses in a configuration file.
pub fn listen(file: &Path, addresses: &[SocketAddr], report: &mut Report) {
    let mut error = |message: String| {
        report.push(Diagnostic::error(file.display().to_string(), 0, 0, message));
    };
    if addresses.is_empty() {
        error("`listen` is empty: nobody could ask this server".to_owned());
    }
    for (index, address) in addresses.iter().enumerate() {
        let twice = addresses.iter().take(index).any(|other| other == address);
        if twice && address.port() != 0 {
            error(format!("`listen` names {address} twice"));
        }
    }
}

/// Tells the findings, on standard error or as one JSON object on standard output, and gives the program's exit code.
pub fn tell(report: &Report, json: bool) -> ExitCode {
    if json {
        println!("{}", report.to_json());
    } else {
        report.show();
    }
    match report.errors() {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::from(service::EXIT_FINDINGS),
    }
}
