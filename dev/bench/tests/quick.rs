//! The bench in its quick form: our own servers and the null responder. What it says about speed is not looked at.

use std::process::Command;

use serde_json::Value;

#[test]
fn a_quick_run_measures_everything_and_no_answer_is_wrong() {
    let output = Command::new(env!("CARGO_BIN_EXE_bench"))
        .args(["dns", "--quick", "--json"])
        .output()
        .expect("the bench starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    let last = text.lines().last().unwrap_or_default();
    let report: Value =
        serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {text}\n{errors}"));
    for work in ["w1", "w2", "w2b", "w3", "w4", "w4t", "w5", "w6"] {
        let figures = &report[work];
        assert_eq!(figures["wrong"], 0, "{work}: {text}");
        let used = figures["ours_cpu_us"].as_f64();
        assert!(used.is_some_and(|used| used > 0.0), "{work}: {text}");
    }
    assert!(
        report["w5"]["cold_signatures_per_s"].as_f64() > Some(0.0),
        "{text}"
    );
    assert_eq!(report["reload"]["wrong"], 0, "{text}");
    for what in ["release", "zone"] {
        let worst = report["reload"][what]["worst_ms"].as_f64();
        assert!(worst > Some(0.0), "{what}: {text}");
    }
    assert!(report["load"]["zone_1m_s"].as_f64() > Some(0.0), "{text}");
    assert!(report["load"]["map_ms"].as_f64() > Some(0.0), "{text}");
    for level in ["l1", "l2"] {
        assert_eq!(report["allocations_per_query"][level], 0.0, "{text}");
    }
}

/// The last line of a run of the bench that went well.
fn figures(arguments: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_bench"))
        .args(arguments)
        .output()
        .expect("the bench starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    let last = text.lines().last().unwrap_or_default();
    serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {text}\n{errors}"))
}

/// The counts hold for one kind of processor.
#[cfg(target_arch = "x86_64")]
#[test]
fn no_query_takes_more_instructions_than_accepted() {
    if signpost_tests::daemon::find("valgrind", "valgrind").is_none() {
        return;
    }
    let output = Command::new(env!("CARGO_BIN_EXE_bench"))
        .arg("instructions")
        .output()
        .expect("the bench starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
}

#[test]
fn a_quick_run_tries_every_way_past_the_socket() {
    let figures = figures(&["past", "--quick", "--json"]);
    let ways = figures.as_object().expect("an object");
    assert!(ways.len() > 10, "{figures}");
    for (name, way) in ways {
        let measured = way["bursts_cpu_us"].as_f64() > Some(0.0);
        assert!(measured || way["missing"].is_string(), "{name}: {way}");
    }
    assert_eq!(ways["UDP_SEGMENT"]["missing"], Value::Null, "{figures}");
}

#[test]
fn a_quick_run_plots_growth_along_every_dimension() {
    let folder = tempfile::tempdir().expect("a folder for plots");
    let path = folder.path().to_str().expect("a path in UTF-8");
    let figures = figures(&["growth", "--quick", "--json", "--svg", path]);
    for dimension in ["map", "services", "zone", "edges"] {
        let points = figures[dimension].as_array().expect("points");
        assert_eq!(points.len(), 2, "{dimension}: {figures}");
        assert!(
            points
                .iter()
                .all(|point| point["query_ns"].as_f64() > Some(0.0))
        );
        let plot = std::fs::read_to_string(folder.path().join(format!("{dimension}.svg")));
        assert_eq!(
            plot.expect("a plot").matches("<circle").count(),
            6,
            "{dimension}"
        );
    }
    assert_eq!(figures["workers"].as_array().map(Vec::len), Some(2));
}
