//! How the findings of a `check` are told.

use std::process::ExitCode;

use service::diagnostic::Report;

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
