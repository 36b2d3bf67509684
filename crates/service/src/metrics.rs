//! A program's own metrics registry. Names are written whole, with their `signpost_` prefix, where they are used.

use prometheus::{IntGaugeVec, Opts, Registry};

/// A fresh registry with `signpost_build_info{program,version} 1`. One per running program, so that several
/// can live in one process (tests, the demo).
pub fn registry(program: &str) -> Registry {
    let registry = Registry::new();
    let opts = Opts::new(
        "signpost_build_info",
        "The running program and its version; always 1.",
    );
    let info =
        IntGaugeVec::new(opts, &["program", "version"]).expect("a constant, valid metric name");
    info.with_label_values(&[program, env!("CARGO_PKG_VERSION")])
        .set(1);
    registry
        .register(Box::new(info))
        .expect("the first metric of an empty registry");
    registry
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_programs_in_one_process_have_separate_registries() {
        for program in ["nameserver-l1", "nameserver-l2"] {
            let families = registry(program).gather();
            assert_eq!(families.len(), 1);
            assert_eq!(families[0].name(), "signpost_build_info");
        }
    }
}
